"""Series for the plots: time against tasks, cells and cores, memory against tasks."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.benchmarks import projects
from tests.benchmarks.checks import WrongProducts
from tests.benchmarks.commands import CommandFailed, in_short
from tests.benchmarks.lab import Lab
from tests.benchmarks.peers.base import DRIVERS, Site, Words
from tests.benchmarks.rows import noop

PATIENCE = 60.0
"""Seconds: a tool that is expected to need longer is not asked for more."""

CELLS = (10, 30, 100, 300, 1000)
BURNING = (24, 400_000)
"""Tasks, and rounds of SHA-256 in each: some tenths of a second."""

MIB = 2**20


@dataclass
class Series:
    """One line of a plot.

    Attributes:
        label: of the tool, or of what was measured.
        x: sizes.
        y: seconds, or MiB.
    """

    label: str
    x: list[int] = field(default_factory=list)
    y: list[float] = field(default_factory=list)


def everything(lab: Lab) -> dict[str, list[Series]]:
    """All series, by plot."""
    return {"noop": tasks(lab), "cells": cells(lab), "cores": cores(lab), "memory": memory(lab)}


def tasks(lab: Lab) -> list[Series]:
    """Time of a build with nothing to do."""

    def seconds(name: str, count: int) -> float:
        project = projects.web(count)
        site = lab.adopted(name, project)
        lab.again(name, project, site)
        return statistics.median(
            lab.again(name, project, site).seconds for _ in range(lab.settings.slow_rounds)
        )

    return [_grow(lab, name, lab.settings.growth, seconds) for name in noop.PEERS if lab.has(name)]


def cells(lab: Lab) -> list[Series]:
    """Time of a build of one notebook."""

    def seconds(name: str, count: int) -> float:
        project = projects.cells(count)
        return statistics.median(
            lab.build(name, project, 1).seconds for _ in range(lab.settings.slow_rounds)
        )

    names = ("nbpipe", "nbclient", "python script.py")
    return [_grow(lab, name, CELLS, seconds) for name in names if lab.has(name)]


def cores(lab: Lab) -> list[Series]:
    """Time of a build of tasks that keep a core busy, by tasks at once."""
    project = projects.burning(*BURNING)

    def seconds(name: str, at_once: int) -> float:
        return statistics.median(
            lab.build(name, project, at_once).seconds for _ in range(lab.settings.slow_rounds)
        )

    sizes = range(1, 2 * len(os.sched_getaffinity(0)) + 1)
    return [_grow(lab, name, sizes, seconds) for name in ("nbpipe", "make") if lab.has(name)]


def memory(lab: Lab) -> list[Series]:
    """The builder's peak, with nothing to do and while it builds without kernels."""

    def nothing(name: str, count: int) -> float:
        site = lab.adopted("nbpipe", projects.web(count))
        return _peak(lab, site, [site.bin / "nbpipe", "build"])

    def building(name: str, count: int) -> float:
        site = lab.adopted("nbpipe", projects.web(count))
        return _peak(lab, site, [site.python, DRIVERS / "adopt_nbpipe.py", "--force"])

    if not lab.has("nbpipe"):
        return []
    kinds = (("nothing to do", nothing), ("building, without the kernels", building))
    return [_grow(lab, label, lab.settings.growth, peak, math.inf) for label, peak in kinds]


def _peak(lab: Lab, site: Site, words: Words) -> float:
    """MiB that a command has resident at most; its children do not count."""
    measured: Words = [site.python, DRIVERS / "peak.py", *words]
    return int(lab.run("nbpipe", measured, site.folder).output.split()[-1]) / MIB


def _grow(
    lab: Lab,
    label: str,
    sizes: Iterable[int],
    measure: Callable[[str, int], float],
    patience: float = PATIENCE,
) -> Series:
    """One line, from small to large, until it would take too long or fails."""
    found = Series(label)
    for size in sizes:
        if found.y and found.y[-1] * size / found.x[-1] > patience:
            break
        try:
            value = measure(label, size)
        except (CommandFailed, WrongProducts) as error:
            lab.say(f"    {label}, {size}: {in_short(error)}")
            break
        found.x.append(size)
        found.y.append(value)
        lab.say(f"    {label}, {size}: {value:.4g}")
    return found
