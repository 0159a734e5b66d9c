"""``doctor``: what is installed, what the project needs, what to do about the difference."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path

import click
import msgspec

import nbpipe
from nbpipe.cli.app import entry_point
from nbpipe.cli.output import echo_json
from nbpipe.errors import NbpipeError


class Finding(msgspec.Struct, frozen=True):
    """One check: its name, whether it is well, what was seen, and what to do when it is not.

    ``ok`` None: not needed for the main work, worth knowing.
    """

    name: str
    ok: bool | None
    seen: str
    hint: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@entry_point
def doctor(as_json: bool, entry_point: str | None) -> int:
    """Check the installation and the project; exit code 1 when something is wrong."""
    findings = list(examine(Path(entry_point) if entry_point else Path.cwd()))
    if as_json:
        echo_json(findings)
    else:
        for finding in findings:
            glyph = {True: "✓", False: "✗", None: "○"}[finding.ok]
            click.echo(f"{glyph} {finding.name}: {finding.seen}")
            if finding.ok is not True and finding.hint:
                click.echo(f"    {finding.hint}")
    return 1 if any(finding.ok is False for finding in findings) else 0


def examine(start: Path) -> Iterator[Finding]:
    """All checks, for the project found from the folder ``start`` upward."""
    yield Finding("nbpipe", True, f"{nbpipe.__version__} in {Path(nbpipe.__file__).parent}")
    yield Finding("Python", True, f"{platform.python_version()} at {sys.executable}")
    yield from _libraries()
    yield _kernels()
    yield from _project(start)


def _libraries() -> Iterator[Finding]:
    for name in ("ipykernel", "nbclient", "jupytext", "ipycytoscape"):
        try:
            yield Finding(name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, False, "not installed", f"pip install {name}")
    found = util.find_spec("nbconvert") is not None
    seen = metadata.version("nbconvert") if found else "not installed"
    hint = "needed only for products such as .html: pip install 'nbpipe-kit[convert]'"
    yield Finding("nbconvert", True if found else None, seen, hint)


def _kernels() -> Finding:
    from nbpipe.executors.notebook import kernel_names

    names = kernel_names()
    hint = "install one: python -m ipykernel install --sys-prefix"
    return Finding("kernels", bool(names), ", ".join(names) or "none", hint)


def _project(start: Path) -> Iterator[Finding]:
    from nbpipe.pipeline import Pipeline

    try:
        pipeline = Pipeline.load(start)
    except NbpipeError as error:
        none = getattr(error, "problems", ()) and "not found; searched" in error.message
        yield Finding("project", None if none else False, error.message, error.hint or "")
        return
    count = len(pipeline.spec.tasks)
    yield Finding("project", True, f"{count} tasks in {pipeline.file}")
    for warning in pipeline.warnings:
        yield Finding("source", None, warning)
    checks: list[Callable[[Pipeline], Iterator[Finding]]] = [_writable, _lock, _needed_kernels]
    for check in checks:
        yield from check(pipeline)


def _writable(pipeline: nbpipe.Pipeline) -> Iterator[Finding]:
    home = pipeline.store.home
    folder = home if home.exists() else home.parent
    ok = os.access(folder, os.W_OK)
    seen = "can be written" if ok else "cannot be written"
    yield Finding(str(folder), ok, seen, "a build needs to write there; reading does not")


def _lock(pipeline: nbpipe.Pipeline) -> Iterator[Finding]:
    from nbpipe.run.lock import holder

    found = holder(pipeline.store.home)
    seen = "no build is running" if found is None else f"pid {found.pid} on {found.host} builds"
    yield Finding("lock", True, seen)


def _needed_kernels(pipeline: nbpipe.Pipeline) -> Iterator[Finding]:
    from nbpipe.executors.notebook import check_kernel

    for name in sorted(pipeline.kernels()):
        try:
            check_kernel(name)
        except NbpipeError as error:
            yield Finding(f"kernel {name}", False, error.message, error.hint or "")
        else:
            yield Finding(f"kernel {name}", True, "installed")
