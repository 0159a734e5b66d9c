"""Executed notebooks as JSON on the disk."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.errors import cannot_write

MOST_LINES = 5_000
"""A longer text is saved as one string, which the format allows as well."""


def as_json(notebook: dict[str, Any]) -> bytes:
    """A notebook in the form in which Jupyter saves it: sorted keys, one space, split lines.

    Written here because nbformat's writer copies the notebook deeply and encodes it in Python,
    which takes seconds where outputs are large, while kernels wait.
    """
    split = notebook | {"cells": [_split_cell(c) for c in notebook.get("cells", ())]}
    try:
        packed = msgspec.json.encode(split, order="sorted")
        return msgspec.json.format(packed, indent=1) + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can carry
        return json.dumps(split, indent=1, sort_keys=True).encode() + b"\n"


def _split_cell(cell: dict[str, Any]) -> dict[str, Any]:
    changed = {"source": _lines(cell.get("source", ""))}
    if "outputs" in cell:
        changed["outputs"] = [_split_output(o) for o in cell["outputs"]]
    return cell | changed


def _split_output(output: dict[str, Any]) -> dict[str, Any]:
    if "text" in output:
        return output | {"text": _lines(output["text"])}
    if "data" in output:
        return output | {"data": {k: _split_data(k, v) for k, v in output["data"].items()}}
    return output


def _split_data(mime: str, value: Any) -> Any:
    is_json = mime == "application/json" or mime.endswith("+json")
    return value if is_json else _lines(value)


def _lines(text: Any) -> Any:
    """Lines, for the sake of diffs; millions of short ones would take ten times their memory."""
    if not isinstance(text, str) or text.count("\n") > MOST_LINES:
        return text
    return text.splitlines(keepends=True)


def write(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or the one before.

    Raises:
        StoreError: the disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise cannot_write(path, error) from error
