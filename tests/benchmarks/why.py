"""Where the rest of the time goes, for goals that are missed."""

from __future__ import annotations

import functools
import pstats
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import events
from tests.benchmarks.commands import CommandFailed, in_short
from tests.benchmarks.lab import Lab
from tests.benchmarks.peers import Site, Words
from tests.benchmarks.peers.base import DRIVERS
from tests.benchmarks.projects import Project

SHOWN = 6
"""Entries of a list that are named."""

PROFILE = ".benchmark.profile"
"""Name of a cProfile file in a project's folder."""

_LIBRARY = re.compile(r"site-packages|python3\.\d+")
_IMPORT = re.compile(r"import time:\s+(?P<own>\d+) \|\s+\d+ \|\s+(?P<module>\S+)")


Told = Callable[..., tuple[str, ...]]


def _or_reason(explain: Told) -> Told:
    """A figure is not lost because nobody can tell where the time went."""

    @functools.wraps(explain)
    def safe(*arguments: object) -> tuple[str, ...]:
        try:
            return explain(*arguments)
        except (CommandFailed, OSError, ValueError, LookupError) as error:
            return (f"no profile: {type(error).__name__}: {in_short(error)}",)

    return safe


@_or_reason
def of_tasks(lab: Lab, name: str, project: Project) -> tuple[str, ...]:
    """The phases of the tasks of a tool's last build of a project; of nbpipe only."""
    found = events.phases(events.last_run(lab.place_of(name, project)))
    return (f"in the last run: {found}",)


@_or_reason
def of_imports(lab: Lab, site: Site) -> tuple[str, ...]:
    """What ``nbpipe build`` imports in a folder where nothing is to do."""
    words: Words = [site.python, "-X", "importtime", "-m", "nbpipe", "build"]
    output = lab.run("nbpipe", words, site.folder).output
    own: Counter[str] = Counter()
    for match in _IMPORT.finditer(output):
        own[match["module"].partition(".")[0]] += int(match["own"])
    listed = ", ".join(f"{name} {us / 1000:.1f}" for name, us in own.most_common(SHOWN))
    return (f"imports, {sum(own.values()) / 1000:.0f} ms in all, the largest in ms: {listed}",)


@_or_reason
def of_calls(lab: Lab, site: Site) -> tuple[str, ...]:
    """In which modules ``nbpipe build`` spends its own time, where nothing is to do."""
    file = site.folder / PROFILE
    words: Words = [site.python, "-m", "cProfile", "-o", file, "-m", "nbpipe", "build"]
    lab.run("nbpipe", words, site.folder)
    return (summary(file),)


@_or_reason
def of_magic(lab: Lab, site: Site, name: str) -> tuple[str, ...]:
    """In which modules a magic spends its own time in a live kernel."""
    words: Words = [site.python, DRIVERS / "live_kernel.py", name]
    lab.run("nbpipe", words, site.folder)
    return (summary(site.folder / PROFILE),)


def summary(file: Path) -> str:
    """The modules with the most time of their own in a cProfile file."""
    own: Counter[str] = Counter()
    # The public get_stats_profile() keeps one function of each name only.
    for (path, _, function), entry in vars(pstats.Stats(str(file)))["stats"].items():
        own[_module(path, function)] += round(entry[2] * 1e6)
    listed = ", ".join(f"{name} {us / 1000:.1f}" for name, us in own.most_common(SHOWN))
    return f"under cProfile, {sum(own.values()) / 1000:.0f} ms in all, own time in ms: {listed}"


def _module(path: str, function: str) -> str:
    if path == "~":
        return function.strip("<>")
    parts = Path(path).with_suffix("").parts
    anchors = [i for i, part in enumerate(parts) if _LIBRARY.fullmatch(part)]
    return ".".join(parts[anchors[-1] + 1 :] if anchors else parts[-2:])
