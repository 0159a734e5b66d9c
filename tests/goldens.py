"""Texts that are compared with the files in tests/golden."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """Compare with a file; NBPIPE_UPDATE_GOLDEN=1 writes it anew."""
    file = FOLDER / name
    if os.environ.get("NBPIPE_UPDATE_GOLDEN") == "1":
        file.write_text(text, encoding="utf-8", newline="\n")
    assert text == file.read_text(encoding="utf-8")
