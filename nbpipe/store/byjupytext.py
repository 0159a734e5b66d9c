"""Sources in any format that jupytext knows, and what jupytext does not tell of them."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from nbpipe.store.script import Script, assemble, fail, first_line

TAGS_HINT = 'write the tags as a list: tags=["parameters"]'

_UNNAMED = "nbpipe-unnamed-kernel"
_SUFFIXES = {".rmd": ".Rmd", ".r": ".R"}
_BAD_TAGS = re.compile(
    r"^\s*(?:#+'?|//|--|;;|`{3,}|<!--)\s*(?:%%|\+|#region|\{|[\w+]+\s).*?\btags\s*=\s*"
    r"(?!\s|\[\s*\]|\[\s*[\"'][^\]]*\]|c\(|list\()"
)
_ANY_TAGS = re.compile(r"^\s*(?:#|//|--|;;|```|<!--).*\btags\s*=")
_COMMAND = re.compile(r"(cat|cd|cp|mv|rm|rmdir|mkdir|copy|ddir|echo|ls|ldir|ren)\s")
_MYST_TAGS = re.compile(r"^\s*(?::tags:|tags:)\s*(?![\s\[])\S")
_KERNELSPEC = re.compile(r"^(?P<lead>#?'?\s*)kernelspec:\s*(?P<flow>\{)?(?P<rest>.*)$")


def read_jupytext(text: str, path: str) -> Script:
    """The cells of a text notebook.

    Raises:
        SpecError: jupytext cannot read it, or hides a part of it.
    """
    suffix = PurePosixPath(path).suffix
    form = _SUFFIXES.get(suffix.lower(), suffix.lower())
    if not form:
        fail(path, 0, "has no suffix, so its format is unknown", "rename it, to .py for example")
    import jupytext

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook = jupytext.reads(_named_kernel(text), fmt={"extension": form})
    except Exception as error:
        _fail_bad_tags(text, path, error)
        reason = f"cannot be read as a notebook: {first_line(error)}"
        fail(path, 0, reason, "see jupytext.readthedocs.io for the formats of scripts")
    cells = [dict(cell) for cell in notebook.cells]
    for cell in cells:
        if "tags" in str(cell["metadata"].get("incorrectly_encoded_metadata", "")):
            _fail_bad_tags(text, path, None)
    metadata = json.loads(json.dumps(notebook.metadata, default=str))
    own = metadata.pop("jupytext", {})
    if metadata.get("kernelspec", {}).get("display_name") == _UNNAMED:
        del metadata["kernelspec"]["display_name"]
    _set_main_language(metadata, own)
    name = own.get("text_representation", {}).get("format_name", form[1:])
    starts = _line_numbers([cell["source"] for cell in cells], text)
    if form == ".py":
        for cell, start in zip(cells, starts, strict=True):
            cell["source"] = _with_comments(cell["source"], start, text)
    return assemble(cells, starts, metadata, name)


def _with_comments(cell: str, start: int, script: str) -> str:
    """The cell with the comments that jupytext took for commands, such as ``# copy the data``.

    In a cell of several lines IPython runs no command without a ``%`` or ``!``, so such a line
    could only fail.
    """
    lines = cell.split("\n")
    if not start or sum(1 for line in lines if line.strip()) < 2:
        return cell
    written = script.split("\n")[start - 1 : start - 1 + len(lines)]
    for i, (line, own) in enumerate(zip(lines, written, strict=False)):
        if own.startswith("#") and own.lstrip("# ") == line and _COMMAND.match(line):
            lines[i] = own
    return "\n".join(lines)


def _set_main_language(metadata: dict[str, Any], own: Mapping[str, Any]) -> None:
    """Keep the language that jupytext found, in the place where nbformat has it."""
    language = own.get("main_language") or own.get("default_lexer")
    if language and language != "python" and "kernelspec" not in metadata:
        metadata.setdefault("language_info", {}).setdefault("name", str(language).lower())


def _fail_bad_tags(text: str, path: str, error: Exception | None) -> None:
    """Raise if a marker's tags are no list: jupytext would hide them, or fail far from them."""
    in_question = error is None or "tags" in str(error)
    for number, line in enumerate(text.split("\n"), 1) if in_question else ():
        if _BAD_TAGS.match(line) or _MYST_TAGS.match(line):
            fail(path, number, "the cell's tags are not a list", TAGS_HINT)
    if error is None:
        lines = enumerate(text.split("\n"), 1)
        found = next((number for number, line in lines if _ANY_TAGS.match(line)), 0)
        fail(path, found, "the cell's tags cannot be read", TAGS_HINT)


def _named_kernel(text: str) -> str:
    """The text with a ``display_name`` in a kernelspec that lacks it: nbformat insists on one."""
    lines = text.split("\n")
    for i, line in enumerate(lines[: _after_header(lines)]):
        match = _KERNELSPEC.match(line)
        if not match:
            continue
        if match["flow"]:
            if "display_name" not in line:
                lines[i] = line.replace("{", f"{{display_name: {_UNNAMED}, ", 1)
        else:
            block = _indented(lines[i + 1 :], len(match["lead"]))
            if block and not any("display_name:" in inner for inner in block):
                lead = block[0][: len(block[0]) - len(block[0].lstrip("#' "))]
                lines.insert(i + 1, f"{lead}display_name: {_UNNAMED}")
        break
    return "\n".join(lines)


def _indented(lines: Iterable[str], width: int) -> list[str]:
    block = []
    for line in lines:
        if len(line) - len(line.lstrip("#' ")) <= width:
            break
        block.append(line)
    return block


def _line_numbers(texts: Sequence[str], script: str) -> list[int]:
    """1-based line of each cell's text, sought from where the one before ended; 0: not found.

    Comment signs do not count, since jupytext removes them from magics and markdown.
    """
    lines = script.split("\n")
    raw = bool(texts) and texts[0].startswith("---")  # jupytext makes a cell of the header
    at = 0 if raw else _after_header(lines)
    found = []
    for text in texts:
        wanted = text.split("\n")
        place = _find(wanted, lines, at) if text.strip() else None
        if place is None and text.strip():
            place = _find([line for line in wanted if _bare(line)][:1], lines, at)
        found.append(0 if place is None else place + 1)
        at = at if place is None else place + len(wanted)
    return found


def _find(wanted: Sequence[str], lines: Sequence[str], start: int) -> int | None:
    bare = [_bare(line) for line in wanted]
    for i in range(start, len(lines) - len(bare) + 1 if bare else start):
        here = lines[i : i + len(bare)] if _bare(lines[i]) == bare[0] else ()
        if here and all(_same(*three) for three in zip(wanted, bare, here, strict=True)):
            return i
    return None


def _same(wanted: str, bare: str, line: str) -> bool:
    """Whether a line of the script is that of a cell; a blank one is no comment sign."""
    return _bare(line) == bare and (bool(line.strip()) or not wanted.strip())


def _bare(line: str) -> str:
    return line.strip().lstrip("#'/ ").strip()


def _after_header(lines: Sequence[str]) -> int:
    """Index after a YAML header; 0: there is none."""
    bare = [line.lstrip("#'/ ").strip() for line in lines[:200]]
    begin = next((i for i, line in enumerate(bare) if line), None)
    if begin is None or bare[begin] != "---":
        return 0
    return next((i + 1 for i in range(begin + 1, len(bare)) if bare[i] == "---"), 0)
