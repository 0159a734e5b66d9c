"""One build at a time: an operating system's file lock, so a dead holder never blocks."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nbpipe.errors import LockedError, cannot_write
from nbpipe.run.tasklocks import DYING, running_tasks

LOCK = "lock"
"""The file in the ``.nbpipe`` folder. A build holds it alone, single tasks share it."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds the pipeline.

    Attributes:
        pid: process id on ``host``.
        host: name of the machine.
        started: seconds since the epoch, UTC.
        run: id of the run.
    """

    pid: int
    host: str
    started: float
    run: str


@contextlib.contextmanager
def build_lock(home: Path, run: str) -> Iterator[Holder]:
    """Hold the pipeline while a build runs.

    Args:
        home: the ``.nbpipe`` folder, which exists.
        run: id of the run that takes it.

    Raises:
        LockedError: another build holds it; the message names pid, host and start.
        StoreError: the lock file cannot be written.
    """
    import filelock

    lock = filelock.FileLock(home / LOCK, thread_local=False)
    note = home / "holder.json"
    try:
        # The threads of a killed process let go of the lock a moment after it counts as dead.
        lock.acquire(timeout=0 if holder(home) is not None else DYING, poll_interval=0.02)
    except filelock.Timeout:
        hint = "wait for it (--wait), follow it (nbpipe watch), or stop it (nbpipe cancel)"
        raise LockedError(describe_holder(home), hint) from None
    except OSError as error:
        raise cannot_write(home / LOCK, error) from error
    try:
        if running_tasks(home):
            raise LockedError(describe_holder(home), "wait for it (--wait)")
        mine = Holder(os.getpid(), socket.gethostname(), time.time(), run)
        _write_note(note, mine)
        yield mine
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def holder(home: Path) -> Holder | None:
    """Who holds the pipeline now; None: nobody.

    A note left behind by a killed build counts only while its process lives; that of another host,
    whose processes cannot be seen, only while the lock is held.
    """
    found = _read_note(home / "holder.json")
    if found is None:
        return None
    if found.host != socket.gethostname():
        return found if _is_held(home / LOCK) else None
    import psutil

    try:
        process = psutil.Process(found.pid)
        lives = process.status() != psutil.STATUS_ZOMBIE
        lives = lives and process.create_time() <= found.started + 1
    except psutil.Error:
        return None
    return found if lives else None


def _is_held(path: Path) -> bool:
    """Whether somebody holds the lock alone; in doubt, yes.

    Looking shares it for a moment. That disturbs nobody: others may look too, and who wants it
    alone tries for a while when nobody seems to hold it.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return path.exists()
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def wait_until_free(home: Path, end: float | None) -> bool:
    """Wait while another build holds the pipeline.

    Args:
        home: the ``.nbpipe`` folder.
        end: when to give up, on :func:`time.monotonic`'s clock; None: never.

    Returns:
        Whether it is worth trying again; False when ``end`` has passed.
    """
    import filelock

    while True:
        left = -1.0 if end is None else max(0.0, end - time.monotonic())
        lock = filelock.FileLock(home / LOCK, thread_local=False)
        try:
            with lock.acquire(timeout=left, poll_interval=0.2):
                busy = bool(running_tasks(home))
        except filelock.Timeout:
            return False
        if not busy or (end is not None and time.monotonic() >= end):
            return not busy
        time.sleep(0.2)


def _write_note(note: Path, holder: Holder) -> None:
    try:
        note.write_bytes(msgspec.json.encode(holder))
    except OSError as error:
        raise cannot_write(note, error) from error


def _read_note(note: Path) -> Holder | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def describe_holder(home: Path) -> str:
    """Who holds the pipeline, or runs a task of it, in a sentence."""
    tasks = running_tasks(home) if holder(home) is None else []
    if tasks:
        return str(tasks[0])
    found = _read_note(home / "holder.json")
    if found is None:
        return "another build holds this pipeline"
    start = dt.datetime.fromtimestamp(found.started, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"another build holds this pipeline: pid {found.pid} on {found.host}, since {start}"
