"""Collects the outputs of a notebook's cells, none of which is lost.

Imports nbclient, so it is imported only when a notebook runs.
"""

from __future__ import annotations

import json
from typing import Any

from nbclient import NotebookClient
from nbformat import NotebookNode, from_dict

from nbpipe.executors.output import HEAD, Clip

TOTAL = 50_000_000
"""Characters of outputs in one notebook."""

EACH = 500
"""Characters that an output counts for on top of its content, for what it takes in memory."""


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


class Outputs(NotebookClient):  # type: ignore[misc]
    """nbclient's handling of outputs, displays and widgets, in bounded memory and linear time.

    nbclient joins streams in quadratic time and validates each output against the format's schema,
    which takes longer than the cell; here chunks are joined when the notebook is saved, and outputs
    are made as the schema wants them.

    Args:
        nb: the notebook, changed in place.
        km: a manager whose kernel runs.
        kc: a client whose channels are open.

    Attributes:
        dirty: whether outputs have come since :meth:`settle`.
    """

    def __init__(self, nb: Any, km: Any, kc: Any) -> None:
        super().__init__(nb, km=km, record_timing=False)
        self.kc = kc
        self.dirty = True
        self._room = TOTAL
        self._cells: dict[int, _CellStreams] = {}
        self._unsettled: set[_Stream] = set()
        self._clear_next: set[int] = set()

    def reset(self, index: int) -> None:
        """Forget the outputs that a cell had before it ran."""
        self.nb.cells[index].outputs = []
        self.dirty = True

    def collect(self, message: dict[str, Any], index: int) -> None:
        """Take an output message of a cell."""
        self.dirty = True
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
        return self._append(outs, _node(msg), display_id, cell_index)

    def _append(self, outs: Any, node: NotebookNode, display_id: Any, index: int) -> NotebookNode:
        self._clear_if_due(outs, index)
        if display_id:
            places = self._display_id_map.setdefault(display_id, {}).setdefault(index, [])
            places.append(len(outs))
        outs.append(node)
        return node

    def _clear_if_due(self, outs: Any, index: int) -> None:
        if self.clear_before_next_output:
            outs[:] = []
            self.clear_display_id_mapping(index)
            self.clear_before_next_output = False

    def _streams(self, index: int) -> _CellStreams:
        return self._cells.setdefault(index, _CellStreams())

    def _stream(self, outs: Any, content: dict[str, Any], index: int) -> None:
        self._clear_if_due(outs, index)
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
        node = NotebookNode(output_type="stream", name=name, text="")
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
        """Replace what is displayed under an id; nbclient calls this for every display.

        The one private method of nbclient that is overridden. One that is too large is not taken.
        """
        places = self._display_id_map.get(display_id)
        if not places or _size(msg["content"]) > max(self._room, 0):
            return
        shown = _mime_bundle(msg["content"])
        for index, numbers in places.items():
            for number in numbers:
                self.nb.cells[index].outputs[number].update(shown)

    def _fits(self, content: dict[str, Any]) -> bool:
        size = _size(content) + EACH
        if size > self._room:
            return False
        self._room -= size
        return True

    def _refuse(self, outs: Any, content: dict[str, Any], index: int) -> None:
        text = f"[nbpipe: output of {_size(content):,} bytes dropped: the notebook is full]\n"
        self._stream(outs, {"name": "stderr", "text": text}, index)


def _node(message: dict[str, Any]) -> NotebookNode:
    """An output as the notebook format has it.

    Raises:
        ValueError: the message is none, or not as Jupyter's protocol has it.
    """
    kind, content = message["msg_type"], message["content"]
    if kind == "error":
        texts = {"ename": str(content["ename"]), "evalue": str(content["evalue"])}
        return NotebookNode(
            output_type=kind, **texts, traceback=[str(line) for line in content["traceback"]]
        )
    if kind not in ("display_data", "execute_result"):
        raise ValueError(f"no output: {kind}")
    count = {"execution_count": content["execution_count"]} if kind == "execute_result" else {}
    return NotebookNode(output_type=kind, **_mime_bundle(content), **count)


def _mime_bundle(content: dict[str, Any]) -> dict[str, Any]:
    data = {kind: value for kind, value in content["data"].items() if _is_allowed(kind, value)}
    return {"data": from_dict(data), "metadata": from_dict(content["metadata"])}


def _is_allowed(kind: str, value: Any) -> bool:
    """A JSON type may hold anything, the others a text or its lines."""
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    is_lines = isinstance(value, list) and all(isinstance(v, str) for v in value)
    return is_json or isinstance(value, str) or is_lines


def _size(value: Any) -> int:
    """About how many characters a value takes in the notebook."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(v) for v in value.values())
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return sum(map(len, value))
    return len(json.dumps(value, default=str))
