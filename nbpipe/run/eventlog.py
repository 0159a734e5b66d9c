"""``events.jsonl``: every event of a run, one JSON object a line, append only."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from nbpipe.core.events import Event
from nbpipe.errors import StoreError, cannot_write

RUNS = "runs"
KEPT = 50
"""Folders of that many runs are kept; older ones are removed when a build starts."""


def new_run_id(now: float | None = None) -> str:
    """An id that sorts by time: date, time (UTC) and microseconds, ``20261123-184802-034518``."""
    moment = dt.datetime.fromtimestamp(time.time() if now is None else now, dt.UTC)
    return f"{moment:%Y%m%d-%H%M%S-%f}"


def new_run_folder(home: Path) -> tuple[str, Path]:
    """Make the folder of a new run under ``home``; returns its id and its path.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        (home / RUNS).mkdir(parents=True, exist_ok=True)
        while True:
            run = new_run_id()
            with contextlib.suppress(FileExistsError):
                # Private: logs and partial notebooks may show what nobody else should see.
                (home / RUNS / run).mkdir(mode=0o700)
                return run, home / RUNS / run
    except OSError as error:
        raise StoreError(
            f"{home / RUNS}: cannot be written: {error.strerror or error}",
            "a build needs to write there; reading commands do not",
        ) from error


def run_folders(home: Path) -> list[Path]:
    """The folders of all runs, oldest first."""
    try:
        return sorted(path for path in (home / RUNS).iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def drop_old_runs(home: Path, keep: int = KEPT) -> int:
    """Remove the folders of all but the latest runs; returns how many were removed."""
    old = run_folders(home)[:-keep] if keep else run_folders(home)
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return len(old)


class EventLog:
    """Appends events to a file and hands each to listeners.

    Every event is stamped with the time at which it passes here (seconds since the epoch, UTC).
    A listener that raises is dropped and its error kept in :attr:`dropped`: a broken view must
    not break a build.

    Args:
        path: the file; its folder exists.
        listeners: called with each event, in order.
    """

    def __init__(self, path: Path, listeners: list[Callable[[Event], None]] | None = None) -> None:
        self.path = path
        self.listeners = list(listeners or [])
        self.dropped: list[Exception] = []
        self._encoder = msgspec.json.Encoder()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise cannot_write(path, error) from error

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def emit(self, event: Event) -> None:
        """Stamp, append and hand on one event.

        Raises:
            StoreError: the disk is full.
        """
        stamped = msgspec.structs.replace(event, time=time.time())
        try:
            self._append(self._encoder.encode(stamped) + b"\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        for listener in list(self.listeners):
            try:
                listener(stamped)
            except Exception as error:
                self.dropped.append(error)
                self.listeners.remove(listener)

    def _append(self, line: bytes) -> None:
        """Write a whole line or none: on a full disk the system may take just its beginning."""
        written = os.write(self._file, line)
        if written < len(line):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_DECODER = msgspec.json.Decoder(Event)


def read_events(path: Path) -> list[Event]:
    """The events of a run; a torn last line, and any line that is damaged, is left out."""
    return Tail(path).read()


class Tail:
    """Reads a log that is being written: each time what is new, without a torn last line.

    Args:
        path: the file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[Event]:
        """The events that have been added since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        return list(_decode(data))


def _decode(data: bytes) -> Iterator[Event]:
    for line in data.splitlines():
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield _DECODER.decode(line)
