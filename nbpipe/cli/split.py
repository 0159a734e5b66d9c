"""``nbpipe split``: one notebook becomes a pipeline of scripts."""

from __future__ import annotations

from pathlib import Path

import click

from nbpipe.errors import harmless


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option(
    "--into",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where pipeline.yaml and the scripts go. Default: the folder of the notebook.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be written.")
def split(notebook: Path, into: Path | None, dry_run: bool) -> None:
    """Turn one notebook into a pipeline of scripts: each of its headings starts a task.

    Nothing is run and nothing is overwritten. Variables that later sections read become products.
    """
    from nbpipe.cli.output import print_table
    from nbpipe.store.splitting import plan_split, write_split

    planned = plan_split(notebook, into)
    print_table(("task", "upstream", "products"), planned.rows)
    for warning in planned.warnings:
        click.echo(harmless(f"warning: {warning}"), err=True)
    if dry_run:
        click.echo("would write " + ", ".join(planned.files))
        return
    for path in write_split(planned):
        click.echo(f"created {path}")
    click.echo(f"next: cd {planned.root} && nbpipe build")
