"""One JSON record a task, under ``.nbpipe/records``: crash-safe, checksummed, relative.

A file reads ``{"schema": 1, "checksum": "<SHA-256 of the record's bytes>", "record": {…}}``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import msgspec

from nbpipe.core.model import Record
from nbpipe.errors import RecordVersionError, StoreError, cannot_write
from nbpipe.store.products import write_durably

SCHEMA = 1
"""Version of the record's layout; a reader refuses a higher one and ignores a lower one."""

FOLDER = ".nbpipe"
"""Everything of ours, beside pipeline.yaml."""


class _Envelope(msgspec.Struct):
    schema: int
    checksum: str = ""
    record: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Envelope)


def file_stem(task: str) -> str:
    """A file name (without suffix) for a task, readable where it can be, unique always."""
    safe = quote(task, safe=" ()[],+@=~")
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    if len(safe) <= 150:
        return safe
    return safe[:100] + "-" + hashlib.sha256(task.encode()).hexdigest()[:16]


def encode_record(record: Record) -> bytes:
    """A record as it is kept in a file, checksum included."""
    body = msgspec.json.encode(record)
    checksum = hashlib.sha256(body).hexdigest()
    return b'{"schema":%d,"checksum":"%s","record":%s}\n' % (SCHEMA, checksum.encode(), body)


def decode_record(data: bytes, place: str) -> Record | None:
    """The record in the bytes of a file; None: they are damaged.

    Args:
        data: as :func:`encode_record` gives them.
        place: where they were read, for the message.

    Raises:
        RecordVersionError: they were written by a newer nbpipe.
    """
    try:
        envelope = _DECODER.decode(data)
        if envelope.schema > SCHEMA:
            raise RecordVersionError(
                f"{place}: written by a newer nbpipe (schema {envelope.schema}, known {SCHEMA})",
                "update nbpipe, or remove the file to build that task anew",
            )
        if hashlib.sha256(bytes(envelope.record)).hexdigest() != envelope.checksum:
            return None
        return msgspec.json.decode(envelope.record, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class RecordStore:
    """The records of one pipeline.

    Args:
        root: folder of pipeline.yaml.
        spec: name of the spec file. Another one in the same folder has records of its own, since
            its tasks may have the same names.
    """

    def __init__(self, root: Path, spec: str = "pipeline.yaml") -> None:
        self.home = root / FOLDER
        own = "" if spec == "pipeline.yaml" else f"-{file_stem(spec)}"
        self.folder = self.home / f"records{own}"

    def prepare(self) -> None:
        """Make the folder, with a ``.gitignore`` that keeps it out of version control.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            ignore = self.home / ".gitignore"
            if not ignore.exists():
                ignore.write_text("# Made by nbpipe.\n*\n", encoding="utf-8")
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot be written: {error.strerror or error}",
                "a build needs to write there; reading commands do not",
            ) from error

    def path(self, task: str) -> Path:
        """Where the record of a task is kept."""
        return self.folder / f"{file_stem(task)}.json"

    def load(self, task: str) -> Record | None:
        """The record of a task; None when there is none, or only a damaged one.

        Raises:
            RecordVersionError: it was written by a newer nbpipe.
            StoreError: it is there but cannot be read.
        """
        record = self._read(self.path(task))
        return record if record is not None and record.task == task else None

    def load_all(self, tasks: Iterable[str]) -> dict[str, Record]:
        """The records of those tasks that have one."""
        found = ((task, self.load(task)) for task in tasks)
        return {task: record for task, record in found if record is not None}

    def save(self, record: Record) -> None:
        """Write a record so that it survives a crash.

        Raises:
            StoreError: the disk is full or read-only; the old record is intact.
        """
        write_durably(self.path(record.task), encode_record(record))

    def remove(self, task: str) -> None:
        """Forget a task.

        Raises:
            StoreError: the disk is broken or read-only; the record is intact.
        """
        try:
            self.path(task).unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.path(task), error) from error

    def others(self, tasks: Iterable[str]) -> dict[str, Record]:
        """Records of tasks that are not among ``tasks``: renamed or removed ones."""
        known = {self.path(task).name for task in tasks}
        found: dict[str, Record] = {}
        for path in self._files():
            record = self._read(path) if path.name not in known else None
            if record is not None:
                found[record.task] = record
        return found

    def set_damaged_aside(self) -> list[str]:
        """Move unreadable records to ``records/damaged``; returns one warning for each.

        Raises:
            StoreError: one cannot be moved.
        """
        warnings = []
        for path in self._files():
            if self._read(path) is None:
                target = self.folder / "damaged" / path.name
                try:
                    target.parent.mkdir(exist_ok=True)
                    os.replace(path, target)
                except FileNotFoundError:  # another process has removed it or set it aside
                    continue
                except OSError as error:
                    raise cannot_write(path, error) from error
                warnings.append(
                    f"damaged record moved to {FOLDER}/{self.folder.name}/damaged/{path.name}"
                )
        return warnings

    def _files(self) -> list[Path]:
        try:
            return sorted(p for p in self.folder.iterdir() if p.suffix == ".json")
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _read(self, path: Path) -> Record | None:
        """The record in a file; None when it is absent or damaged."""
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error
        return decode_record(data, str(path))
