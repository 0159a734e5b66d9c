"""``nb``: the sources' own files, for editors that show no injected cell by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbpipe.cli.app import entry_point
from nbpipe.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from nbpipe.core.model import Spec, Task

ACTIONS = ("inject", "remove", "format", "pair", "sync", "install-hook")

_ONLY = {"staged": "remove", "to": "format", "folder": "pair", "uninstall": "install-hook"}


@click.command()
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("tasks", nargs=-1)
@click.option("--staged", is_flag=True, help="remove: in what git is about to commit.")
@click.option("--to", metavar="FORMAT", help="format: such as py:percent, py:light, md or ipynb.")
@click.option("--folder", metavar="PATH", help="pair: where the notebooks go. Default: notebooks.")
@click.option("--uninstall", is_flag=True, help="install-hook: take the hook out again.")
@entry_point
def nb(action: str, tasks: tuple[str, ...], entry_point: str | None, **options: Any) -> int | None:
    """Work on the sources' own files. ACTION is one of:

    "inject" writes the cell with upstream and product below the cell tagged parameters, with paths
    relative to the folder of pipeline.yaml; "remove" takes it out again, byte for byte.
    "format" writes the sources in another format. "pair" keeps a notebook beside each script, and
    "sync" brings the two in step, by jupytext. "install-hook" adds a git hook that keeps the
    injected cell out of commits.

    TASKS are names or wildcards; without them, all tasks with a script are meant.
    """
    for name, owner in _ONLY.items():
        if options[name] and owner != action:
            raise UsageError(f"--{name} belongs to 'nbpipe nb {owner}'", f"not to '{action}'")
    start = Path(entry_point) if entry_point else Path.cwd()
    if action == "install-hook" or options["staged"]:
        return _git(start, tasks, **options)
    actions: dict[str, Callable[..., None]] = {
        "inject": _inject,
        "remove": _remove,
        "format": _format,
        "pair": _pair,
        "sync": _sync,
    }
    actions[action](start, tasks, **options)
    return None


def _git(start: Path, tasks: tuple[str, ...], staged: bool, uninstall: bool, **_: Any) -> int:
    from nbpipe.cli import nb_git

    if tasks:
        raise UsageError("tasks cannot be named here", "the whole repository is meant")
    folder = start if start.is_dir() else start.parent
    for line in nb_git.clean_staged(folder) if staged else nb_git.install(folder, uninstall):
        click.echo(line)
    return 0


def _inject(start: Path, tasks: tuple[str, ...], **_: Any) -> None:
    from nbpipe.pipeline import Pipeline
    from nbpipe.run.prepare import upstream_value
    from nbpipe.store.inject import injected_cell_text
    from nbpipe.store.injected import inject
    from nbpipe.store.sources import parse_source

    pipeline = Pipeline.load(start)

    def injected(data: bytes, task: Task) -> bytes:
        text = pipeline.source(task.name)
        upstream = upstream_value(pipeline.graph, task)
        language = parse_source(text, task.source).language
        cell = injected_cell_text(language, upstream, task.product, task.params, task.source)
        return inject(data, task.source, cell)

    _rewrite(pipeline.root, _chosen(pipeline.spec, tasks), injected, "injected into")


def _remove(start: Path, tasks: tuple[str, ...], **_: Any) -> None:
    from nbpipe.store.injected import remove

    file, spec = _spec(start)
    _rewrite(
        file.parent,
        _chosen(spec, tasks),
        lambda data, task: remove(data, task.source),
        "removed from",
    )


def _rewrite(
    root: Path, tasks: list[Task], change: Callable[[bytes, Task], bytes], said: str
) -> None:
    """Change files one by one; what cannot be changed is told at the end, the rest is done."""
    from nbpipe.errors import NbpipeError
    from nbpipe.store.products import write_durably

    faults = []
    done = 0
    for task in tasks:
        path = (root / task.source).resolve()
        try:
            before = path.read_bytes()
            after = change(before, task)
            if after != before:
                mode = path.stat().st_mode
                write_durably(path, after)
                path.chmod(mode)
                done += 1
                click.echo(f"{said} {task.source}")
        except OSError as error:
            faults.append(f"{task.source}: {error.strerror or error}")
        except NbpipeError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))
    if not done:
        click.echo("nothing to do")


def _format(start: Path, tasks: tuple[str, ...], to: str | None, **_: Any) -> None:
    from nbpipe.cli.nb_format import reformat

    if not to:
        raise UsageError("the format is missing", "such as: nbpipe nb format --to py:percent")
    file, spec = _spec(start)
    for line in reformat(file, _chosen(spec, tasks), to):
        click.echo(line)


def _pair(start: Path, tasks: tuple[str, ...], folder: str | None, **_: Any) -> None:
    from nbpipe.cli.nb_format import pair

    file, spec = _spec(start)
    for line in pair(file.parent, _chosen(spec, tasks), folder or "notebooks"):
        click.echo(line)


def _sync(start: Path, tasks: tuple[str, ...], **_: Any) -> None:
    from nbpipe.cli.nb_format import sync

    file, spec = _spec(start)
    for line in sync(file.parent, _chosen(spec, tasks)):
        click.echo(line)


def _spec(start: Path) -> tuple[Path, Spec]:
    from nbpipe.store.specfile import find_spec, read_spec

    file = find_spec(start)
    return file, read_spec(file)


def _chosen(spec: Spec, names: tuple[str, ...]) -> list[Task]:
    """Tasks with a script, one for each file: the first, or the one that is named."""
    from fnmatch import fnmatchcase

    scripts = [task for task in spec.tasks if task.kind == "notebook"]
    for name in names:
        if not any(fnmatchcase(task.name, name) for task in scripts):
            hint = did_you_mean(name, [task.name for task in scripts])
            raise UsageError(f"no task '{name}' with a script", hint)
    found: dict[str, Task] = {}
    for task in scripts:
        if not names or any(fnmatchcase(task.name, name) for name in names):
            found.setdefault(task.source, task)
    return list(found.values())
