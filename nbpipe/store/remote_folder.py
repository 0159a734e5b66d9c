"""A shared folder as a store: objects are files, written beside their place and moved there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nbpipe.store.products import sync_folder, temporary_file


class FolderRemote:
    """Objects as files below a folder, which every host may have mounted elsewhere.

    Args:
        folder: made with the first object.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def size(self, key: str) -> int | None:
        """Bytes of an object; None: there is none."""
        try:
            return (self._folder / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, key: str) -> bytes | None:
        """A small object; None: there is none."""
        try:
            return (self._folder / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def fetch(self, key: str, target: Path) -> bool:
        """Copy an object over the file ``target``; False: there is none."""
        source = self._folder / key
        if self.size(key) is None:
            return False
        shutil.copyfile(source, target)
        return True

    def put(self, key: str, source: Path | bytes) -> None:
        """Write a file under another name, and move it into place once it is on the disk."""
        place = self._folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(place) as made:
            with made.open("wb") as out:
                if isinstance(source, bytes):
                    out.write(source)
                else:
                    with source.open("rb") as data:
                        shutil.copyfileobj(data, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
            os.replace(made, place)
        sync_folder(place.parent)
