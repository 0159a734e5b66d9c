"""What happens in a run, as one stream of values.

The runner emits them; ``events.jsonl``, the progress display, the widget and the summary listen.
Times are seconds since the epoch (UTC), durations are seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from nbpipe.core.model import Failure, KernelStart

EndState = Literal["done", "failed", "interrupted"]
"""How a run ends."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """Every event carries the time at which it was emitted; 0.0 until the runner stamps it."""

    time: float = 0.0


class RunStarted(_Event, frozen=True, kw_only=True, tag="run-started"):
    """The plan is made, nothing has run.

    Attributes:
        run: id of the run.
        tasks: the tasks that this build looks at, in topological order.
        expected: recorded seconds of each task; a task without history is left out.
        jobs: how many tasks may run at once.
    """

    run: str
    tasks: tuple[str, ...]
    expected: dict[str, float] = {}
    jobs: int = 1


class TaskQueued(_Event, frozen=True, kw_only=True, tag="task-queued"):
    """It must run, and waits for a free place."""

    task: str
    reasons: tuple[str, ...] = ()


class TaskStarted(_Event, frozen=True, kw_only=True, tag="task-started"):
    """A try begins. ``attempt`` is 1 for the first."""

    task: str
    attempt: int = 1


class KernelStarted(_Event, frozen=True, kw_only=True, tag="kernel-started"):
    """A task's kernel answers.

    Attributes:
        start: ``fork``: from a process that had it ready; ``pool``: started ahead; ``cold``: anew.
        reason: why it was not started in a faster way, as a clause; "": there is none.
        preloaded: modules that were imported before the kernel was asked for.
    """

    task: str
    start: KernelStart
    reason: str = ""
    preloaded: tuple[str, ...] = ()


class CellStarted(_Event, frozen=True, kw_only=True, tag="cell-started"):
    """A code cell begins.

    Attributes:
        index: 1-based among the code cells.
        total: number of code cells.
        line: 1-based line of the script; 0: the injected cell.
    """

    task: str
    index: int
    total: int
    line: int = 0


class CellFinished(_Event, frozen=True, kw_only=True, tag="cell-finished"):
    """A code cell has ended, well or not."""

    task: str
    index: int
    total: int
    seconds: float = 0.0


class TaskSkipped(_Event, frozen=True, kw_only=True, tag="task-skipped"):
    """It is fresh."""

    task: str
    reason: str = "up to date"


class TaskDone(_Event, frozen=True, kw_only=True, tag="task-done"):
    """It ran, its products are there and its record is durable.

    ``ran``: seconds until nothing of it ran any more and another task could have its place; None:
    until the end.
    """

    task: str
    seconds: float
    ran: float | None = None


class TaskFailed(_Event, frozen=True, kw_only=True, tag="task-failed"):
    """A try failed. ``final`` is False when it will be tried again."""

    task: str
    seconds: float
    failure: Failure
    attempt: int = 1
    final: bool = True


class TaskBlocked(_Event, frozen=True, kw_only=True, tag="task-blocked"):
    """It cannot run: ``by`` failed upstream of it."""

    task: str
    by: str


class TaskCancelled(_Event, frozen=True, kw_only=True, tag="task-cancelled"):
    """It was stopped, or never started, because the run ended early."""

    task: str


class Warned(_Event, frozen=True, kw_only=True, tag="warning"):
    """Something a reader should know. ``task`` is None when it is about the whole run."""

    message: str
    task: str | None = None


class RunFinished(_Event, frozen=True, kw_only=True, tag="run-finished"):
    """Nothing more will happen."""

    state: EndState
    seconds: float


Event = (
    RunStarted
    | TaskQueued
    | TaskStarted
    | KernelStarted
    | CellStarted
    | CellFinished
    | TaskSkipped
    | TaskDone
    | TaskFailed
    | TaskBlocked
    | TaskCancelled
    | Warned
    | RunFinished
)
"""Any of the above."""
