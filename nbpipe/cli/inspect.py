"""Commands that only read: ``status``, ``why``, ``log``, ``plot`` and ``schema``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbpipe.cli.app import entry_point
from nbpipe.cli.output import (
    echo_json,
    print_log,
    print_run,
    print_status,
    print_task_log,
    print_why,
    with_store,
)
from nbpipe.errors import harmless

if TYPE_CHECKING:
    from nbpipe.pipeline import Pipeline, Theme

STORE = click.option(
    "--store",
    metavar="URL",
    help="Look also into this store. Default: NBPIPE_STORE, then meta.store of the spec.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def _load(entry_point: str | None) -> Pipeline:
    from nbpipe.pipeline import Pipeline

    pipeline = Pipeline.load(entry_point)
    for warning in pipeline.warnings:
        click.echo(harmless(f"warning: {warning}"), err=True)
    return pipeline


@click.command()
@STORE
@JSON
@entry_point
def status(store: str | None, as_json: bool, entry_point: str | None) -> None:
    """Show the state of every task: its reason, its last run, its products."""
    from nbpipe.run.unchanged import unchanged

    known = unchanged(entry_point)
    if known is not None:
        found = known.status()
    else:
        pipeline = _load(entry_point)
        found = with_store(lambda store: pipeline.status(store=store), store)
    if as_json:
        echo_json(found.to_dict())
    else:
        print_status(found)


@click.command()
@click.argument("task")
@JSON
@entry_point
def why(task: str, as_json: bool, entry_point: str | None) -> None:
    """Explain why TASK would run, or would not, with what changed in its source."""
    found = _load(entry_point).why(task)
    if as_json:
        echo_json({"decision": found.decision, "diff": found.diff})
    else:
        print_why(found)


@click.command()
@click.argument("task", required=False)
@click.option("--run", "run_id", metavar="RUN", help="Show this run; 'last' is the latest.")
@click.option(
    "-n", "--last", type=click.IntRange(min=1), default=20, help="How many runs. Default: 20."
)
@click.option("--events", is_flag=True, help="Print the run's events as JSON lines.")
@JSON
@entry_point
def log(
    task: str | None,
    run_id: str | None,
    last: int,
    events: bool,
    as_json: bool,
    entry_point: str | None,
) -> None:
    """Show the latest runs, one run with its failures, or the runs of TASK."""
    pipeline = _load(entry_point)
    if events:
        for line in pipeline.event_lines(run_id or "last"):
            click.echo(line)
    elif run_id is not None:
        print_run(pipeline.past_run(run_id), as_json=as_json)
    elif task is not None:
        print_task_log(pipeline.task_history(task)[-last:], as_json=as_json)
    else:
        print_log(pipeline.history(last), as_json=as_json)


@click.command()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; its suffix tells the format: .png .svg .html .mmd .dot .json. "
    "Default: pipeline.png",
)
@click.option(
    "--theme",
    type=click.Choice(["auto", "light", "dark"]),
    default="auto",
    help="Colours. Default: auto.",
)
@entry_point
def plot(output: str | None, theme: Theme, entry_point: str | None) -> None:
    """Draw the pipeline with the state of every task."""
    pipeline = _load(entry_point)
    if output == "-":
        sys.stdout.write(pipeline.plot(".svg", theme=theme).decode())
        return
    target = Path(output) if output else pipeline.root / "pipeline.png"
    picture = pipeline.plot(target.suffix or ".png", theme=theme)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(picture)
    click.echo(f"{target}")


@click.command()
def schema() -> None:
    """Print the JSON schema of pipeline.yaml.

    Editors with a YAML language server check and complete a file whose first line is
    "# yaml-language-server: $schema=pipeline.schema.json".
    """
    from nbpipe.store.specfile import json_schema

    echo_json(json_schema())
