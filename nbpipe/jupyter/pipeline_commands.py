"""The subcommands of ``%pipeline``: each takes the session and its options, returns a value."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from nbpipe.jupyter.session import Session

if TYPE_CHECKING:
    from nbpipe.core.plan import Plan
    from nbpipe.jupyter.show import Picture, Table
    from nbpipe.pipeline import Pipeline
    from nbpipe.run.background import Run
    from nbpipe.run.report import BuildReport
    from nbpipe.views.plans import Explanation
    from nbpipe.views.status import Status


def show(session: Session, options: Namespace) -> Any:
    """The DAG, live, with its buttons; the picture and the table where there are no widgets."""
    from nbpipe.jupyter.show import in_kernel

    if not in_kernel(session.shell):
        return plot(session, options)
    session.load()
    from nbpipe.jupyter.panel import show_panel

    show_panel(session)
    return None


def status(session: Session, options: Namespace) -> Status:
    """The state of every task."""
    return session.status()


def plan(session: Session, options: Namespace) -> Plan:
    """What a build would run, and why."""
    from nbpipe.run.stored import with_store

    pipeline = session.load(call=True)
    chosen: dict[str, Any] = {"force": options.force, "upstream_of": options.upstream_of}
    return with_store(lambda url: pipeline.plan(*options.names, store=url, **chosen), None, print)


def why(session: Session, options: Namespace) -> Explanation:
    """Why a task would run, or would not."""
    return session.load().why(options.task)


def log(session: Session, options: Namespace) -> Table:
    """Past runs, or those of a task."""
    from nbpipe.jupyter.show import Table
    from nbpipe.views.runs import runs_table, task_runs_table

    pipeline = session.load()
    if options.task is None:
        return Table(*runs_table(pipeline.history(20)))
    return Table(*task_runs_table(pipeline.task_history(options.task)[-20:]))


def plot(session: Session, options: Namespace) -> Picture:
    """The picture alone."""
    from nbpipe.jupyter.show import Picture

    pipeline = session.load()
    return Picture(pipeline.plot(".svg").decode(), str(pipeline.status()))


def use(session: Session, options: Namespace) -> Status:
    """Work on another pipeline."""
    return session.use(options.path, options.overrides).status()


def cancel(session: Session, options: Namespace) -> None:
    """Stop the background build."""
    run = session.load().attach()
    if run is None:
        print("no build is running")
        return
    run.cancel()
    print(f"stopped run {run.id}")


def scaffold(session: Session, options: Namespace) -> None:
    """Create the missing sources."""
    from pathlib import Path

    from nbpipe.store.scaffold import new_sources
    from nbpipe.store.specfile import find_spec

    created, kept = new_sources(find_spec(session.path or Path.cwd()))
    print("\n".join(f"created {path}" for path in created) or f"all {len(kept)} sources are there")


def split(session: Session, options: Namespace) -> Status | None:
    """Turn a notebook into a pipeline of scripts in its folder, running nothing."""
    from pathlib import Path

    from nbpipe.store.splitting import plan_split, write_split

    planned = plan_split(Path(options.notebook).expanduser())
    made = write_split(planned)
    lines = [*(f"created {path}" for path in made), *(f"warning: {w}" for w in planned.warnings)]
    print("\n".join(lines))
    if planned.root != Path.cwd():
        print(f"next: %pipeline use {planned.root}")
        return None
    return session.use(str(planned.root)).status()


def build(session: Session, options: Namespace) -> Plan | Run | BuildReport:
    """Run what is stale, here with progress, or in the background."""
    if options.dry_run:
        return plan(session, options)
    pipeline = session.load(call=True)
    chosen: dict[str, Any] = {"force": options.force, "upstream_of": options.upstream_of}
    chosen |= {"jobs": options.jobs, "keep_going": options.keep_going}
    settings = [*options.settings, *([("scheduler", s)] if (s := options.scheduler) else [])]
    chosen |= {"executor": options.executor, "settings": dict(settings)}
    if options.bg:
        return pipeline.start(*options.names, **chosen)
    report = build_here(session, pipeline, *options.names, **chosen)
    raise_failures(report)
    return report


def build_here(session: Session, pipeline: Pipeline, *names: str, **options: Any) -> BuildReport:
    """Build while the cell runs, with its progress shown; interrupting the cell ends the build."""
    from nbpipe.jupyter.show import CellProgress, in_kernel

    if not in_kernel(session.shell):
        return _build_in_terminal(pipeline, *names, **options)
    progress = CellProgress()
    try:
        report = pipeline.build(*names, on_event=progress, on_wait=progress.tick, **options)
    finally:
        if progress.progress.run:
            progress.show()
        renew_panels()
    return report


def renew_panels() -> None:
    """Bring the panels that are open in this notebook up to date."""
    panel = sys.modules.get("nbpipe.jupyter.panel")
    if panel is not None:
        panel.renew_panels()


def _build_in_terminal(pipeline: Pipeline, *names: str, **options: Any) -> BuildReport:
    from nbpipe.views.progress import PlainLines

    return pipeline.build(*names, on_event=PlainLines(print), **options)


def raise_failures(report: BuildReport) -> None:
    """Make a failed build the error of its cell, so that whoever runs the notebook sees it.

    Raises:
        TaskError: a task failed.
    """
    from nbpipe.jupyter.failed import TaskError

    failed = {n: t.failure for n, t in report.tasks.items() if t.result == "failed" and t.failure}
    if failed:
        raise TaskError(failed)
