"""A kernel that is the child of a warm process, with the face of ``subprocess.Popen``."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import time
from typing import Any

from nbpipe.kernels import wire


class ForkedProcess:
    """Knows from its status socket how far the kernel is and how it ended.

    Args:
        status: our end; closed when the kernel has ended.

    Attributes:
        pid: process id; 0: not forked yet.
        bound: whether its sockets are bound, so that a first connection succeeds.
        info: what it would reply to ``kernel_info_request``; empty: not known.
        returncode: as of ``subprocess.Popen``; None: it runs.
        lost: the warm process ended, and the kernel with it.
        left: whether it may have left processes behind when it ended.
        stale: a file that the warm process has loaded and that has changed, so that nothing was
            forked.
        unlinked: the kernel was to have a line, and cannot do without zmq: nothing was forked.
    """

    stdin = stdout = stderr = None

    def __init__(self, status: socket.socket) -> None:
        status.setblocking(False)
        self.pid = 0
        self.bound = False
        self.info: dict[str, Any] = {}
        self.returncode: int | None = None
        self.lost = False
        self.left = True
        self.stale: str | None = None
        self.unlinked = False
        self._status = status
        self._pidfd: int | None = None

    def poll(self) -> int | None:
        """The return code; None: it runs. Takes what has been said in the meantime."""
        while self.returncode is None:
            try:
                message, fds = wire.receive(self._status)
            except BlockingIOError:
                break
            self._take(message, fds)
        return self.returncode

    def _take(self, message: dict[str, Any] | None, fds: list[int]) -> None:
        if message is None:
            self.lost = True
            self._ended(-signal.SIGKILL)
        elif "pid" in message:
            self.pid, (self._pidfd,) = message["pid"], fds
        elif "stale" in message:
            self.stale = message["stale"]
            self._ended(-signal.SIGKILL)
        elif "unlinked" in message:
            self.unlinked = True
            self._ended(-signal.SIGKILL)
        elif "bound" in message:
            self.bound, self.info = True, message["bound"]
        elif "code" in message:
            self.left = bool(message["left"])
            self._ended(message["code"])

    def _ended(self, code: int) -> None:
        self.returncode = code
        self._status.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    async def until_bound(self) -> bool:
        """Wait until it can be connected to; False: it ended before."""
        # The kernel may be faster than the warm process, which tells its id.
        while self.poll() is None and not (self.bound and self.pid):
            await self._said()
        return self.returncode is None

    async def ended(self) -> int:
        """Wait until it has ended; nothing is polled."""
        while self.poll() is None:
            await self._said()
        assert self.returncode is not None
        return self.returncode

    async def _said(self) -> None:
        loop = asyncio.get_running_loop()
        said = asyncio.Event()
        loop.add_reader(self._status, said.set)
        try:
            await said.wait()
        finally:
            if self._status.fileno() >= 0:
                loop.remove_reader(self._status)

    def wait(self, timeout: float | None = None) -> int:
        """Wait, blocking, until it has ended.

        Raises:
            subprocess.TimeoutExpired: it runs on after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired("kernel", timeout)
            select.select([self._status], [], [], left)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal the kernel, and never a stranger that has its id by now."""
        if self.poll() is None and self._pidfd is not None:
            signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def abandon(self) -> None:
        """Stop listening to a kernel that was never forked."""
        self._ended(-signal.SIGKILL)
