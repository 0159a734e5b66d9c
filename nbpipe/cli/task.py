"""``task``: one task run, shown, or asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbpipe.cli.app import entry_point
from nbpipe.cli.build import (
    DEBUG,
    DEBUG_LATER,
    JSON,
    STORE,
    TRACEBACK,
    WAIT,
    after_failure,
    finish,
    listening,
    noting,
    refuse_mixture,
)
from nbpipe.cli.output import echo_json, print_status
from nbpipe.errors import UsageError

if TYPE_CHECKING:
    from nbpipe.pipeline import Pipeline


@click.command()
@click.argument("name")
@click.option(
    "-b", "--build", "asks_build", is_flag=True, help="Run it, also where something is shown."
)
@click.option(
    "-f", "--force", is_flag=True, envvar="NBPIPE_FORCE", help="Run it even if it is fresh."
)
@click.option(
    "--only", is_flag=True, help="Do not look at its upstreams: take their products as they are."
)
@click.option(
    "--no-retry", is_flag=True, help="With --only: try once, as the caller tries again itself."
)
@click.option(
    "--events",
    "noted",
    metavar="FILE",
    help="Append what happens to FILE too, one JSON object a line.",
)
@STORE
@click.option(
    "-s", "--source", "shows_source", is_flag=True, help="Print its source, and run nothing."
)
@click.option(
    "-st", "--status", "shows_status", is_flag=True, help="Show its state, and run nothing."
)
@click.option(
    "-of",
    "--on-finish",
    "calls_hook",
    is_flag=True,
    help="Call its on_finish on the products that are there, and run nothing.",
)
@DEBUG
@DEBUG_LATER
@WAIT
@TRACEBACK
@JSON
@entry_point
def task(
    name: str,
    asks_build: bool,
    force: bool,
    only: bool,
    no_retry: bool,
    noted: str | None,
    store: str | None,
    shows_source: bool,
    shows_status: bool,
    calls_hook: bool,
    debug: bool,
    debug_later: bool,
    wait: bool,
    traceback: bool,
    as_json: bool,
    entry_point: str | None,
) -> int:
    """Run the task NAME, after what it needs; only NAME itself with --only.

    With --only several such commands, each for another task, may run in one folder at once; with
    a store, what its upstreams made is fetched where it is missing.
    """
    if no_retry and not only:
        raise UsageError("--no-retry goes with --only", "add --only")
    refuse_mixture(debug, as_json)
    pipeline = _load(entry_point)
    pipeline.graph.task(name)
    if shows_source:
        click.echo(pipeline.source(name), nl=False)
    if shows_status:
        _show_status(pipeline, name, as_json)
    if calls_hook:
        pipeline.call_on_finish(name)
        click.echo(f"on_finish of '{name}' went well")
    if (shows_source or shows_status or calls_hook) and not asks_build:
        return 0
    timeout = None if wait else 0.0
    with listening(as_json) as shown, noting(shown, noted) as listener:
        if only:
            report = pipeline.run_only(
                name,
                force=force,
                retry=not no_retry,
                store=store,
                wait=timeout,
                on_event=listener,
                debug_later=debug_later,
            )
        else:
            report = pipeline[name].build(
                force=force,
                store=store,
                wait=timeout,
                debug_later=debug_later,
                on_event=listener,
            )
    code = finish(report, as_json, traceback)
    return after_failure(pipeline, report, code, debug=debug, later=debug_later)


def _load(entry_point: str | None) -> Pipeline:
    from nbpipe.pipeline import Pipeline

    return Pipeline.load(entry_point, call=True)


def _show_status(pipeline: Pipeline, name: str, as_json: bool) -> None:
    from nbpipe.views.status import Status

    found = pipeline.status()
    alone = Status((found[name],), found.name, found.now)
    if as_json:
        echo_json(alone.to_dict())
    else:
        print_status(alone)
