"""What the event log of nbpipe's last run tells: phases of tasks, and the makespan's bound."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.projects import Project


def last_run(folder: Path) -> list[dict[str, Any]]:
    """The events of the latest run in a project's folder, oldest first."""
    latest = max((folder / ".nbpipe" / "runs").iterdir())
    lines = (latest / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@dataclass(frozen=True)
class Phases:
    """Medians over the tasks of a run, in seconds.

    Attributes:
        before: from the first event to the start of the first task.
        start: from the start of a task to its first cell: script, record, kernel.
        cells: from there to the end of its last cell.
        end: until its record is durable: shutdown, saving, hashing.
    """

    before: float
    start: float
    cells: float
    end: float

    def __str__(self) -> str:
        parts = (
            f"{self.before * 1000:.0f} ms from the plan to the first task",
            f"then for each task {self.start * 1000:.0f} ms until its first cell runs",
            f"{self.cells * 1000:.0f} ms in cells",
            f"{self.end * 1000:.0f} ms until it is recorded",
        )
        return ", ".join(parts)


def phases(events: list[dict[str, Any]]) -> Phases:
    """Where the tasks of a run spent their time."""
    started = _times(events, "task-started")
    first, last = _times(events, "cell-started"), _latest(events, "cell-finished")
    done = _times(events, "task-done")
    tasks = [task for task in done if task in first and task in last]
    return Phases(
        min(started.values()) - events[0]["time"],
        statistics.median(first[task] - started[task] for task in tasks),
        statistics.median(last[task] - first[task] for task in tasks),
        statistics.median(done[task] - last[task] for task in tasks),
    )


@dataclass(frozen=True)
class Makespan:
    """How a run used its time, in seconds.

    Attributes:
        taken: from the plan to the end of the last task.
        bound: what no schedule on so many cores could beat, with these durations.
        idle: places that were free while a task could have run, summed over places.
    """

    taken: float
    bound: float
    idle: float


def makespan(project: Project, events: list[dict[str, Any]], cores: int) -> Makespan:
    """Compare a run with the bound max(critical path, work / cores) of its own durations.

    Those that need a task wait until its record is durable. Its place is free as soon as nothing of
    it runs any more, so no more of it counts as work.
    """
    seconds = {e["task"]: e["seconds"] for e in events if e["event"] == "task-done"}
    began, done = _times(events, "task-started"), _times(events, "task-done")
    ran = {e["task"]: e.get("ran") or e["seconds"] for e in events if e["event"] == "task-done"}
    left = {task: began[task] + ran[task] for task in began}
    taken = max(done.values()) - events[0]["time"]
    bound = max(_critical_path(project, seconds), sum(ran.values()) / cores)
    ready = {
        step.name: max((done[up] for up in step.upstream), default=events[0]["time"])
        for step in project.steps
    }
    return Makespan(taken, bound, _idle(ready, began, left, cores))


def _critical_path(project: Project, seconds: Mapping[str, float]) -> float:
    ends: dict[str, float] = {}
    for step in project.steps:
        above = max((ends[up] for up in step.upstream), default=0.0)
        ends[step.name] = above + seconds[step.name]
    return max(ends.values())


def _idle(
    ready: Mapping[str, float], began: Mapping[str, float], left: Mapping[str, float], cores: int
) -> float:
    """Seconds, summed over places, in which a place was free and a task was ready for it."""
    moments = sorted({*ready.values(), *began.values(), *left.values()})
    total = 0.0
    for moment, later in itertools.pairwise(moments):
        running = sum(began[task] <= moment < left[task] for task in began)
        waiting = sum(ready[task] <= moment < began[task] for task in began)
        total += (later - moment) * max(0, min(cores - running, waiting))
    return total


def _times(events: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """When an event first happened, by task."""
    found: dict[str, float] = {}
    for event in events:
        if event["event"] == kind:
            found.setdefault(event["task"], event["time"])
    return found


def _latest(events: list[dict[str, Any]], kind: str) -> dict[str, float]:
    return {e["task"]: e["time"] for e in events if e["event"] == kind}
