"""One process a task: the locks of ``nbpipe task NAME --only``, of which many may run at once.

Such a process holds the lock of its task and, in shared mode, the pipeline's own (``guard``), which
a build holds alone. Both are the operating system's, so a dead holder never blocks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import msgspec

from nbpipe.errors import LockedError, cannot_write
from nbpipe.store.records import file_stem

FOLDER = "locks"

DYING = 2.0
"""Seconds that a lock may outlive its holder, or be held by somebody who only looks."""


class TaskHolder(msgspec.Struct, frozen=True):
    """Who runs a task on its own.

    Attributes:
        task: its name.
        pid: process id on ``host``.
        host: name of the machine.
        started: seconds since the epoch, UTC.
        run: id of the run; "" until it has begun.
    """

    task: str
    pid: int
    host: str
    started: float
    run: str = ""

    def __str__(self) -> str:
        return f"task '{self.task}' is being run by pid {self.pid} on {self.host}"


class TaskLock:
    """The lock of one task; used with ``with``.

    Args:
        home: the ``.nbpipe`` folder, which exists.
        task: name of the task.
        end: when to give up waiting for another holder, on :func:`time.monotonic`'s clock; None:
            never.

    Raises:
        LockedError: on entering: another process runs this task.
        StoreError: on entering: the lock cannot be written.
    """

    def __init__(self, home: Path, task: str, end: float | None) -> None:
        import filelock

        folder = home / FOLDER
        self._task = task
        self._end = end
        self._path = folder / f"{file_stem(task)}.lock"
        self._note = folder / f"{file_stem(task)}.json"
        self._lock = filelock.FileLock(self._path, thread_local=False)

    def __enter__(self) -> TaskLock:
        import filelock

        left = -1.0 if self._end is None else max(DYING, self._end - time.monotonic())
        try:
            self._path.parent.mkdir(exist_ok=True)
            self._lock.acquire(timeout=left, poll_interval=0.02)
        except filelock.Timeout:
            found = _read(self._note)
            what = str(found) if found else f"another process runs task '{self._task}'"
            raise LockedError(what, "wait for it (--wait)") from None
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self.tell("")
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._note.unlink()
        self._lock.release()

    def tell(self, run: str) -> None:
        """Note who holds it, and in which run; nobody's decision rests on that."""
        mine = TaskHolder(self._task, os.getpid(), socket.gethostname(), time.time(), run)
        made = self._note.with_suffix(".new")
        with contextlib.suppress(OSError):
            made.write_bytes(msgspec.json.encode(mine))
            made.replace(self._note)


def running_tasks(home: Path) -> list[TaskHolder]:
    """The tasks that processes run on their own at this moment."""
    try:
        notes = [path for path in (home / FOLDER).iterdir() if path.suffix == ".json"]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [found for note in notes if (found := _held(note)) is not None]


def _held(note: Path) -> TaskHolder | None:
    """What a note says, while the lock beside it is held."""
    import filelock

    found = _read(note)
    lock = filelock.FileLock(note.with_suffix(".lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (filelock.Timeout, OSError):
        return found
    lock.release()
    return None


def _read(note: Path) -> TaskHolder | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=TaskHolder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
