"""A look into a product: the head of a table, an image, text. Nothing is unpickled or executed."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import islice
from pathlib import Path

ROWS, COLUMNS = 6, 12
TEXT = 4_000
"""That many characters of a text are shown."""
IMAGE = 2_000_000
"""A larger image, in bytes, is not sent to the browser."""
PARQUET = 100_000_000
"""A larger Parquet file, in bytes, is not read: pandas would read all of it."""

IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}


def preview_html(path: str, size: int) -> str:
    """A preview of a file by its suffix; "" when there is none.

    Args:
        path: absolute.
        size: bytes.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if file.is_dir():
        return _listing(file)
    try:
        if suffix in IMAGES:
            return _image(file, IMAGES[suffix], size)
        way = _WAYS.get(suffix)
        return way(file) if way is not None else ""
    except Exception as error:  # a preview must not break the panel, whatever the file holds
        return _note(f"no preview: {type(error).__name__}: {error}")


def _note(sentence: str) -> str:
    return f'<p class="nbp-muted">{escape(sentence)}</p>'


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in islice(folder.iterdir(), 200))
    return _pre("\n".join(names[:20]) + ("\n…" if len(names) > 20 else ""))


def _image(file: Path, mime: str, size: int) -> str:
    if size > IMAGE:
        return _note("the image is too large for a preview")
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img alt="{escape(file.name)}" src="data:{mime};base64,{data}">'


def _pre(text: str) -> str:
    return f'<pre class="nbp-wrap">{escape(text)}</pre>'


def _text(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as stream:
        text = stream.read(TEXT + 1)
    return _pre(text[:TEXT] + ("\n…" if len(text) > TEXT else ""))


def _json(file: Path) -> str:
    if file.stat().st_size > 20 * TEXT:
        return _text(file)
    text = json.dumps(json.loads(file.read_text("utf-8")), indent=2, ensure_ascii=False)
    return _pre(text[:TEXT] + ("\n…" if len(text) > TEXT else ""))


def _csv(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        rows = list(islice(csv.reader(stream, delimiter=_delimiter(file)), ROWS + 1))
    return _grid(rows[0], rows[1:]) if rows else _note("the table is empty")


def _delimiter(file: Path) -> str:
    return "\t" if file.suffix.lower() in (".tsv", ".tab") else ","


def _parquet(file: Path) -> str:
    if file.stat().st_size > PARQUET:
        return _note("the table is too large for a preview")
    try:
        import pandas
    except ImportError:
        return _note("a preview of this format needs pandas")
    frame = pandas.read_parquet(file)
    head = frame.head(ROWS)
    said = _note(f"{len(frame)} rows, {len(frame.columns)} columns")
    return _grid([str(c) for c in head.columns], head.astype(str).to_numpy().tolist()) + said


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        shown = [str(cell)[:60] for cell in cells[:COLUMNS]]
        shown += ["…"] * (len(cells) > COLUMNS)
        return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in shown) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    return (
        f'<div class="nbp-scroll"><table class="nbp-grid"><thead>{line("th", head)}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


_WAYS: dict[str, Callable[[Path], str]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".tab": _csv,
    ".parquet": _parquet,
    ".json": _json,
    ".jsonl": _text,
    ".txt": _text,
    ".md": _text,
    ".log": _text,
    ".yaml": _text,
    ".yml": _text,
    ".toml": _text,
    ".sql": _text,
    ".py": _text,
    ".rst": _text,
    ".tex": _text,
    ".html": _text,
}
