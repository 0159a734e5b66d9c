"""What builder and warm process say to each other: JSON datagrams that may carry descriptors.

Nothing but the standard library is imported here: the warm process starts with this module.
"""

from __future__ import annotations

import array
import json
import socket
from typing import Any

MOST = 1 << 18
"""Bytes of a message at most."""

MOST_FDS = 8
"""Descriptors that a message carries at most."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep the borders of messages and notice when the other one is closed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send a message.

    Raises:
        OSError: the other end is closed, or the message is too long.
    """
    data = json.dumps(message).encode()
    carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], carried)


def receive(sock: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and its descriptors; None: the other end is closed.

    Raises:
        BlockingIOError: the socket does not block, and there is none yet.
    """
    fds = array.array("i")
    try:
        data, carried, _, _ = sock.recvmsg(MOST, socket.CMSG_LEN(MOST_FDS * fds.itemsize))
    except ConnectionError:
        return None, []
    for level, kind, part in carried:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(part[: len(part) - len(part) % fds.itemsize])
    return (json.loads(data) if data else None), list(fds)
