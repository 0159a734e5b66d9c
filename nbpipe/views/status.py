"""The plan and a finished run as rows, and the rows as text, HTML and JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Record, State
from nbpipe.core.plan import Plan
from nbpipe.core.progress import Progress, Result
from nbpipe.views.tables import Drawn
from nbpipe.views.tables import html_table as html_table
from nbpipe.views.tables import plain_table as plain_table
from nbpipe.views.tables import printable as printable
from nbpipe.views.theme import STATE_STYLES
from nbpipe.views.words import ago, duration, plural


class StatusRow(msgspec.Struct, frozen=True, kw_only=True):
    """One task as ``status`` shows it.

    Attributes:
        task: its name.
        state: before a build.
        action: what a build would do: ``run``, ``skip`` or ``maybe``.
        reason: the first reasons, in one line; "" when there is nothing to say.
        last_run: end of the last good run, seconds since the epoch (UTC); None: never.
        seconds: duration of the last good run; None: never.
        products: paths relative to the root; of a table or view its name.
        source: as the spec says.
        upstream: names of its direct upstreams.
    """

    task: str
    state: State
    action: str
    reason: str
    last_run: float | None
    seconds: float | None
    products: tuple[str, ...]
    source: str
    upstream: tuple[str, ...]


class Status(msgspec.Struct, frozen=True):
    """The state of every task: ``status['fit'].state``, ``for row in status``.

    Attributes:
        rows: in topological order.
        name: of the pipeline: its folder.
        now: when it was taken, seconds since the epoch (UTC).
    """

    rows: tuple[StatusRow, ...]
    name: str = ""
    now: float = 0.0

    def __getitem__(self, task: str) -> StatusRow:
        """The row of a task; KeyError when there is none."""
        for row in self.rows:
            if row.task == task:
                return row
        raise KeyError(task)

    def __iter__(self) -> Any:
        """The rows, in topological order."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.rows)

    @property
    def states(self) -> dict[str, State]:
        """The state of each task."""
        return {row.task: row.state for row in self.rows}

    @property
    def summary(self) -> str:
        """Such as ``4 tasks: 3 fresh, 1 stale``."""
        return f"{plural(len(self.rows), 'task')}: {count_states(self.states.values())}"

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: plain values; times are seconds since the epoch (UTC)."""
        rows = [msgspec.to_builtins(row) for row in self.rows]
        return {"pipeline": self.name, "time": self.now, "tasks": rows}

    def __str__(self) -> str:
        """An aligned table in plain text."""
        return plain_table(STATUS_HEAD, [status_cells(row, self.now) for row in self.rows])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        drawn, last = _drawn(self), [_last_run(row, self.now) for row in self.rows]
        return {"text/plain": drawn.plain(last), "text/html": drawn.html(last)}


STATUS_HEAD = ("task", "state", "reason", "last run", "product")
REPORT_HEAD = ("task", "ran?", "seconds", "share", "what happened")


def make_status(
    graph: Graph, plan: Plan, records: Mapping[str, Record], name: str, now: float | None = None
) -> Status:
    """Join the plan with the records.

    Args:
        graph: the pipeline.
        plan: today's decisions.
        records: what is remembered.
        name: of the pipeline.
        now: seconds since the epoch (UTC); None: the clock's.
    """
    rows = (_row(graph, d, records.get(d.task)) for d in plan.decisions.values())
    return Status(tuple(rows), name, time.time() if now is None else now)


def _row(graph: Graph, decision: Decision, record: Record | None) -> StatusRow:
    task = graph.tasks[decision.task]
    good = record.good if record is not None else None
    return StatusRow(
        task=task.name,
        state=decision.state,
        action=decision.action,
        reason=one_line(decision),
        last_run=None if good is None else good.started + good.seconds,
        seconds=None if good is None else good.seconds,
        products=tuple(task.shown(path) for path in task.products.values()),
        source=task.source,
        upstream=graph.upstream[task.name],
    )


def one_line(decision: Decision) -> str:
    """The reasons of a decision in one line; without any, its notes."""
    if decision.action == "maybe":
        ups = ", ".join(r.text.split("'")[1] for r in decision.reasons)
        return f"waits for {ups}"
    said = decision.reasons or decision.notes
    more = f" (+{len(said) - 1} more)" if len(said) > 1 else ""
    return said[0].text + more if said else ""


def status_cells(row: StatusRow, now: float) -> tuple[str, ...]:
    """A row as five texts, one product a line."""
    products = "\n".join(row.products)
    return (row.task, state_text(row.state), row.reason, _last_run(row, now), products)


def _last_run(row: StatusRow, now: float) -> str:
    return "never" if row.last_run is None else ago(row.last_run, now)


_shown: tuple[tuple[StatusRow, ...], Drawn] | None = None
"""The rows that were shown last, and their table."""


def _drawn(status: Status) -> Drawn:
    """The table but for the times of the last runs.

    A live kernel gives the very same rows for as long as nothing has changed: they are not drawn
    again. Rows cannot be changed.
    """
    global _shown
    if _shown is not None and _shown[0] is status.rows:
        return _shown[1]
    cells = [status_cells(row, status.now) for row in status.rows]
    drawn = Drawn(STATUS_HEAD, cells, STATUS_HEAD.index("last run"), status.summary)
    _shown = (status.rows, drawn)
    return drawn


def state_text(state: State) -> str:
    """Glyph and word, such as ``✓ fresh``."""
    style = STATE_STYLES[state]
    return f"{style.glyph} {style.word}"


def report_cells(progress: Progress) -> list[tuple[str, ...]]:
    """A finished run as the summary's rows: task, ran?, seconds, share of the time, what."""
    total = sum(t.seconds for t in progress.tasks.values()) or 1.0
    rows: list[tuple[str, ...]] = []
    for name, task in progress.tasks.items():
        ran = task.result in ("ran", "failed")
        rows.append(
            (
                name,
                "yes" if ran else "no",
                f"{task.seconds:.2f}" if ran else "",
                f"{100 * task.seconds / total:.0f} %" if ran else "",
                _what(task.result, task.reasons, task.failure.error if task.failure else ""),
            )
        )
    return rows


def _what(result: str, reasons: Sequence[str], error: str) -> str:
    said = reasons[0] if reasons else ""
    return {
        "ran": said,
        "skipped": said,
        "failed": f"✗ {error}",
        "blocked": f"⊘ blocked: {said}",
        "cancelled": "not run",
        "unfinished": "not run",
    }[result]


_COUNTED: dict[Result, str] = {
    "ran": "executed",
    "skipped": "skipped",
    "failed": "failed",
    "blocked": "blocked",
    "cancelled": "not run",
}


def report_line(progress: Progress) -> str:
    """Such as ``4 executed, 0 skipped in 12 s``."""
    results = [task.result for task in progress.tasks.values()]
    counts = [
        f"{results.count(result)} {word}"
        for result, word in _COUNTED.items()
        if result in results or result in ("ran", "skipped")
    ]
    return f"{', '.join(counts)} in {duration(progress.seconds)}"


def count_states(states: Iterable[State]) -> str:
    """Such as ``3 fresh, 1 stale``, in the order of the states' table."""
    listed = list(states)
    return ", ".join(
        f"{listed.count(s)} {style.word}" for s, style in STATE_STYLES.items() if s in listed
    )
