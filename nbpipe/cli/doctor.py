"""``doctor``: what is installed, what the project needs, what to do about the difference."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path

import click
import msgspec

import nbpipe
from nbpipe.cli.app import entry_point
from nbpipe.cli.output import echo_json
from nbpipe.errors import NbpipeError, harmless


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
            click.echo(harmless(f"{glyph} {finding.name}: {finding.seen}"))
            if finding.ok is not True and finding.hint:
                click.echo(harmless(f"    {finding.hint}"))
    return 1 if any(finding.ok is False for finding in findings) else 0


def examine(start: Path) -> Iterator[Finding]:
    """All checks, for the project found from the folder ``start`` upward."""
    yield Finding("nbpipe", True, f"{nbpipe.__version__} in {Path(nbpipe.__file__).parent}")
    yield Finding("Python", True, f"{platform.python_version()} at {sys.executable}")
    yield from _libraries()
    yield _kernels()
    yield from _server()
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


def _server() -> Iterator[Finding]:
    """Whether scripts open with their injected cell in the Jupyter of this environment."""
    elsewhere = (
        "if Jupyter runs in another environment, install nbpipe-kit there too, or write "
        "%load_ext nbpipe and %upstream in the notebook"
    )
    if util.find_spec("jupyter_server") is None:
        yield Finding("Jupyter server", None, "none in this environment", elsewhere)
        return
    on = _server_extensions()
    seen = f"jupyter_server {metadata.version('jupyter_server')} at {sys.prefix}"
    yield Finding("Jupyter server", True, seen)
    other = shutil.which("jupyter-lab") or shutil.which("jupyter-server")
    if other and not _here(other):
        yield Finding("jupyter on the PATH", None, f"{other}, of another environment", elsewhere)
    if on.get("nbpipe"):
        yield Finding("Jupyter extension", True, "enabled: scripts open with their injected cell")
    else:
        hint = "jupyter server extension enable nbpipe --sys-prefix, then start Jupyter anew"
        yield Finding("Jupyter extension", None, "not enabled", hint)
    if not on.get("jupyterlab_jupytext"):
        seen = "not enabled: only .ipynb sources open as notebooks"
        hint = "jupyter server extension enable jupyterlab_jupytext --sys-prefix"
        yield Finding("jupytext in Jupyter", None, seen, hint)
    if on.get("ploomber"):
        seen = "Ploomber's extension is enabled, which current Jupyter servers cannot run"
        yield Finding("ploomber", False, seen, "jupyter server extension disable ploomber")


def _here(program: str) -> bool:
    """Whether a program belongs to this environment."""
    return Path(program).resolve().parent in (
        Path(sys.executable).parent.resolve(),
        Path(sys.prefix, "bin").resolve(),
        Path(sys.prefix, "Scripts").resolve(),
    )


def _server_extensions() -> dict[str, bool]:
    """Which server extensions the configuration files enable, as Jupyter reads them."""
    from jupyter_core.paths import jupyter_config_path

    found: dict[str, bool] = {}
    for folder in map(Path, reversed(jupyter_config_path())):
        parts = sorted((folder / "jupyter_server_config.d").glob("*.json"))
        for file in [*parts, folder / "jupyter_server_config.json"]:
            try:
                config = json.loads(file.read_text(encoding="utf-8"))
                found |= config.get("ServerApp", {}).get("jpserver_extensions", {})
            except (OSError, ValueError, TypeError, AttributeError):
                continue
    return found


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
    checks: list[Callable[[Pipeline], Iterator[Finding]]] = [
        _writable,
        _lock,
        _needed_kernels,
        _starts,
    ]
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
            yield from _kernel_has_nbpipe(name)


def _starts(pipeline: nbpipe.Pipeline) -> Iterator[Finding]:
    """How the kernels of a build start, and why not in a faster way."""
    from jupyter_client.kernelspec import KernelSpecManager

    from nbpipe.executors.notebook import kernel_names
    from nbpipe.kernels.builds import choose, outlook

    try:
        choice = choose(pipeline.spec.meta.kernels.start, os.environ)
    except NbpipeError as error:
        yield Finding("kernels start by", False, error.message, error.hint or "")
        return
    words = []
    for name in sorted(pipeline.kernels() & set(kernel_names())):
        start = outlook(choice, KernelSpecManager().get_kernel_spec(name).argv)
        words.append(f"{start.how} ({name}{start.reason and ': '}{start.reason})")
    if words:
        yield Finding("kernels start by", True, ", ".join(words))


def _kernel_has_nbpipe(name: str) -> Iterator[Finding]:
    """Whether the magics work in a Python kernel; asked of its own interpreter."""
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec(name)
    program = spec.argv[0] if spec.argv else ""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if program in ("python", "python3", f"python{version}"):
        program = sys.executable  # as jupyter_client takes these names
    python = shutil.which(program)
    if spec.language.lower() != "python" or python is None:
        return
    if Path(python) == Path(sys.executable):
        yield Finding(f"nbpipe in kernel {name}", True, "the same environment")
        return
    ask = "import sys, importlib.util as u; sys.exit(u.find_spec('nbpipe') is None)"
    try:
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [python, "-c", ask], cwd=empty, capture_output=True, timeout=20, check=False
            )
        found = done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        found = False
    hint = f"for %load_ext nbpipe and %upstream: {python} -m pip install nbpipe-kit"
    seen = f"{'found' if found else 'not found'} by {python}"
    yield Finding(f"nbpipe in kernel {name}", True if found else None, seen, hint)
