"""``.nbpipe/values.json``: what the functions that a spec names gave when they were last called.

Disposable: without it they are called again by the next build.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.errors import StoreError
from nbpipe.store.products import write_durably
from nbpipe.store.records import FOLDER

NAME = "values.json"


def known_values(root: Path) -> dict[str, Any]:
    """What each function gave, by `call_key`; nothing where it cannot be read."""
    try:
        return msgspec.json.decode((root / FOLDER / NAME).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def keep_values(root: Path, values: Mapping[str, Any]) -> None:
    """Remember what functions gave, if the folder can be written to and there is anything new."""
    if values == known_values(root):
        return
    try:
        write_durably(root / FOLDER / NAME, msgspec.json.encode(values, order="sorted"))
    except StoreError:
        return
