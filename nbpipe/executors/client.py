"""Runs the cells of a notebook in a kernel that speaks through zmq.

Imports nbclient, so it is imported only when a notebook runs.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import zmq

from nbpipe.executors import ahead
from nbpipe.executors.cells import Cells, KernelDied, Request
from nbpipe.executors.messages import decode

LAST_MILLISECONDS = 20
"""How long the next output may be on its way when a kernel has ended in an orderly way."""

LAST_WORDS = 0.2
"""Seconds without any message after which nothing more comes from a kernel that has ended."""

PAUSE_EVERY = 50
"""Messages after which other coroutines get their turn, however fast more arrive."""


class CellClient(Cells):
    """Speaks through zmq; one task reads all outputs.

    Args:
        nb: the notebook, changed in place.
        km: a manager whose kernel runs.
        kc: a client whose channels are open.
        dead: completes when the kernel's process has ended.
        halt_file: once it exists, the kernel starts no other cell.

    Attributes:
        is_forked: whether the kernel was forked from a process of ours: it runs the same Python,
            and tells that it ends after everything else that it tells.
    """

    is_forked = False

    def __init__(
        self, nb: Any, km: Any, kc: Any, dead: asyncio.Future[Any], halt_file: Path
    ) -> None:
        super().__init__(nb, km, kc, dead, halt_file)
        self.heard = asyncio.Event()
        self._count = 0
        self._batch = ""
        self._has_said_last = False
        self._listener = asyncio.ensure_future(self._listen())

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

    def can_send_ahead(self, implementation: str, sources: list[str]) -> bool:
        """Whether these cells may be given to the kernel at once."""
        return ahead.can_be_sent(implementation, sources)

    def _send_batch(self, cells: list[tuple[dict[str, Any], bool]]) -> None:
        batch = ahead.batch(
            self.kc.session, cells, str(self._halt_file), same_python=self.is_forked
        )
        self._batch = batch["msg_id"]
        self._send(batch)

    async def _batch_is_taken(self) -> bool:
        reply = await self._or_dead(self._reply(self._batch))
        return bool(reply["content"]["status"] == "ok")

    async def _replied(self, request: Request) -> dict[str, Any]:
        reply: dict[str, Any] = await self._or_dead(self._reply(request.id))
        return reply

    async def _until(self, event: asyncio.Event) -> None:
        await self._or_dead(event.wait())

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
        super()._take(message)
        if self.comm_objects:  # an Output widget may have told the kernel what it shows
            self._look_for_replies()
