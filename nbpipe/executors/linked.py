"""A kernel that is spoken to without zmq, and the cells that run in it.

Imports nbclient, so it is imported only when a notebook runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from pathlib import Path
from typing import Any

from jupyter_client.session import Session

from nbpipe.core.events import KernelStarted
from nbpipe.core.model import Job
from nbpipe.executors import ahead, inside
from nbpipe.executors.base import KernelStarter, Linked
from nbpipe.executors.cells import Cells, KernelDied, Request
from nbpipe.executors.kernel import RunningKernel, in_memory, kernel_spec
from nbpipe.executors.messages import decode, execute_request


@functools.cache
def _session() -> Session:
    """Makes messages; those of all kernels, since each has a number of its own. Signs nothing."""
    return Session(key=b"")


class LinkedCells(Cells):
    """Speaks to a linked kernel.

    Args:
        nb: the notebook, changed in place.
        kernel: which runs.
        dead: completes when the kernel has ended and all of its messages are taken.
        halt_file: once it exists, the kernel starts no other cell.
    """

    def __init__(
        self, nb: Any, kernel: Linked, dead: asyncio.Future[Any], halt_file: Path
    ) -> None:
        self.session = _session()
        self.shell_channel = self  # for nbclient's widgets
        super().__init__(nb, None, self, dead, halt_file)
        self._kernel = kernel
        kernel.listen(self._output, self._reply)

    def can_send_ahead(self, implementation: str, sources: list[str]) -> bool:
        """Whether these cells may be given to the kernel at once."""
        return ahead.can_be_sent(implementation, sources, True)

    def _send_batch(self, cells: list[tuple[dict[str, Any], bool]]) -> None:
        told = ahead.parts(self.session, cells, str(self._halt_file), same_python=True)
        self._kernel.send("batch", told)

    async def _batch_is_taken(self) -> bool:
        return True

    def _send(self, message: dict[str, Any]) -> None:
        self._kernel.send("request", self.session.serialize(message, ident=self.session.bsession))

    send = _send
    """As a channel of jupyter_client has it."""

    def execute_silently(self, code: str) -> None:
        """Have code run that leaves no trace."""
        self._send(execute_request(self.session, code, silent=True))

    async def _replied(self, request: Request) -> dict[str, Any]:
        await self._until(request.has_reply)
        return request.reply

    async def _until(self, event: asyncio.Event) -> None:
        if event.is_set():
            return
        said = asyncio.ensure_future(event.wait())
        await asyncio.wait({said, self.dead}, return_when=asyncio.FIRST_COMPLETED)
        said.cancel()
        if not event.is_set():
            raise KernelDied

    async def drain(self) -> None:
        """Nothing is left: see ``dead``."""

    # -- messages ------------------------------------------------------------------------

    def _output(self, frames: list[bytes]) -> None:
        message = self._decoded(frames)
        if message is not None:
            self._take(message)

    def _reply(self, frames: list[bytes]) -> None:
        message = self._decoded(frames)
        request = self._requests.get((message or {}).get("parent_header", {}).get("msg_id"))
        if message is not None and request is not None:
            request.reply = message
            request.has_reply.set()

    def _decoded(self, frames: list[bytes]) -> dict[str, Any] | None:
        try:
            return decode(self.session, frames)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.log.debug("message not understood: %r", error)
            return None


class LinkedKernel(RunningKernel):
    """The linked kernel of one job, from its start to its end.

    Args:
        job: for which it runs; tells kernel, folder and environment.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._linked: Linked | None = None

    async def start(self, notebook: Any, starter: KernelStarter) -> LinkedCells | None:
        """Launch it; None: that is not possible, and nothing was launched."""
        spec = kernel_spec(self.name)
        if (spec.language or "").lower() != "python" or spec.env:
            return None
        file = str(self._folder / "kernel.json")
        command = [word.replace("{connection_file}", file) for word in spec.argv]
        if in_memory(spec):
            command += in_memory(spec)
        with self.log.open("ab") as log:
            self._linked = await starter.link(self.job, command, self.environ, log.fileno())
        if self._linked is None:
            return None
        self.info = self._linked.info
        self._dead = asyncio.ensure_future(self._watch(self._linked))
        cells = LinkedCells(notebook, self._linked, self._dead, self._halt_file)
        self.client = cells
        if inside.asks(self.job.environ):
            cells.execute_silently(inside.in_kernel())
        return cells

    async def _watch(self, linked: Linked) -> None:
        self.exit_code = await linked.ended()

    @property
    def pid(self) -> int | None:
        """Process id, which is that of its session too; None: it was not launched."""
        return None if self._linked is None else self._linked.pid

    @property
    def started(self) -> KernelStarted:
        """How it was started, as an event."""
        assert self._linked is not None
        start = self._linked.start
        return KernelStarted(
            task=self.job.task, start=start.how, reason=start.reason, preloaded=start.preloaded
        )

    async def interrupt(self) -> None:
        """SIGINT to the kernel alone, so that its traceback shows where it is."""
        if self.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGINT)

    async def _ask_to_end(self) -> None:
        assert self._linked is not None
        self._linked.send("quit")

    async def _release(self) -> None:
        if self._linked is not None:
            self._linked.close()
