"""Which task goes next: events in, instructions out, no files, and no clock but the one given.

The runner calls a method when something happened and carries out the instructions that it gets.
A task is settled when it is done, skipped, failed for good, blocked or cancelled. When all the
upstreams of a task are settled well, ``Check`` asks the runner to decide it; the answer comes
back through :meth:`Scheduler.decided`.

What must run is started longest path first, as far as it fits the machine. No task starts while one
with a longer path is being decided: that takes milliseconds, and to begin with the wrong one may
take as long as the whole task. When the first in the queue does not fit, its place is kept, and
others go before it only if they do not hold it up.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from nbpipe.core.tokens import Amounts, Reservation, Tokens

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

_Key = tuple[float, int, str]
"""The order of starting: longest path first, then as in the spec."""

_PLACE = "place"
"""What every running task holds one of; there are as many as jobs."""


class IllegalTransitionError(RuntimeError):
    """The runner reported what cannot have happened; carries the task's story."""


class Scheduler:
    """The state of one run.

    Args:
        upstream: for each task of the run the upstreams that belong to the run, acyclic.
        jobs: how many tasks may run at once, at least 1.
        expected: seconds that each task is expected to take; those without get the median.
        wishes: what each task takes of the machine while it runs; nothing where left out.
        limits: what there is of it. A task that takes more than that runs alone.
        retries: how often a failed task is tried again; 0 where left out.
        keep_going: True: after a failure all that does not depend on it still runs; False:
            what runs is awaited and nothing new is started.
        clock: seconds, on any clock that does not go back; tells when what runs may end.
    """

    def __init__(
        self,
        upstream: Mapping[str, Sequence[str]],
        *,
        jobs: int = 1,
        expected: Mapping[str, float] | None = None,
        wishes: Mapping[str, Amounts] | None = None,
        limits: Amounts | None = None,
        retries: Mapping[str, int] | None = None,
        keep_going: bool = False,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.phases: dict[str, Phase] = dict.fromkeys(upstream, "waiting")
        self.keep_going = keep_going
        self._clock = clock
        self._retries = dict(retries or {})
        self._attempts = dict.fromkeys(upstream, 0)
        self._missing = {task: len(set(ups)) for task, ups in upstream.items()}
        self._downstream: dict[str, list[str]] = {task: [] for task in upstream}
        for task, ups in upstream.items():
            for up in set(ups):
                self._downstream[up].append(task)
        self._expected = with_default(upstream, expected or {})
        paths = critical_paths(upstream, self._expected)
        self._keys = {task: (-paths[task], i, task) for i, task in enumerate(upstream)}
        self._tokens = Tokens(
            {**(limits or {}), _PLACE: jobs},
            {task: {**(wishes or {}).get(task, {}), _PLACE: 1} for task in upstream},
        )
        self._checking: list[_Key] = []
        self._queue: list[_Key] = []
        self._ends: dict[str, float] = {}
        self._left: set[str] = set()
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
        self._move(task, "checking", "queued" if run else "skipped")
        del self._checking[bisect_left(self._checking, self._keys[task])]
        if not run:
            return self._release(task) + self._fill()
        insort(self._queue, self._keys[task])
        return self._fill()

    def left(self, task: str) -> list[Instruction]:
        """The task's code has run and its process is gone; what came of it is still looked at."""
        self._tokens.give_back(task)
        self._left.add(task)
        return self._fill()

    def succeeded(self, task: str) -> list[Instruction]:
        """The task ran and its record is durable."""
        self._end(task, "done")
        return self._release(task) + self._fill()

    def failed(self, task: str) -> list[Instruction]:
        """A try failed: it is tried again, or its descendants are blocked."""
        if self.retries_left(task) and not self._stopping:
            return [self._try(task)] if task not in self._left else self._queue_again(task)
        self._end(task, "failed")
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
        self._end(task, "cancelled")
        return []

    def _checks(self, tasks: Iterable[str]) -> list[Instruction]:
        ready = sorted(self._keys[task] for task in tasks if self.phases[task] == "waiting")
        for key in ready:
            self._move(key[2], "waiting", "checking")
            insort(self._checking, key)
        return [Check(task) for _, _, task in ready]

    def _release(self, task: str) -> list[Instruction]:
        ready = []
        for below in self._downstream[task]:
            self._missing[below] -= 1
            if self._missing[below] == 0:
                ready.append(below)
        return self._checks(ready)

    def _fill(self) -> list[Instruction]:
        """Start what fits, in order; the place of the first that does not is kept."""
        out: list[Instruction] = []
        kept: Reservation | None = None
        too_big: set[int] = set()  # kinds of tasks: with thousands in the queue each is tried once
        i = 0
        while i < len(self._queue) and self._tokens.free[_PLACE] >= 1:
            key = self._queue[i]
            if self._checking and self._checking[0] < key:
                break
            task = key[2]
            i += 1
            if self._tokens.kinds[task] in too_big:
                continue
            if not self._tokens.fits(task):
                too_big.add(self._tokens.kinds[task])
                kept = kept or self._tokens.reserve(task, self._ends)
            elif kept is None or self._passes(task, kept):
                i -= 1
                del self._queue[i]
                out.append(self._begin(task))
        return out

    def _begin(self, task: str) -> Start:
        self._move(task, "queued", "running")
        self._tokens.take(task)
        return self._try(task)

    def _passes(self, task: str, kept: Reservation) -> bool:
        return self._tokens.passes(task, self._clock() + self._expected[task], kept)

    def _try(self, task: str) -> Start:
        self._attempts[task] += 1
        self._ends[task] = self._clock() + self._expected[task]
        return Start(task, self._attempts[task])

    def _end(self, task: str, phase: Phase) -> None:
        self._move(task, "running", phase)
        if task not in self._left:
            self._tokens.give_back(task)
        self._left.discard(task)
        del self._ends[task]

    def _queue_again(self, task: str) -> list[Instruction]:
        """Another try for a task whose place may have been taken."""
        self._move(task, "running", "queued")
        self._left.discard(task)
        del self._ends[task]
        insort(self._queue, self._keys[task])
        return self._fill()

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
        self._checking.clear()
        self._queue.clear()
        return out

    def _move(self, task: str, old: Phase, new: Phase) -> None:
        self._story.append(f"{task}: {self.phases[task]} → {new}")
        if self.phases[task] != old:
            story = [line for line in self._story if line.startswith(f"{task}: ")]
            raise IllegalTransitionError("; ".join(story))
        self.phases[task] = new


def with_default(tasks: Iterable[str], expected: Mapping[str, float]) -> dict[str, float]:
    """Seconds for every task: without history the median of those that have one, else 1 s."""
    listed = list(tasks)
    known = sorted(expected[task] for task in listed if task in expected)
    default = known[len(known) // 2] if known else 1.0
    return {task: expected.get(task, default) for task in listed}


def critical_paths(
    upstream: Mapping[str, Sequence[str]], expected: Mapping[str, float]
) -> dict[str, float]:
    """Seconds from the start of each task to the end of the longest chain below it.

    Starting the longest first keeps the makespan near its lower bound (Graham, 1969).

    Args:
        upstream: for each task its upstreams, acyclic.
        expected: seconds of every task.
    """
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
        total[task] = expected[task] + below
        for up in upstream[task]:
            left[up] -= 1
            if left[up] == 0:
                ready.append(up)
    return total
