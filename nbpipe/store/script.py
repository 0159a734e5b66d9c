"""What every reader of sources gives, and how it says that it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import msgspec

from nbpipe.core.model import Cell
from nbpipe.errors import Problem, SpecError

Kind = Literal["code", "markdown", "raw"]


class Script(msgspec.Struct, frozen=True):
    """A script read.

    Attributes:
        cells: with the line of each.
        options: the metadata of each cell, tags included.
        metadata: of the notebook, jupytext's own left out.
        format: ``percent``, ``hydrogen`` or ``light``.
    """

    cells: tuple[Cell, ...]
    options: tuple[dict[str, Any], ...]
    metadata: dict[str, Any]
    format: str


def assemble(
    cells: Sequence[Mapping[str, Any]],
    starts: Sequence[int],
    metadata: dict[str, Any],
    form: str,
) -> Script:
    """Cells in nbformat's terms, with the line of each, as a script."""
    found = []
    options = []
    for cell, line in zip(cells, starts, strict=True):
        extra = json.loads(json.dumps(cell["metadata"], default=str))
        for key in ("lines_to_next_cell", "lines_to_end_of_cell_marker", "cell_marker"):
            extra.pop(key, None)
        if "attachments" in cell:
            extra = {**extra, "attachments": cell["attachments"]}
        kind: Kind = cell["cell_type"]
        tags = tuple(extra.get("tags", ()))
        found.append(Cell(kind=kind, text=cell["source"], line=line, tags=tags))
        options.append(extra)
    return Script(tuple(found), tuple(options), metadata, form)


def normalised(text: str) -> str:
    """The text without a byte order mark, its lines ending in a newline sign."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def fail(path: str, line: int, message: str, hint: str | None = None) -> NoReturn:
    """Raise the one problem of a file."""
    raise SpecError([Problem(path, line, 0, "", message, hint)])
