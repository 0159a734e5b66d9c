"""The panel's texts as HTML: header, table, messages. Everything that is shown is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from nbpipe.core.model import State
from nbpipe.core.progress import Progress, TaskProgress
from nbpipe.errors import harmless
from nbpipe.views.diagram_text import clean
from nbpipe.views.status import Status, StatusRow
from nbpipe.views.theme import STATE_STYLES
from nbpipe.views.words import ago, duration

RUNNING_SHOWN = 2
"""That many running tasks have a bar of their own."""


def text(value: str) -> str:
    """A text for HTML, on one line."""
    return escape(clean(value))


def state_html(state: State, *, live: bool = False) -> str:
    """Glyph and word in the state's colour."""
    style = STATE_STYLES[state]
    pulse = " nbp-live" if live and state == "running" else ""
    return (
        f'<span class="s-{state}"><span class="nbp-glyph{pulse}" aria-hidden="true">'
        f"{style.glyph}</span> {style.word}</span>"
    )


def merged_states(status: Status, progress: Progress | None) -> dict[str, State]:
    """The state of every task: of the run where it says something, else as planned."""
    states = dict(status.states)
    for name, task in (progress.tasks if progress is not None else {}).items():
        if name in states and (task.state != "stale" or task.result != "unfinished"):
            states[name] = task.state
    return states


def header_html(
    name: str, states: Mapping[str, State], progress: Progress | None, now: float
) -> str:
    """Name, a count for each state, and the build's bar.

    Args:
        name: of the pipeline.
        states: of every task.
        progress: of the run that is shown; None: there is none.
        now: seconds since the epoch, UTC.
    """
    listed = list(states.values())
    tally = "".join(
        f'<span class="s-{s}"><span aria-hidden="true">{style.glyph}</span> '
        f"{listed.count(s)} {style.word}</span>"
        for s, style in STATE_STYLES.items()
        if s in listed
    )
    build = _build_html(progress, now) if progress is not None else ""
    return (
        f'<div class="nbp-head"><span class="nbp-name">{text(name)}</span>'
        f'<span class="nbp-tally">{tally or "no tasks"}</span>{build}</div>'
    )


def _build_html(progress: Progress, now: float) -> str:
    done, total = progress.settled(), len(progress.tasks)
    words = [f"{done}/{total}"]
    if progress.state == "running":
        words.append(duration(max(0.0, now - progress.started) if progress.started else 0.0))
        left = progress.remaining(now)
        if left is not None and left >= 0.5:
            words.append(f"about {duration(left)} left")
    else:
        ended = {"done": "done", "failed": "failed", "interrupted": "cancelled"}
        words.append(f"{ended[progress.state]} in {duration(progress.seconds)}")
    look = {"done": " nbp-done", "failed": " nbp-failed"}.get(progress.state, "")
    said = " · ".join(words)
    bar = _bar(done, total, "build", look)
    return f'<span class="nbp-build">build {bar}<span>{said}</span></span>'


def _bar(done: int, total: int, label: str, look: str = "") -> str:
    share = 100.0 * done / total if total else 0.0
    return (
        f'<span class="nbp-bar{look}" role="progressbar" aria-label="{text(label)}" '
        f'aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<i style="width:{share:.0f}%"></i></span>'
    )


def running_html(progress: Progress | None) -> str:
    """A bar of cells for each task that runs."""
    if progress is None or progress.state != "running":
        return "<div></div>"
    running = [(n, t) for n, t in progress.tasks.items() if t.state == "running"]
    parts = [
        f'<span><span class="s-running">▶ {text(name)}</span> {_cells_html(name, task)}</span>'
        for name, task in running[:RUNNING_SHOWN]
    ]
    more = len(running) - RUNNING_SHOWN
    rest = f"<span>and {more} more</span>" if more > 0 else ""
    return f"<div>{''.join(parts)}{rest}</div>"


def _cells_html(name: str, task: TaskProgress) -> str:
    if not task.cells:
        return ""
    bar = _bar(task.cell, task.cells, f"cells of {name}", " nbp-small")
    return f"{bar} {cell_text(task)}"


