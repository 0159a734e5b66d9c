"""What needs no pipeline tool: nbclient, papermill, a bare interpreter, from a loop."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import forms
from tests.benchmarks.peers.base import DRIVERS, Site, Words
from tests.benchmarks.projects import Project


class NothingToSkip(Exception):
    """The tool always runs everything."""


class _Loop:
    """Runs what ``todo.json`` lists."""

    name: str
    tool: str
    driver: str
    makes_notebooks = True
    at_once = False

    def build(self, site: Site, jobs: int | None) -> Words:
        return [site.python, DRIVERS / self.driver, str(jobs or 1)]

    def adopt(self, project: Project, site: Site) -> None:
        raise NothingToSkip(self.name)


def _todo(folder: Path, entries: list[object]) -> None:
    (folder / "todo.json").write_text(json.dumps(entries), encoding="utf-8")


class Nbclient(_Loop):
    """Stock nbclient on stock kernels, in one process; at once only what is independent."""

    name = "nbclient"
    tool = "nbclient"
    driver = "run_nbclient.py"
    at_once = True

    def write(self, project: Project, folder: Path) -> None:
        forms.write_notebooks(project, folder, filled=True)
        _todo(folder, [[f"notebooks/{s.name}.ipynb", s.notebook] for s in project.steps])


class Papermill(_Loop):
    """papermill's Python function, one notebook after the other in one process."""

    name = "papermill"
    tool = "papermill"
    driver = "run_papermill.py"

    def write(self, project: Project, folder: Path) -> None:
        forms.write_notebooks(project, folder, filled=False)
        _todo(
            folder,
            [[f"notebooks/{s.name}.ipynb", s.notebook, forms.values(s)] for s in project.steps],
        )


class Scripts(_Loop):
    """``python script.py`` for each; at once only what is independent."""

    name = "python script.py"
    tool = "python"
    driver = "run_scripts.py"
    makes_notebooks = False
    at_once = True

    def write(self, project: Project, folder: Path) -> None:
        forms.write_plain(project, folder)
        _todo(folder, [f"scripts/{s.name}.py" for s in project.steps])
