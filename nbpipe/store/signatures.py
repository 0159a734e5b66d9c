"""Whether files are still as they were, told by ``stat`` alone, in a process that has just begun.

A build that finds nothing to do is over in the time that other programs need to start, so this
module imports nothing that Python has not loaded already: no pathlib, no typing, no library.

A file of this kind is a line of numbers, the first of them a checksum, then the parts whose lengths
it gives: where it was made, a text to show, the paths, their signatures (four 64-bit numbers each),
and what its owner added.
"""

from __future__ import annotations

import os
import sys
from binascii import crc32

import nbpipe
from nbpipe.store.entrynames import env_elsewhere, in_package, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Signature = tuple[int, int, int, int]
"""Size, mtime, ctime (nanoseconds) and inode; all -1 when there is no such file."""

MISSING: Signature = (-1, -1, -1, -1)

_MAGIC = b"nbpipe-signatures-1"
_POSITIVE = (1 << 63) - 1


class Signed:
    """What a file of signatures holds.

    Attributes:
        made_by: the versions and the place: another one voids the file.
        said: a text to show while everything holds.
        paths: of all that was read, looked for or looked into, relative to the base folder.
        numbers: the signatures of the paths, one after the other.
        trees: how many of the paths, at the end, are folders that count with all that is in them.
        extra: what the owner added, in a form of its own.
    """

    __slots__ = ("extra", "made_by", "numbers", "paths", "said", "trees")

    def __init__(
        self,
        made_by: str,
        said: str,
        paths: Sequence[str],
        numbers: Sequence[int],
        trees: int,
        extra: bytes,
    ) -> None:
        self.made_by = made_by
        self.said = said
        self.paths = paths
        self.numbers = numbers
        self.trees = trees
        self.extra = extra

    def holds(self, spec_file: str) -> bool:
        """Whether all is as it was; the spec file's folder is the base. Each path is looked at."""
        if self.made_by != made_by(spec_file):
            return False
        base, files = os.path.dirname(spec_file), len(self.paths) - self.trees
        if not _all_hold(base, self.paths[:files], self.numbers[: 4 * files]):
            return False
        ends = zip(self.paths[files:], _by_four(self.numbers[4 * files :]), strict=True)
        return all(tree_signature(os.path.join(base, path)) == end for path, end in ends)

    def encode(self) -> bytes:
        """The content of a file."""
        numbers = memoryview(bytearray(8 * len(self.numbers))).cast("q")
        for i, number in enumerate(self.numbers):
            numbers[i] = number
        parts = [
            self.made_by.encode("utf-8", "surrogateescape"),
            self.said.encode("utf-8", "surrogateescape"),
            "\0".join(self.paths).encode("utf-8", "surrogateescape"),
            numbers.tobytes(),
            self.extra,
        ]
        sizes = [self.trees, *map(len, parts)]
        checked = b" ".join(b"%d" % size for size in sizes) + b"\n" + b"".join(parts)
        return b"%s %d %s" % (_MAGIC, crc32(checked), checked)


def decode(data: bytes) -> Signed | None:
    """What :meth:`Signed.encode` wrote; None: it is damaged, or of another version."""
    magic, *rest = data.split(b" ", 2)
    if magic != _MAGIC or len(rest) != 2:
        return None
    head, _, body = rest[1].partition(b"\n")
    words = head.split(b" ")
    if rest[0] != b"%d" % crc32(rest[1]) or len(words) != 6:
        return None
    try:
        trees, *sizes = map(int, words)
        if sum(sizes) != len(body):
            return None
        parts, start = [], 0
        for size in sizes:
            parts.append(body[start : start + size])
            start += size
        made_by, said, joined = (part.decode("utf-8", "surrogateescape") for part in parts[:3])
        numbers = memoryview(parts[3]).cast("q").tolist()
    except (ValueError, TypeError):
        return None
    paths = joined.split("\0")
    if len(numbers) != 4 * len(paths) or not 0 <= trees <= len(paths):
        return None
    return Signed(made_by, said, paths, numbers, trees, parts[4])


