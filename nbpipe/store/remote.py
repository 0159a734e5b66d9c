"""A place outside of the project that keeps objects by name: a shared folder, or object storage.

The port is :class:`Remote`. :func:`open_remote` gives one for an address, wrapped so that every
operation is tried again after a passing failure, and ends in a StoreError where that does not help.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from nbpipe.errors import NbpipeError, StoreError

VARIABLE = "NBPIPE_STORE"
"""Environment variable that names the store; empty: none, whatever the spec says."""

TRIES = 5
"""How often an operation is tried."""

FIRST_PAUSE = 0.2
"""Seconds before the second try; every further pause is twice as long, up to LONGEST_PAUSE."""

LONGEST_PAUSE = 10.0
"""Seconds."""

REPLY = 60.0
"""Seconds that an operation may take, beside the time for its bytes."""

_FINAL = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EINVAL,
    errno.ENAMETOOLONG,
}
"""Errors of the operating system that another try does not mend."""

T = TypeVar("T")


class Remote(Protocol):
    """Keeps objects under keys such as ``records/ab/abc.json``.

    An object is there whole or not at all: one that is being written cannot be seen.
    """

    def size(self, key: str) -> int | None:
        """Bytes of an object; None: there is none."""
        ...

    def read(self, key: str) -> bytes | None:
        """A small object; None: there is none."""
        ...

    def fetch(self, key: str, target: Path) -> bool:
        """Copy an object over the file ``target``; False: there is none."""
        ...

    def put(self, key: str, source: Path | bytes) -> None:
        """Write an object, over one that may be there, in one step."""
        ...


class Patient:
    """A :class:`Remote` whose operations are tried again, and fail with a StoreError.

    Args:
        inner: does the work.
        shown: the address as messages give it.
        tries: how often an operation is tried.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        inner: Remote,
        shown: str,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inner = inner
        self._shown = shown
        self._tries = tries
        self._sleep = sleep

    def size(self, key: str) -> int | None:
        """As :meth:`Remote.size`.

        Raises:
            StoreError: it cannot be told.
        """
        return self._attempted("look at", key, lambda: self._inner.size(key))

    def read(self, key: str) -> bytes | None:
        """As :meth:`Remote.read`.

        Raises:
            StoreError: it cannot be read.
        """
        return self._attempted("read", key, lambda: self._inner.read(key))

    def fetch(self, key: str, target: Path) -> bool:
        """As :meth:`Remote.fetch`.

        Raises:
            StoreError: it cannot be read, or ``target`` not be written.
        """
        return self._attempted("fetch", key, lambda: self._inner.fetch(key, target))

    def put(self, key: str, source: Path | bytes) -> None:
        """As :meth:`Remote.put`, and sees that the object then has its size.

        Raises:
            StoreError: it cannot be written.
        """
        self._attempted("write", key, lambda: self._put_once(key, source))

    def _put_once(self, key: str, source: Path | bytes) -> None:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        self._inner.put(key, source)
        found = self._inner.size(key)
        if found != size:
            raise ConnectionError(f"{size} bytes were written, and {found} are there")

    def _attempted(self, verb: str, key: str, operation: Callable[[], T]) -> T:
        for attempt in range(self._tries):
            if attempt:
                self._sleep(pause_before(attempt))
            try:
                return operation()
            except NbpipeError:
                raise
            except Exception as error:
                last = error
                if is_final(error):
                    break
        what = f"{self._shown}: cannot {verb} {key}: {_reason(last)}"
        tried = "" if attempt == 0 else f" (tried {attempt + 1} times)"
        hint = "check the address, the credentials and the connection; finished work is kept"
        raise StoreError(f"{what}{tried}", hint) from last


def pause_before(attempt: int) -> float:
    """Seconds to wait before a try; 1 is the second one. Random, so that many do not act as one."""
    return min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.75, 1.25)


def is_final(error: Exception) -> bool:
    """Whether another try would end the same way."""
    if isinstance(error, PermissionError | FileNotFoundError):
        return True
    if isinstance(error, OSError):
        return error.errno in _FINAL
    return isinstance(error, ValueError | TypeError | LookupError | ImportError | AttributeError)


def open_remote(url: str, base: Path, tries: int = TRIES, reply: float = REPLY) -> Remote:
    """The place at an address.

    Args:
        url: a path, ``file://…``, or what fsspec understands: ``s3://bucket/folder``,
            ``gs://…``, ``az://…``, ``memory://…``.
        base: the folder that a relative path starts from.
        tries: how often an operation is tried.
        reply: seconds that each try may take, beside the time for its bytes.

    Raises:
        UsageError: there is no such kind of place, or a library is missing.
    """
    if (folder := local_folder(url, base)) is not None:
        from nbpipe.store.remote_folder import FolderRemote

        return Patient(FolderRemote(folder), shown_url(url), tries)
    from nbpipe.store.remote_fsspec import FsspecRemote

    return Patient(FsspecRemote(url, reply), shown_url(url), tries)


def local_folder(url: str, base: Path) -> Path | None:
    """The folder that an address means; None: it is none of this machine's file system."""
    if url.startswith("file://"):
        return Path(url.removeprefix("file://"))
    if "://" in url or "::" in url:
        return None
    return base / os.path.expanduser(url)


def shown_url(url: str) -> str:
    """An address without the password, or the user and key, that may stand in it."""
    if "@" not in url or "://" not in url:
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _reason(error: Exception) -> str:
    silent = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    text = str(error) or silent
    first = text.splitlines()[0]
    return first if len(first) <= 300 else f"{first[:299]}…"
