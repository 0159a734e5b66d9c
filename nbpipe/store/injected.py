"""The injected cell written into a source's own file, and taken out of it again, byte for byte.

Nothing is read as a notebook and written back: lines go in below the cell tagged ``parameters``,
and the same lines come out. In a ``.ipynb`` it is a piece of its JSON text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.errors import UsageError
from nbpipe.store.declared import PARAMETERS_TAG
from nbpipe.store.inject import COMMENT
from nbpipe.store.script import fail, normalised
from nbpipe.store.sources import Source, parse_source

SIGN = COMMENT.partition(":")[0].encode()
"""Bytes that stand in every file that has the cell."""

NOTE = "# Written by 'nbpipe nb inject'"
"""How the second line of the cell begins; it ends with the number of lines below it."""

_COUNT = re.compile(rf"{re.escape(NOTE)}: edits of these (\d+) lines are lost\.")

_MAGIC_HINT = "use %load_ext nbpipe and %upstream in the notebook"
_PERCENT = re.compile(r"\s*#\s*%%(\s|$)")
_LIGHT_END = re.compile(r"#\s[-+](\s|$)")
_FENCE = re.compile(r"`{3,}")
_JSON = json.JSONDecoder(strict=False)


def inject(data: bytes, path: str, cell: str) -> bytes:
    """A file with the injected cell, in the place of one that is there.

    Args:
        data: of the file.
        path: of the source, relative to the root; its suffix tells the format.
        cell: text of the injected cell.

    Raises:
        SpecError: the file is no notebook.
        UsageError: it has no cell tagged ``parameters``, or is of a format that the cell cannot
            be written into; or the old cell holds a user's lines.
    """
    bare = remove(data, path)
    text = _decoded(bare, path)
    source = parse_source(text, path)
    first, _, rest = cell.partition("\n")
    below = rest.split("\n")
    lines = [first, f"{NOTE}: edits of these {len(below)} lines are lost.", *below]
    at = next((i for i, c in enumerate(source.cells) if PARAMETERS_TAG in c.tags), None)
    if at is None:
        hint = f'tag it, such as # %% tags=["{PARAMETERS_TAG}"], or {_MAGIC_HINT}'
        raise UsageError(f"{path}: no cell is tagged '{PARAMETERS_TAG}'", hint)
    ending = "\r\n" if "\r\n" in text else "\n"
    if path.endswith(".ipynb"):
        new = _with_json_cell(text, at, lines, ending, source)
    else:
        new = _with_lines(text, source, at, lines, ending)
    made = new.encode()
    _check(made, bare, source, path, lines)
    return made


def remove(data: bytes, path: str) -> bytes:
    """A file without the cells that `inject` wrote; the same bytes when it has none.

    Raises:
        SpecError: the file is not UTF-8, or a ``.ipynb`` is not JSON.
        UsageError: a user's own lines stand in such a cell.
    """
    if SIGN not in data or NOTE.encode() not in data:
        return data
    text = _decoded(data, path)
    if not path.endswith(".ipynb"):
        return _without(text, path).encode()
    try:
        return _without_json(text, path).encode()
    except (ValueError, IndexError, AttributeError):
        fail(path, 0, "not a notebook", "mend its JSON")


def _decoded(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        fail(path, 0, f"not UTF-8: {error.reason}", "save the file with the encoding UTF-8")


def _check(made: bytes, bare: bytes, old: Source, path: str, lines: Sequence[str]) -> None:
    """See that the cell is there, that nothing else has changed, and that it comes out again."""
    new = parse_source(made.decode("utf-8"), path)
    ours = [c.text for c in new.cells if INJECTED_TAG in c.tags]
    same = _others(new) == _others(old) and remove(made, path) == bare
    if "\n".join(lines) not in ours or not same:
        raise UsageError(f"{path}: the cell cannot be written into this file", _MAGIC_HINT)


def _others(source: Source) -> list[tuple[str, str, tuple[str, ...]]]:
    """The cells that are not injected; blank lines around them count as little as in Jupyter."""
    cells = [(c.kind, c.text.strip("\n"), c.tags) for c in source.cells]
    return [cell for cell in cells if cell[1] and INJECTED_TAG not in cell[2]]


# -- scripts and Markdown ----------------------------------------------------------------------


def _with_lines(text: str, source: Source, at: int, cell: Sequence[str], ending: str) -> str:
    lines = text.split("\n")
    found = source.cells[at]
    if not found.line:
        raise UsageError(f"{source.path}: its cells have no places in the file", _MAGIC_HINT)
    opening, closing = _frame(source, lines[: found.line - 1])
    end = found.line - 1 + len(found.text.split("\n"))
    if closing:
        end = _after_closing(lines, end)
    while end > 1 and not lines[end - 1].strip():
        end -= 1
    block = ["", *opening, *cell, *closing]
    if ending == "\r\n":
        block = [f"{line}\r" for line in block]
        if end == len(lines):  # the file's last line has no end of its own
            lines[end - 1] += "\r"
            block[-1] = block[-1][:-1]
    return "\n".join([*lines[:end], *block, *lines[end:]])


def _frame(source: Source, above: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before and after the cell's lines in this format."""
    tags = f'tags=["{INJECTED_TAG}"]'
    name = "R" if source.language == "r" else source.language
    if source.format in ("percent", "hydrogen"):
        return [f"# %% {tags}"], []
    if source.format == "light":
        return [f"# + {tags}"], ["# -"]
    if source.format == "markdown":
        return [f"```{name} {tags}"], ["```"]
    if source.format == "rmarkdown":
        said = f'r tags=c("{INJECTED_TAG}")' if name == "R" else f"{name} {tags}"
        return [f"```{{{said}}}"], ["```"]
    if source.format == "myst":
        fence = next((line for line in reversed(above) if _FENCE.match(line)), "```{code-cell}")
        return [fence.rstrip(), f":tags: [{INJECTED_TAG}]", ""], ["```"]
    raise UsageError(
        f"{source.path}: no cell can be written into the format {source.format}", _MAGIC_HINT
    )


