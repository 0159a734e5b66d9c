"""Gives a kernel its next cell the moment one has ended; runs inside the kernel.

The text of this module is sent to ipykernel along with the cells, so it imports nothing of nbpipe.

Requests that wait in a kernel's own queue are not what a client sends that waits for each reply:
ipykernel aborts after an error only those that have arrived by then, runs what follows ``exit()``,
and shows the queue to a cell that handles messages itself. So they wait here. Each goes where a
request from the client would arrive, once the cell before it has left a kernel in which nothing
else goes on. After any other end the client sends the next one itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import json
import math
import os
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

FRAMES = 7
"""Of one request: identity, delimiter, signature, header, parent, metadata, content."""

LONGEST_WAIT = 0.1
"""Seconds for ipykernel to read what subprocesses wrote, or for zmq to send what it has."""


class Feeder:
    """The cells of a notebook, and when the next one may start.

    Args:
        kernel: ipykernel's.
        parts: what is told below, and the frames of the requests.
        outbox: what may still have to leave this process; None: nothing ever has.

    Attributes:
        halt: path of a file; once it exists, nothing more is started.
        key: in a cell's reply, tells whether the next one is on its way.
        allows_error: for every request, whether its error lets the next cells run.
    """

    def __init__(self, kernel: Any, parts: list[bytes], outbox: Outbox | None) -> None:
        told, *frames = parts
        given = json.loads(told)
        cells = given["cells"]
        self.kernel = kernel
        self.halt: str = given["halt"]
        self.key: str = given["key"]
        self.put = entrance(kernel)
        self.requests = [frames[n * FRAMES : (n + 1) * FRAMES] for n in range(len(cells))]
        self.numbers = {message: n for n, (message, _) in enumerate(cells)}
        self.allows_error: list[bool] = [allows for _, allows in cells]
        self.is_inside = False
        self.activity = Activity()
        self.outbox = outbox
        self.pause = kernel._execute_sleep
        self.execute = kernel.do_execute
        kernel.do_execute = self.do_execute
        self.feed(0)

    def feed(self, number: int) -> None:
        """Let a request in."""
        self.put([zmq.Frame(frame) for frame in self.requests[number]])

    async def do_execute(self, *args: Any, **kwargs: Any) -> Any:
        """Stands before the kernel's own method, and tells in the reply what comes next."""
        number = self.numbers.get(self.kernel.get_parent("shell")["header"]["msg_id"])
        if self.is_inside or number is None:
            return await self.execute(*args, **kwargs)
        self.is_inside = True
        self.activity.begin()
        if self.outbox is not None:
            self.outbox.empty()
        try:
            reply = await self.execute(*args, **kwargs)
        finally:
            self.is_inside = False
        try:
            is_last = number + 1 == len(self.requests)
            reply[self.key] = not is_last and self.may_go_on(number, reply)
            if reply[self.key]:
                self.feed(number + 1)
        except Exception:  # a kernel that a cell has changed; the reply must go out
            reply[self.key] = False
        # ipykernel sleeps before each reply, for clients that do not wait for the last output.
        self.kernel._execute_sleep = 0 if reply[self.key] else self.pause
        return reply

    def may_go_on(self, number: int, reply: dict[str, Any]) -> bool:
        """Whether a client would send the next cell now, and nothing would happen before it."""
        is_over = reply["status"] != "ok" and not self.allows_error[number]
        is_exit = any(p.get("source") == "ask_exit" for p in reply.get("payload") or ())
        # The client may have answers for widgets, which go first. An event loop of a user
        # interface runs until a message arrives from outside.
        is_open = self.kernel.comm_manager.comms or self.kernel.eventloop is not None
        return not (
            is_over or is_exit or is_open or self.activity.goes_on() or os.path.exists(self.halt)
        )


def feed(kernel: Any, parts: list[bytes] | None) -> None:
    """Begin with the first cell.

    Args:
        kernel: ipykernel's.
        parts: as of :class:`Feeder`, from a builder that speaks without zmq; None: the kernel is
            just handling the message whose buffers are this text and these parts.
    """
    if parts is not None:
        Feeder(kernel, parts, None)
        return
    _, *buffers = (bytes(part) for part in kernel.get_parent("shell")["buffers"])
    Feeder(kernel, buffers, Outbox(kernel.iopub_thread))


