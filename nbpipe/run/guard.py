"""Who may write beside whom: the pipeline's lock in shared mode, for one task on its own.

A build holds the pipeline alone. Processes that each run one task share it: several run at the same
time, a build meanwhile waits or is refused, and they are while a build holds it. What a builder
itself has sent off, to a cluster say, is let in by :data:`BUILDER`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nbpipe.errors import LockedError, cannot_write
from nbpipe.run.lock import LOCK, describe_holder, holder
from nbpipe.run.tasklocks import DYING, TaskLock

BUILDER = "NBPIPE_BUILDER"
"""Environment variable that names the run whose builder has sent this process off."""

POLL = 0.1
"""Seconds between two tries."""


@contextlib.contextmanager
def one_task(home: Path, task: str, wait: float | None) -> Iterator[TaskLock]:
    """Hold a task, beside others who hold other tasks.

    Args:
        home: the ``.nbpipe`` folder, which exists.
        task: name of the task.
        wait: seconds to wait for another holder; None: without limit.

    Raises:
        LockedError: another process runs this task, or a build holds the pipeline.
        StoreError: a lock cannot be written.
    """
    end = None if wait is None else time.monotonic() + wait
    # In this order: who waits for a build must not hold a task that the build will send off.
    with _shared(home, end), TaskLock(home, task, end) as lock:
        yield lock


@contextlib.contextmanager
def _shared(home: Path, end: float | None) -> Iterator[None]:
    if os.environ.get(BUILDER):
        yield
        return
    if sys.platform == "win32":
        # It has no shared locks: a build that begins later finds the task's lock held.
        while holder(home) is not None:
            _wait_or_refuse(home, end, found=True)
        yield
        return
    import fcntl

    path = home / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        patience = time.monotonic() + DYING
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                is_build = holder(home) is not None or time.monotonic() > patience
                _wait_or_refuse(home, end, found=is_build)
        yield
    finally:
        os.close(handle)


def _wait_or_refuse(home: Path, end: float | None, *, found: bool) -> None:
    if found and end is not None and time.monotonic() >= end:
        hint = "wait for it (--wait), follow it (nbpipe watch), or stop it (nbpipe cancel)"
        raise LockedError(describe_holder(home), hint)
    time.sleep(POLL)
