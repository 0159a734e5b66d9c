"""``examples``: projects that are part of the installation."""

from __future__ import annotations

from pathlib import Path

import click

import nbpipe
from nbpipe.errors import NbpipeError, UsageError, did_you_mean


@click.command()
@click.argument("name", required=False)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("-n", "--name", "said", metavar="NAME", help="The same as NAME.")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="The same as FOLDER.",
)
def examples(name: str | None, folder: Path | None, said: str | None, output: Path | None) -> None:
    """List the example projects; with NAME, copy one into FOLDER, which must be new or empty.

    Without FOLDER it goes into a folder of its own name. Nothing is downloaded.
    """
    name, folder = name or said, folder or output
    if name is None:
        from nbpipe.cli.output import print_table

        print_table(("example", "what it shows"), sorted(described().items()))
        click.echo("nbpipe examples NAME copies one")
        return
    target = folder or Path(name)
    made = copy_example(name, target)
    click.echo(f"wrote {len(made)} files to {target}")
    click.echo(f"next: cd {target} && nbpipe build")


def described() -> dict[str, str]:
    """What each example shows: the first line of its README."""
    found = {}
    for readme in sorted(examples_folder().glob("*/README.md")):
        title = readme.read_text(encoding="utf-8").splitlines()[0]
        found[readme.parent.name] = title.removeprefix("# ")
    return found


def copy_example(name: str, folder: Path) -> list[str]:
    """Copy an example into a new or empty folder; returns the files, relative.

    Raises:
        UsageError: there is no such example, or the folder holds something.
    """
    from nbpipe.cli.scaffold import copy_project

    known = described()
    if name not in known:
        raise UsageError(f"no example '{name}'", did_you_mean(name, known))
    return copy_project(examples_folder() / name, folder)


def examples_folder() -> Path:
    """Where they lie: inside the package, or beside it in a checkout.

    Raises:
        NbpipeError: the installation lacks them.
    """
    package = Path(nbpipe.__file__).parent
    for folder in (package / "_examples", package.parent / "demo" / "examples"):
        if folder.is_dir():
            return folder
    raise NbpipeError("the examples are not part of this installation", "install nbpipe-kit anew")
