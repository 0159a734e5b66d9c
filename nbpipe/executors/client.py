"""Runs the cells of a notebook in a kernel and collects their outputs, none of which is lost.

Imports nbclient, so it is imported only when a notebook runs.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from typing import Any

from nbclient import NotebookClient
from nbformat.v4 import new_output

from nbpipe.executors.output import HEAD, Clip

IOPUB_TIMEOUT = 600.0
"""Seconds to wait for the rest of a cell's outputs once its reply is there."""

TOTAL = 50_000_000
"""Characters of outputs in one notebook."""

EACH = 500
"""Characters that an output counts for on top of its content, for what it takes in memory."""

PAUSE_EVERY = 50
"""Messages after which other coroutines get their turn, however fast more arrive."""


class KernelDied(Exception):
    """The kernel's process ended while a cell was running."""


class OutputsMissing(Exception):
    """The kernel never said that a cell's outputs were complete."""


class _Stream:
    """One stream output, whose text is joined only when somebody looks at it."""

    def __init__(self, node: dict[str, Any], clip: Clip) -> None:
        self.node = node
        self.clip = clip
        self.chunks: list[str] = []
        self.is_tail = False

    def settle(self) -> None:
        self.chunks = ["".join(self.chunks)]
        self.node["text"] = self.chunks[0] + (self.clip.rest() if self.is_tail else "")


class _CellStreams:
    """The streams of one cell: for each name a clip, and the output that takes its end."""

    def __init__(self) -> None:
        self.clips: dict[str, Clip] = {}
        self.tails: dict[str, _Stream] = {}
        self.last: _Stream | None = None


