"""``watch`` and ``cancel``: builds of other processes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from nbpipe.cli.app import entry_point
from nbpipe.cli.build import JSON, TRACEBACK, finish, listening
from nbpipe.cli.output import echo_json
from nbpipe.errors import harmless
from nbpipe.views.words import plural

if TYPE_CHECKING:
    from nbpipe.pipeline import Pipeline
    from nbpipe.run.background import Run


@click.command()
@click.argument("run", required=False)
@TRACEBACK
@JSON
@entry_point
def watch(run: str | None, traceback: bool, as_json: bool, entry_point: str | None) -> int:
    """Follow the build that is running, wherever it was started; else show how the last ended.

    Ctrl-C ends the watching, not the build. The exit code is the build's. RUN is the id of
    another run, or 'last'.
    """
    pipeline = _load(entry_point)
    found = pipeline.attach(run)
    if found is None and pipeline.history(1):
        found = pipeline.attach("last")
    if found is None:
        click.echo("nothing to watch: no build has run yet", err=True)
        return 0
    try:
        if found.status == "running":
            with listening(as_json) as listener:
                for event in found.events(follow=True):
                    listener(event)
        return _show_end(found, as_json, traceback)
    except KeyboardInterrupt:
        _leave(found)
        return 130


@click.command()
@click.argument("run", required=False)
@JSON
@entry_point
def cancel(run: str | None, as_json: bool, entry_point: str | None) -> int:
    """Stop the build that is running, wherever it was started; what is finished is kept.

    It and all that it started are gone within five seconds. When nothing is running, that is
    said, and the exit code is 0 too.
    """
    found = _load(entry_point).attach(run)
    stopped = found is not None and found.cancel()
    if as_json:
        echo_json({"run": found.id if found else None, "stopped": stopped})
    elif found is None:
        click.echo("nothing to stop: no build is running")
    elif stopped:
        click.echo(f"stopped run {found.id} (pid {found.pid} on {found.host}): {_counts(found)}")
    else:
        click.echo(f"nothing to stop: run {found.id} has ended ({found.status})")
    return 0


def _load(entry_point: str | None) -> Pipeline:
    from nbpipe.pipeline import Pipeline

    return Pipeline.load(entry_point)


def _show_end(run: Run, as_json: bool, traceback: bool) -> int:
    report = run.wait()
    if not as_json:
        click.echo(f"run {run.id}: {run.status}")
        for warning in report.warnings if run.status == "lost" else ():
            click.echo(harmless(f"warning: {warning}"), err=True)
    return finish(report, as_json, traceback)


def _leave(run: Run) -> None:
    """Say that the build goes on; a second Ctrl-C must not make a traceback of it."""
    sys.stdout.flush()
    click.echo(
        f"\ndetached: run {run.id} goes on (pid {run.pid} on {run.host}); "
        "nbpipe watch follows it again, nbpipe cancel stops it",
        err=True,
    )


def _counts(run: Run) -> str:
    """How many tasks ended in which way."""
    ended = [task.result for task in run.progress.tasks.values()]
    words = [f"{ended.count(r)} {r}" for r in ("ran", "skipped", "failed") if r in ended]
    left = len(ended) - sum(ended.count(r) for r in ("ran", "skipped", "failed"))
    return ", ".join([*words, f"{plural(left, 'task')} cancelled"])
