"""Whole builds of small pipelines, from the start of the command to its end."""

from __future__ import annotations

from tests.benchmarks import projects, why
from tests.benchmarks.lab import Lab
from tests.benchmarks.measure import Contender, Race, Reading
from tests.benchmarks.peers import PEERS
from tests.benchmarks.projects import Project
from tests.benchmarks.rows.result import Result, explained
from tests.benchmarks.targets import compared

AT_ONCE = 2
SLOW = (
    *("Ploomber Serial", "Ploomber Parallel", "papermill", "nbclient", "nbpipe, cold kernels"),
    *("Snakemake", "DVC"),
)
"""Take part in fewer rounds."""


def fan(lab: Lab) -> Result:
    """One task and many that read what it made."""
    project = projects.fan(lab.settings.fan)
    names = ("nbpipe", "Ploomber Serial", "Ploomber Parallel")
    found = race_builds(lab, names, project)
    rest = _rest(lab, project)
    conditions = f"whole builds of 1 + {lab.settings.fan} tasks, 2 at once"
    figures = [
        compared(key, found, over, "nbpipe", conditions)
        for key, over in (("fan-serial", names[1]), ("fan-parallel", names[2]))
    ]
    return Result([explained(f, rest) if f.met is False else f for f in figures], found)


def chain(lab: Lab) -> Result:
    """Each task reads what the one before it made."""
    project = projects.chain(lab.settings.chain)
    found = race_builds(lab, ("nbpipe", "Ploomber Serial"), project)
    conditions = f"whole builds of {lab.settings.chain} tasks"
    figure = compared("chain-serial", found, "Ploomber Serial", "nbpipe", conditions)
    return Result([explained(figure, _rest(lab, project) if figure.met is False else ())], found)


def everything(lab: Lab) -> dict[str, Race]:
    """Every project with every tool."""
    sizes = {
        "fan": lab.settings.fan,
        "chain": lab.settings.chain,
        "stack": lab.settings.stack[1],
        "cells": lab.settings.cells[1],
    }
    return {
        name: race_builds(lab, tuple(PEERS), projects.MAKERS[name](size))
        for name, size in sizes.items()
    }


def race_builds(lab: Lab, names: tuple[str, ...], project: Project) -> Race:
    """Whole builds from nothing, each tool with two at once if it can."""
    contenders = [_contender(lab, name, project) for name in names if lab.has(name)]
    return lab.race(contenders)


def _contender(lab: Lab, name: str, project: Project) -> Contender:
    independent = not any(step.upstream for step in project.steps)
    is_loop = name in ("nbclient", "python script.py")  # which knows of no upstreams
    at_once = AT_ONCE if independent or not is_loop else 1

    def run() -> Reading:
        done = lab.build(name, project, at_once)
        return Reading(done.seconds, {"processor time": done.cpu})

    rounds = lab.settings.slow_rounds if name in SLOW else lab.settings.rounds
    return Contender(name, run, rounds)


def _rest(lab: Lab, project: Project) -> tuple[str, ...]:
    return why.of_tasks(lab, "nbpipe", project) if lab.has("nbpipe") else ()
