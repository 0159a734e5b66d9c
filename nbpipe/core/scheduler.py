"""Which task goes next: events in, instructions out, no clock and no files.

The runner calls a method when something happened and carries out the instructions that it gets.
A task is settled when it is done, skipped, failed for good, blocked or cancelled. When all the
upstreams of a task are settled well, ``Check`` asks the runner to decide it; the answer comes
back through :meth:`Scheduler.decided`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

Phase = Literal[
    "waiting", "checking", "queued", "running", "done", "skipped", "failed", "blocked", "cancelled"
]

SETTLED: frozenset[Phase] = frozenset({"done", "skipped", "failed", "blocked", "cancelled"})


class Check(msgspec.Struct, frozen=True):
    """Decide this task now: all of its upstreams are settled well."""

    task: str


class Start(msgspec.Struct, frozen=True):
    """Run this task now. ``attempt`` is 1 for the first try."""

    task: str
    attempt: int


class Block(msgspec.Struct, frozen=True):
    """This task cannot run, because ``by`` failed upstream of it."""

    task: str
    by: str


class Cancel(msgspec.Struct, frozen=True):
    """This task is not going to be started, because the run ends early."""

    task: str


Instruction = Check | Start | Block | Cancel


class IllegalTransitionError(RuntimeError):
    """The runner reported what cannot have happened; carries the task's story."""


class Scheduler:
    """The state of one run.

    Args:
        upstream: for each task of the run the upstreams that belong to the run, acyclic.
        jobs: how many tasks may run at once, at least 1.
        expected: seconds that each task is expected to take; those without get the median.
        retries: how often a failed task is tried again; 0 where left out.
        keep_going: True: after a failure all that does not depend on it still runs; False:
            what runs is awaited and nothing new is started.
    """

    def __init__(
        self,
        upstream: Mapping[str, Sequence[str]],
        *,
        jobs: int = 1,
        expected: Mapping[str, float] | None = None,
        retries: Mapping[str, int] | None = None,
        keep_going: bool = False,
    ) -> None:
        self.phases: dict[str, Phase] = dict.fromkeys(upstream, "waiting")
        self.jobs = jobs
        self.keep_going = keep_going
        self._retries = dict(retries or {})
        self._attempts = dict.fromkeys(upstream, 0)
        self._missing = {task: len(set(ups)) for task, ups in upstream.items()}
        self._downstream: dict[str, list[str]] = {task: [] for task in upstream}
        for task, ups in upstream.items():
            for up in set(ups):
                self._downstream[up].append(task)
        self._priority = critical_paths(upstream, expected or {})
        self._rank = {task: i for i, task in enumerate(upstream)}
        self._queue: list[tuple[float, int, str]] = []
        self._running = 0
        self._stopping = False
        self._story: list[str] = []

    @property
    def finished(self) -> bool:
        """Whether every task is settled."""
        return all(phase in SETTLED for phase in self.phases.values())

    def begin(self) -> list[Instruction]:
        """The first instructions of a run."""
        return self._checks(task for task, missing in self._missing.items() if missing == 0)

    def decided(self, task: str, run: bool) -> list[Instruction]:
        """The task was checked: it must run, or it is fresh."""
        if self.phases[task] == "cancelled":
            return []
        if not run:
            self._move(task, "checking", "skipped")
            return self._release(task)
        self._move(task, "checking", "queued")
        heapq.heappush(self._queue, (-self._priority[task], self._rank[task], task))
        return self._fill()

    def succeeded(self, task: str) -> list[Instruction]:
        """The task ran and its record is durable."""
        self._move(task, "running", "done")
        self._running -= 1
        return self._release(task) + self._fill()

    def failed(self, task: str) -> list[Instruction]:
        """A try failed: it is tried again, or its descendants are blocked."""
        if self.retries_left(task) and not self._stopping:
            self._attempts[task] += 1
            return [Start(task, self._attempts[task])]
        self._move(task, "running", "failed")
        self._running -= 1
        out: list[Instruction] = list(self._block_below(task))
        if not self.keep_going:
            out += self._cancel_waiting()
        return out + self._fill()

    def retries_left(self, task: str) -> bool:
        """Whether one more failure of this task would be tried again."""
        return self._attempts[task] <= self._retries.get(task, 0)

    def stop(self) -> list[Instruction]:
        """End early: nothing new starts. What runs is still to be reported."""
        self._stopping = True
        return self._cancel_waiting()

    def interrupted(self, task: str) -> list[Instruction]:
        """A running task was stopped before its end."""
        self._move(task, "running", "cancelled")
        self._running -= 1
        return []

    def _checks(self, tasks: Iterable[str]) -> list[Instruction]:
        out: list[Instruction] = []
        for task in tasks:
            if self.phases[task] == "waiting":
                self._move(task, "waiting", "checking")
                out.append(Check(task))
        return out

    def _release(self, task: str) -> list[Instruction]:
        ready = []
        for below in self._downstream[task]:
            self._missing[below] -= 1
            if self._missing[below] == 0:
                ready.append(below)
        return self._checks(ready)

    def _fill(self) -> list[Instruction]:
        out: list[Instruction] = []
        while self._queue and self._running < self.jobs:
            task = heapq.heappop(self._queue)[2]
            if self.phases[task] != "queued":
                continue
            self._move(task, "queued", "running")
            self._running += 1
            self._attempts[task] += 1
            out.append(Start(task, self._attempts[task]))
        return out

    def _block_below(self, task: str) -> list[Block]:
        out = []
        todo = list(self._downstream[task])
        while todo:
            below = todo.pop(0)
            if self.phases[below] in ("waiting", "cancelled"):
                self.phases[below] = "blocked"
                out.append(Block(below, task))
                todo.extend(self._downstream[below])
        return out

    def _cancel_waiting(self) -> list[Instruction]:
        out: list[Instruction] = []
        for task, phase in self.phases.items():
            if phase in ("waiting", "checking", "queued"):
                self.phases[task] = "cancelled"
                out.append(Cancel(task))
        return out

    def _move(self, task: str, old: Phase, new: Phase) -> None:
        self._story.append(f"{task}: {self.phases[task]} → {new}")
        if self.phases[task] != old:
            story = [line for line in self._story if line.startswith(f"{task}: ")]
            raise IllegalTransitionError("; ".join(story))
        self.phases[task] = new


def critical_paths(
    upstream: Mapping[str, Sequence[str]], expected: Mapping[str, float]
) -> dict[str, float]:
    """Seconds from the start of each task to the end of the longest chain below it.

    Starting the longest first keeps the makespan near its lower bound (Graham, 1969).
    A task without history is taken to last the median of those that have one, else 1 s.
    """
    known = sorted(expected[task] for task in upstream if task in expected)
    default = known[len(known) // 2] if known else 1.0
    downstream: dict[str, list[str]] = {task: [] for task in upstream}
    for task, ups in upstream.items():
        for up in ups:
            downstream[up].append(task)
    left = {task: len(below) for task, below in downstream.items()}
    ready = [task for task, count in left.items() if count == 0]
    total: dict[str, float] = {}
    while ready:
        task = ready.pop()
        below = max((total[name] for name in downstream[task]), default=0.0)
        total[task] = expected.get(task, default) + below
        for up in upstream[task]:
            left[up] -= 1
            if left[up] == 0:
                ready.append(up)
    return total
