"""The builder's end of a line, with the kernel at the other end of it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Literal

from nbpipe.kernels import line
from nbpipe.kernels.process import ForkedProcess
from nbpipe.kernels.trunk import Start

AT_ONCE = 50
"""Messages after which other coroutines get their turn, however many more wait."""

LAST_PACKETS = 5_000
"""Packets after which a kernel that has ended is read no more: a child that it left behind may go
on to publish. Fewer can wait in a line, so none of the kernel's own is lost."""

Take = Callable[[list[bytes]], None]
"""Takes the frames of a message."""

_CHANNELS = {"request": line.REQUEST, "batch": line.BATCH, "quit": line.QUIT}


class LinkedKernel:
    """A forked kernel that is spoken to through a line, in an event loop.

    Args:
        process: of the kernel.
        sock: the builder's end.
        start: how the kernel was started.

    Attributes:
        pid: process id of the kernel.
        info: what it would reply to ``kernel_info_request``.
    """

    def __init__(self, process: ForkedProcess, sock: socket.socket, start: Start) -> None:
        self.start = start
        self.pid = process.pid
        self.info: dict[str, Any] = process.info
        self._process = process
        self._sock = sock
        self._packer = line.Packer()
        self._assembler = line.Assembler()
        self._takers: dict[bytes, Take] = {}
        self._waiting: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()

    @property
    def left(self) -> bool:
        """Whether it may have left processes behind when it ended."""
        return self._process.left

    def listen(self, output: Take, reply: Take, children: Take) -> None:
        """Have messages taken as they come: what the kernel publishes, and what it replies; and,
        without frames, that it has children and waits to be asked once more to end.
        """
        self._takers = {line.OUTPUT: output, line.REPLY: reply, line.CHILDREN: children}
        self._loop.add_reader(self._sock, self._read)

    def send(self, what: Literal["request", "batch", "quit"], frames: Sequence[bytes] = ()) -> None:
        """Send a message without waiting for anything."""
        self._waiting.extend(self._packer.packets(_CHANNELS[what], frames))
        self._write()

    async def ended(self) -> int:
        """Wait until the kernel has ended and all that it has sent is taken.

        Returns:
            The code, as of ``subprocess.Popen.returncode``.
        """
        code = await self._process.ended()
        most = self._assembler.count + LAST_PACKETS
        while self._takers and self._read() and self._assembler.count < most:
            await asyncio.sleep(0)
        return code

    def close(self) -> None:
        """Listen no more. Calling it twice is harmless."""
        if self._takers:
            self._takers = {}
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
        self._sock.close()

    def _read(self) -> int:
        """Take what has come, but not too much at once; returns how many messages."""
        count = 0
        try:
            for message in islice(line.receive(self._sock, self._assembler), AT_ONCE):
                count += 1
                self._takers[message.channel](message.frames)
        except EOFError:
            self._loop.remove_reader(self._sock)
        return count

    def _write(self) -> None:
        """Send what waits, as far as there is room."""
        try:
            while self._waiting:
                self._sock.send(self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._write)
            return
        except OSError:  # the kernel has ended, as its process will tell
            self._waiting.clear()
        self._loop.remove_writer(self._sock)
