"""Results that several machines share: products by digest, records by what went into them.

| key | what it is |
|---|---|
| ``objects/ab/ab12…`` | a file, named by the SHA-256 of its bytes |
| ``trees/ab/ab12…`` | what is in a folder, named by the folder's digest |
| ``records/cd/cd34…json`` | the record of a good run, named by the digest of all that it consumed |
| ``latest/<task>.json`` | the record of a task's latest good run |
| ``runs/<run>/…`` | events, notebook and logs of a run in which a task failed |

An object is never changed: it can only be written again with the bytes that its name promises.
The record is written last, so whoever reads one finds all that it names. Records under their inputs
make that two branches, or two users, never take each other's results for their own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from nbpipe.core.fingerprint import value_digest
from nbpipe.core.model import FileState, Inputs, Record, Task
from nbpipe.errors import StoreError, cannot_write
from nbpipe.store.products import digest_product, temporary_file, tree_listing
from nbpipe.store.records import decode_record, encode_record, file_stem
from nbpipe.store.remote import Remote, open_remote, shown_url

AT_ONCE = 8
"""Objects that are moved or looked at at the same time."""

DUMP = ".dump"
"""Suffix of the variables of a task that failed, in the folder of a run."""

FETCHES = 2
"""How often an object is fetched whose bytes do not have its digest: they may break on the way."""

_DIGESTS = ("upstream", "modules", "files")
"""The parts of a task's inputs that are digests by name."""

T = TypeVar("T")
R = TypeVar("R")


def record_key(inputs: Inputs) -> str | None:
    """Digest of all that decides a task's result; None: a part of it is not known.

    Comments and formatting of the source do not count, nor does the task's name.
    """
    said: dict[str, Any] = msgspec.to_builtins(inputs)
    del said["text"]
    known = {name: value for name, value in said.items() if value not in ("", None, {}, [])}
    digests = (value for name in _DIGESTS for value in known.get(name, {}).values())
    return None if None in digests else value_digest(known)


