"""Products on the disk: their digests, without reading what has not changed; publishing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nbpipe.core.model import FileState
from nbpipe.errors import StoreError, cannot_write

COARSE_NS = 2_000_000_000
"""Margin for file systems that keep whole seconds (FAT keeps two), nanoseconds."""

FINE_NS = 20_000_000
"""Margin for the others: file times advance with the kernel's tick, 10 ms at most; nanoseconds."""

_CHUNK = 1 << 20


def digest_product(path: Path, known: FileState | None = None) -> FileState | None:
    """The state of a product today, hashed only when it may have changed.

    Args:
        path: a file or a folder.
        known: what was recorded of it; its digest is trusted while size, mtime, ctime and inode
            are the same and none of them is so near to the moment of recording that the clock's
            granularity could hide a change (the "racy" case of version control systems).

    Returns:
        The state with today's signature; ``known`` itself when it still holds; None when there
        is no such file or folder.

    Raises:
        StoreError: it is there but cannot be read.
    """
    try:
        now = _signature(path)
        if now is None:
            return None
        if known is not None and _holds(known, now):
            return known
        return _hashed(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error


def tree_signature(folder: str | os.PathLike[str]) -> tuple[int, int, int, int]:
    """Size, mtime, ctime and a number for the names and inodes of all that is in a folder.

    Raises:
        OSError: it cannot be read.
    """
    state = _signature(Path(folder))
    if state is None:
        raise FileNotFoundError(folder)
    return (state.size, state.mtime_ns, state.ctime_ns, state.inode)


def publish(made: Path, product: Path) -> None:
    """Move a finished file over a product in one step; both old and new are never half there.

    Its bytes are on the disk before its name is: a power failure leaves the old one or the new.

    Raises:
        StoreError: the disk is full or the folder is read-only; the old product is intact.
    """
    try:
        product.parent.mkdir(parents=True, exist_ok=True)
        _sync_file(made)
        try:
            os.replace(made, product)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with temporary_file(product) as temporary:
                shutil.copyfile(made, temporary)
                _sync_file(temporary)
                os.replace(temporary, product)
            made.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(product, error) from error


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_durably(path: Path, data: bytes) -> None:
    """Replace a small file so that after a crash it holds the old bytes or the new ones.

    Raises:
        StoreError: it cannot be written; the old file is intact and nothing else is left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(path) as temporary:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` (one file system, so it can be renamed), gone at the end."""
    handle, name = tempfile.mkstemp(prefix=".nbpipe-", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        os.chmod(name, 0o666 & ~_umask())
        yield Path(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _umask() -> int:
    """The process's umask; reading it means setting it, so once, at import."""
    return _UMASK


_UMASK = os.umask(0)
os.umask(_UMASK)


def sync_folder(folder: Path) -> None:
    """See that the names in a folder survive a crash."""
    if os.name == "nt":  # pragma: no cover - a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _signature(path: Path) -> FileState | None:
    """Size and times, with an empty digest."""
    seen = time.time_ns()
    try:
        info = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(info.st_mode):
        return _state("", [info], info.st_ino, seen)
    entries = list(walk_folder(path))
    parts = [f"{name}\0{s.st_size}\0{s.st_mtime_ns}\0{s.st_ino}" for name, s in entries]
    inode = int(
        hashlib.sha256("\0\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:15], 16
    )
    return _state("", [info, *(s for _, s in entries)], inode, seen)


def _state(digest: str, infos: list[os.stat_result], inode: int, seen: int) -> FileState:
    return FileState(
        digest=digest,
        size=sum(i.st_size for i in infos if not stat.S_ISDIR(i.st_mode)),
        mtime_ns=max(i.st_mtime_ns for i in infos),
        ctime_ns=max(i.st_ctime_ns for i in infos),
        inode=inode,
        seen_ns=seen,
    )


def walk_folder(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file and folder below, by relative POSIX path, sorted; links are followed to files."""
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*files, *folders]):
            full = Path(here, name)
            with contextlib.suppress(FileNotFoundError):  # a dangling link
                yield full.relative_to(folder).as_posix(), full.stat()


def _holds(known: FileState, now: FileState) -> bool:
    same = (known.size, known.mtime_ns, known.ctime_ns, known.inode) == (
        now.size,
        now.mtime_ns,
        now.ctime_ns,
        now.inode,
    )
    latest = max(known.mtime_ns, known.ctime_ns)
    margin = COARSE_NS if known.mtime_ns % 1_000_000_000 == 0 else FINE_NS
    return same and latest + margin < known.seen_ns


def _hashed(path: Path) -> FileState | None:
    """Hash, and look at the signature before and after: a file in motion is hashed again."""
    for _ in range(3):
        before = _signature(path)
        if before is None:
            return None
        try:
            digest = _digest(path)
        except FileNotFoundError:
            continue
        after = _signature(path)
        if after is not None and (before.size, before.mtime_ns) == (after.size, after.mtime_ns):
            break
    else:
        before = _signature(path)
        if before is None:
            return None
        digest = "changing"
    return FileState(
        digest=digest,
        size=before.size,
        mtime_ns=before.mtime_ns,
        ctime_ns=before.ctime_ns,
        inode=before.inode,
        seen_ns=before.seen_ns,
    )


def _digest(path: Path) -> str:
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(tree_listing(path)).hexdigest()


def tree_listing(folder: Path) -> bytes:
    """What is in a folder: for each path below it, sorted, ``name NUL digest NUL``.

    The digest of a folder in it is ``/``. The SHA-256 of the listing is the folder's own digest.

    Raises:
        OSError: it cannot be read.
    """
    parts = []
    for name, info in walk_folder(folder):
        inner = "/" if stat.S_ISDIR(info.st_mode) else _digest(folder / name)
        parts.append(f"{name}\0{inner}\0".encode("utf-8", "surrogateescape"))
    return b"".join(parts)
