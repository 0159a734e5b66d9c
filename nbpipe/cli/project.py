"""Commands that make and remove files of a project: ``scaffold``, ``demo`` and ``clean``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbpipe.cli.app import entry_point
from nbpipe.errors import UsageError, harmless

if TYPE_CHECKING:
    from nbpipe.pipeline import Pipeline


@click.command()
@click.argument("name", required=False)
@click.option("--conda", is_flag=True, help="With NAME: dependencies in environment.yml.")
@click.option("--pip", is_flag=True, help="With NAME: dependencies in requirements.txt.")
@click.option(
    "--package", is_flag=True, help="With NAME: a package, with the pipeline in src/NAME."
)
@click.option("--empty", is_flag=True, help="With NAME: a pipeline without tasks.")
@entry_point
def scaffold(
    name: str | None,
    conda: bool,
    pip: bool,
    package: bool,
    empty: bool,
    entry_point: str | None,
) -> None:
    """Create the sources that pipeline.yaml names and that are missing; or a new project NAME.

    Overwrites nothing.
    """
    from nbpipe.cli.scaffold import Layout, new_project
    from nbpipe.store.scaffold import new_sources
    from nbpipe.store.specfile import find_spec

    if name is None and (conda or pip or package or empty):
        raise UsageError("--conda, --pip, --package and --empty make a new project", "name it")
    if name is not None:
        if entry_point is not None:
            raise UsageError("-e names a pipeline that is there, NAME a new one", "leave one out")
        made = new_project(Path(name), Layout(conda, pip, package, empty))
        click.echo(f"new project in {name}: {', '.join(made)}")
        click.echo(f"next: cd {name} && nbpipe {'status' if empty else 'build'}")
        return
    spec_file = find_spec(Path(entry_point) if entry_point else Path.cwd())
    created, kept = new_sources(spec_file)
    for path in created:
        click.echo(f"created {path}")
    if not created:
        click.echo(f"nothing to create: all {len(kept)} sources are there")


@click.command()
@click.argument("folder", default="nbpipe-demo")
@click.option("--no-build", is_flag=True, help="Only write the project.")
def demo(folder: str, no_build: bool) -> int:
    """Write the iris project into FOLDER, which must be new or empty, and build it.

    Without FOLDER the project goes to nbpipe-demo.
    """
    from nbpipe.cli.build import build_and_show
    from nbpipe.cli.scaffold import write_demo
    from nbpipe.pipeline import Pipeline

    made = write_demo(Path(folder))
    click.echo(f"wrote {len(made)} files to {folder}")
    if no_build:
        click.echo(f"next: cd {folder} && nbpipe build")
        return 0
    code = build_and_show(Pipeline.load(Path(folder)))
    if code == 0:
        click.echo(f"look at {folder}/output, change a script in {folder}/scripts, then:")
        click.echo(f"  cd {folder} && nbpipe build")
        click.echo("or drive it from a notebook, live:")
        click.echo(f"  cd {folder} && jupyter lab master.ipynb")
    return code


@click.command()
@click.option(
    "--products", is_flag=True, help="Also the products that a build made and nobody changed."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what would be removed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@entry_point
def clean(products: bool, dry_run: bool, yes: bool, entry_point: str | None) -> None:
    """Remove the folders of past runs, left-over temporary files and records of removed tasks.

    With --products also what the pipeline made, so that the next build starts from nothing. A
    product that was changed by hand since it was built is kept.
    """
    pipeline = _load(entry_point)
    found = pipeline.removable(products=products)
    for path in found:
        click.echo(harmless(f"{'would remove' if dry_run else 'remove'} {path}"))
    if not found:
        click.echo("nothing to remove")
    elif not dry_run:
        if products and not yes:
            click.confirm(f"remove these {len(found)}?", abort=True)
        click.echo(f"removed {pipeline.remove(found)}")


def _load(entry_point: str | None) -> Pipeline:
    from nbpipe.pipeline import Pipeline

    return Pipeline.load(entry_point)
