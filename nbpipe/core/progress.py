"""What a run looks like so far: a fold over its events. Every view and the report read this."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.model import Failure, State

Result = Literal["ran", "skipped", "failed", "blocked", "cancelled", "unfinished"]

RunState = Literal["running", "done", "failed", "interrupted"]


class TaskProgress(msgspec.Struct):
    """One task of a run.

    Attributes:
        state: what views show.
        result: how it ended; ``unfinished`` until it has.
        attempt: 1 for the first try; 0 before.
        cell: 1-based index of the current or last code cell; 0 before the first.
        cells: number of code cells; 0: not known.
        line: 1-based line of the current cell in the script; 0: not known.
        started: start of the current try, seconds since the epoch (UTC); 0.0 before.
        seconds: duration of the last try that ended.
        reasons: why it runs, is skipped, or is blocked.
        failure: of the last failed try.
    """

    state: State = "stale"
    result: Result = "unfinished"
    attempt: int = 0
    cell: int = 0
    cells: int = 0
    line: int = 0
    started: float = 0.0
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    failure: Failure | None = None


class TaskRun(msgspec.Struct, frozen=True):
    """One run of one task: the run's id, its start (seconds since the epoch, UTC), the task."""

    run: str
    started: float
    task: TaskProgress


class Progress:
    """The state of a run, brought up to date by :meth:`apply`."""

    def __init__(self) -> None:
        self.run = ""
        self.state: RunState = "running"
        self.jobs = 1
        self.started = 0.0
        self.seconds = 0.0
        self.tasks: dict[str, TaskProgress] = {}
        self.expected: dict[str, float] = {}
        self.warnings: list[str] = []

    def apply(self, event: ev.Event) -> None:
        """Take one event in; an event of an unknown task is ignored."""
        if isinstance(event, ev.RunStarted):
            self.run, self.jobs, self.started = event.run, event.jobs, event.time
            self.expected = dict(event.expected)
            self.tasks = {name: TaskProgress() for name in event.tasks}
        elif isinstance(event, ev.RunFinished):
            self.state, self.seconds = event.state, event.seconds
        elif isinstance(event, ev.Warned):
            self.warnings.append(f"{event.task}: {event.message}" if event.task else event.message)
        elif event.task in self.tasks:
            _apply(self.tasks[event.task], event)

    def counts(self) -> Counter[State]:
        """How many tasks are in each state."""
        return Counter(task.state for task in self.tasks.values())

    def settled(self) -> int:
        """How many tasks have ended, in whichever way."""
        return sum(task.result != "unfinished" for task in self.tasks.values())

    def remaining(self, now: float) -> float | None:
        """An estimate of the seconds left, from recorded durations; None without history.

        It is the work left divided by the jobs, or the longest running task if that is more.

        Args:
            now: seconds since the epoch, UTC.
        """
        left = []
        for name, task in self.tasks.items():
            if task.result != "unfinished":
                continue
            if name not in self.expected:
                return None
            gone = now - task.started if task.state == "running" else 0.0
            left.append(max(0.0, self.expected[name] - gone))
        return max(sum(left) / max(1, self.jobs), max(left, default=0.0))


def _apply(task: TaskProgress, event: ev.Event) -> None:
    match event:
        case ev.TaskQueued():
            task.state, task.reasons = "queued", event.reasons
        case ev.TaskStarted():
            task.state, task.attempt, task.started, task.cell = (
                "running",
                event.attempt,
                event.time,
                0,
            )
        case ev.CellStarted():
            task.cell, task.cells, task.line = event.index, event.total, event.line
        case ev.CellFinished():
            task.cell, task.cells = event.index, event.total
        case ev.TaskSkipped():
            task.state, task.result, task.reasons = "fresh", "skipped", (event.reason,)
        case ev.TaskDone():
            task.state, task.result, task.seconds = "fresh", "ran", event.seconds
        case ev.TaskFailed():
            task.state, task.failure, task.seconds = "failed", event.failure, event.seconds
            task.result = "failed" if event.final else "unfinished"
        case ev.TaskBlocked():
            task.state, task.result = "blocked", "blocked"
            task.reasons = (f"'{event.by}' failed",)
        case ev.TaskCancelled():
            task.state, task.result = "stale", "cancelled"
