"""``.nbpipe/cache``: that everything was fresh, and the signatures of all that this rests on.

One disposable file. While every signature holds, a plan would read the same bytes and come to the
same end, so it need not be made: thousands of stats in the place of reading, parsing and hashing.
Whatever differs, or cannot be told, makes the cache void; deleting it changes no decision.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from nbpipe.core.plan import Plan
from nbpipe.errors import StoreError
from nbpipe.store.products import COARSE_NS, FINE_NS, write_durably
from nbpipe.store.signatures import (
    MISSING,
    Signature,
    Signed,
    cache_file,
    decode,
    file_signature,
    made_by,
    read_cache,
    tree_signature,
)


class Consulted(msgspec.Struct):
    """What a plan rests on.

    Attributes:
        read: files that were read.
        looked: files that were looked for, and folders that were looked into, there or not.
        trees: products, which may be folders and then count with all that is in them.
    """

    read: set[Path] = set()
    looked: set[Path] = set()
    trees: set[Path] = set()


class Idle(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a pipeline in which everything is fresh.

    Attributes:
        plan: every task is skipped.
        rows: the table of states, as the views encode it.
    """

    plan: Plan
    rows: bytes


class CacheReader:
    """Reads the cache of a pipeline. What it decoded is kept while the file has the same bytes.

    Every signature is compared each time.
    """

    def __init__(self) -> None:
        self._data = b""
        self._signed: Signed | None = None
        self._idle: Idle | None = None

    def read(self, spec_file: str) -> Idle | None:
        """What is known of a pipeline, while it holds; None: plan anew."""
        data = read_cache(spec_file)
        if data is None:
            return None
        if data != self._data:
            self._data, self._signed, self._idle = data, decode(data), None
        if self._signed is None or not self._signed.holds(spec_file):
            return None
        if self._idle is None:
            try:
                self._idle = msgspec.msgpack.decode(self._signed.extra, type=Idle)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
        return self._idle


def save_cache(spec_file: Path, idle: Idle, said: str, consulted: Consulted, began_ns: int) -> bool:
    """Keep that everything is fresh, if it is sure that nothing has changed meanwhile.

    Args:
        spec_file: path of the spec file; its folder is the root.
        idle: what is known.
        said: what a build says that finds nothing to do.
        consulted: all that the plan rests on, whether it exists or not.
        began_ns: wall clock before the first of it was read, nanoseconds. A file that was
            modified after that, or so shortly before that the clock's granularity could hide it,
            is a reason to keep nothing.

    Returns:
        Whether it was kept. A read-only folder is no error: the cache is disposable.
    """
    base = str(spec_file.parent)
    folders = {path for path in consulted.trees if path.is_dir()}
    files = _below(base, (consulted.read | consulted.looked | consulted.trees) - folders)
    trees = _below(base, folders)
    signatures = [file_signature(os.path.join(base, path)) for path in files]
    signatures += [tree_signature(os.path.join(base, path)) for path in trees]
    if any(_is_recent(signature, began_ns) for signature in signatures):
        return False
    gone = {
        path for path, signature in zip(files, signatures, strict=False) if signature == MISSING
    }
    if not gone.isdisjoint(_below(base, consulted.read | consulted.trees)):
        return False
    place = made_by(str(spec_file))
    extra = msgspec.msgpack.encode(idle)
    numbers = [number for signature in signatures for number in signature]
    signed = Signed(place, said, [*files, *trees], numbers, len(trees), extra)
    try:
        write_durably(Path(cache_file(base)), signed.encode())
    except StoreError:
        return False
    return True


def _below(base: str, paths: Iterable[Path]) -> list[str]:
    return sorted(os.path.relpath(path, base) for path in paths)


def _is_recent(signature: Signature, began_ns: int) -> bool:
    _, mtime, ctime, _ = signature
    margin = COARSE_NS if mtime % 1_000_000_000 == 0 else FINE_NS
    return signature != MISSING and max(mtime, ctime) + margin >= began_ns
