"""The warm process: has imported what kernels need, and forks one for each request.

One thread, no zmq context, no event loop. Everything it is told comes as messages on one socket,
see :mod:`nbpipe.kernels.wire`; when the other end closes, it ends with all of its kernels.

- ``{"op": "fork", "arguments", "environ", "heartbeat"}`` with descriptors for status, stdin, stdout
  and stderr, and for the kernel's end of a line (see :mod:`nbpipe.kernels.line`) unless it is to
  have zmq's sockets. On the status socket follow ``{"pid"}`` with a pidfd, ``{"bound"}`` from the
  kernel once it can be spoken to, with what it says of itself, and ``{"code", "left"}`` when it has
  ended, with whether it may have left processes behind. Nothing is forked, and ``{"stale"}``
  follows, when a file that this process has loaded is another one by now, or ``{"unlinked"}``, when
  this kind of kernel needs zmq.
- ``{"op": "branch", "modules"}`` with the socket and the log of a new warm process, which is forked
  from this one and imports the modules before it serves. It is told ``{"pid"}``, and ``{"spoiled",
  "why"}`` when it has ended because a module cannot be preloaded.
- ``{"op": "mark", "run"}``: it belongs to this run, which was not known when it started.
- ``{"op": "retire"}``: end as soon as there are no kernels any more.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from nbpipe.kernels import changes, child, preload, wire
from nbpipe.kernels.launching import RUN


def main() -> NoReturn:
    """Serve; the argument holds the socket's number, and the kernels' launcher and options."""
    told = json.loads(sys.argv[1])
    conn = socket.socket(fileno=told["socket"])
    conn.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.argv = [told["launcher"]]
    python = sys.orig_argv[: sys.orig_argv.index("-c")]
    sys.orig_argv = [*python, "-m", "ipykernel_launcher"]
    from nbpipe.kernels.prebuilt import Prebuilt, import_debugger

    import_debugger()
    Warm(conn, Prebuilt(told["options"])).serve()


LAST_SECONDS = 1.0
"""How long the warm process waits for its children when it ends."""


class Warm:
    """Forks kernels, and reaps them."""

    def __init__(self, conn: socket.socket, prebuilt: Any) -> None:
        self.conn = conn
        self.prebuilt = prebuilt
        self.kernels: dict[int, tuple[socket.socket, str]] = {}
        self._branches: set[int] = set()
        self._retired = False
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> NoReturn:
        """Until the other end closes."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        child.adopt_orphans()
        signal.set_wakeup_fd(self._waker)
        self._loaded = changes.Loaded(self.prebuilt.settings)
        self._ours = child.names_of_ours()
        self.prebuilt.note_modules(self._ours)
        gc.collect()
        gc.freeze()
        with contextlib.suppress(OSError):
            wire.send(self.conn, {"ready": os.getpid()})
        waiting = select.poll()
        waiting.register(self.conn, select.POLLIN)
        waiting.register(self._woken, select.POLLIN)
        while not self._retired or self.kernels or self._branches:
            for fd, _ in waiting.poll():
                if fd == self._woken:
                    self._reap()
                else:
                    self._heed()
        os._exit(0)

    def _heed(self) -> None:
        message, fds = wire.receive(self.conn)
        if message is None:
            self._end()
        try:
            match message["op"]:
                case "fork":
                    self._fork(message, fds)
                case "branch":
                    self._branch(message, fds)
                case "mark":
                    child.show_variable(RUN, message["run"])
                case "retire":
                    self._retired = True
        finally:
            for fd in fds:
                with contextlib.suppress(OSError):
                    os.close(fd)
            fds.clear()

    # -- kernels -------------------------------------------------------------------------

    def _fork(self, message: dict[str, Any], fds: list[int]) -> None:
        status = socket.socket(fileno=fds.pop(0))
        if changed := self._loaded.changed():
            with status, contextlib.suppress(OSError):
                wire.send(status, {"stale": changed})
            return
        if fds[3:] and not self.prebuilt.can_be_linked:
            with status, contextlib.suppress(OSError):
                wire.send(status, {"unlinked": True})
            return
        warm = os.getpid()
        pid = preload.fork_quietly()
        if pid == 0:
            self._become_kernel(message, status, fds, warm)
        self.kernels[pid] = status, connection_file(message["arguments"])
        pidfd = os.pidfd_open(pid)
        with contextlib.suppress(OSError):
            wire.send(status, {"pid": pid}, (pidfd,))
        os.close(pidfd)

    def _become_kernel(
        self, message: dict[str, Any], status: socket.socket, fds: list[int], warm: int
    ) -> NoReturn:
        def work() -> None:
            self._let_go()
            arguments = message["arguments"]
            child.detach(warm, message["environ"])
            child.take_streams(fds[:3])
            sys.argv += arguments
            sys.orig_argv += arguments
            child.show_as(sys.orig_argv)
            child.own_randomness()
            file = connection_file(arguments)
            if fds[3:]:
                os.set_inheritable(fds[3], False)
                self.prebuilt.link(socket.socket(fileno=fds[3]), file)
            else:
                self.prebuilt.connect(file, arguments, heartbeat=message["heartbeat"])
            child.watch_crashes()
            wire.send(status, {"bound": self.prebuilt.info})
            status.close()
            child.forget_names(self._ours, message["environ"])
            self.prebuilt.start()

        child.run_to_exit(work)

    def _let_go(self) -> None:
        """Close what belongs to the warm process alone."""
        self.conn.close()
        os.close(self._woken)
        os.close(self._waker)
        for status, _ in self.kernels.values():
            status.close()
        self.kernels.clear()
        self._branches.clear()

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._branches.discard(pid)
            if pid in self.kernels:
                sock, _ = self.kernels.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):
                    wire.send(sock, {"code": code, "left": self._has_orphans()})
                sock.close()

    def _has_orphans(self) -> bool:
        """Whether a kernel may have left a process behind: it would be a child of this one now."""
        try:
            with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
                children = set(map(int, file.read().split()))
        except OSError:  # not every system lists them
            return True
        return not children <= self.kernels.keys() | self._branches

    def _end(self) -> NoReturn:
        """Kill the kernels and remove their private folders: nobody else is left to do it."""
        for pid in self.kernels:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        for _, file in self.kernels.values():
            folder = Path(file).parent
            if folder.name.startswith("nbpipe-"):
                shutil.rmtree(folder, ignore_errors=True)
        self._await_children()
        os._exit(0)

    def _await_children(self) -> None:
        """Branches end by themselves, as this process does, unless they are busy importing."""
        end = time.monotonic() + LAST_SECONDS
        while self.kernels or self._branches:
            if time.monotonic() > end:
                for pid in self._branches:
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.001)
            self._reap()

    # -- branches ------------------------------------------------------------------------

    def _branch(self, message: dict[str, Any], fds: list[int]) -> None:
        """A child that imports modules first, and then serves kernels of its own."""
        warm = os.getpid()
        pid = preload.fork_quietly()
        if pid != 0:
            self._branches.add(pid)
            with socket.socket(fileno=fds.pop(0)) as conn, contextlib.suppress(OSError):
                wire.send(conn, {"pid": pid})
            return
        try:
            conn = socket.socket(fileno=fds.pop(0))
            self._let_go()
            child.end_with(warm)
            for number in (1, 2):
                os.dup2(fds[0], number)
            branch = Warm(conn, self.prebuilt)
            branch.preload(message["modules"], os.dup(fds[0]))
            branch.serve()
        finally:
            os._exit(1)

    def preload(self, modules: list[str], log: int) -> None:
        """Import modules; one that a kernel had better import itself ends this process."""
        try:
            preload.import_all(modules, os.getcwd(), log)
        except preload.Spoiled as error:
            wire.send(self.conn, {"spoiled": error.module, "why": str(error)})
            os._exit(1)


def connection_file(arguments: list[str]) -> str:
    """The value of ``-f``."""
    return arguments[arguments.index("-f") + 1]
