"""A kernel at the end of a line: ipykernel without zmq, as its builder's only client needs it.

What ipykernel publishes goes to the line at once, in the thread that publishes it, and what the
line brings arrives in the main thread's event loop. ipykernel has threads for the shell's, the
control and the publishing channel, each with a loop and zmq's sockets between them: here stand
objects in their place that answer the calls which ipykernel, and code in cells, makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import marshal
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import zmq
from ipykernel.iostream import BackgroundSocket, IOPubThread
from ipykernel.kernelbase import Kernel
from ipykernel.utils import _async_in_context

from nbpipe.kernels import ending, line

STOP_SECONDS = 1.0
"""How long the end waits for a flush that is under way."""


class Publisher(IOPubThread):  # type: ignore[misc]
    """Publishes on a line at once; its thread only flushes what has waited long enough.

    Args:
        sock: the kernel's end of the line.
        session: of the kernel.
    """

    def __init__(self, sock: socket.socket, session: Any) -> None:
        # Not super().__init__(), which makes zmq's sockets and a loop.
        self.session = session
        self.socket: Any = sock
        self.background_socket = BackgroundSocket(self)
        self.io_loop = Timers(self)
        self.packer = line.Packer()
        self.thread = threading.Thread(target=self.io_loop.run, name="IOPub", daemon=True)
        self._lock = threading.RLock()
        self._master_pid = os.getpid()
        os.register_at_fork(after_in_child=self._forget_locks)

    def _forget_locks(self) -> None:
        """In a forked child: the threads that may have held them are not there."""
        self._lock = threading.RLock()

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def schedule(self, f: Callable[[], object]) -> None:
        """Call it; no two threads at a time, so that nothing is overtaken."""
        with self._lock:
            f()

    def send_multipart(self, msg: Sequence[bytes], *args: Any, **kwargs: Any) -> None:
        """Publish a message; it is with the system when this returns."""
        self.post(line.OUTPUT, msg)

    def post(self, channel: bytes, frames: Sequence[bytes]) -> None:
        """Send a message on a channel of the line."""
        if self.socket is not None:
            with self._lock:
                line.send_all(self.socket, self.packer.packets(channel, frames))

    def stop(self) -> None:
        """End the thread."""
        self.io_loop.stop()
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join(STOP_SECONDS)

    def close(self) -> None:
        """Publish no more."""
        self.socket = None


class Timers:
    """What ipykernel's streams ask of the publishing thread's loop: to call something later.

    Args:
        publisher: in whose turn it is called.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition(threading.Lock())
        self._stopped = False

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something in the thread, after ``delay`` seconds."""
        entry = (time.monotonic() + delay, next(self._numbers), partial(callback, *args))
        with self._changed:
            heapq.heappush(self._due, entry)
            if self._due[0] is entry:
                self._changed.notify()

    def add_callback(self, callback: Callable[..., object], *args: Any) -> None:
        """Call something in the thread soon."""
        self.call_later(0, callback, *args)

    def stop(self) -> None:
        """End the thread; what is not due yet is dropped."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """The thread."""
        while (callback := self._next()) is not None:
            self._publisher.schedule(callback)

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None


class ShellChannel:
    """Stands where ipykernel has its thread for the shell's channel, and that thread's manager.

    Args:
        kernel: whose requests these are.
        publisher: has the line.
    """

    def __init__(self, kernel: Any, publisher: Publisher) -> None:
        self.parent_thread = threading.current_thread()
        self.manager = self.io_loop = self
        self._kernel = kernel
        self._publisher = publisher
        self._assembler = line.Assembler()
        self._sock: socket.socket = publisher.socket
        self._was_asked_to_quit = False
        self._replies = Port(partial(publisher.post, line.REPLY))
        self._requests = Port(self._let_in)
        self.from_socket, self.to_stream = self._requests, self
        self._handle: Callable[..., Any]
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Listen to the line from now on, in the event loop of the current thread."""
        self._loop = self._kernel.io_loop.asyncio_loop
        self._handle = _async_in_context(partial(self._kernel.shell_main, None))
        self._loop.add_reader(self._sock, self.flush)

    def flush(self, *args: Any, **kwargs: Any) -> int:
        """Take what the line has brought; returns how many messages."""
        count = 0
        try:
            for message in line.receive(self._sock, self._assembler):
                count += 1
                self._take(message)
        except EOFError:  # the builder is gone
            self._loop.remove_reader(self._sock)
            self._kernel.io_loop.stop()
        return count

    def _take(self, message: line.Message) -> None:
        if message.channel == line.REQUEST:
            self._let_in(message.frames)
        elif message.channel == line.BATCH:
            code, *parts = message.frames
            exec(marshal.loads(code), {"__name__": "nbpipe", "kernel": self._kernel, "parts": parts})
        elif message.channel == line.QUIT:
            self._quitting = asyncio.ensure_future(self._quit(), loop=self._loop)

    def _let_in(self, frames: Sequence[Any]) -> None:
        """Hand a request to the kernel, as a task of the loop."""
        whole = [zmq.Frame(bytes(frame)) for frame in frames]
        asyncio.ensure_future(self._handle(whole), loop=self._loop)  # noqa: RUF006

    async def _quit(self) -> None:
        if ending.has_children() and not self._was_asked_to_quit:
            self._was_asked_to_quit = True
            self._publisher.post(line.CHILDREN, [])
            return
        session = self._kernel.session
        request = session.msg("shutdown_request", {"restart": False})
        await self._kernel.shutdown_request(Port(lambda frames: None), [], request)

    # -- what ipykernel asks of the thread, its loop and its manager ---------------------

    def add_callback(self, callback: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Of the loop: call something soon."""
        self._loop.call_soon_threadsafe(partial(callback, *args, **kwargs))

    def getsockopt(self, option: int) -> int:
        """Of the stream: the descriptor that a user interface's loop watches."""
        return self._sock.fileno()

    def is_alive(self) -> bool:
        """Of the thread."""
        return False

    def get_shell_channel_to_subshell_pair(self, subshell_id: str | None) -> ShellChannel:
        """Of the manager."""
        return self

    def get_shell_channel_to_subshell_socket(self, subshell_id: str | None) -> Port:
        """Of the manager: takes what the kernel sends to itself."""
        return self._requests

    def get_subshell_to_shell_channel_socket(self, subshell_id: str | None) -> Port:
        """Of the manager: takes replies."""
        return self._replies

    def subshell_id_from_thread_id(self, thread_id: int) -> str | None:
        """Of the manager: the main shell has none."""
        return None

    def list_subshell(self) -> list[str]:
        """Of the manager: no builder asks for any."""
        return []


class Port:
    """A function with the face of a socket that sends."""

    def __init__(self, take: Callable[[Sequence[bytes]], object]) -> None:
        self._take = take

    def send_multipart(self, frames: Sequence[bytes], *args: Any, **kwargs: Any) -> None:
        """Send a message."""
        self._take(frames)

    def send(self, frame: bytes, *args: Any, **kwargs: Any) -> None:
        """Send a message of one frame."""
        self._take([frame])


def run(kernel: Any) -> None:
    """As ``IPKernelApp.start``, with the line in the place of streams, and without a debugger."""
    kernel.shell.exit_now = False
    Kernel.start(kernel)
    kernel.shell_channel_thread.start()
    with contextlib.suppress(KeyboardInterrupt):
        kernel.io_loop.start()
