"""``report``: the pipeline on one page."""

from __future__ import annotations

from pathlib import Path

import click

from nbpipe.cli.app import entry_point
from nbpipe.errors import UsageError, cannot_write


@click.command()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; .html or .md. Default: pipeline.html beside pipeline.yaml.",
)
@click.option(
    "-n", "--last", type=click.IntRange(min=1), default=10, help="How many runs. Default: 10."
)
@entry_point
def report(output: str | None, last: int, entry_point: str | None) -> None:
    """Write a report: the picture, the state of every task with its reason, the last runs.

    An .html page stands alone: it loads nothing and runs nothing. In .md the picture is Mermaid,
    which GitHub and GitLab draw.
    """
    from nbpipe.pipeline import Pipeline

    pipeline = Pipeline.load(entry_point)
    target = Path(output) if output else pipeline.root / "pipeline.html"
    if target.suffix not in (".html", ".md"):
        raise UsageError(f"{target}: no report ends so", "name a file that ends in .html or .md")
    text = pipeline.report(target.suffix, last=last)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(target, error) from error
    click.echo(f"{target}")