class CellClient(NotebookClient):  # type: ignore[misc]
    """nbclient's handling of outputs, displays and widgets around a reader of our own.

    nbclient reads a cell's outputs only while that cell runs, joins streams in quadratic time and
    takes a cancellation for a dead kernel; here one task reads all outputs from the first to the
    last, whichever cell they belong to, and chunks are joined when the notebook is saved.

    Args:
        nb: the notebook, changed in place.
        km: a manager whose kernel runs.
        kc: a client whose channels are open.
        dead: completes when the kernel's process has ended.

    Attributes:
        watch: called with every output message as it comes; None: nobody watches.
    """

    watch: Callable[[dict[str, Any]], None] | None = None

    def __init__(self, nb: Any, km: Any, kc: Any, dead: asyncio.Future[Any]) -> None:
        super().__init__(nb, km=km, record_timing=False)
        self.kc = kc
        self.dead = dead
        self.dirty = True
        self.heard = asyncio.Event()
        self._listener = asyncio.ensure_future(self._listen())
        self.current: int | None = None
        self._room = TOTAL
        self._owners: dict[str, int] = {}
        self._idle: dict[str, asyncio.Event] = {}
        self._cells: dict[int, _CellStreams] = {}
        self._unsettled: set[_Stream] = set()
        self._clear_next: set[int] = set()

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

    async def run_cell(self, index: int) -> dict[str, Any]:
        """Execute one code cell and wait for its reply and all of its outputs.

        Returns:
            The content of the reply.

        Raises:
            KernelDied: in mid-cell.
            OutputsMissing: the reply came, the end of the outputs did not.
        """
        cell = self.nb.cells[index]
        cell.outputs = []
        self.current = index
        # With history off every cell would be In[1], and no frame could be told from another.
        message = self.kc.execute(cell.source, store_history=True, allow_stdin=False)
        self._owners[message] = index
        idle = self._idle[message] = asyncio.Event()
        reply = await self._or_dead(self._reply(message))
        try:
            async with asyncio.timeout(IOPUB_TIMEOUT):
                await self._or_dead(idle.wait())
        except TimeoutError:
            raise OutputsMissing from None
        content: dict[str, Any] = reply["content"]
        cell.execution_count = content.get("execution_count", cell.execution_count)
        self.dirty = True
        return content

    async def until_idle(self, seconds: float) -> bool:
        """Whether the latest cell came to its end within that time."""
        try:
            async with asyncio.timeout(seconds):
                for event in list(self._idle.values())[-1:]:
                    await event.wait()
        except TimeoutError:
            return False
        return True

    async def _reply(self, message: str) -> dict[str, Any]:
        while True:
            reply: dict[str, Any] = await self.kc.shell_channel.get_msg(timeout=None)
            if reply["parent_header"].get("msg_id") == message:
                return reply

    async def _or_dead(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(work)
        try:
            watched = {task, self.dead, self._listener}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if self._listener.done():
                self._listener.result()
            if not task.done():
                # What it sent before it died is on its way or here already.
                await asyncio.wait({task}, timeout=0.2)
            if not task.done():
                raise KernelDied
            return task.result()
        finally:
            task.cancel()

    # -- outputs -------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Read outputs for as long as the kernel lives; runs as a task of its own."""
        for count in itertools.count(1):
            try:
                self._take(await self.kc.iopub_channel.get_msg(timeout=None))
            except ValueError as error:  # not signed with our key, or not JSON
                self.log.debug("message not understood: %r", error)
            if count % PAUSE_EVERY == 0:
                await asyncio.sleep(0)

    async def drain(self) -> None:
        """Take the last that has arrived, when the kernel has ended."""
        self._listener.cancel()
        await asyncio.wait({self._listener})
        while await self.kc.iopub_channel.socket.poll(20):
            self._take(await self.kc.iopub_channel.get_msg(timeout=0))

    def _take(self, message: dict[str, Any]) -> None:
        self.heard.set()
        parent = message["parent_header"].get("msg_id")
        index = self._owners.get(parent)
        if index is None:
            return
        if message["msg_type"] == "status":
            if message["content"]["execution_state"] == "idle":
                self._idle[parent].set()
            return
        self.dirty = True
        if self.watch is not None:
            self.watch(message)
        # nbclient has one such flag; late outputs of an earlier cell must not use it up.
        self.clear_before_next_output = index in self._clear_next
        try:
            self.process_message(message, self.nb.cells[index], index)
        except Exception as error:  # a malformed message of a kernel must not end the reader
            self.log.debug("output not understood: %r", error)
        (self._clear_next.add if self.clear_before_next_output else self._clear_next.discard)(index)

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
        """Append an output; nbclient calls this for every one."""
        if self.output_hook_stack[msg["parent_header"].get("msg_id")]:
            return super().output(outs, msg, display_id, cell_index)
        if self.clear_before_next_output:
            self._cells.pop(cell_index, None)
        if msg["msg_type"] == "stream":
            return self._stream(outs, msg["content"], cell_index)
        self._streams(cell_index).last = None
        if not self._fits(msg["content"]):
            return self._refuse(outs, msg["content"], cell_index)
        return super().output(outs, msg, display_id, cell_index)

    def _streams(self, index: int) -> _CellStreams:
        return self._cells.setdefault(index, _CellStreams())

    def _stream(self, outs: Any, content: dict[str, Any], index: int) -> None:
        if self.clear_before_next_output:
            outs[:] = []
            self.clear_display_id_mapping(index)
            self.clear_before_next_output = False
        name, text = content["name"], content["text"]
        streams = self._streams(index)
        clip = streams.clips.get(name)
        if clip is None:
            clip = streams.clips[name] = self._new_clip()
        head = clip.add(text)
        self._room -= len(head)
        if head:
            if streams.last is None or streams.last.node["name"] != name:
                streams.last = self._new_stream(outs, name, clip)
            streams.last.chunks.append(head)
            self._unsettled.add(streams.last)
        if len(head) < len(text):
            self._add_tail(streams, outs, name, clip)

    def _add_tail(self, streams: _CellStreams, outs: Any, name: str, clip: Clip) -> None:
        """The end of a stream stays in one output, however often streams alternate."""
        tail = streams.tails.get(name)
        if tail is None:
            is_last = streams.last is not None and streams.last.node["name"] == name
            tail = streams.last if is_last else self._new_stream(outs, name, clip)
            assert tail is not None
            tail.is_tail = True
            streams.tails[name] = tail
        streams.last = tail
        self._unsettled.add(tail)

    def _new_stream(self, outs: Any, name: str, clip: Clip) -> _Stream:
        node = new_output("stream", name=name, text="")
        outs.append(node)
        self._room -= EACH
        clip.spend(EACH)
        return _Stream(node, clip)

    def _new_clip(self) -> Clip:
        """The usual room, or what the notebook has left of it."""
        return Clip(min(HEAD, self._room)) if self._room > 0 else Clip(0, 1_000)

    def clear_output(self, outs: Any, msg: Any, cell_index: int) -> None:
        """Forget what a cell has shown."""
        super().clear_output(outs, msg, cell_index)
        if not outs:
            self._cells.pop(cell_index, None)

    def settle(self) -> None:
        """Bring the text of all streams up to date, before the notebook is saved."""
        for stream in self._unsettled:
            stream.settle()
        self._unsettled.clear()
        self.dirty = False

    # -- the notebook's limit ------------------------------------------------------------

    def _update_display_id(self, display_id: str, msg: dict[str, Any]) -> None:
        """nbclient replaces a display's data; one that is too large is not taken."""
        if _size(msg["content"]) <= max(self._room, 0):
            super()._update_display_id(display_id, msg)

    def _fits(self, content: dict[str, Any]) -> bool:
        size = _size(content) + EACH
        if size > self._room:
            return False
        self._room -= size
        return True

    def _refuse(self, outs: Any, content: dict[str, Any], index: int) -> None:
        text = f"[nbpipe: output of {_size(content):,} bytes dropped: the notebook is full]\n"
        self._stream(outs, {"name": "stderr", "text": text}, index)


def _size(value: Any) -> int:
    """About how many characters a value takes in the notebook."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(v) for v in value.values())
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return sum(map(len, value))
    return len(json.dumps(value, default=str))
