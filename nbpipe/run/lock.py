"""One build at a time: an operating system's file lock, so a dead holder never blocks."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nbpipe.errors import LockedError, StoreError


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


DYING = 2.0
"""Seconds that a lock may outlive its holder, whose threads are still being ended."""


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

    lock = filelock.FileLock(home / "lock", thread_local=False)
    note = home / "holder.json"
    try:
        # The threads of a killed process let go of the lock a moment after it counts as dead.
        lock.acquire(timeout=0 if holder(home) is not None else DYING, poll_interval=0.02)
    except filelock.Timeout:
        hint = "wait for it (--wait), follow it (nbpipe watch), or stop it (nbpipe cancel)"
        raise LockedError(_who(note), hint) from None
    except OSError as error:
        raise StoreError(
            f"{home / 'lock'}: cannot be written: {error.strerror or error}"
        ) from error
    try:
        mine = Holder(os.getpid(), socket.gethostname(), time.time(), run)
        _write_note(note, mine)
        yield mine
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def holder(home: Path) -> Holder | None:
    """Who holds the pipeline now, told without touching the lock; None: nobody.

    A note left behind by a killed build counts only while its process lives.
    """
    found = _read_note(home / "holder.json")
    if found is None or found.host != socket.gethostname():
        return found
    import psutil

    try:
        process = psutil.Process(found.pid)
        lives = process.status() != psutil.STATUS_ZOMBIE
        lives = lives and process.create_time() <= found.started + 1
    except psutil.Error:
        return None
    return found if lives else None


def wait_until_free(home: Path, end: float | None) -> bool:
    """Wait while another build holds the pipeline.

    Args:
        home: the ``.nbpipe`` folder.
        end: when to give up, on :func:`time.monotonic`'s clock; None: never.

    Returns:
        Whether it is worth trying again; False when ``end`` has passed.
    """
    import filelock

    left = -1.0 if end is None else max(0.0, end - time.monotonic())
    try:
        with filelock.FileLock(home / "lock", thread_local=False).acquire(
            timeout=left, poll_interval=0.2
        ):
            return True
    except filelock.Timeout:
        return False


def _write_note(note: Path, holder: Holder) -> None:
    try:
        note.write_bytes(msgspec.json.encode(holder))
    except OSError as error:
        raise StoreError(f"{note}: cannot be written: {error.strerror or error}") from error


def _read_note(note: Path) -> Holder | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None


def _who(note: Path) -> str:
    found = _read_note(note)
    if found is None:
        return "another build holds this pipeline"
    start = dt.datetime.fromtimestamp(found.started, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"another build holds this pipeline: pid {found.pid} on {found.host}, since {start}"
