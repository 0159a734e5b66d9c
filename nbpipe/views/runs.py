"""Past runs as rows."""

from __future__ import annotations

from collections.abc import Sequence

from nbpipe.core.progress import Progress, TaskRun
from nbpipe.views.status import html_table, plain_table, report_line
from nbpipe.views.words import plural

RUN_HEAD = ("run", "state", "seconds", "tasks")
TASK_RUN_HEAD = ("run", "result", "seconds", "why")


def run_cells(progress: Progress) -> tuple[str, ...]:
    """A run: its id, how it ended, how long it took, what became of its tasks."""
    glyph = {"done": "✓", "failed": "✗", "running": "▶", "interrupted": "⊘"}[progress.state]
    tasks = report_line(progress).rpartition(" in ")[0]
    seconds = f"{progress.seconds:.2f}" if progress.seconds else ""
    return (progress.run, f"{glyph} {progress.state}", seconds, tasks)


def task_run_cells(run: TaskRun) -> tuple[str, ...]:
    """A task in a run: how it ended, how long it took, why it ran or failed."""
    task = run.task
    glyph = {"ran": "✓", "failed": "✗"}.get(task.result, "⊘")
    failed = f"{task.failure.error}: {task.failure.message}" if task.failure else ""
    why = (failed or "; ".join(task.reasons)).partition("\n")[0]
    return (run.run, f"{glyph} {task.result}", f"{task.seconds:.2f}", why)


def runs_table(runs: Sequence[Progress]) -> tuple[str, str]:
    """Runs as text and as HTML."""
    rows = [run_cells(run) for run in runs]
    return plain_table(RUN_HEAD, rows), html_table(RUN_HEAD, rows, plural(len(rows), "run"))


def task_runs_table(runs: Sequence[TaskRun]) -> tuple[str, str]:
    """The runs of a task as text and as HTML."""
    rows = [task_run_cells(run) for run in runs]
    caption = plural(len(rows), "run")
    return plain_table(TASK_RUN_HEAD, rows), html_table(TASK_RUN_HEAD, rows, caption)
