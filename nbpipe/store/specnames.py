"""What a source and a task may be called."""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath

from nbpipe.core.model import Kind
from nbpipe.store.spectypes import SCRIPT_SUFFIXES, TEMPLATE_SUFFIXES
from nbpipe.store.yamlnodes import show

MAX_NAME_BYTES = 200
"""Of a task's name in UTF-8: it becomes part of file names."""


@lru_cache  # of one source there may be many tasks
def kind_of(source: str) -> Kind | None:
    """How a source runs, by its looks; None: it is neither a known script nor a function."""
    suffix = PurePosixPath(source).suffix
    if suffix in SCRIPT_SUFFIXES:
        return "notebook"
    if suffix in TEMPLATE_SUFFIXES:
        return "script"
    if suffix.lower() in (*SCRIPT_SUFFIXES, *TEMPLATE_SUFFIXES):
        return None
    parts = source.split(".")
    return "function" if len(parts) > 1 and all(part.isidentifier() for part in parts) else None


@lru_cache
def stem_of(source: str) -> str:
    """The name of a file without its suffix, which names a task that has no other name."""
    return PurePosixPath(source).stem


def name_fault(name: str) -> tuple[str, str] | None:
    """Message and hint for a text that cannot name a task; None: it can."""
    if name != name.strip():
        return f"{show(name)} begins or ends with a space", "remove the space"
    if name.startswith("-"):
        return f"{show(name)} looks like an option on the command line", "start with a letter"
    if bad := next((mark for mark in "/\\*?[" if mark in name), None):
        what = "a wildcard" if bad in "*?[" else "a path separator"
        return f"{show(name)} contains '{bad}', {what}", "use '-' or '_' in its place"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"{show(name)} is longer than {MAX_NAME_BYTES} bytes", "shorten it"
    return None
