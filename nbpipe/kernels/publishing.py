"""What a kernel at the end of a line publishes: at once, in the thread that publishes it.

ipykernel has a thread with a loop and zmq's sockets for it, and two more that read what is written
to the descriptors 1 and 2. Here one thread does what is left: it reads those, and flushes what has
waited long enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from ipykernel.iostream import PIPE_BUFFER_SIZE, BackgroundSocket, IOPubThread, OutStream

from nbpipe.kernels import line

_LOG = logging.getLogger("tornado.application")

STOP_SECONDS = 1.0
"""How long the end waits for a flush that is under way."""

STEPS = 5
"""Of the event loop, in which the next cell comes if it has been sent ahead."""

MOST_HELD = 100
"""Packets that are held back at most."""


class Publisher(IOPubThread):
    """Publishes on a line; its thread only flushes what has waited long enough.

    While a cell's code runs, each message is with the system when it has been published: the code
    may end the process. What ipykernel says between the code of two cells goes together, because
    each message may wake the builder.

    Args:
        sock: the kernel's end of the line.
        session: of the kernel.

    Attributes:
        watch: has the thread, and stands in the place of its loop.
    """

    def __init__(self, sock: socket.socket, session: Any) -> None:
        # Not super().__init__(), which makes zmq's sockets and a loop.
        self.session = session
        self.socket: Any = sock
        self.background_socket = BackgroundSocket(self)  # type: ignore[no-untyped-call]
        self.watch = Watch(self)
        self.io_loop: Any = self.watch
        self.thread = self.watch.thread
        self._packer = line.Packer()
        self._lock = threading.RLock()
        self._master_pid = os.getpid()
        self._main = threading.get_ident()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_between = self._is_closing = self._is_ticking = False
        self._held: list[bytes] = []
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a forked child: threads that may have held the lock are not there, nor is the loop."""
        self._lock = threading.RLock()
        self._loop, self._held = None, []

    def start(self) -> None:
        """Start the thread."""
        self.watch.start()

    def stop(self) -> None:
        """End the thread."""
        self.watch.stop()

    def close(self) -> None:
        """Publish no more."""
        self.socket = None

    def schedule(self, f: Callable[[], object]) -> None:
        """Call it; no two threads at a time, so that nothing is overtaken."""
        with self._lock:
            f()

    def send_multipart(self, msg: Sequence[bytes], *args: Any, **kwargs: Any) -> None:
        """Publish a message."""
        self.post(line.OUTPUT, msg)

    def post(self, channel: bytes, frames: Sequence[bytes]) -> None:
        """Send a message on a channel of the line."""
        if self.socket is None:
            return
        with self._lock:
            self._held += self._packer.packets(channel, frames)
            if not self._may_wait(channel, frames):
                self._release()
            elif not self._is_ticking:
                self._is_ticking = True
                self._tick(STEPS)

    # -- what goes together --------------------------------------------------------------

    def begin_to_wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on, hold back what may wait, for some steps of the loop at most."""
        self._loop, self._is_between = loop, True

    def end_to_wait(self) -> None:
        """From now on, hold back nothing."""
        self._loop = None
        with self._lock:
            self._release()

    def code_begins(self) -> None:
        """A cell's code is about to run."""
        self._is_between = False
        with self._lock:
            self._release()

    def code_ended(self) -> None:
        """It has run; what its streams still hold comes next."""
        self._is_between = self._is_closing = True

    def _may_wait(self, channel: bytes, frames: Sequence[bytes]) -> bool:
        if self._loop is None or not self._is_between or threading.get_ident() != self._main:
            return False
        if channel == line.REPLY:
            return True
        topic = frames[0] if channel == line.OUTPUT else b""
        if topic.endswith(b".status"):
            self._is_closing = False
            return True
        return (self._is_closing or topic.endswith(b".execute_input")) and (
            len(self._held) < MOST_HELD
        )

    def _tick(self, steps: int) -> None:
        """Let the loop take some steps: the next cell may come in them."""
        if steps and self._loop is not None:
            self._loop.call_soon(self._tick, steps - 1)
            return
        self._is_ticking = False
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self._held:
            packets, self._held = self._held, []
            try:
                line.send_all(self.socket, packets)
            except line.Closed:
                _end_unheard()


def _end_unheard() -> NoReturn:
    """A cell has closed the line, among all that was open: nobody will hear of anything any more.

    zmq ends the process in the same case.
    """
    with contextlib.suppress(OSError):
        os.write(2, b"the descriptors of the kernel were closed\n")
    os.abort()


