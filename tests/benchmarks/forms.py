"""A project's steps as files: scripts for the notebook tools, plain scripts, notebooks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.projects import Project, Step


def values(step: Step) -> dict[str, Any]:
    """What the step is given: ``upstream`` and ``product``."""
    above = {name: {"data": f"output/{name}.txt"} for name in step.upstream}
    return {"upstream": above or None, "product": {"data": step.data}}


def write_scripts(project: Project, folder: Path) -> None:
    """Scripts in the percent format that declare their upstream, as nbpipe and Ploomber read."""
    for step in project.steps:
        declared = f"upstream = {list(step.upstream) or None!r}\nproduct = None"
        text = _percent([declared, *step.cells]).replace("# %%", '# %% tags=["parameters"]', 1)
        _write(folder / "scripts" / f"{step.name}.py", text)


def write_plain(project: Project, folder: Path) -> None:
    """Scripts that have their values in them, for a bare interpreter."""
    for step in project.steps:
        _write(folder / "scripts" / f"{step.name}.py", _percent([_assigned(step), *step.cells]))
    (folder / "output").mkdir(parents=True, exist_ok=True)


def write_notebooks(project: Project, folder: Path, *, filled: bool) -> None:
    """Notebooks, with their values in the first cell or with a place for them."""
    for step in project.steps:
        first = _assigned(step) if filled else "upstream = None\nproduct = None"
        notebook = json.dumps(_notebook([first, *step.cells]), indent=1)
        _write(folder / "notebooks" / f"{step.name}.ipynb", notebook)
    (folder / "output").mkdir(parents=True, exist_ok=True)


def write_spec(project: Project, folder: Path, extra: str = "") -> None:
    """The pipeline.yaml that nbpipe and Ploomber share.

    Args:
        project: whose steps it lists.
        folder: in which it is written.
        extra: YAML of further keys.
    """
    tasks = [
        f"  - source: scripts/{s.name}.py\n"
        f"    product:\n      nb: {s.notebook}\n      data: {s.data}\n"
        for s in project.steps
    ]
    _write(folder / "pipeline.yaml", f"{extra}tasks:\n{''.join(tasks)}")


def write_data(project: Project, folder: Path) -> None:
    """What a build would make, upstream first."""
    for path, text in project.expected.items():
        _write(folder / path, text)


def _assigned(step: Step) -> str:
    return "\n".join(f"{name} = {value!r}" for name, value in values(step).items())


def _percent(cells: Sequence[str]) -> str:
    return "\n".join(f"# %%\n{code.rstrip()}\n" for code in cells)


def _notebook(cells: Sequence[str]) -> dict[str, Any]:
    made: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell{number}",
            "metadata": {} if number else {"tags": ["parameters"]},
            "execution_count": None,
            "outputs": [],
            "source": code.rstrip(),
        }
        for number, code in enumerate(cells)
    ]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": made, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
