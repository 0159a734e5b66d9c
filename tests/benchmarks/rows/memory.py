"""Memory of a kernel while others of its kind are alive, as the system shares it out (PSS)."""

from __future__ import annotations

import functools
import json
import statistics
from pathlib import Path
from typing import Any

from tests.benchmarks import projects
from tests.benchmarks.lab import Lab
from tests.benchmarks.measure import Contender, Reading
from tests.benchmarks.projects import Project
from tests.benchmarks.rows.result import Result, explained
from tests.benchmarks.targets import Figure, compared

WARM, COLD = "nbpipe", "nbpipe, cold kernels"
CODE = {"memory-bare": "", "memory-stack": projects.PANDAS}
MIB = 2**20


def measure(lab: Lab) -> Result:
    """Both kinds of kernel, bare and with the data stack."""
    results = [_measure(lab, key, code) for key, code in CODE.items()]
    return Result([figure for r in results for figure in r.figures], results[-1].race)


def _measure(lab: Lab, key: str, code: str) -> Result:
    count = lab.settings.crowd
    project = projects.crowd(count, code)
    rounds = lab.settings.slow_rounds
    contenders = [
        Contender(name, functools.partial(_read, lab, name, project), rounds)
        for name in (WARM, COLD)
        if lab.has(name)
    ]
    found = lab.race(contenders)
    conditions = f"median of {count} kernels alive at once"
    figure = compared(key, found, WARM, COLD, conditions, "MiB")
    return Result([_explained(lab, figure, project)], found)


def _read(lab: Lab, name: str, project: Project) -> Reading:
    lab.build(name, project, len(project.steps))
    told = _told(lab.place_of(name, project), project)
    value = statistics.median(entry["task"]["Pss"] for entry in told) / MIB
    return Reading(value, {"parent": told[0]["parent"]["Pss"] / MIB})


def _told(folder: Path, project: Project) -> list[dict[str, Any]]:
    return [json.loads((folder / step.data).read_text()) for step in project.steps]


def _explained(lab: Lab, figure: Figure, project: Project) -> Figure:
    if figure.met is not False:
        return figure
    told = _told(lab.place_of(WARM, project), project)

    def median(key: str) -> float:
        sizes: list[int] = [entry["task"].get(key, 0) for entry in told]
        return statistics.median(sizes) / MIB

    text = (
        f"of a kernel's {median('Rss'):.0f} MiB resident are {median('Private_Dirty'):.0f} its own"
        f" and written, {median('Private_Clean'):.0f} its own and read only; the process that it"
        f" was started from has {told[0]['parent']['Pss'] / MIB:.0f} MiB (PSS)"
    )
    return explained(figure, (text,))
