"""Printing: rich where there is something to print, imported only then."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from nbpipe.views.words import plural

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from nbpipe.core.plan import Plan
    from nbpipe.core.progress import Progress, TaskRun
    from nbpipe.run.report import BuildReport
    from nbpipe.views.plans import Explanation
    from nbpipe.views.status import Status

COLOURS = {
    "✓": "green",
    "●": "yellow",
    "▶": "cyan",
    "✗": "bold red",
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

    out = console()
    for name, task in report.tasks.items():
        if task.failure is not None and task.result != "ran":
            out.print()
            out.print(
                text_of(failure_lines(name, task.failure, traceback=traceback)), soft_wrap=True
            )
    print_table(REPORT_HEAD, report_cells(report.progress), right=(2, 3))
    click.echo(report_line(report.progress))


def print_up_to_date(report: BuildReport) -> None:
    """A build that found nothing to do: one line, without rich."""
    count = len(report.tasks)
    noted = [
        f"{n}: {t.reasons[0]}" for n, t in report.tasks.items() if t.reasons != ("up to date",)
    ]
    for line in noted:
        click.echo(line)
    click.echo(f"✓ nothing to do: {plural(count, 'task')} up to date, 0 executed, {count} skipped")


def print_why(why: Explanation) -> None:
    """The decision, its reasons with the old and the new value, and the diff."""
    from rich.syntax import Syntax

    from nbpipe.views.plans import why_lines

    click.echo("\n".join(why_lines(why)))
    if why.diff:
        click.echo()
        if sys.stdout.isatty():
            console().print(Syntax(why.diff, "diff", background_color="default"))
        else:
            click.echo(why.diff, nl=False)


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """A table no wider than the terminal; the column that explains gives way first."""
    from rich import box
    from rich.table import Table

    out = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for i, (name, width) in enumerate(zip(head, _widths(head, rows, out.width), strict=True)):
        table.add_column(
            name, justify="right" if i in right else "left", overflow="fold", width=width
        )
    for row in rows:
        table.add_row(*(_styled(cell) for cell in row))
    out.print(table)


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> list[int]:
    """Columns as wide as they need; where that is too wide, long ones shrink, reasons first."""
    from rich.cells import cell_len

    need = [
        max((cell_len(line) for row in (head, *rows) for line in row[i].splitlines()), default=1)
        for i in range(len(head))
    ]
    spare = total - sum(need) - 2 * (len(head) - 1)
    for names, least in ((_EXPLAINING, 16), (("product",), 24), (("task",), 16), (head, 8)):
        for i, name in enumerate(head):
            if spare < 0 and name in names and need[i] > least:
                cut = min(-spare, need[i] - least)
                need[i] -= cut
                spare += cut
    return need


_EXPLAINING = ("reason", "what happened", "why", "tasks")


def _styled(cell: str) -> Text:
    from rich.text import Text

    from nbpipe.views.status import printable

    clean = "\n".join(printable(line) for line in cell.splitlines())
    return Text(clean, style=COLOURS.get(clean[:1], ""))


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
        click.echo(f"warning: {warning}")


def _run_dict(progress: Progress) -> dict[str, Any]:
    return {
        "run": progress.run,
        "state": progress.state,
        "started": progress.started,
        "seconds": progress.seconds,
        "tasks": progress.tasks,
        "warnings": progress.warnings,
    }
