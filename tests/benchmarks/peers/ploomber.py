"""Ploomber, one task after the other or two at once."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import forms
from tests.benchmarks.peers.base import DRIVERS, Site, Words
from tests.benchmarks.projects import Project

PARALLEL = "executor:\n  dotted_path: ploomber.executors.Parallel\n  processes: 2\n\n"


class Ploomber:
    """Its command line; the executor stands in its pipeline.yaml."""

    tool = "ploomber"
    makes_notebooks = True

    def __init__(self, name: str, *, parallel: bool = False) -> None:
        self.name = name
        self.at_once = parallel
        self._extra = PARALLEL if parallel else "executor: serial\n\n"

    def write(self, project: Project, folder: Path) -> None:
        forms.write_scripts(project, folder)
        forms.write_spec(project, folder, self._extra)

    def build(self, site: Site, jobs: int | None) -> Words:
        return [site.bin / "ploomber", "build"]

    def adopt(self, project: Project, site: Site) -> None:
        site.run([site.python, DRIVERS / "adopt_ploomber.py"])