class Watch:
    """The publishing thread, and what ipykernel's streams ask of its loop: to call something later.

    It also reads what is written to the descriptors 1 and 2, for which ipykernel has a thread each.

    Args:
        publisher: in whose turn something is called.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.thread = threading.Thread(target=self._run, name="IOPub", daemon=True)
        self._publisher = publisher
        self._due: list[tuple[float, int, partial[object]]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.POLLIN)
        self._readers: dict[int, Reader] = {}
        self._stopped = False

    def start(self) -> None:
        """Start the thread, without waiting until it has begun to run."""
        started = self.thread._started  # type: ignore[attr-defined]
        started.wait = lambda timeout=None: True
        try:
            self.thread.start()
        finally:
            del started.wait

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something in the thread, after ``delay`` seconds."""
        entry = (time.monotonic() + delay, next(self._numbers), partial(callback, *args))
        with self._lock:
            heapq.heappush(self._due, entry)
            is_next = self._due[0] is entry
        if is_next:
            os.eventfd_write(self._wake, 1)

    def add_callback(self, callback: Callable[..., object], *args: Any) -> None:
        """Call something in the thread soon."""
        self.call_later(0, callback, *args)

    def stop(self) -> None:
        """End the thread; what is not due yet is dropped."""
        self._stopped = True
        os.eventfd_write(self._wake, 1)
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join(STOP_SECONDS)

    def redirect(self, stream: Any, name: str) -> None:
        """As ``OutStream._setup_stream_redirects``, without a thread for each."""
        reading, writing = os.pipe()
        number = stream._original_stdstream_fd = getattr(sys, name).fileno()
        stream._original_stdstream_copy = os.dup(number)
        os.dup2(writing, number)
        stream._fid, stream._exc = reading, None
        threading.Thread()  # uses up a name, lest those of the notebook's threads be others
        stream.watch_fd_thread = self._readers[reading] = Reader(stream, self.thread)
        self._poll.register(reading, select.POLLIN)

    def _run(self) -> None:
        while not self._stopped:
            for fd, _ in self._poll.poll(self._patience()):
                if fd == self._wake:
                    os.eventfd_read(fd)
                elif not self._readers[fd].read():
                    self._poll.unregister(fd)
            self._call_what_is_due()

    def _patience(self) -> float | None:
        """Milliseconds until something is due; None: nothing will be."""
        with self._lock:
            if not self._due:
                return None
            return max(0.0, self._due[0][0] - time.monotonic()) * 1000

    def _call_what_is_due(self) -> None:
        while not self._stopped:
            with self._lock:
                if not self._due or self._due[0][0] > time.monotonic():
                    return
                callback = heapq.heappop(self._due)[2]
            try:
                self._publisher.schedule(callback)
            except Exception:  # as tornado's loop, which goes on
                _LOG.exception("Exception in callback %r", callback)


class Reader:
    """Stands where a stream of ipykernel has the thread that reads what bypasses it.

    Args:
        stream: ipykernel's, which has been redirected.
        thread: that really reads.

    Attributes:
        count: how often there was something to read; it changes before that has been read.
    """

    def __init__(self, stream: Any, thread: threading.Thread) -> None:
        self.count = 0
        self._stream = stream
        self._thread = thread
        self._ended = threading.Event()

    def read(self) -> bool:
        """Publish a piece; False: there will be no more. As ``OutStream._watch_pipe_fd``."""
        self.count += 1
        stream = self._stream
        try:
            data = os.read(stream._fid, PIPE_BUFFER_SIZE)
            if data and stream._should_watch:
                stream.write(data.decode(errors="replace"))
                os.write(stream._original_stdstream_copy, data)
                return True
        except Exception:
            stream._exc = sys.exc_info()
        self._ended.set()
        return False

    @property
    def ident(self) -> int | None:
        """As of a thread."""
        return self._thread.ident

    def is_alive(self) -> bool:
        """As of a thread."""
        return self._thread.is_alive() and not self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        """As of a thread."""
        self._ended.wait(timeout)


@contextlib.contextmanager
def redirecting(publisher: Publisher) -> Iterator[None]:
    """Streams that ipykernel makes meanwhile are watched by the publisher's thread."""
    streams: Any = OutStream
    usual = streams._setup_stream_redirects
    streams._setup_stream_redirects = lambda stream, name: publisher.watch.redirect(stream, name)
    try:
        yield
    finally:
        streams._setup_stream_redirects = usual
