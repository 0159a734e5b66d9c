"""The cells of a notebook on their way through a kernel, however it is spoken to.

Imports nbclient, so it is imported only when a notebook runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from nbpipe.executors import ahead
from nbpipe.executors.collect import Outputs
from nbpipe.executors.messages import execute_request, seconds_between

IOPUB_TIMEOUT = 600.0
"""Seconds to wait for the rest of a cell's outputs once its reply is there."""


class KernelDied(Exception):
    """The kernel's process ended while a cell was running."""


class OutputsMissing(Exception):
    """The kernel never said that a cell's outputs were complete."""


class Request:
    """The request for a cell, and what the kernel has said of it."""

    def __init__(self, message: dict[str, Any], index: int) -> None:
        self.message = message
        self.id: str = message["msg_id"]
        self.index = index
        self.busy: dict[str, Any] | None = None
        self.idle: dict[str, Any] | None = None
        self.reply: dict[str, Any] = {}
        self.has_begun = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.has_reply = asyncio.Event()


class _Abstract(ABCMeta, type(Outputs)):  # type: ignore[misc]
    """The metaclass of classes that are abstract and have traits."""


class Cells(Outputs, metaclass=_Abstract):
    """Sends cells and reads what comes back.

    nbclient reads a cell's outputs only while that cell runs and takes a cancellation for a dead
    kernel; here all outputs are read from the first to the last, whichever cell they belong to.

    Args:
        nb: the notebook, changed in place.
        km: a manager whose kernel runs; None: there is none.
        kc: a client whose channels are open.
        dead: completes when the kernel's process has ended.
        halt_file: once it exists, the kernel starts no other cell.

    Attributes:
        watch: called with every output message as it comes; None: nobody watches.
    """

    watch: Callable[[dict[str, Any]], None] | None = None

    def __init__(
        self, nb: Any, km: Any, kc: Any, dead: asyncio.Future[Any], halt_file: Path
    ) -> None:
        super().__init__(nb, km, kc)
        self.dead = dead
        self._halt_file = halt_file
        self._requests: dict[str, Request] = {}
        self._prepared: dict[int, Request] = {}
        self._is_taken = False
        self._asked: Request | None = None
        self._running: Request | None = None

    # -- how the kernel is spoken to -----------------------------------------------------

    @abstractmethod
    def can_send_ahead(self, implementation: str, sources: list[str]) -> bool:
        """Whether these cells may be given to the kernel at once."""

    @abstractmethod
    def _send_batch(self, cells: list[tuple[dict[str, Any], bool]]) -> None:
        """Send the requests of many cells, with whether each one's error lets the next ones run."""

    @abstractmethod
    def _send(self, message: dict[str, Any]) -> None:
        """Send a request."""

    @abstractmethod
    async def _batch_is_taken(self) -> bool:
        """Whether the kernel has taken the requests that were sent at once."""

    @abstractmethod
    async def _replied(self, request: Request) -> dict[str, Any]:
        """Wait for the reply to a request.

        Raises:
            KernelDied: none will come.
        """

    @abstractmethod
    async def _until(self, event: asyncio.Event) -> None:
        """Wait for something that the kernel says.

        Raises:
            KernelDied: it will not.
        """

    @abstractmethod
    async def drain(self) -> None:
        """Take the last that has arrived, when the kernel has ended."""

    # -- running -------------------------------------------------------------------------

    def send_ahead(self, indexes: Iterable[int]) -> None:
        """Give the kernel many cells at once, to be begun in this order.

        The kernel starts each when the one before has ended, as long as that is what sending them
        one by one would lead to; else it waits until :meth:`begin` sends the next.
        """
        self._prepared = {index: self._new_request(index) for index in indexes}
        self._send_batch(
            [(r.message, allows_error(self.nb.cells[i])) for i, r in self._prepared.items()]
        )

    async def begin(self, index: int) -> None:
        """Send a code cell, or wait until the kernel starts one that was sent ahead.

        Returns at the latest when the kernel has ended: see :meth:`finish`.
        """
        if self._asked is None and self._prepared:
            with contextlib.suppress(KernelDied):
                self._is_taken = await self._batch_is_taken()
        request = self._asked = self._prepared.pop(index, None) or self._new_request(index)
        if self._is_taken:
            with contextlib.suppress(KernelDied):
                await self._until(request.has_begun)
        else:
            self._begun(request)
            self._send(request.message)

    def _new_request(self, index: int) -> Request:
        message = execute_request(self.kc.session, self.nb.cells[index].source)
        request = self._requests[message["msg_id"]] = Request(message, index)
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
            reply = await self._replied(request)
        except KernelDied:
            if self._running is request:
                raise
            # It died in a later cell, and the reply with it: this one let the next ones run.
            return {"status": "ok"}
        try:
            async with asyncio.timeout(IOPUB_TIMEOUT):
                await self._until(request.has_ended)
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

    def _take(self, message: dict[str, Any]) -> None:
        """Take what the kernel has published."""
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

    def _begun(self, request: Request) -> None:
        request.has_begun.set()
        self._running = request
        self.reset(request.index)

    def _status(self, request: Request, message: dict[str, Any]) -> None:
        state = message["content"].get("execution_state")
        if state == "busy":
            request.busy = message
        elif state == "idle":
            request.idle = message
            request.has_ended.set()


def allows_error(cell: Any) -> bool:
    """Whether the cells below run although this one raised an error."""
    return "raises-exception" in cell.metadata.get("tags", ())
