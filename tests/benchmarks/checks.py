"""Whether a build made what it should: data by digest, notebooks by what their cells show."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.benchmarks.projects import Project


class WrongProducts(Exception):
    """A tool did not make what every tool must make; its time means nothing."""


def digests(project: Project) -> dict[str, str]:
    """What the data of a right build hash to, by path."""
    return {path: _digest(text.encode()) for path, text in project.expected.items()}


def times(project: Project, folder: Path) -> list[int]:
    """When each file of data was written, in nanoseconds since the epoch."""
    return [(folder / path).stat().st_mtime_ns for path in project.expected]


def check_data(project: Project, folder: Path, who: str) -> None:
    """Compare the digests of all data.

    Raises:
        WrongProducts: a file is missing or is not what it must be.
    """
    for path, wanted in digests(project).items():
        try:
            found = _digest((folder / path).read_bytes())
        except OSError as error:
            raise WrongProducts(f"{who}, {project.name}: {path}: {error.strerror}") from error
        if found != wanted:
            raise WrongProducts(f"{who}, {project.name}: {path} is not what it must be")


def check_notebooks(project: Project, folder: Path, who: str) -> None:
    """Compare what the cells of the executed notebooks print and show.

    Raises:
        WrongProducts: it is not what it must be.
    """
    for step in project.steps:
        notebook = json.loads((folder / step.notebook).read_text(encoding="utf-8"))
        outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", ())]
        found = [line for output in outputs for line in _shown(output).splitlines()]
        if step.text is not None and found != step.shown.splitlines():
            raise WrongProducts(f"{who}, {project.name}: {step.notebook} shows something else")


def _shown(output: dict[str, object]) -> str:
    data = output.get("data")
    text = data.get("text/plain", "") if isinstance(data, dict) else output.get("text", "")
    return "".join(text) if isinstance(text, list) else str(text)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
