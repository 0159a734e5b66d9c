"""The cells that Jupyter is shown beside a source's own, and how they are taken out again.

Pure: notebooks go in and come out as nbformat 4 JSON, no file is looked at.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.core.syntax import parse_body
from nbpipe.store.declared import PARAMETERS_TAG

BANNER_TAG = "nbpipe-banner"
"""Tag of the cell that tells why there is no injected cell."""

_LIVE = "live"
"""Key of our mark in a cell's metadata, under ``nbpipe``."""

_OWN_KEYS = ("tags", "nbpipe", "editable", "deletable", "trusted")


class Shown(msgspec.Struct, frozen=True):
    """What a source is shown with.

    Attributes:
        kind: a cell of code, or a banner that tells why there is none.
        text: of the cell.
        function: name of the function whose arguments it has; None: it belongs to a script.
    """

    kind: Literal["cell", "banner"]
    text: str
    function: str | None = None


def with_live_cells(notebook: dict[str, Any], shown: Iterable[Shown]) -> None:
    """Put our cells into a notebook, in the place of those that are there.

    A ``cell`` of code follows the one tagged ``parameters``, and what ``nbpipe nb inject`` wrote
    below that; without such a cell it stands first. That of a function follows its definition. A
    ``banner`` stands first always. None can be edited or deleted, so nobody types into a cell
    that is not saved.
    """
    without_live_cells(notebook)
    cells = notebook["cells"]
    for number, one in enumerate(shown):
        cell = _live_cell(one)
        if notebook.get("nbformat_minor", 0) >= 5:
            cell["id"] = f"nbpipe-{one.kind}{f'-{number}' if number else ''}"
        cells.insert(_place(cells, one), cell)


def _live_cell(shown: Shown) -> dict[str, Any]:
    text, is_code = shown.text, shown.kind == "cell"
    cell: dict[str, Any] = {
        "cell_type": "code" if is_code else "markdown",
        "metadata": {
            "tags": [INJECTED_TAG if is_code else BANNER_TAG],
            "nbpipe": {_LIVE: {"lines": len(text.split("\n")), "digest": _digest(text)}},
            "editable": False,
            "deletable": False,
        },
        "source": text,
    }
    if is_code:
        cell["metadata"]["trusted"] = True
        cell |= {"execution_count": None, "outputs": []}
    return cell


def without_live_cells(notebook: dict[str, Any]) -> bool:
    """Take our cells out of a notebook; returns whether there were any.

    A front end that merges cells can put a user's lines into ours: those stay, in a cell of
    their own.
    """
    cells = notebook.get("cells")
    if not isinstance(cells, list) or not any(_mark(cell) for cell in cells):
        return False
    kept: list[Any] = []
    for cell in cells:
        mark = _mark(cell)
        rest = cell if mark is None else _rest(cell, mark)
        if rest is not None:
            kept.append(rest)
    notebook["cells"] = kept
    return True


def same_content(new: Mapping[str, Any], old: Mapping[str, Any], kernel: str) -> bool:
    """Whether a notebook says what the file on disk says, so that nothing needs writing.

    What a front end adds without being asked does not count: the kernel's description where it
    is the kernel that is used anyway, the language's, trust, ids that the file cannot hold.

    Args:
        new: what is to be saved, our cells taken out.
        old: what reading the file gives.
        kernel: name of the kernel that a source without a kernelspec runs in.
    """
    ids = old.get("nbformat_minor", 0) >= 5 and all("id" in c for c in old["cells"])
    ids = ids and not _is_text(old)
    return (
        _metadata(new, kernel) == _metadata(old, kernel)
        and len(new["cells"]) == len(old["cells"])
        and all(
            _cell(a, ids) == _cell(b, ids) for a, b in zip(new["cells"], old["cells"], strict=True)
        )
    )


def chosen_task(notebook: Mapping[str, Any]) -> str | None:
    """The task that a notebook's metadata chooses as ``nbpipe: {task: NAME}``; None: none."""
    own = notebook.get("metadata", {}).get("nbpipe")
    task = own.get("task") if isinstance(own, Mapping) else None
    return task if isinstance(task, str) else None


