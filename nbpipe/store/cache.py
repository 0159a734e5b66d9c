"""``.nbpipe/cache``: that everything was fresh, and the signatures of all that this rests on.

One disposable file. While every signature holds, a plan would read the same bytes and come to the
same end, so it need not be made: thousands of stats in the place of reading, parsing and hashing.
Whatever differs, or cannot be told, makes the cache void; deleting it changes no decision.
"""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path

import msgspec

import nbpipe
from nbpipe.core.plan import Plan
from nbpipe.errors import StoreError
from nbpipe.store.imports import search_roots
from nbpipe.store.products import COARSE_NS, FINE_NS, tree_signature, write_durably
from nbpipe.store.records import FOLDER

NAME = "cache"

Signature = tuple[int, int, int, int]
"""Size, mtime, ctime (nanoseconds) and inode; all -1 when there is no such file."""

MISSING: Signature = (-1, -1, -1, -1)


class Consulted(msgspec.Struct):
    """What a plan rests on.

    Attributes:
        paths: files that were read, looked for, and folders that were looked into.
        trees: products, which may be folders and then count with all that is in them.
    """

    paths: set[Path] = set()
    trees: set[Path] = set()


class Cache(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the file holds.

    Attributes:
        made_by: versions, the place and the folders of modules: another one voids it.
        paths: of everything that was read, looked for or looked into, relative to the root.
        signatures: of each path.
        trees: how many of them, at the end, count with all that is in them.
        plan: in which every task is fresh.
        rows: the table of states, as the views encode it.
    """

    made_by: tuple[str, ...]
    paths: tuple[str, ...]
    signatures: tuple[Signature, ...]
    trees: int
    plan: Plan
    rows: bytes


def load_cache(root: Path, spec_file: Path) -> Cache | None:
    """The cache of a pipeline while it holds; None: plan anew."""
    try:
        cache = msgspec.msgpack.decode(_file(root).read_bytes(), type=Cache)
    except (OSError, msgspec.DecodeError):
        return None
    if cache.made_by != _made_by(root, spec_file):
        return None
    base, files = str(root), len(cache.paths) - cache.trees
    for i, (path, signature) in enumerate(zip(cache.paths, cache.signatures, strict=True)):
        if _signature(os.path.join(base, path), is_tree=i >= files) != signature:
            return None
    return cache


def save_cache(
    root: Path, spec_file: Path, plan: Plan, rows: bytes, consulted: Consulted, began_ns: int
) -> bool:
    """Keep that everything is fresh, if it is sure that nothing has changed meanwhile.

    Args:
        root: folder of pipeline.yaml.
        spec_file: its path.
        plan: in which every task is fresh.
        rows: the table of states, encoded.
        consulted: all that the plan rests on, whether it exists or not.
        began_ns: wall clock before the first of it was read, nanoseconds. A file that was
            modified after that, or so shortly before that the clock's granularity could hide it,
            is a reason to keep nothing.

    Returns:
        Whether it was kept. A read-only folder is no error: the cache is disposable.
    """
    base = str(root)
    files = sorted(os.path.relpath(path, base) for path in consulted.paths - consulted.trees)
    trees = sorted(os.path.relpath(path, base) for path in consulted.trees)
    signatures = [_signature(os.path.join(base, path)) for path in files]
    signatures += [_signature(os.path.join(base, path), is_tree=True) for path in trees]
    if any(_is_recent(signature, began_ns) for signature in signatures):
        return False
    cache = Cache(
        made_by=_made_by(root, spec_file),
        paths=(*files, *trees),
        signatures=tuple(signatures),
        trees=len(trees),
        plan=plan,
        rows=rows,
    )
    try:
        write_durably(_file(root), msgspec.msgpack.encode(cache))
    except StoreError:
        return False
    return True


def _file(root: Path) -> Path:
    return root / FOLDER / NAME


def _made_by(root: Path, spec_file: Path) -> tuple[str, ...]:
    roots = [str(folder) for folder in search_roots(root.resolve())]
    return (nbpipe.__version__, platform.python_version(), str(spec_file.absolute()), *roots)


def _is_recent(signature: Signature, began_ns: int) -> bool:
    _, mtime, ctime, _ = signature
    margin = COARSE_NS if mtime % 1_000_000_000 == 0 else FINE_NS
    return signature != MISSING and max(mtime, ctime) + margin >= began_ns


def _signature(path: str, *, is_tree: bool = False) -> Signature:
    try:
        info = os.stat(path)
        if is_tree and stat.S_ISDIR(info.st_mode):
            return tree_signature(Path(path))
    except OSError:
        return MISSING
    return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