def _after_closing(lines: Sequence[str], end: int) -> int:
    """Past the line that ends the cell, where it has one."""
    for i in range(end, len(lines)):
        if lines[i].startswith("```") or re.match(r"#\s-\s*$", lines[i]):
            return i + 1
        if lines[i].strip():
            break
    return end


def _without(text: str, path: str) -> str:
    lines = text.split("\n")
    while True:
        span = next(_blocks(lines), None)
        if span is None:
            return "\n".join(lines)
        start, first, last, end = span
        _require_ours([line.rstrip("\r") for line in lines[first:last]], path)
        del lines[start:end]
        if start == len(lines) and lines and lines[-1].endswith("\r"):
            lines[-1] = lines[-1][:-1]


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Start, first and past-the-last line of the cell's own, and end, of each injected cell."""
    for i, line in enumerate(lines):
        if not line.startswith(NOTE) or not lines[i - 1].startswith(COMMENT):
            continue
        first = i - 1
        opening = first - 1
        while opening > 0 and INJECTED_TAG not in lines[opening]:
            opening -= 1
        if lines[opening].startswith(":tags:"):
            opening -= 1
        end, last = _end(lines, i + 1, lines[opening])
        blank = opening > 0 and not lines[opening - 1].strip()
        yield opening - blank, first, last, end


def _end(lines: Sequence[str], start: int, opening: str) -> tuple[int, int]:
    """Where the block ends, and where its cell's own lines do."""
    if _PERCENT.match(opening):
        stops = (i for i in range(start, len(lines)) if _PERCENT.match(lines[i]))
        end = next(stops, len(lines))
        while end > start and not lines[end - 1].strip():
            end -= 1
        return end, end
    closing = _FENCE if _FENCE.match(opening) else _LIGHT_END
    last = next((i for i in range(start, len(lines)) if closing.match(lines[i])), len(lines))
    closed = last < len(lines) and not re.match(r"#\s\+", lines[last])
    return last + closed, last


def _require_ours(lines: Sequence[str], path: str) -> None:
    """Nothing that a user wrote is lost: more lines than we wrote are not taken out."""
    count = _COUNT.match(lines[1])
    if count is None or len("\n".join(lines[2:]).rstrip("\n").split("\n")) > int(count[1]):
        raise UsageError(
            f"{path}: the injected cell has lines of your own",
            "move them to a cell of their own",
        )


# -- .ipynb ------------------------------------------------------------------------------------


def _with_json_cell(text: str, at: int, lines: Sequence[str], ending: str, source: Source) -> str:
    spans = _cell_spans(text)
    start, end = spans[at]
    own = json.loads(text[start:end])
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"tags": [INJECTED_TAG]},
        "outputs": [],
        "source": [*(f"{line}\n" for line in lines[:-1]), lines[-1]],
    }
    if "id" in own:
        cell["id"] = "nbpipe-injected"
    margin = text[text.rfind("\n", 0, start) + 1 : start]
    margin = margin if not margin.strip() else ""
    made = json.dumps(cell, indent=1, ensure_ascii=False).replace("\n", f"{ending}{margin}")
    return f"{text[:end]},{ending}{margin}{made}{text[end:]}"


def _without_json(text: str, path: str) -> str:
    while True:
        spans = _cell_spans(text)
        for i, (start, end) in enumerate(spans):
            lines = normalised("".join(json.loads(text[start:end]).get("source", ""))).split("\n")
            if i and len(lines) > 1 and lines[1].startswith(NOTE) and lines[0] == COMMENT:
                _require_ours(lines, path)
                text = text[: spans[i - 1][1]] + text[end:]
                break
        else:
            return text


def _cell_spans(text: str) -> list[tuple[int, int]]:
    """Where each cell begins and ends in the text of a notebook."""
    at = _after_space(text, 1 if text.startswith("\ufeff") else 0) + 1
    while True:
        key, at = _JSON.raw_decode(text, _after_space(text, at))
        at = _after_space(text, _after_space(text, at) + 1)  # the colon
        if key == "cells":
            break
        _, at = _JSON.raw_decode(text, at)
        at = _after_space(text, at) + 1  # the comma
    spans = []
    at = _after_space(text, at + 1)
    while text[at] != "]":
        _, end = _JSON.raw_decode(text, at)
        spans.append((at, end))
        at = _after_space(text, end)
        at = _after_space(text, at + 1) if text[at] == "," else at
    return spans


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