def read_signed(spec_file: str) -> Signed | None:
    """What was kept of a pipeline, while it holds."""
    data = read_cache(spec_file)
    signed = None if data is None else decode(data)
    return signed if signed is not None and signed.holds(spec_file) else None


def read_cache(spec_file: str) -> bytes | None:
    """The bytes of a pipeline's cache; None: there is none."""
    try:
        with open(cache_file(os.path.dirname(spec_file)), "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def cache_file(root: str) -> str:
    """Where they are kept."""
    return os.path.join(root, ".nbpipe", "cache")


def made_by(spec_file: str) -> str:
    """The versions, the pipeline's place, and where its modules are found.

    The last is what ``sys.path`` and the folders that it names say, so far as they lie under the
    root: with them :func:`nbpipe.store.imports.search_roots` gives the same folders again.
    """
    real = os.path.realpath(os.path.dirname(spec_file))
    parts = [nbpipe.__version__, sys.version, sys.byteorder, sys.prefix, sys.base_prefix]
    parts += [os.path.abspath(spec_file), real, env_elsewhere(spec_file)]
    for entry in sys.path:
        try:
            folder = os.path.realpath(os.path.join(real, entry))
        except (OSError, ValueError):
            continue
        if folder != real and folder.startswith(os.path.join(real, "")):
            parts += [folder, str(os.path.isdir(folder))]
    return "\0".join(parts)


def file_signature(path: str) -> Signature:
    """The signature of a file, or of a folder without what is in it."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return MISSING
    return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino & _POSITIVE)


def tree_signature(path: str) -> Signature:
    """The signature of a folder with all that is in it."""
    from nbpipe.store import products

    try:
        return products.tree_signature(path) if os.path.isdir(path) else file_signature(path)
    except OSError:
        return MISSING


def _by_four(numbers: Iterable[int]) -> Iterator[Signature]:
    """The signatures that stand one after the other."""
    each = iter(numbers)
    return zip(each, each, each, each, strict=True)


def _all_hold(base: str, paths: Sequence[str], numbers: Sequence[int]) -> bool:
    """Whether :func:`file_signature` of each path below ``base`` is as given."""
    if os.stat not in os.supports_dir_fd:
        return _hold(None, [os.path.join(base, path) for path in paths], numbers)
    try:
        folder = os.open(base, os.O_RDONLY)  # spares looking up the way to it each time
    except OSError:
        return False
    try:
        return _hold(folder, paths, numbers)
    finally:
        os.close(folder)


def _hold(folder: int | None, paths: Sequence[str], numbers: Sequence[int]) -> bool:
    # Whatever is done here is done for thousands of files. Four numbers are taken at a time, since
    # a tuple for every path would take as long as the rest, and an inode is cut to what fits into
    # a file of signatures only where it differs.
    look, each = os.stat, iter(numbers)
    for path, size, mtime, ctime, inode in zip(paths, each, each, each, each, strict=True):
        try:
            info = look(path, dir_fd=folder)
        except (OSError, ValueError):
            if size != -1:
                return False
            continue
        if (
            info.st_ctime_ns != ctime
            or info.st_mtime_ns != mtime
            or info.st_size != size
            or (info.st_ino != inode and info.st_ino & _POSITIVE != inode)
        ):
            return False
    return True


def locate_spec(start: str) -> str | None:
    """The spec file that a folder belongs to: in it or above it; ``start`` may be the file itself.

    It is called ``pipeline.yaml``, unless the environment or a settings file says otherwise, and
    may lie in the package below ``src``.

    Returns:
        An absolute path; None: there is none.
    """
    folder = os.path.abspath(start)
    if os.path.isfile(folder):
        return folder
    if not os.path.isdir(folder):
        return None
    said, name = named(folder)
    if said is not None:
        return said if os.path.isfile(said) else None
    while True:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
        inner = in_package(folder, name)
        if inner is not None:
            return inner
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
