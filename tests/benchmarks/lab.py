"""Where builds are made and measured: environments, folders, and what has failed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import checks, forms
from tests.benchmarks.commands import CommandFailed, Finished, environment_of, in_short, run
from tests.benchmarks.environments import Environment
from tests.benchmarks.measure import Contender, Race, race
from tests.benchmarks.peers import PEERS, Peer, Site, Words
from tests.benchmarks.projects import Project, chain
from tests.benchmarks.settings import Settings

SMALL = 2
"""Tasks of the project on which every tool is tried first."""


class NotAvailable(Exception):
    """A tool cannot take part; the message says why."""


@dataclass
class Lab:
    """The place of one run of the benchmarks.

    Attributes:
        settings: sizes and repetitions.
        folder: for projects; everything in it may be removed.
        environments: by tool.
        say: told of progress.
        missing: why a tool, by its name in tables, takes no part.
        wrong: builds whose products were not right.
    """

    settings: Settings
    folder: Path
    environments: dict[str, Environment]
    say: Callable[[str], None]
    missing: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def site(self, tool: str, name: str) -> Site:
        """An empty folder for an environment's programs."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        environment = self.environments[tool]
        return Site(folder, environment.bin, lambda words: self.run(tool, words, folder))

    def run(self, tool: str, words: Words, folder: Path) -> Finished:
        """A command with an environment's programs first on the path."""
        home = self.folder / "home" / tool
        home.mkdir(parents=True, exist_ok=True)
        variables = environment_of(self.environments[tool].bin, home)
        return run(words, folder, variables, limit=self.settings.limit)

    def has(self, name: str) -> bool:
        """Whether a tool takes part."""
        return name in PEERS and name not in self.missing

    def peer(self, name: str) -> Peer:
        """A tool that takes part.

        Raises:
            NotAvailable: it does not.
        """
        if name in self.missing:
            raise NotAvailable(f"{name}: {self.missing[name]}")
        return PEERS[name]

    def race(self, contenders: Sequence[Contender]) -> Race:
        """Interleave runs; why tools take no part at all is added."""
        found = race(contenders, self.settings.seed, self.say)
        self.wrong += found.wrong
        for name, reason in self.missing.items():
            found.failed.setdefault(name, reason)
        return found

    # -- builds --------------------------------------------------------------------------

    def build(self, name: str, project: Project, jobs: int) -> Finished:
        """Build a project from nothing, and see that its products are right.

        Raises:
            WrongProducts: they are not.
        """
        peer = self.peer(name)
        site = self.site(peer.tool, _folder_name(name, project))
        peer.write(project, site.folder)
        done = self.run(peer.tool, peer.build(site, jobs), site.folder)
        checks.check_data(project, site.folder, name)
        if peer.makes_notebooks:
            checks.check_notebooks(project, site.folder, name)
        return done

    def again(self, name: str, project: Project, site: Site) -> Finished:
        """Build once more what is up to date, with the shortest command that does it.

        Raises:
            WrongProducts: something was run, or the data are not right.
        """
        peer = self.peer(name)
        before = checks.times(project, site.folder)
        done = self.run(peer.tool, peer.build(site, None), site.folder)
        if checks.times(project, site.folder) != before:
            raise checks.WrongProducts(f"{name}, {project.name}: ran what was up to date")
        checks.check_data(project, site.folder, name)
        return done

    def adopted(self, name: str, project: Project) -> Site:
        """A project in which everything is up to date, without having been run."""
        peer = self.peer(name)
        site = self.site(peer.tool, _folder_name(name, project))
        peer.write(project, site.folder)
        forms.write_data(project, site.folder)
        peer.adopt(project, site)
        return site

    def place_of(self, name: str, project: Project) -> Path:
        """The folder in which a tool has built a project last."""
        return self.folder / _folder_name(name, project)

    def try_peers(self, names: Iterable[str]) -> None:
        """Have every tool build a tiny project, and note those that cannot."""
        for name in names:
            if PEERS[name].tool not in self.environments:
                self.missing.setdefault(name, f"no environment for {PEERS[name].tool}")
                continue
            try:
                self.build(name, chain(SMALL), 1)
            except checks.WrongProducts as error:
                self.missing[name] = str(error)
                self.wrong.append(str(error))
            except (CommandFailed, OSError) as error:
                self.missing[name] = in_short(error)


def _folder_name(name: str, project: Project) -> str:
    words = "".join(c if c.isalnum() else "-" for c in name.lower())
    return f"{words}-{project.name}"
