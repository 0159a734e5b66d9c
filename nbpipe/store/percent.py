"""Plain Python scripts as cells, without jupytext, whose import costs half a second or more.

`read_percent` gives exactly what jupytext gives, or None as soon as a script holds anything
whose reading is not evident; `read_light` gives enough to find what a script declares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from nbpipe.core.model import Cell
from nbpipe.store.script import Kind, Script

_MARKER = re.compile(r"^\s*#\s*%%(?:\s(.*)|)$")
_GUESSED = re.compile(r"^#( %%|%%)(\s|$)")
_OTHER_MARKER = re.compile(r"^\s*#\s*(<codecell>|In\[|%%\s*%|region|\{\{\{|#{19})|^@app\.cell")
_TAG = r'"[^"\\\x00-\x1f]*"\s*'
_TAGS = rf"tags=(?P<tags>\[\s*(?:{_TAG}(?:,\s*{_TAG})*)?\])"
_OPTIONS = re.compile(rf"(?P<title>[^={{}}.]*?)(?:(?<!\S){_TAGS})?")
_KIND = re.compile(r"\[(markdown|md|raw)\]")
_COMMAND = re.compile(
    r"(cat|cd|cp|mv|rm|rmdir|mkdir|copy|ddir|echo|ls|ldir|ren)(\s|$)|\S*\?\s*$"
    r"|[A-Za-z_][\w$]*\s*=\s*[%!]"
)
_COMMENTED_MAGIC = re.compile(r"# (%[A-Za-z].*)$")
_BARE_MAGIC = re.compile(r"\s*%[A-Za-z].*$")
_LIGHT_START = re.compile(r"^#\s*\+(\s.*|)$")
_LIGHT_END = re.compile(r"^# -\s*$")
_JUPYTEXT_KEYS = frozenset(
    {"text_representation", "formats", "notebook_metadata_filter", "cell_metadata_filter"}
    | {"main_language", "default_lexer"}
)


class _Doubt(Exception):
    """The script holds something that is left to jupytext."""


class _Marker(msgspec.Struct, frozen=True):
    kind: Kind
    title: str
    tags: tuple[str, ...] | None
    region: bool


def read_percent(text: str) -> Script | None:
    """A script in the percent format, as jupytext reads it; None: leave it to jupytext."""
    try:
        return _read_percent(text)
    except _Doubt:
        return None


def read_light(text: str) -> Script | None:
    """A script in the light format; None: leave it to jupytext.

    What stands between marked cells is taken as one cell of code: its comments, which
    jupytext makes markdown of, declare nothing.
    """
    try:
        lines = _lines(text)
        if any(_MARKER.match(line) for line in lines):
            raise _Doubt
        metadata, start = _header(lines, "light")
        metadata.pop("", None)
        cells = list(_light_cells(lines, start))
        return Script(tuple(cells), tuple({} for _ in cells), metadata, "light")
    except _Doubt:
        return None


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if lines != text.splitlines() or any(_OTHER_MARKER.match(line) for line in lines):
        raise _Doubt
    return lines


def _read_percent(script: str) -> Script:
    lines = _lines(script)
    if not any(_GUESSED.match(line) for line in lines):
        raise _Doubt
    metadata, start = _header(lines, "percent")
    named = metadata.pop("", None)
    bounds = _bounds(lines, start)
    markers = [_marker(lines[a]) for a, _ in bounds]
    chunks = [_chunk(lines, a, b, m) for (a, b), m in zip(bounds, markers, strict=True)]
    bare = [
        line
        for marker, (_, body) in zip(markers, chunks, strict=True)
        for line in body
        if (marker is None or marker.kind == "code") and _BARE_MAGIC.match(line)
    ]
    form = named or ("hydrogen" if bare else "percent")
    cells = []
    for marker, (line, body) in zip(markers, chunks, strict=True):
        kind: Kind = marker.kind if marker else "code"
        shown = _code(body, form) if kind == "code" else _prose(body)
        tags = (marker.tags or ()) if marker else ()
        text = "\n".join(shown)
        cells.append(Cell(kind=kind, text=text, line=line if text.strip() else 0, tags=tags))
    return Script(tuple(cells), tuple(_cell_metadata(m) for m in markers), metadata, form)


def _header(lines: Sequence[str], form: str) -> tuple[dict[str, Any], int]:
    """Metadata of the YAML header, with a named format under "", and the index after it."""
    start = int(bool(lines) and lines[0].startswith("#!"))
    for i, line in enumerate(lines[:2]):
        if line.startswith("#") and "coding" in line:
            if not re.fullmatch(r"#\s*-\*- coding: utf-8 -\*-\s*", line) or i != start:
                raise _Doubt
            start = i + 1
            break
    if start == len(lines) or lines[start] != "# ---":
        if any(line.startswith("# ---") for line in lines[start : start + 4]):
            raise _Doubt
        return {}, start
    try:
        end = lines.index("# ---", start + 1)
    except ValueError:
        raise _Doubt from None
    metadata = _yaml(lines[start + 1 : end], form)
    blank = end + 1 < len(lines) and not lines[end + 1].removeprefix("#").strip()
    if blank and lines[end + 1].startswith("#"):
        raise _Doubt
    return metadata, end + 1 + blank


def _yaml(header: Sequence[str], form: str) -> dict[str, Any]:
    import yaml

    if not all(line.startswith("#") for line in header):
        raise _Doubt
    body = [line.removeprefix("# ") if line != "#" else "" for line in header]
    try:
        found = yaml.safe_load("\n".join(body))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _Doubt from None
    if not isinstance(found, dict) or set(found) != {"jupyter"} or body[0] != "jupyter:":
        raise _Doubt
    metadata = found["jupyter"]
    if not isinstance(metadata, dict) or not _plain_metadata(metadata):
        raise _Doubt
    own = metadata.pop("jupytext", None) or {}
    return metadata | _named_format(own, form)


def _plain_metadata(metadata: dict[Any, Any]) -> bool:
    kernel = metadata.get("kernelspec", {})
    return (
        set(metadata) <= {"jupytext", "kernelspec", "language_info"}
        and isinstance(kernel, dict)
        and all(isinstance(x, str) for pair in kernel.items() for x in pair)
        and kernel.get("language", "python").lower() == "python"
        and isinstance(metadata.get("language_info", {}), dict)
    )


def _named_format(own: Any, form: str) -> dict[str, Any]:
    """The format that the header names, under the key ""; another than expected is a doubt."""
    if not isinstance(own, dict) or not set(own) <= _JUPYTEXT_KEYS:
        raise _Doubt
    if own.get("main_language", "python") != "python":
        raise _Doubt
    shown = own.get("text_representation", {})
    if not isinstance(shown, dict):
        raise _Doubt
    name = shown.get("format_name") if shown.get("extension", ".py") == ".py" else None
    if name is None and "formats" in own:
        raise _Doubt
    if name not in (None, form, "hydrogen" if form == "percent" else form):
        raise _Doubt
    return {"": name} if name else {}


def _bounds(lines: Sequence[str], start: int) -> list[tuple[int, int]]:
    """First and past-the-last index of each cell, its marker included."""
    starts = [i for i in range(start, len(lines)) if _MARKER.match(lines[i])]
    if start < len(lines) and (not starts or starts[0] != start):
        starts.insert(0, start)
    return list(zip(starts, [*starts[1:], len(lines)], strict=True))


def _marker(line: str) -> _Marker | None:
    """What a marker says; None: the line is none, the cell stands before the first."""
    match = _MARKER.match(line)
    if match is None:
        return None
    said = (match[1] or "").strip()
    options = _OPTIONS.fullmatch(said)
    if options is None:
        raise _Doubt
    title = options["title"].strip()
    kinds = _KIND.findall(title)
    if len(kinds) > 1 or said.startswith("%"):
        raise _Doubt
    tags = tuple(json.loads(options["tags"])) if options["tags"] is not None else None
    if any(tag.startswith("active-") for tag in tags or ()):
        raise _Doubt
    kind: Kind = "code" if not kinds else "raw" if kinds[0] == "raw" else "markdown"
    title = _KIND.sub("", title).strip()
    return _Marker(kind, title, tags, "md" in kinds)


def _cell_metadata(marker: _Marker | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if marker is not None:
        if marker.title:
            found["title"] = marker.title
        if marker.tags is not None:
            found["tags"] = list(marker.tags)
        if marker.region:
            found["region_name"] = "md"
    return found


def _chunk(
    lines: Sequence[str], start: int, end: int, marker: _Marker | None
) -> tuple[int, list[str]]:
    """A cell's lines and the 1-based number of the first; the blank lines after it left out."""
    first = start + (marker is not None)
    whole = lines[start:end]
    if len(whole) > 2 and whole[-3].strip() and not whole[-2].strip() and not whole[-1].strip():
        end -= 2
    elif whole[-1] == "":
        end -= 1
    body = list(lines[first:end])
    _check_quotes(body)
    return first + 1, body