class Outbox:
    """What has been published and is still in this process, and lost if the next cell ends it."""

    def __init__(self, thread: Any) -> None:
        self.thread = thread
        self.flush = sys.stdout.flush  # a cell may put something else in the place of sys.stdout
        self.states = [
            os.open(f"/proc/self/task/{thread}/stat", os.O_RDONLY | os.O_CLOEXEC)
            for thread in os.listdir("/proc/self/task")
            if self._name(thread).startswith("ZMQbg/IO")
        ]
        if not self.states:
            raise RuntimeError("zmq's thread is not known")

    def empty(self) -> None:
        """Wait until it is with the operating system.

        Once ipykernel's thread gets to what it is given here, zmq has all that came before, and
        zmq's thread sleeps when it has no more.
        """
        self.flush()
        reached = threading.Event()
        self.thread.schedule(reached.set)
        reached.wait(LONGEST_WAIT)
        end = time.monotonic() + LONGEST_WAIT
        while any(map(self._is_awake, self.states)) and time.monotonic() < end:
            time.sleep(0.0001)

    @staticmethod
    def _name(thread: str) -> str:
        with open(f"/proc/self/task/{thread}/comm") as file:
            return file.read()

    @staticmethod
    def _is_awake(state: int) -> bool:
        return os.pread(state, 200, 0).rpartition(b")")[2].split()[0] != b"S"


class Activity:
    """What a cell has set going that goes on while a client waits before the next one.

    Tasks and threads get on with their work in that time. What is written to the descriptors 1 and
    2, by subprocesses and compiled code, is read by threads of ipykernel, and belongs to the cell
    that runs when they get to it.
    """

    def __init__(self) -> None:
        self.tasks: set[Any] = set()
        self.threads = set(threading.enumerate())
        streams: list[Any] = [
            s for s in (sys.stdout, sys.stderr) if getattr(s, "_fid", None) is not None
        ]
        self.pipes = [s._fid for s in streams]
        self.reads = [reads_of(s.watch_fd_thread) for s in streams]

    def begin(self) -> None:
        """A cell begins."""
        self.before = asyncio.all_tasks()
        self.read = self._read()

    def goes_on(self) -> bool:
        """Whether something does, from this cell or an earlier one."""
        self.tasks |= asyncio.all_tasks() - self.before
        self.tasks = {task for task in self.tasks if not task.done()}
        left = set(threading.enumerate()) - self.threads
        return bool(self.tasks or left or self._was_written())

    def _was_written(self) -> bool:
        """Whether anything was written to the descriptors; waits a little until it is read."""
        written = self._unread() > 0
        end = time.monotonic() + LONGEST_WAIT
        while self._unread() and time.monotonic() < end:
            time.sleep(0.001)
        return written or self._read() != self.read

    def _unread(self) -> int:
        """Bytes that nobody has read yet."""
        sizes = (fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) for pipe in self.pipes)
        return sum(int.from_bytes(size, sys.byteorder) for size in sizes)

    def _read(self) -> list[float]:
        """What changes with each reader when it reads."""
        try:
            return [reads() for reads in self.reads]
        except OSError:  # it has ended: a cell has closed the stream
            return [math.nan]


def reads_of(reader: Any) -> Callable[[], float]:
    """What changes when a reader reads: of a thread, how long it has run."""
    if isinstance(reader, threading.Thread):
        return functools.partial(time.clock_gettime, time.pthread_getcpuclockid(reader.ident or 0))
    return lambda: float(reader.count)


def entrance(kernel: Any) -> Any:
    """A function that puts frames where the kernel takes its next request from."""
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None:  # ipykernel 6
        return functools.partial(kernel.schedule_dispatch, kernel.dispatch_shell)
    socket = thread.manager.get_shell_channel_to_subshell_socket(None)
    return functools.partial(thread.io_loop.add_callback, socket.send_multipart)
