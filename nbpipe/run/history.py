"""Past runs, read from their event logs."""

from __future__ import annotations

from pathlib import Path

from nbpipe.core.progress import Progress, TaskRun
from nbpipe.run.eventlog import read_events, run_folders


def read_run(folder: Path) -> Progress:
    """A run as its events tell it; ``state`` is ``running`` when it never said that it ended."""
    progress = Progress()
    for event in read_events(folder / "events.jsonl"):
        progress.apply(event)
    return progress


def runs(home: Path, last: int | None = None) -> list[Progress]:
    """The runs under ``home`` that did start, oldest first; the ``last`` of them."""
    found: list[Progress] = []
    for folder in reversed(run_folders(home)):
        if last is not None and len(found) >= last:
            break
        progress = read_run(folder)
        if progress.run:
            found.append(progress)
    return found[::-1]


def task_runs(home: Path, task: str) -> list[TaskRun]:
    """The runs in which a task was tried, oldest first."""
    return [
        TaskRun(progress.run, progress.tasks[task].started, progress.tasks[task])
        for progress in runs(home)
        if task in progress.tasks and progress.tasks[task].attempt
    ]
