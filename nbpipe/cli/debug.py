"""A debugger on a failed task: ``debug``, ``build --debug`` and ``--debug-later``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbpipe.errors import NbpipeError, harmless

if TYPE_CHECKING:
    from nbpipe.pipeline import Pipeline
    from nbpipe.run.report import BuildReport


@click.command()
@click.argument("dump", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--print", "prints", is_flag=True, help="Print frames and variables, and no more.")
def debug(dump: Path, prints: bool) -> None:
    """Open a debugger on the variables that a failed task left in FILE.

    Such a file is made by --debug-later. Opening it runs what it holds, as opening a pickle does:
    open only files of builds that you trust; --print runs nothing of it.
    """
    from nbpipe.debugging import open_dump, read_dump

    found = read_dump(dump)
    click.echo(harmless(found.traceback), nl=False)
    if not prints:
        click.echo("where: the frames; up, down: another one; p NAME: a variable; q: leave")
        open_dump(found)
        return
    for frame in found.frames:
        click.echo(harmless(f"\n{frame.file}:{frame.line} in {frame.name}"))
        for name, value in frame.values.items():
            click.echo(harmless(f"  {name} = {value.text}"))


def tell_dumps(pipeline: Pipeline, report: BuildReport) -> None:
    """Say where the frames of the tasks are that failed."""
    paths = pipeline.dumps(report.run)
    for task in report.named("failed"):
        if task in paths:
            click.echo(f"{task}: nbpipe debug {paths[task]}")
        else:
            click.echo(f"{task}: no variables were kept: only Python tasks can keep them")


def debug_failed(pipeline: Pipeline, name: str) -> None:
    """Run a failed task again in this process, with a debugger on its error."""
    click.echo(f"\nrunning '{name}' again in this process; q leaves the debugger")
    try:
        error = pipeline[name].debug()
    except NbpipeError as refusal:
        click.echo(harmless(str(refusal)), err=True)
        return
    if error is None:
        click.echo(f"'{name}' itself went well this time; its hooks were not called")
    elif isinstance(error, NbpipeError):
        click.echo(harmless(str(error)), err=True)
