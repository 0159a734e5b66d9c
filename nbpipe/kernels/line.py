"""The line between a builder and a kernel that was forked for it: whole messages on two sockets.

A message is a channel and the frames that Jupyter's protocol would have on a zmq socket. It travels
in packets that keep their borders, a long one in several; packets of different senders may
alternate, so any thread may send, and any process that the kernel has forked.

Nothing but the standard library is imported here: the warm process loads this module.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

OUTPUT, REPLY, CHILDREN = b"o", b"r", b"c"
"""Channels from the kernel: what it publishes, what it answers, and that it has children and waits
with its end until it is asked once more."""

REQUEST, BATCH, QUIT = b"s", b"b", b"q"
"""Channels to the kernel: a request for its shell; many of them, with the code that feeds them to
it; and that it is to end."""

PART = 1 << 16
"""Bytes of a message in one packet, at most."""

ROOM = 1 << 20
"""Bytes that may wait in a socket, as far as the system allows."""

_HEAD = struct.Struct("<c8sQI?")
"""Channel, sender, number of the message, number of the part, whether it is the last part."""

TRIES = 1000
"""How often a part is sent again that a signal's handler has broken into."""

Frames = Sequence[bytes]


class Closed(Exception):
    """Somebody has closed our end of the line."""


class _Gone(Exception):
    """The other end is closed."""


_ENDS = {
    **dict.fromkeys((errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN), _Gone),
    **dict.fromkeys((errno.EBADF, errno.ENOTSOCK), Closed),
}
"""What the errors of a socket mean that is closed at the one end or the other."""


class Message(NamedTuple):
    """A channel and the frames that came on it."""

    channel: bytes
    frames: list[bytes]


def pair() -> tuple[socket.socket, socket.socket]:
    """The builder's end, which does not block, and the kernel's, which does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    ours.setblocking(False)
    return ours, theirs


class Packer:
    """Makes packets of messages, for one sender at a time."""

    def __init__(self) -> None:
        self._pid = 0

    def packets(self, channel: bytes, frames: Frames) -> Iterator[bytes]:
        """The packets of a message, to be sent in this order.

        Args:
            channel: one byte.
            frames: what has a buffer.
        """
        if self._pid != os.getpid():  # a forked child is another sender
            self._pid, self._name = os.getpid(), os.urandom(8)
            self._numbers = itertools.count()
        sizes = [memoryview(frame).nbytes for frame in frames]
        head = struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        data = b"".join([head, *frames])
        number, starts = next(self._numbers), range(0, len(data), PART)
        for part, start in enumerate(starts):
            is_last = start + PART >= len(data)
            yield (
                _HEAD.pack(channel, self._name, number, part, is_last) + data[start : start + PART]
            )


class Assembler:
    """Puts packets together to messages. One that comes again counts once.

    Attributes:
        count: how many packets it has taken, those that came again too.
    """

    def __init__(self) -> None:
        self.count = 0
        self._parts: dict[tuple[bytes, int], list[bytes]] = {}
        self._done: deque[tuple[bytes, int]] = deque(maxlen=64)

    def take(self, packet: bytes) -> Message | None:
        """The message that this packet is the last one of; None: it is another one."""
        self.count += 1
        channel, sender, number, part, is_last = _HEAD.unpack_from(packet)
        key, data = (sender, number), packet[_HEAD.size :]
        if key in self._done:
            return None
        if part or not is_last:
            parts = self._parts.setdefault(key, [])
            if part == len(parts):
                parts.append(data)
            if not is_last or len(parts) <= part:
                return None
            data = b"".join(self._parts.pop(key))
        self._done.append(key)
        return Message(channel, _frames(data))


def _frames(data: bytes) -> list[bytes]:
    (count,) = struct.unpack_from("<I", data)
    sizes = struct.unpack_from(f"<{count}Q", data, 4)
    ends = list(itertools.accumulate(sizes, initial=4 + 8 * count))
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def send_all(sock: socket.socket, packets: Iterable[bytes]) -> None:
    """Send packets and wait until they are with the system, whatever a signal's handler does.

    What a handler raises meanwhile is raised when all have gone. Where the other end is
    closed, nothing is sent: nobody listens any more.

    Raises:
        Closed: the socket is closed.
    """
    raised: BaseException | None = None
    with contextlib.suppress(_Gone):
        for packet in packets:
            raised = _send(sock, packet) or raised
    if raised is not None:
        raise raised


def _send(sock: socket.socket, packet: bytes) -> BaseException | None:
    """Send a packet; returns what a signal's handler has raised meanwhile.

    It may have gone all the same, and then goes twice.
    """
    raised: BaseException | None = None
    for _ in range(TRIES):
        try:
            sock.send(packet)
            return raised
        except BaseException as error:
            number = getattr(error, "errno", None)
            # A handler may raise such an error as well, but hardly twice in a row.
            if number in _ENDS and number == getattr(raised, "errno", None):
                raise _ENDS[number] from error
            raised = error
    return raised


def receive(sock: socket.socket, assembler: Assembler) -> Iterator[Message]:
    """The messages that have arrived, without waiting for more.

    Raises:
        EOFError: the other end is closed.
    """
    while True:
        try:
            packet = sock.recv(PART + _HEAD.size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            packet = b""
        if not packet:
            raise EOFError
        message = assembler.take(packet)
        if message is not None:
            yield message
