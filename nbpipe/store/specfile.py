"""pipeline.yaml: found, read, checked, extended.

find_spec ─► read_spec ─┬─ yamltext     text → nodes with positions
                        ├─ specwalk     nodes → entries, by the types in spectypes
                        ├─ specread     entries → Spec
                        └─ specsources  are the sources there?
spec_text_with_task ───── specedit      a task into the text, comments kept
json_schema, spec_keys ── spectypes     the keys, their types and meaning
"""

from __future__ import annotations

import os
from pathlib import Path

from nbpipe.core.model import Spec
from nbpipe.errors import Problem, SpecError
from nbpipe.store.specedit import spec_text_with_task
from nbpipe.store.specread import kind_of, name_fault, parse_spec
from nbpipe.store.specsources import SourceLook, check_sources
from nbpipe.store.spectypes import json_schema, spec_keys
from nbpipe.store.yamltext import MAX_BYTES

__all__ = [
    "check_sources",
    "find_spec",
    "json_schema",
    "kind_of",
    "name_fault",
    "parse_spec",
    "read_spec",
    "spec_keys",
    "spec_text_with_task",
]


def find_spec(start: Path, name: str = "pipeline.yaml") -> Path:
    """The spec file that a folder belongs to.

    Args:
        start: a folder, searched together with all above it; or the file itself.
        name: of the file.

    Returns:
        An absolute path.

    Raises:
        SpecError: there is none; the message lists the folders that were searched.
    """
    start = Path(os.path.abspath(start))
    if os.path.isfile(start):
        return start
    if not os.path.isdir(start):
        hint = "check the path that was given as entry point"
        raise SpecError([Problem(str(start), 0, 0, "", "no such file or folder", hint)])
    folders = [start, *start.parents]
    for folder in folders:
        if os.path.isfile(folder / name):
            return folder / name
    what = "not found; searched " + ", ".join(str(folder) for folder in folders)
    hint = "'nbpipe scaffold NAME' makes a new project, 'nbpipe demo' shows one"
    raise SpecError([Problem(name, 0, 0, "", what, hint)])


def read_spec(path: Path, *, sources: bool = True) -> Spec:
    """The pipeline that a file describes. No code of the project runs.

    Args:
        path: of the spec file; its folder is the root.
        sources: False leaves out whether the sources exist.

    Raises:
        SpecError: everything that is wrong, at once, each with line and column.
    """
    look = SourceLook(path.parent) if sources else None
    return parse_spec(_bytes(path), path.name, look)


def _bytes(path: Path) -> bytes:
    if os.path.isdir(path):
        hint = "name the file in it"
        raise SpecError([Problem(str(path), 0, 0, "", "is a folder, not a file", hint)])
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        what = f"cannot be read: {reason}"
        raise SpecError([Problem(str(path), 0, 0, "", what, "check the path")]) from None
