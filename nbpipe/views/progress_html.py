"""A run as it happens, for a notebook's cell: bars, counts and times as one small piece of HTML."""

from __future__ import annotations

import html

from nbpipe.core.progress import Progress, TaskProgress
from nbpipe.errors import harmless
from nbpipe.views.status import report_line
from nbpipe.views.theme import STATE_STYLES
from nbpipe.views.words import duration

SHOWN = 8
"""Running tasks that get a line of their own."""


def progress_text(progress: Progress, now: float) -> str:
    """One line for each running task and one for the build.

    Args:
        progress: the run so far.
        now: seconds since the epoch, UTC.
    """
    lines = [f"▶ {name}  {_cells(task, now)}" for name, task in _running(progress)]
    return "\n".join([*lines, _summary(progress, now)])


def progress_html(progress: Progress, now: float) -> str:
    """The same with bars; every text is escaped, no script, no style outside of it.

    Args:
        progress: the run so far.
        now: seconds since the epoch, UTC.
    """
    rows = [_bar("build", progress.settled(), len(progress.tasks), _summary(progress, now), True)]
    rows += [
        _bar(f"▶ {name}", max(0, task.cell - 1), task.cells, _cells(task, now), False)
        for name, task in _running(progress)
    ]
    counts = progress.counts()
    chips = " ".join(
        f'<span style="white-space:nowrap">{style.glyph} {counts[state]} {style.word}</span>'
        for state, style in STATE_STYLES.items()
        if counts[state]
    )
    return (
        '<div class="nbpipe-progress" role="status" style="font-size:13px;line-height:1.6;'
        'color:var(--jp-ui-font-color1,var(--vscode-foreground,inherit))">'
        + harmless(
            f'<div style="display:flex;gap:14px;flex-wrap:wrap">{chips}</div>{"".join(rows)}</div>'
        )
    )


def _running(progress: Progress) -> list[tuple[str, TaskProgress]]:
    return [(n, t) for n, t in progress.tasks.items() if t.state == "running"][:SHOWN]


def _summary(progress: Progress, now: float) -> str:
    if progress.state != "running":
        return report_line(progress)
    total, settled = len(progress.tasks), progress.settled()
    words = [f"{settled}/{total} tasks"]
    if progress.started:
        words.append(duration(max(0.0, now - progress.started)))
    left = progress.remaining(now)
    if left is not None and settled < total:
        words.append(f"about {duration(left)} left")
    return " · ".join(words)


def _cells(task: TaskProgress, now: float) -> str:
    where = f"cell {task.cell}/{task.cells}" if task.cells else "starting"
    return f"{where} · {duration(max(0.0, now - task.started))}"


def _bar(label: str, done: int, total: int, words: str, strong: bool) -> str:
    share = 100 * done / total if total else 0
    weight = "600" if strong else "400"
    return (
        '<div style="display:grid;grid-template-columns:minmax(90px,auto) 180px 1fr;gap:10px;'
        f'align-items:center;max-width:640px"><span style="font-weight:{weight};overflow:hidden;'
        f'text-overflow:ellipsis;white-space:nowrap">{html.escape(label)}</span>'
        f'<progress max="100" value="{share:.1f}" style="width:100%;height:8px;'
        f'accent-color:#0072b2">{share:.0f} %</progress><span>{html.escape(words)}</span></div>'
    )
