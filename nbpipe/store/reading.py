"""A source's text as cells: scripts, Markdown and notebooks.

jupytext is imported only for what the reader of plain scripts and JSON do not settle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from nbpipe.core.model import Cell, Declared
from nbpipe.core.remember import remembering
from nbpipe.store.byjupytext import read_jupytext
from nbpipe.store.declared import read_declared
from nbpipe.store.ipynb import read_ipynb
from nbpipe.store.percent import read_light, read_percent
from nbpipe.store.script import fail, normalised

_LANGUAGES = {".r": "r", ".rmd": "r", ".jl": "julia", ".sh": "bash"}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A source, read.

    Attributes:
        path: as the spec says, relative to the root, POSIX.
        text: the whole file, line ends normalised.
        cells: with the 1-based line of each one's text; 0 in a ``.ipynb``, and where unknown.
        options: for each cell its nbformat metadata, and ``attachments`` where it has them.
        language: of the code cells, lower case.
        kernel: name in the file's kernelspec; None: it has none.
        metadata: of the notebook, without jupytext's own.
        format: ``percent``, ``light``, ``hydrogen``, ``markdown``, ``myst``, ``ipynb``, …
        declared: what it says of its upstream.
    """

    path: str
    text: str
    cells: tuple[Cell, ...]
    options: tuple[dict[str, Any], ...]
    language: str
    kernel: str | None
    metadata: dict[str, Any]
    format: str
    declared: Declared


def read_text(path: Path, shown: str | None = None) -> str:
    """The text of a source: UTF-8, without a byte order mark, lines ending in a newline sign.

    Args:
        path: the file.
        shown: its name in messages; None: ``path``.

    Raises:
        SpecError: it is missing, no file, or not UTF-8.
    """
    name = shown or path.as_posix()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        fail(name, 0, "no such file", "create it, or run: nbpipe scaffold")
    except IsADirectoryError:
        fail(name, 0, "is a folder, not a file", "name the script in it")
    except (OSError, ValueError) as error:
        fail(name, 0, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        fail(name, line, f"not UTF-8: {error.reason}", "save the file with the encoding UTF-8")
    return normalised(text)


@remembering(len)
def parse_source(text: str, path: str) -> Source:
    """A source's cells, metadata and declarations; nobody changes what it gives.

    Args:
        text: as `read_text` gives it.
        path: as the spec says; its suffix tells the format.

    Raises:
        SpecError: the file is no notebook, or what it declares is wrong.
    """
    text = normalised(text)
    suffix = _suffix(path)
    if suffix == ".ipynb":
        script = read_ipynb(text, path)
    else:
        script = (read_percent(text) if suffix == ".py" else None) or read_jupytext(text, path)
    kernelspec = script.metadata.get("kernelspec", {})
    language = _language(script.metadata, suffix)
    return Source(
        path=path,
        text=text,
        cells=script.cells,
        options=script.options,
        language=language,
        kernel=kernelspec.get("name"),
        metadata=script.metadata,
        format=script.format,
        declared=_declared(script.cells, path, language),
    )


def declared(text: str, path: str) -> Declared:
    """What a source declares. For Python scripts and ``.ipynb`` jupytext is not imported.

    Raises:
        SpecError: as `parse_source`.
    """
    cells, language = quick_cells(text, path)
    return _declared(cells, path, language)


@remembering(lambda cells: sum(len(cell.text) for cell in cells))
def _declared(cells: tuple[Cell, ...], path: str, language: str) -> Declared:
    return read_declared(cells, path, language)


@remembering(len)
def quick_cells(text: str, path: str) -> tuple[tuple[Cell, ...], str]:
    """The cells and the language of a source; for Python scripts jupytext is not imported.

    Cells of plain scripts may be split where jupytext would not; their code is the same.

    Raises:
        SpecError: the file is no notebook.
    """
    text = normalised(text)
    suffix = _suffix(path)
    script = (read_percent(text) or read_light(text)) if suffix == ".py" else None
    if script is None and suffix == ".ipynb":
        script = read_ipynb(text, path)
    script = script or read_jupytext(text, path)
    return script.cells, _language(script.metadata, suffix)


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def language_of_suffix(suffix: str) -> str:
    """The language of sources with that suffix, such as ``.R``, where they say nothing of it."""
    return _LANGUAGES.get(suffix.lower(), "python")


def _language(metadata: Mapping[str, Any], suffix: str) -> str:
    kernelspec = metadata.get("kernelspec", {})
    info = metadata.get("language_info", {})
    said = kernelspec.get("language") or (info.get("name") if isinstance(info, dict) else None)
    if not isinstance(said, str) or not said:
        said = "r" if kernelspec.get("name") == "ir" else language_of_suffix(suffix)
    said = said.lower()
    return "python" if said in ("ipython", "ipython3", "python3") else said
