"""``build``, ``task`` and ``plan``."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from nbpipe.cli.app import entry_point
from nbpipe.cli.output import echo_json, print_plan, print_report
from nbpipe.errors import UsageError

if TYPE_CHECKING:
    from nbpipe.core.events import Event
    from nbpipe.pipeline import Listener, Pipeline
    from nbpipe.run.report import BuildReport

JOBS = click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Tasks at once. Default: the cores."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
FORCE = click.option("-f", "--force", is_flag=True, help="Run also what is fresh.")
WAIT = click.option("--wait", is_flag=True, help="Wait while another build holds the pipeline.")
TRACEBACK = click.option("--traceback", is_flag=True, help="Show whole tracebacks of failed tasks.")
PARTIAL = click.option(
    "-p",
    "--partially",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Tasks by wildcard, with their upstreams.",
)
SKIP_UPSTREAM = click.option(
    "--skip-upstream", is_flag=True, help="Take the upstreams as they are."
)
UPSTREAM_OF = click.option(
    "--upstream-of", metavar="TASK", help="All that TASK needs, without TASK."
)

STORE = click.option(
    "--store",
    metavar="URL",
    help="Where results are shared: a folder, or an address such as s3://bucket/folder. "
    "Default: NBPIPE_STORE, then meta.store of the spec.",
)
EXECUTOR = click.option(
    "--executor", metavar="NAME", help="What runs the tasks. Default: local, this machine."
)
SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=lambda context, option, pairs: read_settings(pairs),
    help="A setting of what is named by --executor.",
)
SCHEDULER = click.option(
    "--scheduler", metavar="ADDRESS", help="Of Dask: short for --set scheduler=ADDRESS."
)


def read_settings(pairs: Iterable[str]) -> dict[str, str]:
    """What ``--set KEY=VALUE`` says.

    Raises:
        BadParameter: there is no ``=``.
    """
    found = {}
    for pair in pairs:
        key, mark, value = pair.partition("=")
        if not (mark and key.isidentifier()):
            raise click.BadParameter(f"'{pair}' is not KEY=VALUE")
        found[key] = value
    return found


class Choice(NamedTuple):
    """What a build in the terminal and one in the background have in common."""

    force: bool
    upstream: bool
    upstream_of: str | None
    jobs: int | None
    keep_going: bool
    executor: str | None
    settings: dict[str, str]
    store: str | None


@click.command()
@click.argument("tasks", nargs=-1)
@FORCE
@PARTIAL
@SKIP_UPSTREAM
@UPSTREAM_OF
@JOBS
@click.option(
    "-k",
    "--keep-going",
    is_flag=True,
    help="After a failure, still run what does not depend on it.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would run, and run nothing.")
@click.option(
    "--bg", "background", is_flag=True, help="Build in the background; see watch and cancel."
)
@STORE
@EXECUTOR
@SETTINGS
@SCHEDULER
@WAIT
@TRACEBACK
@JSON
@entry_point
def build(
    tasks: tuple[str, ...],
    force: bool,
    globs: tuple[str, ...],
    skip_upstream: bool,
    upstream_of: str | None,
    jobs: int | None,
    keep_going: bool,
    dry_run: bool,
    background: bool,
    store: str | None,
    executor: str | None,
    settings: dict[str, str],
    scheduler: str | None,
    wait: bool,
    traceback: bool,
    as_json: bool,
    entry_point: str | None,
) -> int:
    """Run what is stale, in parallel; without TASKS the whole pipeline.

    A task is stale when its code, the project's modules that it imports, its params, its
    declared products, or the bytes of the products that it reads have changed, or when one of
    its own products is missing or was changed.
    """
    names = (*tasks, *globs)
    if dry_run:
        return _show_plan(entry_point, names, force, not skip_upstream, upstream_of, as_json)
    plain = not (names or force or upstream_of or background or executor or store is not None)
    if plain and _is_done(entry_point, as_json):
        return 0
    if scheduler is not None:
        settings["scheduler"] = scheduler
    pipeline = _load(entry_point)
    how = Choice(force, not skip_upstream, upstream_of, jobs, keep_going, executor, settings, store)
    if background:
        return _start(pipeline, names, how, wait, as_json)
    with listening(as_json) as listener:
        report = pipeline.build(
            *names, **how._asdict(), wait=None if wait else 0.0, on_event=listener
        )
    return finish(report, as_json, traceback)


def build_and_show(pipeline: Pipeline) -> int:
    """Build a whole pipeline with progress and summary; returns the exit code."""
    with listening(False) as listener:
        report = pipeline.build(on_event=listener)
    return finish(report, False, False)


@click.command()
@click.argument("name")
@click.option("-f", "--force", is_flag=True, help="Run it even if it is fresh.")
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
    "-s", "--source", "show_source", is_flag=True, help="Print its source, and run nothing."
)
@WAIT
@TRACEBACK
@JSON
@entry_point
def task(
    name: str,
    force: bool,
    only: bool,
    no_retry: bool,
    noted: str | None,
    store: str | None,
    show_source: bool,
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
    pipeline = _load(entry_point)
    pipeline.graph.task(name)
    if show_source:
        click.echo(pipeline.source(name), nl=False)
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
            )
            return finish(report, as_json, traceback)
        if force:
            needed = pipeline.build(upstream_of=name, store=store, wait=timeout, on_event=listener)
            if not needed.ok:
                return finish(needed, as_json, traceback)
        report = pipeline.build(
            name, force=force, upstream=not force, store=store, wait=timeout, on_event=listener
        )
    return finish(report, as_json, traceback)


@click.command()
@click.argument("tasks", nargs=-1)
@FORCE
@PARTIAL
@SKIP_UPSTREAM
@UPSTREAM_OF
@JSON
@entry_point
def plan(
    tasks: tuple[str, ...],
    force: bool,
    globs: tuple[str, ...],
    skip_upstream: bool,
    upstream_of: str | None,
    as_json: bool,
    entry_point: str | None,
) -> int:
    """Tell what a build would run, and why, with the time that it took before."""
    names = (*tasks, *globs)
    return _show_plan(entry_point, names, force, not skip_upstream, upstream_of, as_json)


def _is_done(entry_point: str | None, as_json: bool) -> bool:
    """Whether nothing has changed since everything was fresh; then says so."""
    from nbpipe.run.report import nothing_to_do
    from nbpipe.run.unchanged import unchanged

    began = time.monotonic()
    # A nested build is refused, and a store may lack what is fresh here.
    asks = "NBPIPE_TASK" in os.environ or "NBPIPE_STORE" in os.environ
    known = None if asks else unchanged(entry_point)
    if known is not None:
        finish(nothing_to_do(known.plan, time.monotonic() - began), as_json, traceback=False)
    return known is not None


def _load(entry_point: str | None) -> Pipeline:
    from nbpipe.pipeline import Pipeline

    return Pipeline.load(entry_point, call=True)


def _start(
    pipeline: Pipeline, names: tuple[str, ...], how: Choice, wait: bool, as_json: bool
) -> int:
    if wait:
        raise UsageError("--bg and --wait exclude each other", "leave one out")
    run = pipeline.start(*names, **how._asdict())
    if not run.id:
        return finish(run.report(), as_json, False)
    if as_json:
        echo_json({"run": run.id, "pid": run.pid, "host": run.host})
    else:
        click.echo(f"run {run.id} goes on in the background (pid {run.pid})")
        click.echo("  nbpipe watch   follows it\n  nbpipe cancel  stops it")
    return 0


def _show_plan(
    entry_point: str | None,
    names: tuple[str, ...],
    force: bool,
    upstream: bool,
    upstream_of: str | None,
    as_json: bool,
) -> int:
    from nbpipe.run.unchanged import unchanged

    known = None if names or force or upstream_of else unchanged(entry_point)
    found = (
        known.plan
        if known is not None
        else _load(entry_point).plan(
            *names, force=force, upstream=upstream, upstream_of=upstream_of
        )
    )
    if as_json:
        echo_json(found)
    else:
        print_plan(found)
    return 0


@contextlib.contextmanager
def listening(as_json: bool) -> Iterator[Listener]:
    """Bars on a terminal, lines elsewhere, JSON lines on request."""
    if as_json:
        from nbpipe.views.progress import JsonLines

        yield JsonLines(sys.stdout)
    elif sys.stdout.isatty():
        from nbpipe.cli.output import console
        from nbpipe.views.progress import LiveProgress

        with LiveProgress(console()) as live:
            yield live
    else:
        from nbpipe.views.progress import PlainLines

        yield PlainLines(click.echo)


@contextlib.contextmanager
def noting(listener: Listener, path: str | None) -> Iterator[Listener]:
    """A listener that also writes every event to a file, when one is named."""
    if path is None:
        yield listener
        return
    from nbpipe.views.progress import JsonLines

    try:
        out = open(path, "a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", "name a file") from error
    with out:
        note = JsonLines(out)

        def both(event: Event) -> None:
            note(event)
            listener(event)

        yield both


def finish(report: BuildReport, as_json: bool, traceback: bool) -> int:
    """Show how a build ended; returns its exit code."""
    from nbpipe.run.report import idle_text

    if as_json:
        echo_json({"event": "report", **report.to_dict()})
    elif report.run:
        print_report(report, traceback=traceback)
    else:
        click.echo(idle_text(report), nl=False)
    return report.exit_code