def _check_quotes(body: Sequence[str]) -> None:
    """A triple quote that may reach over a marker, or stand in a comment, is left to jupytext."""
    joined = "\n".join(body)
    double, single = joined.count('"""'), joined.count("'''")
    if double % 2 or single % 2 or (double and single):
        raise _Doubt
    held = [line for line in body if '"""' in line or "'''" in line]
    if any("\\" in line or "#" in line for line in held):
        raise _Doubt


def _code(body: list[str], form: str) -> list[str]:
    """Code with its commented magics live, as the percent format wants it."""
    shown = []
    quoted = '"""' in "\n".join(body) or "'''" in "\n".join(body)
    for line in body:
        bare = line.lstrip("# \t")
        magic = _COMMENTED_MAGIC.fullmatch(line)
        if bare[:1] in ("!", "?") or (line.lstrip().startswith("#") and bare.startswith("+")):
            raise _Doubt
        if _COMMAND.match(bare) or bare.startswith("%%"):
            raise _Doubt
        if bare.startswith("%"):
            clear = magic or _BARE_MAGIC.fullmatch(line)
            if quoted or not clear or bare.rstrip().endswith("\\") or "escape" in bare:
                raise _Doubt
        if magic and form == "percent":
            line = magic[1]
        shown.append(line)
    return shown


