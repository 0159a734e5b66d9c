"""Object storage through fsspec: S3, Google Cloud Storage, Azure, and what else it knows.

A ``put`` of fsspec's object stores is one request, or a multipart upload that is completed at the
end and given up on an error, so nothing is visible before it is whole. What the services need
(credentials, endpoints) they take from their usual environment variables and files.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from nbpipe.errors import UsageError
from nbpipe.store.remote import REPLY

SLOWEST = 256 * 1024
"""Bytes a second; a transfer that is slower is given up, and tried again."""

EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
"""The extra that brings the library for an address of this kind."""


class FsspecRemote:
    """Objects below an address that fsspec understands.

    Args:
        url: such as ``s3://bucket/folder``.
        reply: seconds that an operation may take, beside the time for its bytes.

    Raises:
        UsageError: fsspec does not know this kind of address, or a library is missing.
    """

    def __init__(self, url: str, reply: float = REPLY) -> None:
        self._fs, self._root = _opened(url)
        self._reply = reply

    def size(self, key: str) -> int | None:
        """Bytes of an object; None: there is none."""
        try:
            info = self._call("info", self._path(key))
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else int(info["size"])

    def read(self, key: str) -> bytes | None:
        """A small object; None: there is none."""
        try:
            data: bytes = self._call("cat_file", self._path(key))
        except FileNotFoundError:
            return None
        return data

    def fetch(self, key: str, target: Path) -> bool:
        """Copy an object over the file ``target``; False: there is none."""
        size = self.size(key)
        if size is None:
            return False
        self._call("get_file", self._path(key), str(target), size=size)
        return True

    def put(self, key: str, source: Path | bytes) -> None:
        """Write an object in one step."""
        path = self._path(key)
        with contextlib.suppress(NotImplementedError):
            # Of use where folders exist; object storage has none, and a bucket is not ours to make.
            if not _is_object_storage(self._fs):
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if isinstance(source, bytes):
            self._call("pipe_file", path, source, size=len(source))
        else:
            self._call("put_file", str(source), path, size=source.stat().st_size)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _call(self, name: str, *args: Any, size: int = 0) -> Any:
        """Call a method of the file system, given up after a time that its bytes justify."""
        if not getattr(self._fs, "async_impl", False):
            return getattr(self._fs, name)(*args)
        from fsspec.asyn import sync

        method = getattr(self._fs, f"_{name}")
        return sync(self._fs.loop, method, *args, timeout=self._reply + size / SLOWEST)


def _is_object_storage(fs: Any) -> bool:
    names = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return bool(names & EXTRAS.keys())


def _opened(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0].rpartition("::")[2] or url
    try:
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(url)
    except ImportError as error:
        missing = error.name or "its library"
        extra = EXTRAS.get(protocol, "store")
        hint = f"install nbpipe-kit[{extra}]"
        raise UsageError(f"a store at {protocol}:// needs {missing}", hint) from error
    except ValueError as error:
        hint = "a folder, or an address such as s3://bucket/folder, gs://…, az://…"
        raise UsageError(f"no store at {protocol}://: {error}", hint) from error
    return fs, root.rstrip("/")
