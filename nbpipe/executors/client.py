"""Runs the cells of a notebook in a kernel, sent ahead where the kernel can take them.

Imports nbclient, so it is imported only when a notebook runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import zmq

from nbpipe.executors import ahead
from nbpipe.executors.collect import Outputs
from nbpipe.executors.messages import decode, execute_request, seconds_between

IOPUB_TIMEOUT = 600.0
"""Seconds to wait for the rest of a cell's outputs once its reply is there."""

LAST_MILLISECONDS = 20
"""How long the next output may be on its way when a kernel has ended in an orderly way."""

LAST_WORDS = 0.2
"""Seconds without any message after which nothing more comes from a kernel that has ended."""

PAUSE_EVERY = 50
"""Messages after which other coroutines get their turn, however fast more arrive."""


class KernelDied(Exception):
    """The kernel's process ended while a cell was running."""


class OutputsMissing(Exception):
    """The kernel never said that a cell's outputs were complete."""


class _Request:
    """The request for a cell, and what the kernel has said of it."""

    def __init__(self, message: dict[str, Any], index: int) -> None:
        self.message = message
        self.id: str = message["msg_id"]
        self.index = index
        self.busy: dict[str, Any] | None = None
        self.idle: dict[str, Any] | None = None
        self.has_begun = asyncio.Event()
        self.has_ended = asyncio.Event()