def cell_text(task: TaskProgress) -> str:
    """Such as ``cell 3/5``; "" before the first."""
    return f"cell {task.cell}/{task.cells}" if task.cells and task.cell else ""


TABLE_HEAD = (
    '<colgroup><col class="z"><col class="a"><col class="b"><col class="c"><col class="d">'
    "</colgroup><thead><tr>"
    '<th scope="col" class="nbp-none"><span class="nbp-sr">task</span></th>'
    '<th scope="col">state</th><th scope="col">why</th>'
    '<th scope="col" class="nbp-right">last run</th>'
    '<th scope="col" class="nbp-right">seconds</th></tr></thead>'
)


def table_html(
    status: Status,
    states: Mapping[str, State],
    progress: Progress | None,
    now: float,
    picked: str,
) -> str:
    """Every task in a real table, whose first column is the panel's buttons."""
    tasks = progress.tasks if progress is not None else {}
    body = "".join(
        _row_html(row, states[row.task], tasks.get(row.task), now, row.task == picked)
        for row in status.rows
    )
    return (
        '<span class="nbp-sr">states of all tasks</span>'
        f'<table class="nbp-table">{TABLE_HEAD}<tbody>{body}</tbody></table>'
    )


def _row_html(
    row: StatusRow, state: State, task: TaskProgress | None, now: float, picked: bool
) -> str:
    why, last, seconds = row.reason, row.last_run, row.seconds
    if task is not None:
        why = _why(row, task)
        if task.result == "ran":
            last, seconds = task.started + task.seconds, task.seconds
    when = "never" if last is None else ago(last, now)
    spent = "" if seconds is None else f"{seconds:.1f}"
    return (
        f"<tr{' class=nbp-on' if picked else ''}>"
        f'<th scope="row" class="nbp-none"><span class="nbp-sr">{text(row.task)}</span></th>'
        f'<td data-task="{text(row.task)}" data-state="{state}">{state_html(state, live=True)}</td>'
        f'<td title="{text(why)}">{text(why)}</td>'
        f'<td class="nbp-right">{when}</td><td class="nbp-right">{spent}</td></tr>'
    )


def _why(row: StatusRow, task: TaskProgress) -> str:
    if task.state == "running":
        return cell_text(task)
    if task.failure is not None:
        return f"{task.failure.error}: {task.failure.message}"
    if task.result == "ran":
        return ""
    if task.result == "skipped":
        return ", ".join(task.reasons)
    return ", ".join(task.reasons) or row.reason


def say_html(message: str, *, error: bool = False) -> str:
    """The line that a screen reader speaks when it changes.

    The region itself has to stand in the page before its text changes, so it always does.
    """
    role = ' role="alert" class="nbp-error"' if error else ' class="nbp-sr"'
    inner = f"<p{role}>{escape(harmless(message))}</p>" if message else ""
    return f'<div class="nbp-say" aria-live="polite" role="status">{inner}</div>'


def static_html(uid: str, status: Status, picture: str) -> str:
    """The picture and the table that stay in a saved notebook."""
    cells = "".join(
        f"<tr><td>{text(row.task)}</td><td>{STATE_STYLES[row.state].glyph} "
        f"{STATE_STYLES[row.state].word}</td><td>{text(row.reason)}</td>"
        f"<td>{'never' if row.last_run is None else ago(row.last_run, status.now)}</td>"
        f"<td>{text(', '.join(row.products))}</td></tr>"
        for row in status.rows
    )
    head = "".join(
        f"<th>{word}</th>" for word in ("task", "state", "reason", "last run", "product")
    )
    return (
        f'<div class="nbp-static nbp-static-{uid}">'
        # The picture asks its page, not the system, whether it is dark.
        f"<style>[data-jp-theme-light=true] .nbp-static-{uid} img{{color-scheme:light}}"
        f"[data-jp-theme-light=false] .nbp-static-{uid} img{{color-scheme:dark}}"
        f".nbp-static-{uid} :is(th,td,caption){{text-align:left!important}}</style>"
        f"{picture}<table><caption>{text(status.summary)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table></div>"
    )