def code_of(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The text of every code cell that is not ours."""
    for cell in notebook["cells"]:
        if cell.get("cell_type") == "code" and _mark(cell) is None:
            yield _joined(cell.get("source", ""))


def _place(cells: list[Any], shown: Shown) -> int:
    if shown.kind == "banner":
        return 0
    if shown.function is not None:
        defining = (i + 1 for i, cell in enumerate(cells) if _defines(cell, shown.function))
        return next(defining, len(cells))
    at = next((i + 1 for i, cell in enumerate(cells) if PARAMETERS_TAG in _tags(cell)), 0)
    while 0 < at < len(cells) and INJECTED_TAG in _tags(cells[at]):
        at += 1
    return at


def _defines(cell: Mapping[str, Any], function: str) -> bool:
    """Whether a cell of code defines a function at its top level."""
    if cell.get("cell_type") != "code" or _mark(cell) is not None:
        return False
    tree = parse_body(_joined(cell.get("source", "")))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return tree is not None and any(
        isinstance(node, kinds) and node.name == function for node in tree.body
    )


def _tags(cell: Mapping[str, Any]) -> Any:
    return cell.get("metadata", {}).get("tags") or ()


def _mark(cell: Any) -> Mapping[str, Any] | None:
    metadata = cell.get("metadata") if isinstance(cell, Mapping) else None
    own = metadata.get("nbpipe") if isinstance(metadata, Mapping) else None
    mark = own.get(_LIVE) if isinstance(own, Mapping) else None
    return mark if isinstance(mark, Mapping) else None


def _rest(cell: dict[str, Any], mark: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a user's cell brought when it was merged with ours; None: nothing."""
    lines = _joined(cell.get("source", "")).split("\n")
    count, digest = mark.get("lines"), mark.get("digest")
    if not isinstance(count, int) or not 0 < count < len(lines):
        return None
    found = None
    if _digest("\n".join(lines[:count])) == digest:
        found = lines[count:]
    elif _digest("\n".join(lines[-count:])) == digest:
        found = lines[:-count]
    text = "\n".join(found or ()).strip("\n")
    if not text.strip():
        return None
    metadata = {k: v for k, v in cell["metadata"].items() if k not in _OWN_KEYS}
    return {**cell, "metadata": metadata, "source": text}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_text(notebook: Mapping[str, Any]) -> bool:
    """Whether the file is a script: jupytext says so in what it reads."""
    own = notebook["metadata"].get("jupytext")
    shown = own.get("text_representation") if isinstance(own, Mapping) else None
    return isinstance(shown, Mapping) and shown.get("extension", ".ipynb") != ".ipynb"


def _metadata(notebook: Mapping[str, Any], kernel: str) -> dict[str, Any]:
    found = {k: v for k, v in notebook.get("metadata", {}).items() if k != "language_info"}
    spec = found.pop("kernelspec", None)
    found["kernel"] = (spec.get("name") if isinstance(spec, Mapping) else None) or kernel
    own = found.pop("jupytext", None)
    if isinstance(own, Mapping):
        found["jupytext"] = {k: v for k, v in own.items() if k != "text_representation"}
    return {key: value for key, value in found.items() if value not in ({}, None)}


def _cell(cell: Mapping[str, Any], ids: bool) -> dict[str, Any]:
    left_out = ("metadata", "source", "outputs") if ids else ("metadata", "source", "outputs", "id")
    found = {key: value for key, value in cell.items() if key not in left_out}
    metadata = cell.get("metadata", {})
    found["metadata"] = {key: value for key, value in metadata.items() if key != "trusted"}
    found["source"] = _joined(cell.get("source", ""))
    found["outputs"] = [_output(output) for output in cell.get("outputs") or ()]
    return found


def _output(output: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in output.items() if key not in ("data", "text")}
    found["text"] = _joined(output.get("text", ""))
    data = output.get("data") or {}
    found["data"] = {k: v if "json" in k else _joined(v) for k, v in data.items()}
    return found


def _joined(text: Any) -> Any:
    return "".join(text) if isinstance(text, list) else text
