"""A virtual environment for each tool, made once and used again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.commands import in_short

CHECKOUT = Path(__file__).resolve().parent.parent.parent
STACK = ("pandas", "scikit-learn")
"""In every environment, so that the same scripts run in each."""

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "nbpipe": ("hatchling",),
    "python": (),
    "nbclient": ("nbclient", "ipykernel"),
    "papermill": ("papermill", "ipykernel"),
    "ploomber": ("ploomber==0.23.3", "ipykernel", "setuptools<80"),
    "snakemake": ("snakemake>=9,<10",),
    "doit": ("doit",),
    "dvc": ("dvc",),
}
"""What each tool needs. ``python`` is the bare one, which also serves make."""

SHOWN = ("nbpipe-kit", "ipykernel", "jupyter_client", "pandas", "scikit-learn", "pyzmq")
INSTALL_LIMIT = 1200.0
"""Seconds that one installation may take."""


class NotInstalled(Exception):
    """An environment could not be made; the message says why."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Attributes:
        tool: a key of `REQUIREMENTS`.
        folder: where it lies.
    """

    tool: str
    folder: Path

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.bin / "python"

    def versions(self) -> dict[str, str]:
        """What is installed in it, by name."""
        listed = _pip(self, "list", "--format=json")
        return {entry["name"]: entry["version"] for entry in json.loads(listed)}


def default_folder() -> Path:
    """Where environments are kept when nobody says: the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "nbpipe-benchmarks"


def make_all(
    tools: Iterable[str], folder: Path, source: Path
) -> tuple[dict[str, Environment], dict[str, str]]:
    """The environments of these tools, and the reason for each that could not be made."""
    made, failed = {}, {}
    for tool in tools:
        try:
            made[tool] = make(tool, folder, source)
        except NotInstalled as error:
            failed[tool] = in_short(error)
    return made, failed


def make(tool: str, folder: Path, source: Path) -> Environment:
    """An environment that is there already, or a new one; nbpipe itself is always put in anew.

    Args:
        tool: a key of `REQUIREMENTS`.
        folder: of all environments.
        source: the checkout of nbpipe.

    Raises:
        NotInstalled: pip says no, or takes too long.
    """
    wanted = (*REQUIREMENTS[tool], *STACK)
    key = hashlib.sha256(repr(("pip", wanted, sys.version_info[:3])).encode()).hexdigest()[:8]
    found = Environment(tool, folder / f"{tool}-{key}")
    ready = found.folder / "ready"
    if not ready.exists():
        shutil.rmtree(found.folder, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(found.folder)], tool)
        # An old pip writes scripts that import re before the tool, which takes half a bare start.
        _pip(found, "install", "-q", "--upgrade", "pip")
        extra = [str(source)] if tool == "nbpipe" else []
        _pip(found, "install", "-q", *wanted, *extra)
        ready.touch()
    if tool == "nbpipe":
        again = ("--no-deps", "--force-reinstall", "--no-build-isolation")
        _pip(found, "install", "-q", *again, str(source))
    return found


def shown_versions(environments: Iterable[Environment]) -> dict[str, dict[str, str]]:
    """For each environment the packages that matter to the figures."""
    shown = {}
    for environment in environments:
        installed = environment.versions()
        names = (environment.tool, *SHOWN)
        shown[environment.tool] = {name: installed[name] for name in names if name in installed}
    return shown


def _pip(environment: Environment, *words: str) -> str:
    command = [str(environment.python), "-m", "pip", "--disable-pip-version-check", *words]
    return _call(command, environment.tool)


def _call(command: list[str], tool: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{tool}: {error}") from error
    if done.returncode:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        told = [line for line in lines if line.startswith("ERROR")] or lines
        raise NotInstalled(f"{tool}: {told[-1]}")
    return done.stdout
