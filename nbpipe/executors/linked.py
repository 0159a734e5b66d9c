"""A kernel that is spoken to without zmq, and the cells that run in it.

Imports nbclient, so it is imported only when a notebook runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any

from jupyter_client.session import Session

from nbpipe.core.events import KernelStarted
from nbpipe.core.model import Job
from nbpipe.executors import ahead, inside
from nbpipe.executors.base import KernelStarter, Linked
from nbpipe.executors.cells import Cells, KernelDied, Request
from nbpipe.executors.kernel import SHUTDOWN_TIMEOUT, RunningKernel
from nbpipe.executors.kernelspecs import in_memory
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

    def __init__(self, nb: Any, kernel: Linked, dead: asyncio.Future[Any], halt_file: Path) -> None:
        self.session = _session()
        self.shell_channel = self  # for nbclient's widgets
        super().__init__(nb, None, self, dead, halt_file)
        self._kernel = kernel

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

    def take_output(self, frames: list[bytes]) -> None:
        """Take what the kernel publishes."""
        message = self._decoded(frames)
        if message is not None:
            self._take(message)

    def take_reply(self, frames: list[bytes]) -> None:
        """Take what the kernel replies."""
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


def _filled(word: str, places: dict[str, str]) -> str:
    """A word of a kernel's command line with the values of its placeholders."""
    for name, value in places.items():
        word = word.replace(f"{{{name}}}", value)
    return word


class LinkedKernel(RunningKernel):
    """The linked kernel of one job, from its start to its end.

    Args:
        job: for which it runs; tells kernel, folder and environment.
        folder: private, for what kernels of this build are told by files.
        number: of this kernel among those of the folder.
    """

    def __init__(self, job: Job, folder: Path, number: int) -> None:
        super().__init__(job)
        self._linked: Linked | None = None
        self._folder = folder
        self._number = number

    @property
    def _halt_file(self) -> Path:
        return self._folder / f"kernel-{self._number}.halt"

    async def start(self, notebook: Any, starter: KernelStarter, spec: Any) -> LinkedCells | None:
        """Launch it; None: that is not possible, and nothing was launched.

        Args:
            notebook: whose cells it will run.
            starter: launches it.
            spec: its specification.
        """
        if (spec.language or "").lower() != "python" or spec.env:
            return None
        file = str(self._halt_file.with_suffix(".json"))
        places = {"connection_file": file, "resource_dir": spec.resource_dir, "prefix": sys.prefix}
        command = [_filled(word, places) for word in (*spec.argv, *in_memory(spec))]
        with self.log.open("ab") as log:
            self._linked = await starter.link(self.job, command, self.environ, log.fileno())
        if self._linked is None:
            return None
        self.info = self._linked.info
        self._dead = asyncio.ensure_future(self._watch(self._linked))
        cells = LinkedCells(notebook, self._linked, self._dead, self._halt_file)
        self.client = cells
        self._linked.listen(cells.take_output, cells.take_reply, self._look_at_children)
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

    async def shutdown(self) -> None:
        """Ask it to end, and give it time for its exit handlers and unflushed files."""
        if self._linked is not None and self._dead is not None and not self._dead.done():
            self._linked.send("quit")
            await asyncio.wait({self._dead}, timeout=SHUTDOWN_TIMEOUT)

    def _look_at_children(self, _: object) -> None:
        """See whom it has started, while it is there to tell, and let it end."""
        self._known = self._tree()
        assert self._linked is not None
        self._linked.send("quit")

    def _is_alone(self) -> bool:
        is_over = self.exit_code is not None and self._linked is not None
        return is_over and not self._known and not (self._linked and self._linked.left)

    async def _release(self) -> None:
        if self._linked is not None:
            self._linked.close()
        self._halt_file.unlink(missing_ok=True)