class SharedStore:
    """The results of one pipeline in a place that others see.

    Args:
        url: as :func:`~nbpipe.store.remote.open_remote` takes it.
        root: folder of pipeline.yaml; products are below it.
        remote: the place itself; None: opened by its address.

    Attributes:
        shown: the address for messages, without a password.
    """

    def __init__(self, url: str, root: Path, remote: Remote | None = None) -> None:
        self.url = url
        self.shown = shown_url(url)
        self._root = root
        self._remote = remote if remote is not None else open_remote(url, root)

    def find(self, task: Task, inputs: Inputs, *, whole: bool = True) -> Record | None:
        """The record of a good run with just these inputs; None: there is none.

        Args:
            task: the task.
            inputs: all that a run would consume, upstream digests included.
            whole: True: a record counts only while all of its products are there.

        Raises:
            StoreError: the store cannot be read.
        """
        key = record_key(inputs)
        record = None if key is None else self._record(f"records/{key[:2]}/{key}.json")
        if record is None or not _promises(record, task):
            return None
        if whole and not self._is_whole(record):
            return None
        return msgspec.structs.replace(record, task=task.name)

    def latest(self, task: Task) -> Record | None:
        """The record of a task's latest good run, whatever it consumed; None: there is none.

        Raises:
            StoreError: the store cannot be read.
        """
        record = self._record(f"latest/{file_stem(task.name)}.json")
        same = record is not None and record.good is not None
        if not same or record is None or record.good is None or not _promises(record, task):
            return None
        return record if record.good.inputs.source == task.source else None

    def publish(self, record: Record, *, anew: bool = False) -> None:
        """Put the products of a good run into the store, and then its record.

        Args:
            record: of the run; its products are in the project.
            anew: True: write also the objects that seem to be there, as they may be damaged.

        Raises:
            StoreError: the store cannot be written, or a product is not what the record says.
        """
        if record.good is None:
            return
        _each(
            lambda item: self._publish_product(*item, anew=anew),
            list(record.good.products.items()),
        )
        data = encode_record(record)
        key = record_key(record.good.inputs)
        if key is not None:
            self._remote.put(f"records/{key[:2]}/{key}.json", data)
        self._remote.put(f"latest/{file_stem(record.task)}.json", data)

    def bring(self, record: Record) -> Record:
        """Put the products of a record into the project, each in one step.

        Returns:
            The record with the states that the files have here.

        Raises:
            StoreError: an object is missing or does not have its digest, and is refused; or a
                product cannot be written.
        """
        assert record.good is not None
        states = record.good.products
        here = _each(lambda path: self._bring_product(path, states[path].digest), list(states))
        good = msgspec.structs.replace(record.good, products=dict(zip(states, here, strict=True)))
        return msgspec.structs.replace(record, good=good)

    def keep_run(self, folder: Path) -> str:
        """Copy the files of a run's folder; returns where they are.

        The variables of what failed stay here: they may hold what is for nobody else.

        Raises:
            StoreError: they cannot be written.
        """
        there = (path for path in sorted(folder.iterdir()) if path.is_file())
        files = [path for path in there if path.suffix != DUMP]
        _each(lambda path: self._remote.put(f"runs/{folder.name}/{path.name}", path), files)
        return f"{self.shown}/runs/{folder.name}"

    # -- records ---------------------------------------------------------------------------------

    def _record(self, key: str) -> Record | None:
        """A record; a damaged one counts as absent: the task runs, and writes a good one."""
        data = self._remote.read(key)
        record = None if data is None else decode_record(data, f"{self.shown}/{key}")
        return record if record is not None and record.state == "done" else None

    def _is_whole(self, record: Record) -> bool:
        products = record.good.products if record.good is not None else {}
        return all(_each(self._is_there, list(products.values())))

    def _is_there(self, state: FileState) -> bool:
        size = self._remote.size(_object(state.digest))
        if size is not None:
            return size == state.size
        listing = self._remote.read(_tree(state.digest))
        if listing is None or hashlib.sha256(listing).hexdigest() != state.digest:
            return False
        inner = {digest for _, digest in _entries(listing, self.shown) if digest != "/"}
        return None not in _each(lambda digest: self._remote.size(_object(digest)), list(inner))

    # -- into the store --------------------------------------------------------------------------

    def _publish_product(self, path: str, state: FileState, *, anew: bool) -> None:
        place = self._root / path
        before = digest_product(place, state)
        if before is None or before.digest != state.digest:
            raise self._changed(path)
        if place.is_dir():
            self._put_tree(path, state.digest, anew)
        else:
            self._put_object(place, state.digest, anew)
        after = digest_product(place, before)
        if after is None or after.digest != state.digest:
            raise self._changed(path)

    def _put_object(self, file: Path, digest: str, anew: bool) -> None:
        key = _object(digest)
        if anew or self._remote.size(key) != file.stat().st_size:
            self._remote.put(key, file)

    def _put_tree(self, path: str, digest: str, anew: bool) -> None:
        listing = tree_listing(self._root / path)
        if hashlib.sha256(listing).hexdigest() != digest:
            raise self._changed(path)
        files = {inner: name for name, inner in _entries(listing, path) if inner != "/"}
        _each(
            lambda item: self._put_object(self._root / path / item[1], item[0], anew),
            list(files.items()),
        )
        if anew or self._remote.size(_tree(digest)) != len(listing):
            self._remote.put(_tree(digest), listing)

    def _changed(self, path: str) -> StoreError:
        return StoreError(
            f"{path} was changed since it was built, and is not put into {self.shown}",
            "build its task again",
        )

    # -- out of the store ------------------------------------------------------------------------

    def _bring_product(self, path: str, digest: str) -> FileState:
        place = self._root / path
        state = digest_product(place)
        if state is None or state.digest != digest:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(path, digest, place)
            except OSError as error:
                raise cannot_write(place, error) from error
            state = digest_product(place)
        if state is None or state.digest != digest:
            raise StoreError(f"{path} was changed while it was fetched", "try again")
        return state

    def _fetch(self, path: str, digest: str, place: Path) -> None:
        """A file into its place in one step; a folder, beside its place and then swapped."""
        with temporary_file(place) as made:
            if self._fetch_object(digest, made, path):
                if place.is_dir():
                    shutil.rmtree(place)
                os.replace(made, place)
                return
        listing = self._remote.read(_tree(digest))
        if listing is None:
            raise StoreError(
                f"{self.shown}: the object of {path} is missing ({digest[:12]}…)",
                "run the task that makes it again, with this store",
            )
        if hashlib.sha256(listing).hexdigest() != digest:
            raise self._corrupted(path, _tree(digest))
        with _scratch(place.parent) as scratch:
            self._fetch_tree(listing, Path(scratch) / "new", path)
            if place.is_dir() or place.exists():
                os.replace(place, Path(scratch) / "old")
            os.replace(Path(scratch) / "new", place)

    def _fetch_tree(self, listing: bytes, folder: Path, path: str) -> None:
        folder.mkdir()
        entries = list(_entries(listing, path))
        for name, inner in entries:
            below = folder / name
            (below if inner == "/" else below.parent).mkdir(parents=True, exist_ok=True)

        def fetch(entry: tuple[str, str]) -> None:
            name, digest = entry
            if not self._fetch_object(digest, folder / name, f"{path}/{name}"):
                what = f"{self.shown}: the object of {path}/{name} is missing ({digest[:12]}…)"
                raise StoreError(what, "run the task that makes it again, with this store")

        _each(fetch, [entry for entry in entries if entry[1] != "/"])

    def _fetch_object(self, digest: str, target: Path, path: str) -> bool:
        for _ in range(FETCHES):
            if not self._remote.fetch(_object(digest), target):
                return False
            state = digest_product(target)
            if state is not None and state.digest == digest:
                return True
        target.unlink(missing_ok=True)
        raise self._corrupted(path, _object(digest))

    def _corrupted(self, path: str, key: str) -> StoreError:
        return StoreError(
            f"{self.shown}/{key}: its bytes are not those of {path} that the record tells of; "
            "refused",
            "run the task that makes it again with --force and this store: that replaces it",
        )


def _promises(record: Record, task: Task) -> bool:
    """Whether a record names the products of a task, and no other path."""
    found = set() if record.good is None else set(record.good.products)
    return record.good is not None and (
        set(task.data.values()) <= found <= set(task.products.values())
    )


def _object(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"


def _tree(digest: str) -> str:
    return f"trees/{digest[:2]}/{digest}"


def _entries(listing: bytes, shown: str) -> Iterator[tuple[str, str]]:
    """Names and digests in a folder.

    Raises:
        StoreError: a name leads out of the folder.
    """
    words = listing.decode("utf-8", "surrogateescape").split("\0")
    for name, digest in zip(words[:-1:2], words[1::2], strict=True):
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts:
            raise StoreError(f"{shown}: a folder's list has the name {name!r}; refused")
        yield name, digest


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone at the end; one that a crash leaves behind is known by its name."""
    return tempfile.TemporaryDirectory(prefix=".nbpipe-", suffix=".tmp", dir=folder)


def _each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What a function gives for each item, several at once; the first error is raised."""
    listed = list(items)
    if len(listed) < 2:
        return [function(item) for item in listed]
    with ThreadPoolExecutor(min(AT_ONCE, len(listed))) as pool:
        return list(pool.map(function, listed))
