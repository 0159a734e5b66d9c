"""What a spec is read with, beside its own text."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET

from nbpipe.core.options import Call
from nbpipe.errors import Problem
from nbpipe.store.placeholders import Filler
from nbpipe.store.speccalls import call_key


class Around:
    """The surroundings of a spec on the disk.

    Args:
        root: absolute folder to which its paths are relative.
        filler: fills its placeholders.
        values: what functions that it names gave when they were last called, by `call_key`.

    Attributes:
        files: every further file that was read or looked for.
        calls: the functions whose values were asked for, by `call_key`.
        pending: what is wrong while the values of a grid are not known.
    """

    def __init__(self, root: Path, filler: Filler, values: Mapping[str, Any]) -> None:
        self.root = root
        self.filler = filler
        self.files: set[Path] = set()
        self.calls: dict[str, Call] = {}
        self.pending: list[Problem] = []
        self._values = values
        self._real_root = os.path.realpath(root)

    def value(self, call: Call) -> Any:
        """What a function gave; ``UNSET``: it is not known."""
        key = call_key(call)
        self.calls[key] = call
        return self._values.get(key, UNSET)

    def relative(self, path: str) -> str:
        """A POSIX path relative to the root, if it is an absolute one below it."""
        if not os.path.isabs(path):
            return path
        for root in (str(self.root), self._real_root):
            if path.startswith(posixpath.join(root, "")):
                return os.path.relpath(path, root)
        return path

    def read(self, path: str) -> bytes | None:
        """The content of a file, relative to the root; None: there is none."""
        target = Path(os.path.abspath(self.root / path))
        self.files.add(target)
        try:
            return target.read_bytes()
        except OSError:
            return None

    def is_file(self, path: str) -> bool:
        """Whether a file is there, relative to the root."""
        target = Path(os.path.abspath(self.root / path))
        self.files.add(target)
        return target.is_file()

    def package_folder(self, dotted: str) -> str | None:
        """Folder of a package below the root, relative to it; None: there is none."""
        for base in ("", "src"):
            folder = posixpath.join(base, *dotted.split("."))
            self.files.add(self.root / folder)
            if (self.root / folder).is_dir():
                return folder
        return None
