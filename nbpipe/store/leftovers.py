"""What nbpipe itself put on the disk and can be removed without loss."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from nbpipe.core.model import Record
from nbpipe.store.products import digest_product
from nbpipe.store.records import FOLDER, RecordStore


def leftovers(store: RecordStore, tasks: Collection[str]) -> list[str]:
    """Folders of past runs, temporary files, damaged records and records of no task.

    Args:
        store: the records.
        tasks: names that the spec knows.
    """
    root = store.home.parent
    found = [
        path
        for path in (store.home / "runs", store.home / "cells", store.folder / "damaged")
        if path.exists()
    ]
    found += sorted(store.home.rglob(".nbpipe-*.tmp"))
    found += [store.path(name) for name in sorted(store.others(tasks))]
    return [path.relative_to(root).as_posix() for path in found]


def drop_temporaries(store: RecordStore, products: Iterable[str]) -> None:
    """Remove the temporary files of a build that was killed. The caller holds the lock.

    Args:
        store: the records.
        products: paths, relative to the root, beside which there may be some.
    """
    root = store.home.parent
    folders = {store.home, store.folder, *((root / path).parent for path in products)}
    for folder in folders:
        for path in folder.glob(".nbpipe-*.tmp"):
            with contextlib.suppress(OSError):
                path.unlink()


def own_products(root: Path, store: RecordStore, records: Mapping[str, Record]) -> list[str]:
    """Products whose bytes are those that a build wrote, and the records of their tasks."""
    found = []
    for name, record in records.items():
        if record.good is None:
            continue
        for path, known in record.good.products.items():
            state = digest_product(root / path, known)
            if state is not None and state.digest == known.digest:
                found.append(path)
        found.append(f"{FOLDER}/{store.folder.name}/{store.path(name).name}")
    return found


def remove_paths(root: Path, paths: Collection[str]) -> int:
    """Remove files and folders, relative to ``root``; returns how many were there."""
    count = 0
    for path in (root / name for name in paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.exists() or path.is_symlink():
            path.unlink()
        else:
            continue
        count += 1
    return count
