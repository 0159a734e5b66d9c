"""``graph`` and ``export``: the pipeline for programs, and for other engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nbpipe.cli.app import entry_point
from nbpipe.cli.build import read_settings
from nbpipe.cli.output import echo_json
from nbpipe.errors import UsageError, cannot_write

if TYPE_CHECKING:
    from nbpipe.pipeline import Pipeline


F = TypeVar("F", bound=Callable[..., Any])


def export_options(command: F) -> F:
    """The options of a command that translates the pipeline for an engine."""
    options = [
        click.option("--task", "tasks", multiple=True, metavar="GLOB", help="Only these tasks."),
        click.option("--store", metavar="URL", help="Where the tasks share their results."),
        click.option("--image", metavar="IMAGE", help="Container image that has the project."),
        click.option(
            "--mode",
            type=click.Choice(["incremental", "force"]),
            default="incremental",
            help="Whether the engine skips what is fresh. Default: incremental.",
        ),
        click.option(
            "--env",
            "environ",
            multiple=True,
            metavar="NAME=VALUE",
            help="A variable for every task.",
        ),
        click.option(
            "--set", "more", multiple=True, metavar="KEY=VALUE", help="A setting of the engine."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--json", "as_json", is_flag=True, help="All that an engine may want to know.")
@entry_point
def graph(as_json: bool, entry_point: str | None) -> None:
    """Print the tasks with their upstreams, in the order in which they can run."""
    document = _load(entry_point).document()
    if as_json:
        echo_json(document)
        return
    for task in document.tasks:
        click.echo(f"{task.name} <- {', '.join(task.upstream)}" if task.upstream else task.name)


@click.command()
@click.argument("name", metavar="EXPORTER")
@click.option("--to", "folder", metavar="FOLDER", help="Where to write. Default: print.")
@export_options
@click.option("-f", "--force", is_flag=True, help="Overwrite files that are there.")
@entry_point
def export(
    name: str,
    folder: str | None,
    tasks: tuple[str, ...],
    store: str | None,
    image: str | None,
    mode: str,
    environ: tuple[str, ...],
    more: tuple[str, ...],
    force: bool,
    entry_point: str | None,
) -> None:
    """Translate the pipeline for another engine; json is the plainest EXPORTER."""
    said: dict[str, Any] = {**read_settings(more), "mode": mode, "environ": read_settings(environ)}
    said |= {key: value for key, value in (("store", store), ("image", image)) if value}
    texts = _load(entry_point).export(name, said, tasks)
    if folder is None:
        for text in texts.values():
            click.echo(text, nl=False)
        return
    write(Path(folder), texts, force=force)
    for path in texts:
        click.echo(f"wrote {folder}/{path}")


def write(folder: Path, texts: dict[str, str], *, force: bool) -> None:
    """Write files into a folder.

    Raises:
        UsageError: one is there already.
        StoreError: one cannot be written.
    """
    there = [path for path in texts if (folder / path).exists()]
    if there and not force:
        raise UsageError(f"{folder / there[0]} is there already", "overwrite it with --force")
    for path, text in texts.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise cannot_write(folder / path, error) from error


def _load(entry_point: str | None) -> Pipeline:
    from nbpipe.pipeline import Pipeline

    return Pipeline.load(entry_point)