class CellClient(Outputs):
    """Sends cells and reads what comes back.

    nbclient reads a cell's outputs only while that cell runs and takes a cancellation for a dead
    kernel; here one task reads all outputs from the first to the last, whichever cell they belong
    to.

    Args:
        nb: the notebook, changed in place.
        km: a manager whose kernel runs.
        kc: a client whose channels are open.
        dead: completes when the kernel's process has ended.

    Attributes:
        watch: called with every output message as it comes; None: nobody watches.
        is_forked: whether the kernel was forked from a process of ours: it runs the same Python,
            and tells that it ends after everything else that it tells.
    """

    watch: Callable[[dict[str, Any]], None] | None = None
    is_forked = False

    def __init__(self, nb: Any, km: Any, kc: Any, dead: asyncio.Future[Any]) -> None:
        super().__init__(nb, km, kc)
        self.dead = dead
        self.heard = asyncio.Event()
        self._count = 0
        self._requests: dict[str, _Request] = {}
        self._prepared: dict[int, _Request] = {}
        self._batch: str | None = None
        self._has_said_last = False
        self._is_taken = False
        self._asked: _Request | None = None
        self._running: _Request | None = None
        self._listener = asyncio.ensure_future(self._listen())

    # -- running -------------------------------------------------------------------------

    async def kernel_info(self) -> dict[str, Any]:
        """Wait until the kernel answers and its outputs arrive here.

        An output sent before the subscription has reached the kernel is lost, so it is asked again
        until both came: nothing waits a fixed time.
        """
        while True:
            reply = await self._or_dead(self._reply(self.kc.kernel_info()))
            try:
                async with asyncio.timeout(0.2):
                    await self._or_dead(self.heard.wait())
            except TimeoutError:
                continue
            content: dict[str, Any] = reply["content"]
            return content

    def send_ahead(self, indexes: Iterable[int]) -> None:
        """Give the kernel many cells at once, to be begun in this order.

        The kernel starts each when the one before has ended, as long as that is what sending them
        one by one would lead to; else it waits until :meth:`begin` sends the next.
        """
        self._prepared = {index: self._new_request(index) for index in indexes}
        cells = [(r.message, allows_error(self.nb.cells[i])) for i, r in self._prepared.items()]
        batch = ahead.batch(
            self.kc.session, cells, str(self._halt_file), same_python=self.is_forked
        )
        self._batch = batch["msg_id"]
        self._send(batch)

    async def begin(self, index: int) -> None:
        """Send a code cell, or wait until the kernel starts one that was sent ahead.

        Returns at the latest when the kernel has ended: see :meth:`finish`.
        """
        with contextlib.suppress(KernelDied):
            if self._batch is not None:
                batch, self._batch = self._batch, None
                reply = await self._or_dead(self._reply(batch))
                self._is_taken = reply["content"]["status"] == "ok"
        request = self._asked = self._prepared.pop(index, None) or self._new_request(index)
        if self._is_taken:
            with contextlib.suppress(KernelDied):
                await self._or_dead(request.has_begun.wait())
        else:
            self._begun(request)
            self._send(request.message)

    def _new_request(self, index: int) -> _Request:
        message = execute_request(self.kc.session, self.nb.cells[index].source)
        request = self._requests[message["msg_id"]] = _Request(message, index)
        return request

    async def finish(self) -> dict[str, Any]:
        """Wait for the reply to the cell that has begun and for all of its outputs.

        Returns:
            The content of the reply.

        Raises:
            KernelDied: in mid-cell.
            OutputsMissing: the reply came, the end of the outputs did not.
        """
        request = self._asked
        assert request is not None, "no cell has begun"
        try:
            reply = await self._or_dead(self._reply(request.id))
        except KernelDied:
            if self._running is request:
                raise
            # It died in a later cell, and the reply with it: this one let the next ones run.
            return {"status": "ok"}
        try:
            async with asyncio.timeout(IOPUB_TIMEOUT):
                await self._or_dead(request.has_ended.wait())
        except TimeoutError:
            raise OutputsMissing from None
        content: dict[str, Any] = reply["content"]
        self._is_taken = bool(content.get(ahead.TAKEN))
        cell = self.nb.cells[request.index]
        cell.execution_count = content.get("execution_count", cell.execution_count)
        self.dirty = True
        return content

    @property
    def seconds(self) -> float | None:
        """How long the kernel took for the cell that was finished; None: it did not tell."""
        request = self._asked
        if request is None or request.busy is None or request.idle is None:
            return None
        return seconds_between(request.busy, request.idle)

    # -- stopping ------------------------------------------------------------------------

    @property
    def current(self) -> int | None:
        """Index of the cell that the kernel was last heard to run; None: of none."""
        return None if self._running is None else self._running.index

    def halt(self) -> None:
        """Let the kernel start no other cell, though it has been sent."""
        with contextlib.suppress(OSError):  # it is about to be killed in any case
            self._halt_file.touch()

    @property
    def _halt_file(self) -> Path:
        return Path(self.km.connection_file).with_suffix(".halt")

    async def until_idle(self, seconds: float) -> bool:
        """Whether the cell that runs came to its end within that time."""
        try:
            async with asyncio.timeout(seconds):
                while self._running is not None and self._running.idle is None:
                    await self._running.has_ended.wait()
        except TimeoutError:
            return False
        return True

    # -- messages ------------------------------------------------------------------------

    def _send(self, message: dict[str, Any]) -> None:
        self.kc.shell_channel.send(message)
        self._look_for_replies()

    def _look_for_replies(self) -> None:
        """To be called when something was sent.

        jupyter_client sends behind the back of zmq's asyncio socket, which may take the signal that
        a reply has come with it: who waits for the reply would wait for ever. Asking for the events
        has the socket look again.
        """
        self.kc.shell_channel.socket.get(zmq.EVENTS)

    async def _reply(self, message: str) -> dict[str, Any]:
        while True:
            reply = await self._receive(self.kc.shell_channel)
            if reply is not None and reply["parent_header"].get("msg_id") == message:
                return reply

    async def _receive(self, channel: Any) -> dict[str, Any] | None:
        """The next message of a channel; None: one that cannot be understood."""
        frames = await channel.socket.recv_multipart()
        self._count += 1
        try:
            return decode(self.kc.session, frames)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.log.debug("message not understood: %r", error)
            return None

    async def _or_dead(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(work)
        try:
            watched = {task, self.dead, self._listener}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if self._listener.done():
                self._listener.result()
            count = -1
            while not task.done() and count != self._count:
                # What it sent before it died is on its way or here already.
                count = self._count
                await asyncio.wait({task}, timeout=LAST_WORDS)
            if not task.done():
                raise KernelDied
            return task.result()
        finally:
            task.cancel()

    async def _listen(self) -> None:
        """Read outputs for as long as the kernel lives; runs as a task of its own."""
        for count in itertools.count(1):
            message = await self._receive(self.kc.iopub_channel)
            if message is not None:
                self._take(message)
            if count % PAUSE_EVERY == 0:
                await asyncio.sleep(0)

    async def drain(self) -> None:
        """Take the last that has arrived, when the kernel has ended."""
        self._listener.cancel()
        await asyncio.wait({self._listener})
        while await self.kc.iopub_channel.socket.poll(self._patience):
            message = await self._receive(self.kc.iopub_channel)
            if message is not None:
                self._take(message)

    @property
    def _patience(self) -> int:
        """Milliseconds to wait for what a kernel that has ended may have sent."""
        return 0 if self.is_forked and self._has_said_last else LAST_MILLISECONDS

    def _take(self, message: dict[str, Any]) -> None:
        self.heard.set()
        if message["msg_type"] == "shutdown_reply":
            self._has_said_last = True
        request = self._requests.get(message["parent_header"].get("msg_id"))
        if request is None:
            return
        if not request.has_begun.is_set():
            self._begun(request)
        if message["msg_type"] == "status":
            self._status(request, message)
            return
        if self.watch is not None:
            self.watch(message)
        self.collect(message, request.index)
        if self.comm_objects:  # an Output widget may have told the kernel what it shows
            self._look_for_replies()

    def _begun(self, request: _Request) -> None:
        request.has_begun.set()
        self._running = request
        self.reset(request.index)

    def _status(self, request: _Request, message: dict[str, Any]) -> None:
        state = message["content"].get("execution_state")
        if state == "busy":
            request.busy = message
        elif state == "idle":
            request.idle = message
            request.has_ended.set()


def allows_error(cell: Any) -> bool:
    """Whether the cells below run although this one raised an error."""
    return "raises-exception" in cell.metadata.get("tags", ())
