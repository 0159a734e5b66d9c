"""``submit``: the pipeline as jobs of a service that is called, not one that calls."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import click

from nbpipe.cli.app import entry_point
from nbpipe.cli.build import read_settings
from nbpipe.cli.export import export_options
from nbpipe.cli.output import echo_json
from nbpipe.errors import UsageError, did_you_mean, harmless

if TYPE_CHECKING:
    from nbpipe.exporters.aws_batch import Workload
    from nbpipe.run.batch import JobState, Submission

ENGINES = ("aws-batch",)


@click.command()
@click.argument("engine", metavar="ENGINE")
@export_options
@click.option("--wait", is_flag=True, help="Follow the jobs to their end; Ctrl-C ends them.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@entry_point
def submit(
    engine: str,
    tasks: tuple[str, ...],
    store: str | None,
    image: str | None,
    mode: str,
    environ: tuple[str, ...],
    more: tuple[str, ...],
    wait: bool,
    as_json: bool,
    entry_point: str | None,
) -> int:
    """Submit the tasks as jobs, each after those that it needs; ENGINE is aws-batch."""
    if engine not in ENGINES:
        raise UsageError(f"no engine '{engine}'", did_you_mean(engine, ENGINES))
    said: dict[str, Any] = {**read_settings(more), "mode": mode, "environ": read_settings(environ)}
    said |= {key: value for key, value in (("store", store), ("image", image)) if value}
    submission, workload = _prepare(said, tasks, entry_point, as_json)
    try:
        submission.run(workload, wait=wait)
    finally:
        if as_json:
            echo_json({"jobs": list(submission.states.values())})
    if wait and not as_json:
        _show_end(submission)
    return submission.exit_code


def _prepare(
    said: dict[str, Any], tasks: tuple[str, ...], entry_point: str | None, as_json: bool
) -> tuple[Submission, Workload]:
    """What is submitted, and what does it; nothing has been asked of the service yet."""
    from nbpipe.exporters.aws_batch import BatchExporter, workload
    from nbpipe.exporters.aws_batch_settings import BatchSettings
    from nbpipe.exporters.base import read_settings as read_told
    from nbpipe.pipeline import Pipeline
    from nbpipe.run.batch import Submission
    from nbpipe.run.batch_service import connect

    told = read_told(BatchExporter(), said)
    assert isinstance(told, BatchSettings)
    if told.queue is None:
        raise UsageError("AWS Batch takes jobs into a queue: name it", "--set queue=NAME")
    found = workload(Pipeline.load(entry_point).document().only(tasks), told)
    tell = _say_nothing if as_json else _say
    return Submission(connect(told.region), told.queue, tell, uuid.uuid4().hex), found


def _say_nothing(state: JobState) -> None:
    """The document at the end tells all."""


def _say(state: JobState) -> None:
    what = f"job {state.job}" if state.status == "SUBMITTED" else state.status.lower()
    click.echo(harmless(f"{state.task or state.name}: {what}"))


def _show_end(submission: Submission) -> None:
    """What failed, and why; then how many jobs ended how."""
    states = list(submission.states.values())
    failed = [state for state in states if state.status == "FAILED"]
    for state in failed:
        said = [f"exit code {state.code}" if state.code is not None else None, state.reason]
        why = ": ".join(part for part in said if part) or "no reason is told"
        log = f", log stream {state.log} in /aws/batch/job" if state.log else ""
        click.echo(harmless(f"✗ {state.task or state.name}: {why} (job {state.job}{log})"))
    click.echo(f"{len(states) - len(failed)} of {len(states)} jobs succeeded")
