"""Executed notebooks in other formats, through nbconvert, which is an optional dependency."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.model import Failure
from nbpipe.executors import document, processes

EXPORTERS = {
    ".html": "html",
    ".md": "markdown",
    ".rst": "rst",
    ".tex": "latex",
    ".asciidoc": "asciidoc",
    ".pdf": "pdf",
    ".webpdf": "webpdf",
}
"""nbconvert's exporter for each suffix."""

OWN_PROCESS = frozenset({".pdf", ".webpdf"})
"""Formats for which nbconvert starts LaTeX or a browser, which must end with the task."""

_one_at_a_time = threading.Lock()
"""An exporter has state."""

INSTALL = "pip install 'nbpipe-kit[convert]'"


class Conversion(msgspec.Struct, frozen=True):
    """How a notebook is converted.

    Attributes:
        title: of the document.
        exporter: nbconvert's name of it; "": the target's suffix tells.
        options: given to the exporter; ``config`` is joined with ours.
    """

    title: str
    exporter: str = ""
    options: dict[str, Any] = {}


async def convert(notebook: Path, target: Path, how: Conversion) -> Failure | None:
    """Convert a notebook.

    Args:
        notebook: the executed one.
        target: file to write; its suffix tells the format.
        how: what else is to be known.

    Returns:
        Why it could not be done; None: it was.
    """
    suffix = target.suffix.lower()
    if suffix == notebook.suffix and not how.exporter:
        document.write(target, notebook.read_bytes())
        return None
    if suffix not in EXPORTERS and not how.exporter:
        return _failure(f"a notebook cannot become '{suffix}'", f"known: {', '.join(EXPORTERS)}")
    if importlib.util.find_spec("nbconvert") is None:
        return _failure("nbconvert is not installed", INSTALL)
    alone = suffix in OWN_PROCESS or f".{how.exporter}" in OWN_PROCESS
    message = await (_in_process if alone else _in_thread)(notebook, target, how)
    return None if message is None else _failure(message, _hint(message, suffix))


async def _in_thread(notebook: Path, target: Path, how: Conversion) -> str | None:
    return await asyncio.to_thread(export, notebook, target, how)


async def _in_process(notebook: Path, target: Path, how: Conversion) -> str | None:
    said = msgspec.json.encode(how).decode()
    command = [sys.executable, "-P", "-m", "nbpipe.executors.convert", notebook, target, said]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=pipe,
        start_new_session=True,
    )
    try:
        _, errors = await process.communicate()
    finally:
        await processes.to_the_end(processes.end_tree(process.pid))
    if process.returncode == 0:
        return None
    lines = errors.decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-8:]) or processes.describe_exit(process.returncode or 0)


def export(notebook: Path, target: Path, how: Conversion) -> str | None:
    """Convert in this process; returns what went wrong, None when nothing did."""
    try:
        with _one_at_a_time:
            name = how.exporter or _engine(target.suffix.lower())
            exporter = _exporter(name, msgspec.json.encode(how.options))
            content, resources = exporter.from_filename(
                str(notebook), resources={"metadata": {"name": how.title}}
            )
    except Exception as error:
        return f"{type(error).__name__}: {error}".strip()
    document.write(target, content.encode() if isinstance(content, str) else content)
    _write_images(target, resources.get("outputs") or {})
    return None


def _engine(suffix: str) -> str:
    """A PDF comes from a browser where LaTeX is not installed."""
    has_latex = shutil.which("xelatex") and shutil.which("pandoc")
    if suffix == ".pdf" and not has_latex and importlib.util.find_spec("playwright"):
        return "webpdf"
    return EXPORTERS[suffix]


@functools.cache
def _exporter(name: str, options: bytes) -> Any:
    import nbconvert
    from traitlets.config import Config

    # Images stay in the document where the format allows it, since one file is the product.
    inline = {"ExtractOutputPreprocessor": {"enabled": name in {"latex", "pdf", "rst", "asciidoc"}}}
    given = msgspec.json.decode(options)
    config = Config(inline)
    config.merge(given.pop("config", {}))
    return nbconvert.get_exporter(name)(config=config, **given)


def _write_images(target: Path, images: dict[str, bytes]) -> None:
    for name, content in images.items():
        path = target.parent / os.path.basename(name)
        document.write(path, content)


def _hint(message: str, suffix: str) -> str:
    if "pandoc" in message.lower():
        return "install pandoc: https://pandoc.org/installing.html"
    if suffix in OWN_PROCESS:
        return (
            "a PDF needs LaTeX (xelatex and pandoc), or a browser: "
            "pip install 'nbconvert[webpdf]' && playwright install chromium; .html needs neither"
        )
    return "the executed .ipynb is kept: `jupyter nbconvert` tells more about it"


def _failure(message: str, hint: str) -> Failure:
    return Failure(error="ConversionFailed", message=message, hint=hint)


def main() -> None:
    """Entry of the process of its own."""
    how = msgspec.json.decode(sys.argv[3], type=Conversion)
    message = export(Path(sys.argv[1]), Path(sys.argv[2]), how)
    if message is not None:
        sys.exit(message)


if __name__ == "__main__":
    main()
