"""A kernel at the end of a line: ipykernel without zmq, as its builder's only client needs it.

What ipykernel publishes goes to the line at once, see :mod:`publishing`, and what the line brings
arrives in the main thread's event loop. ipykernel has threads for the shell's and the control
channel, each with a loop and zmq's sockets between them: here stand objects in their place that
answer the calls which ipykernel, and code in cells, makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import zmq
from ipykernel.kernelbase import Kernel
from ipykernel.utils import _async_in_context

from nbpipe.kernels import ending, line
from nbpipe.kernels.publishing import Publisher


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
        self._execute = self._kernel.do_execute
        self._kernel.do_execute = self._do_execute
        self._publisher.begin_to_wait(self._loop)

    def stop(self) -> None:
        """Nothing more is listened to."""
        self._publisher.end_to_wait()

    async def _do_execute(self, *args: Any, **kwargs: Any) -> Any:
        """Stands before the kernel's own method."""
        self._publisher.code_begins()
        try:
            return await self._execute(*args, **kwargs)
        finally:
            self._publisher.code_ended()

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
            exec(
                marshal.loads(code), {"__name__": "nbpipe", "kernel": self._kernel, "parts": parts}
            )
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
    Kernel.start(kernel)  # type: ignore[no-untyped-call]
    kernel.shell_channel_thread.start()
    with contextlib.suppress(KeyboardInterrupt):
        kernel.io_loop.start()
    kernel.shell_channel_thread.stop()
