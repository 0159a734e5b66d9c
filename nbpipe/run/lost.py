"""Runs whose process died without a word: what they left running is ended, their logs closed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil

from nbpipe.core import events as ev
from nbpipe.errors import NbpipeError
from nbpipe.executors import processes
from nbpipe.run.eventlog import EventLog, run_folders
from nbpipe.run.history import read_run
from nbpipe.run.lock import build_lock
from nbpipe.run.note import read_note

LIMIT = 2.0
"""Seconds to wait until killed processes are gone."""

LAST_LINE = 512
"""Bytes; the event that ends a run takes less."""


def settle_lost_runs(home: Path, root: Path, task: str | None = None) -> list[str]:
    """End what dead runs left running, and close their logs. The caller holds the lock.

    Since the lock is held, a run that never said that it ended has no process any more.

    Args:
        home: the ``.nbpipe`` folder.
        root: of the pipeline.
        task: the task whose lock the caller holds: only runs of it alone; None: all runs, since
            the caller holds the pipeline.

    Returns:
        Ids of the runs.
    """
    lost = [folder for folder in run_folders(home) if never_ended(folder)]
    if task is not None:
        lost = [folder for folder in lost if _ran_only(folder, task)]
    if lost:
        end_processes({folder.name for folder in lost if _ran_here(folder)}, root)
    for folder in lost:
        with contextlib.suppress(NbpipeError):
            _close_log(folder)
    return [folder.name for folder in lost]


def settle_if_free(home: Path, root: Path) -> None:
    """As :func:`settle_lost_runs`, unless a build holds the pipeline, which has done it."""
    with contextlib.suppress(NbpipeError), build_lock(home, "settle"):
        settle_lost_runs(home, root)


def end_processes(
    runs: Collection[str], root: Path, known: Iterable[psutil.Process] = (), limit: float = LIMIT
) -> int:
    """Kill what runs left behind, with all that it started.

    Args:
        runs: their ids.
        root: of their pipeline.
        known: further processes to kill.
        limit: seconds to wait until all are gone.

    Returns:
        How many there were.
    """
    try:
        return _end_all(runs, root, set(known), limit)
    finally:
        for folder in _private_folders(runs):
            shutil.rmtree(folder, ignore_errors=True)


def _end_all(runs: Collection[str], root: Path, victims: set[psutil.Process], limit: float) -> int:
    count, end = 0, time.monotonic() + limit
    while True:
        victims |= {p for found in marked(runs, root) for p in (found, *processes.tree(found.pid))}
        victims = {p for p in victims if p.pid != os.getpid() and lives(p)}
        if not victims:
            return count
        count += len(victims)
        for process in victims:
            with contextlib.suppress(psutil.Error, OSError):
                process.kill()
        if not gone(victims, end - time.monotonic()):
            return count
        victims = set()


def marked(runs: Collection[str], root: Path) -> list[psutil.Process]:
    """Living processes of this host whose environment says that they belong to one of the runs.

    A copy of a project has the same run ids, so the root must be the same too.
    """
    if not runs:
        return []
    place, found = os.path.realpath(root), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environ = process.environ()
            same = os.path.realpath(environ.get("NBPIPE_ROOT", "")) == place
            if environ.get("NBPIPE_RUN") in runs and same and lives(process):
                found.append(process)
    return found


def lives(process: psutil.Process) -> bool:
    """Whether a process is there; one that only waits to be reaped is not."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def gone(victims: Iterable[psutil.Process], seconds: float) -> bool:
    """Wait until none of them lives; False when time is up."""
    end = time.monotonic() + seconds
    left = [process for process in victims if lives(process)]
    while left and time.monotonic() < end:
        time.sleep(0.02)
        left = [process for process in left if lives(process)]
    return not left


def _ran_here(folder: Path) -> bool:
    note = read_note(folder)
    return note is not None and note.host == socket.gethostname()


def _ran_only(folder: Path, task: str) -> bool:
    note = read_note(folder)
    mine = os.environ.get("NBPIPE_BUILDER") == folder.name
    return note is not None and note.tasks == (task,) and not mine


def _private_folders(runs: Collection[str]) -> list[Path]:
    """The folders that kernels of these runs were given, with their keys."""
    found: list[Path] = []
    for place in {Path(tempfile.gettempdir()), Path("/tmp")}:
        for run in runs:
            with contextlib.suppress(OSError):
                found += [path for path in place.glob(f"nbpipe-{run}-*") if _is_ours(path)]
    return found


def _is_ours(path: Path) -> bool:
    return sys.platform == "win32" or path.lstat().st_uid == os.getuid()


def never_ended(folder: Path) -> bool:
    """Whether a run began and its log does not say that it ended."""
    try:
        with (folder / "events.jsonl").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LAST_LINE))
            data = file.read()
    except OSError:
        return False
    return size > 0 and b'"event":"run-finished"' not in data


def _close_log(folder: Path) -> None:
    """Say of a dead run what can be said: what had not ended was cancelled."""
    progress, note = read_run(folder), read_note(folder)
    path = folder / "events.jsonl"
    last = path.stat().st_mtime
    pid = f" (pid {note.pid} on {note.host})" if note else ""
    _end_line(path)
    with EventLog(path) as log:
        log.emit(ev.Warned(message=f"the process of this run{pid} died before the run had ended"))
        for name, task in progress.tasks.items():
            if task.result == "unfinished":
                log.emit(ev.TaskCancelled(task=name))
        seconds = max(0.0, last - progress.started) if progress.started else 0.0
        log.emit(ev.RunFinished(state="interrupted", seconds=seconds))


def _end_line(path: Path) -> None:
    """What is appended to a torn last line would be lost with it."""
    with path.open("rb+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