def _prose(body: list[str]) -> list[str]:
    """Markdown without the comment signs."""
    shown = []
    joined = "\n".join(body).strip()
    if joined.lstrip("rR")[:1] in ('"', "'") or "```" in joined or "~~~" in joined:
        raise _Doubt
    for line in body:
        bare = line.lstrip("# \t")
        if bare[:1] in ("%", "!", "?") or _COMMAND.match(bare) or '"""' in line or "'''" in line:
            raise _Doubt
        text = line.removeprefix("# ") if line.startswith("# ") else line.removeprefix("#")
        shown.append(text)
    return shown


def _light_cells(lines: Sequence[str], start: int) -> Iterator[Cell]:
    tags: tuple[str, ...] = ()
    first = start
    for i in range(start, len(lines) + 1):
        begins = _LIGHT_START.match(lines[i]) if i < len(lines) else None
        ends = i == len(lines) or _LIGHT_END.match(lines[i])
        if not begins and not ends:
            continue
        body = lines[first:i]
        _check_quotes(body)
        if any(line.strip() for line in body):
            shown = _code(list(body), "percent")
            yield Cell(kind="code", text="\n".join(shown), line=first + 1, tags=tags)
        marker = _marker(f"# %% {begins[1]}") if begins else None
        if marker and marker.kind != "code":
            raise _Doubt
        tags = (marker.tags or ()) if marker else ()
        first = i + 1
