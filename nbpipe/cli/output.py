"""Printing: rich for what is coloured in parts, imported only then; tables without it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from nbpipe.errors import harmless

if TYPE_CHECKING:
    from rich.console import Console

    from nbpipe.core.plan import Plan
    from nbpipe.core.progress import Progress, TaskRun
    from nbpipe.run.report import BuildReport
    from nbpipe.views.plans import Explanation
    from nbpipe.views.status import Status

T = TypeVar("T")

COLOURS = {
    "✓": "green",
    "●": "yellow",
    "▶": "cyan",
    "✗": "red",
    "⊘": "magenta",
    "○": "blue",
}


def console() -> Console:
    """Standard output; 80 columns where the width is not known."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def echo_json(value: Any) -> None:
    """One JSON document on standard output."""
    data = msgspec.json.encode(value)
    click.echo((msgspec.json.format(data, indent=2) if sys.stdout.isatty() else data).decode())


def with_store(ask: Callable[[str | None], T], store: str | None) -> T:
    """What is asked, with what a store has, as :func:`nbpipe.run.stored.with_store` does it."""
    from nbpipe.run import stored

    return stored.with_store(ask, store, lambda text: click.echo(text, err=True))


def print_status(status: Status) -> None:
    """The table of states; fits the terminal, or 80 columns."""
    from nbpipe.views.status import STATUS_HEAD, status_cells

    print_table(STATUS_HEAD, [status_cells(row, status.now) for row in status.rows])
    click.echo(status.summary)


def print_plan(plan: Plan) -> None:
    """What would run, in which order, and why."""
    from nbpipe.views.plans import PLAN_HEAD, plan_cells, plan_line

    print_table(PLAN_HEAD, plan_cells(plan))
    click.echo(plan_line(plan))


def print_report(report: BuildReport, *, traceback: bool = False) -> None:
    """Failures first, then the summary table and its one line."""
    from nbpipe.views.progress import failure_lines, text_of
    from nbpipe.views.status import REPORT_HEAD, report_cells, report_line

    for name, task in report.tasks.items():
        if task.failure is not None and task.result != "ran":
            lines = failure_lines(name, task.failure, traceback=traceback)
            out = console()
            out.print()
            out.print(text_of(lines), soft_wrap=True)
    print_table(REPORT_HEAD, report_cells(report.progress), right=(2, 3))
    click.echo(report_line(report.progress))


def print_why(why: Explanation) -> None:
    """The decision, its reasons with the old and the new value, and the diff."""
    from rich.syntax import Syntax

    from nbpipe.views.plans import why_lines

    click.echo(harmless("\n".join(why_lines(why))))
    if why.diff:
        click.echo()
        if sys.stdout.isatty():
            console().print(Syntax(harmless(why.diff), "diff", background_color="default"))
        else:
            click.echo(harmless(why.diff), nl=False)


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """A table no wider than the terminal; the column that explains gives way first."""
    from nbpipe.cli.table import table_lines
    from nbpipe.views.status import printable

    clean = [["\n".join(map(printable, cell.splitlines())) for cell in row] for row in rows]
    width = shutil.get_terminal_size((80, 24)).columns
    style = _coloured if _has_colours() else _plain
    click.echo("\n".join(table_lines(head, clean, width, right=right, style=style)))


def _has_colours() -> bool:
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout.isatty()


def _coloured(cell: str, line: str) -> str:
    colour = COLOURS.get(cell[:1])
    return click.style(line, fg=colour, bold=cell.startswith("✗")) if colour and line else line


def _plain(cell: str, line: str) -> str:
    return line


def print_log(runs: Sequence[Progress], *, as_json: bool) -> None:
    """Runs, oldest first."""
    from nbpipe.views.runs import RUN_HEAD, run_cells

    if as_json:
        echo_json([_run_dict(run) for run in runs])
    elif runs:
        print_table(RUN_HEAD, [run_cells(run) for run in runs], (2,))
    else:
        click.echo("no runs yet")


def print_task_log(runs: Sequence[TaskRun], *, as_json: bool) -> None:
    """The runs of a task, oldest first."""
    from nbpipe.views.runs import TASK_RUN_HEAD, task_run_cells

    if as_json:
        echo_json(runs)
    elif runs:
        print_table(TASK_RUN_HEAD, [task_run_cells(run) for run in runs], (2,))
    else:
        click.echo("no runs yet")


def print_run(progress: Progress, *, as_json: bool) -> None:
    """One run: its failures and its summary."""
    from nbpipe.run.report import BuildReport

    if as_json:
        echo_json(_run_dict(progress))
        return
    report = BuildReport(
        run=progress.run, state=progress.state, seconds=progress.seconds, tasks=progress.tasks
    )
    click.echo(f"run {progress.run}: {progress.state}")
    print_report(report, traceback=True)
    for warning in progress.warnings:
        click.echo(harmless(f"warning: {warning}"))


def _run_dict(progress: Progress) -> dict[str, Any]:
    return {
        "run": progress.run,
        "state": progress.state,
        "started": progress.started,
        "seconds": progress.seconds,
        "tasks": progress.tasks,
        "warnings": progress.warnings,
    }
