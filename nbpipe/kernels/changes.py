"""Whether the files that a process has loaded are still what they were."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

SHARE = 20
"""A look that took long is followed by a pause this many times as long."""

Signature = tuple[int, int, int] | None
"""Modification time in nanoseconds, size in bytes, inode; None: there is no such file."""


class Loaded:
    """The modules of this process, its interpreter and its settings, by their signatures.

    Args:
        further: more files that count.
    """

    def __init__(self, further: Iterable[str] = ()) -> None:
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        paths = {file for file in files if isinstance(file, str)}
        paths |= {sys.executable, os.path.join(sys.prefix, "pyvenv.cfg"), *further}
        self._seen = {path: signature(path) for path in paths}
        self._next = 0.0

    def changed(self) -> str | None:
        """The first file that is another one by now; None: all are the same."""
        began = time.monotonic()
        if began < self._next:
            return None
        found = next((path for path, seen in self._seen.items() if signature(path) != seen), None)
        now = time.monotonic()
        self._next = now + SHARE * (now - began)
        return found


def signature(path: str) -> Signature:
    """What tells a file from an edited or replaced one."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
