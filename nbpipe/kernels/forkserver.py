"""The builder's side of warm processes: starts them, asks them for kernels, ends them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

from nbpipe.kernels import launching, wire
from nbpipe.kernels.environment import Changes
from nbpipe.kernels.process import ForkedProcess

FORK_TIMEOUT = 30.0
"""Seconds for a fork to happen, imports of the warm process included."""


class NoFork(Exception):
    """A kernel could not be forked; the text says why, as a clause."""


class Unlinked(NoFork):
    """This kind of kernel cannot do without zmq."""


class Stale(NoFork):
    """What the warm process has loaded has changed on the disk."""


class Streams(NamedTuple):
    """Descriptors that a kernel is given, as copies.

    Attributes:
        stdout: for what bypasses the kernel's channels.
        stderr: another, or the same.
        line: the kernel's end of a line; None: it speaks through zmq.
    """

    stdout: int
    stderr: int
    line: int | None = None


class Wanted(NamedTuple):
    """A kernel that is to be forked.

    Attributes:
        arguments: its own, with its connection file, which exists.
        environ: its environment, where it differs from that of the warm process.
        heartbeat: whether a client may want to hear that it lives.
    """

    arguments: Sequence[str]
    environ: Changes
    heartbeat: bool


class _Forker:
    """One warm process that forks kernels on request."""

    def __init__(self, conn: socket.socket, log: IO[bytes]) -> None:
        conn.setblocking(False)
        self._conn = conn
        self._log = log
        self._stdin = _ended_pipe()

    async def fork(self, wanted: Wanted, streams: Streams) -> ForkedProcess:
        """A kernel whose sockets are bound, or that listens to its line.

        Args:
            wanted: what kernel it is.
            streams: what it is given.

        Raises:
            NoFork: the warm process has ended, hangs, or the kernel ended at once.
        """
        message = {"op": "fork", **wanted._asdict()}
        ours, theirs = wire.pair()
        process = ForkedProcess(ours)
        try:
            with theirs:
                fds = [theirs.fileno(), self._stdin, streams.stdout, streams.stderr]
                fds += [] if streams.line is None else [streams.line]
                wire.send(self._conn, message, tuple(fds))
        except OSError as error:
            process.abandon()
            raise NoFork(self.why(str(error))) from error
        try:
            async with asyncio.timeout(FORK_TIMEOUT):
                is_bound = await process.until_bound()
        except BaseException as error:
            process.kill()
            process.abandon()
            if not isinstance(error, TimeoutError):
                raise
            self.kill()
            seconds = f"{FORK_TIMEOUT:.0f} s"
            raise NoFork(f"the warm process did not answer within {seconds}") from None
        if process.stale:
            raise Stale(f"{process.stale} has changed")
        if process.unlinked:
            raise Unlinked("this kind of kernel needs zmq")
        if not is_bound:
            raise NoFork(self.why("the forked kernel ended at once"))
        return process

    def why(self, otherwise: str) -> str:
        """Why a fork failed, as far as the warm process tells."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once; its kernels end with it."""
        raise NotImplementedError

    def retire(self) -> None:
        """Have it end as soon as it has no kernels any more."""
        with contextlib.suppress(OSError):
            wire.send(self._conn, {"op": "retire"})

    def last_words(self) -> str:
        """The last line that it printed."""
        with contextlib.suppress(OSError, ValueError):
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - 2000))
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""

    def close(self) -> None:
        """Have it end, with whatever kernels it still has. Calling it twice is harmless."""
        if self._stdin >= 0:
            self._conn.close()
            self._log.close()
            os.close(self._stdin)
            self._stdin = -1


class ForkServer(_Forker):
    """A warm process that has imported what every kernel needs. Starts when the object is made,
    unless it was started ahead.

    Args:
        python: the interpreter, with its options.
        options: of every kernel, without the connection file.
        folder: working folder of the warm process and of its kernels.
        environ: its environment.

    Attributes:
        environ: its environment, which may be another one if it was started ahead.
    """

    def __init__(
        self, python: Sequence[str], options: Sequence[str], folder: str, environ: Mapping[str, str]
    ) -> None:
        warm = launching.take(python, options, folder, environ)
        super().__init__(warm.conn, warm.log)
        self.environ = warm.environ
        self._process = warm.process

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._stdin >= 0 and self._process.poll() is None

    def branch(self, modules: Sequence[str]) -> Branch:
        """A warm process that has imported modules as well.

        Raises:
            NoFork: this one has ended.
        """
        return Branch(self._conn, modules, self)

    def why(self, otherwise: str) -> str:
        """Why a fork failed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(0.2)
            return f"the warm process ended ({code}): {self.last_words()}".rstrip(": ")
        return otherwise

    def kill(self) -> None:
        """End it at once; its kernels and branches end with it."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Have it end, and wait for that."""
        if self._stdin < 0:
            return
        super().close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Branch(_Forker):
    """A warm process that was forked from another one to import some modules.

    Args:
        parent: socket of the one that it is forked from.
        modules: what it imports, in this order.
        server: the warm process that all are forked from.
    """

    def __init__(self, parent: socket.socket, modules: Sequence[str], server: ForkServer) -> None:
        self.modules = tuple(modules)
        self._unfit: tuple[str, str] | None = None
        self._server = server
        self._pid = 0
        ours, theirs = wire.pair()
        super().__init__(ours, tempfile.TemporaryFile())  # noqa: SIM115
        message = {"op": "branch", "modules": self.modules}
        try:
            with theirs:
                wire.send(parent, message, (theirs.fileno(), self._log.fileno()))
        except OSError as error:
            self.close()
            raise NoFork(server.why(str(error))) from error

    def branch(self, modules: Sequence[str]) -> Branch:
        """A warm process that has imported these modules on top."""
        further = Branch(self._conn, modules, self._server)
        further.modules = (*self.modules, *further.modules)
        return further

    def unfit_module(self) -> tuple[str, str] | None:
        """The module that ended it because it cannot be preloaded, and why; None: none did."""
        self._hear()
        return self._unfit

    def why(self, otherwise: str) -> str:
        """Why a fork failed."""
        if (unfit := self.unfit_module()) is not None:
            return "{} is not preloaded: {}".format(*unfit)
        return self._server.why(self.last_words() or otherwise)

    def kill(self) -> None:
        """End it at once."""
        self._hear()
        if self._pid:
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while (message := wire.receive(self._conn)[0]) is not None:
                self._pid = message.get("pid", self._pid)
                if "spoiled" in message:
                    self._unfit = message["spoiled"], message["why"]


def _ended_pipe() -> int:
    """What a cold kernel reads its standard input from: a pipe that nobody writes to."""
    reading, writing = os.pipe()
    os.close(writing)
    return reading
