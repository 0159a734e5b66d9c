"""A script that was saved without an edit stays byte for byte what it was."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbpipe.jupyter.contents_tasks import Found
from nbpipe.store.products import write_durably
from nbpipe.store.script import normalised
from nbpipe.store.sources import Source, parse_source

_PAIRING = re.compile(r"^\W*(formats|\w+_metadata_filter):.*$", re.MULTILINE)
_HEADER_LINES = 60
_ASIDE = frozenset({"kernelspec", "language_info"})


def paired(path: str, notebook: Mapping[str, Any]) -> list[str]:
    """The other files of a notebook that jupytext keeps in several, as its metadata says.

    Args:
        path: of the one that was opened, in the server's terms.
        notebook: what reading it gave.
    """
    own = notebook.get("metadata", {}).get("jupytext")
    formats = own.get("formats") if isinstance(own, Mapping) else None
    if not isinstance(formats, str) or "," not in formats:
        return []
    from jupytext.formats import long_form_multiple_formats
    from jupytext.paired_paths import InconsistentPath, find_base_path_and_format, paired_paths

    path = path.strip("/")
    try:
        several = long_form_multiple_formats(formats)
        _, own_format = find_base_path_and_format(path, several)
        return [name for name, _ in paired_paths(path, own_format, several) if name != path]
    except InconsistentPath:
        return []


def put_back_if_same(found: Found, before: bytes) -> bool:
    """Write a script's former bytes back if its new ones have the same meaning.

    Args:
        found: the source, saved just now.
        before: what was in the file.

    Returns:
        Whether they were written.

    Raises:
        SpecError: one of the two is no notebook any more.
        OSError, StoreError: the file cannot be read or written.
    """
    path = Path(os.path.realpath(found.path))
    now = path.read_bytes()
    if now == before or path.suffix == ".ipynb" or not _same(found, before, now):
        return False
    mode = path.stat().st_mode
    if path.read_bytes() != now:  # somebody else has written since
        return False
    write_durably(path, before)
    if path.stat().st_mode != mode:
        path.chmod(mode)
    return True


def _same(found: Found, before: bytes, now: bytes) -> bool:
    texts = [normalised(data.decode("utf-8-sig")) for data in (before, now)]
    old, new = (parse_source(text, found.source) for text in texts)
    return _meaning(old, found.kernel) == _meaning(new, found.kernel)


def _meaning(source: Source, kernel: str) -> list[Any]:
    head = "\n".join(source.text.split("\n")[:_HEADER_LINES])
    metadata = {k: v for k, v in source.metadata.items() if k not in _ASIDE}
    cells = [
        (cell.kind, cell.text, options)
        for cell, options in zip(source.cells, source.options, strict=True)
    ]
    pairing = sorted(match[0].lstrip("# ") for match in _PAIRING.finditer(head))
    return [cells, metadata, source.kernel or kernel, source.format, pairing]
