"""``build`` and ``plan``."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from nbpipe.cli.app import entry_point
from nbpipe.cli.output import echo_json, print_plan, print_report, with_store
from nbpipe.errors import UsageError

if TYPE_CHECKING:
    from nbpipe.core.events import Event
    from nbpipe.core.plan import Plan
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
    "-su", "--skip-upstream", is_flag=True, help="Take the upstreams as they are."
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
DEBUG = click.option(
    "-d", "--debug", is_flag=True, help="After a failure, run that task again here, in a debugger."
)
DEBUG_LATER = click.option(
    "-D",
    "--debug-later",
    "--debuglater",
    is_flag=True,
    help="Keep the variables of what fails, for 'nbpipe debug'.",
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
@DEBUG
@DEBUG_LATER
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
    debug: bool,
    debug_later: bool,
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
    refuse_mixture(debug, as_json)
    if dry_run:
        up = not skip_upstream
        return _show_plan(entry_point, names, force, up, upstream_of, store, as_json)
    plain = not (names or force or upstream_of or background or executor or store is not None)
    if plain and _is_done(entry_point, as_json):
        return 0
    if scheduler is not None:
        settings["scheduler"] = scheduler
    if executor is None and not background:
        _prepare_kernels(entry_point)
    pipeline = _load(entry_point)
    how = Choice(force, not skip_upstream, upstream_of, jobs, keep_going, executor, settings, store)
    if background:
        if debug:
            raise UsageError("--bg has no terminal for a debugger", "use --debug-later")
        return _start(pipeline, names, how, wait, as_json, debug_later)
    with listening(as_json) as listener:
        report = pipeline.build(
            *names,
            **how._asdict(),
            wait=None if wait else 0.0,
            on_event=listener,
            debug_later=debug_later,
        )
    code = finish(report, as_json, traceback)
    return after_failure(pipeline, report, code, debug=debug, later=debug_later)


def _prepare_kernels(entry_point: str | None) -> None:
    """Let the process that kernels come from start while the pipeline is read."""
    from nbpipe.kernels.launching import start_ahead
    from nbpipe.store.signatures import locate_spec

    spec_file = locate_spec(entry_point or os.getcwd())
    if spec_file is not None:
        start_ahead(spec_file)


def refuse_mixture(debug: bool, as_json: bool) -> None:
    """A debugger speaks to a person, ``--json`` to a program.

    Raises:
        UsageError: both are asked for.
    """
    if debug and as_json:
        raise UsageError("--debug and --json exclude each other", "use --debug-later")


def after_failure(
    pipeline: Pipeline, report: BuildReport, code: int, *, debug: bool, later: bool
) -> int:
    """Open a debugger on the first task that failed, or tell where its frames are kept."""
    failed = report.named("failed")
    if not failed or not (debug or later):
        return code
    from nbpipe.cli.debug import debug_failed, tell_dumps

    if later:
        tell_dumps(pipeline, report)
    if debug:
        debug_failed(pipeline, failed[0])
    return code


def build_and_show(pipeline: Pipeline) -> int:
    """Build a whole pipeline with progress and summary; returns the exit code."""
    with listening(False) as listener:
        report = pipeline.build(on_event=listener)
    return finish(report, False, False)


@click.command()
@click.argument("tasks", nargs=-1)
@FORCE
@PARTIAL
@SKIP_UPSTREAM
@UPSTREAM_OF
@STORE
@JSON
@entry_point
def plan(
    tasks: tuple[str, ...],
    force: bool,
    globs: tuple[str, ...],
    skip_upstream: bool,
    upstream_of: str | None,
    store: str | None,
    as_json: bool,
    entry_point: str | None,
) -> int:
    """Tell what a build would run, and why, with the time that it took before."""
    names = (*tasks, *globs)
    return _show_plan(entry_point, names, force, not skip_upstream, upstream_of, store, as_json)


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
    pipeline: Pipeline,
    names: tuple[str, ...],
    how: Choice,
    wait: bool,
    as_json: bool,
    debug_later: bool,
) -> int:
    if wait:
        raise UsageError("--bg and --wait exclude each other", "leave one out")
    run = pipeline.start(*names, **how._asdict(), debug_later=debug_later)
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
    store: str | None,
    as_json: bool,
) -> int:
    from nbpipe.run.unchanged import unchanged

    known = None if names or force or upstream_of else unchanged(entry_point)
    if known is not None:
        found = known.plan
    else:
        pipeline = _load(entry_point)

        def ask(store: str | None) -> Plan:
            return pipeline.plan(
                *names, force=force, upstream=upstream, upstream_of=upstream_of, store=store
            )

        found = with_store(ask, store)
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
