"""What the harness asks of a tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.benchmarks.projects import Project

DRIVERS = Path(__file__).resolve().parent.parent / "drivers"
"""Scripts that run in a tool's own environment."""

Words = Sequence[str | Path]
"""A command."""


@dataclass(frozen=True)
class Site:
    """A project of one tool on the disk.

    Attributes:
        folder: where it lies; commands run there.
        bin: programs of the tool's environment.
        run: runs a command there, untimed.
    """

    folder: Path
    bin: Path
    run: Callable[[Words], object]

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.bin / "python"


class Peer(Protocol):
    """A tool that builds projects."""

    name: str
    """As tables show it."""

    tool: str
    """Key of its environment."""

    makes_notebooks: bool
    """Whether it leaves executed notebooks."""

    at_once: bool
    """Whether it can run several tasks at once."""

    def write(self, project: Project, folder: Path) -> None:
        """Write all that the tool needs into an empty folder."""

    def build(self, site: Site, jobs: int | None) -> Words:
        """The command that builds what is not up to date; None: as many at once as it likes."""

    def adopt(self, project: Project, site: Site) -> None:
        """Have the data that lie there taken for the results of a build, so that all is fresh."""
