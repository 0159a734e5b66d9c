"""What came of a build, for programs and for readers."""

from __future__ import annotations

from typing import Any

import msgspec

from nbpipe.core.plan import Plan
from nbpipe.core.progress import Progress, RunState, TaskProgress
from nbpipe.errors import BuildError, InterruptedBuildError, harmless
from nbpipe.views.words import plural


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """A build that ended.

    Attributes:
        run: its id; "" when there was nothing to do, so that no run was made.
        state: ``done``, ``failed`` or ``interrupted``.
        seconds: from the start to the end.
        tasks: how each task ended, in topological order.
        warnings: one sentence each.
        exit_code: as the command line's: 0, 1, 130 or 143.
    """

    run: str
    state: RunState
    seconds: float
    tasks: dict[str, TaskProgress]
    warnings: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def ok(self) -> bool:
        """Whether all that was asked for is there."""
        return self.exit_code == 0

    def named(self, result: str) -> tuple[str, ...]:
        """The tasks that ended as ``ran``, ``skipped``, ``failed``, ``blocked``, ``cancelled``."""
        return tuple(name for name, task in self.tasks.items() if task.result == result)

    @property
    def progress(self) -> Progress:
        """The same as a view reads it."""
        progress = Progress()
        progress.run, progress.seconds, progress.tasks = self.run, self.seconds, dict(self.tasks)
        progress.warnings = list(self.warnings)
        progress.state = self.state
        return progress

    def raise_for_failure(self) -> BuildReport:
        """Return itself when all went well.

        Raises:
            BuildError: a task failed.
            InterruptedBuildError: the build was interrupted.
        """
        if self.ok:
            return self
        if self.state == "interrupted":
            left = len(self.named("cancelled"))
            error = InterruptedBuildError(f"the build was interrupted; tasks not run: {left}")
            error.exit_code = self.exit_code
            raise error
        raise BuildError(f"tasks failed: {', '.join(self.named('failed'))}")

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: plain values; durations are seconds."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    def __str__(self) -> str:
        """The summary as an aligned table in plain text."""
        from nbpipe.views.status import REPORT_HEAD, plain_table, report_cells, report_line

        progress = self.progress
        table = plain_table(REPORT_HEAD, report_cells(progress))
        return f"{table}\n{report_line(progress)}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from nbpipe.views.status import REPORT_HEAD, html_table, report_cells, report_line

        progress = self.progress
        table = html_table(REPORT_HEAD, report_cells(progress), report_line(progress))
        return {"text/plain": str(self), "text/html": table}


def nothing_to_do(plan: Plan, seconds: float) -> BuildReport:
    """The report of a build that found every task fresh; ``seconds`` is what looking took."""
    tasks = {
        name: TaskProgress(
            state="fresh",
            result="skipped",
            reasons=("; ".join(note.text for note in decision.notes) or "up to date",),
        )
        for name, decision in plan.decisions.items()
    }
    return BuildReport(run="", state="done", seconds=seconds, tasks=tasks)


def idle_text(report: BuildReport) -> str:
    """What a build says that found nothing to do: what is noted of tasks, then one line."""
    noted = [
        f"{name}: {task.reasons[0]}\n"
        for name, task in report.tasks.items()
        if task.reasons != ("up to date",)
    ]
    count = len(report.tasks)
    done = f"{plural(count, 'task')} up to date, 0 executed, {count} skipped"
    return harmless("".join([*noted, f"✓ nothing to do: {done}\n"]))
