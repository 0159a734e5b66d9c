"""nbpipe, with the kernels that it chooses or with cold ones."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import forms
from tests.benchmarks.peers.base import DRIVERS, Site, Words
from tests.benchmarks.projects import Project


class Nbpipe:
    """The command line of the checkout.

    Args:
        name: as tables show it.
        start: how kernels start: ``cold`` or ``fork``; "" as nbpipe likes.
    """

    tool = "nbpipe"
    makes_notebooks = True
    at_once = True

    def __init__(self, name: str, start: str = "") -> None:
        self.name = name
        self._start = start

    def write(self, project: Project, folder: Path) -> None:
        extra = f"meta:\n  kernels:\n    start: {self._start}\n\n" if self._start else ""
        forms.write_scripts(project, folder)
        forms.write_spec(project, folder, extra)

    def build(self, site: Site, jobs: int | None) -> Words:
        return [site.bin / "nbpipe", "build", *(["-j", str(jobs)] if jobs else [])]

    def adopt(self, project: Project, site: Site) -> None:
        site.run([site.python, DRIVERS / "adopt_nbpipe.py"])
        site.run(self.build(site, None))
