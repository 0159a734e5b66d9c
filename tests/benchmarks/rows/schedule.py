"""How near a build comes to the best schedule there is."""

from __future__ import annotations

from tests.benchmarks import events, projects
from tests.benchmarks.lab import Lab
from tests.benchmarks.measure import Contender, Reading
from tests.benchmarks.rows.result import Result, explained, nothing
from tests.benchmarks.targets import Figure, compared

CORES = 2
TAKEN, BOUND = "nbpipe", "max(critical path, work / cores)"


def measure(lab: Lab) -> Result:
    """Build twice: the second time the durations are known from the first."""
    if not lab.has("nbpipe"):
        return nothing("makespan", lab.missing["nbpipe"])
    count, mean = lab.settings.sleepers
    project = projects.sleepers(count, mean, lab.settings.seed)
    lab.build("nbpipe", project, CORES)
    folder = lab.place_of("nbpipe", project)
    python = lab.environments["nbpipe"].bin
    runs: list[events.Makespan] = []

    def run() -> Reading:
        lab.run("nbpipe", [python / "nbpipe", "build", "-f", "-j", str(CORES)], folder)
        runs.append(events.makespan(project, events.last_run(folder), CORES))
        return Reading(runs[-1].taken, {"bound": runs[-1].bound})

    found = lab.race([Contender(TAKEN, run, lab.settings.rounds)])
    found.readings[BOUND] = {
        number: Reading(reading.notes["bound"]) for number, reading in found.readings[TAKEN].items()
    }
    conditions = (
        f"{count} tasks that wait {mean} s on average, {CORES} at once; bound of the same run"
    )
    figure = compared("makespan", found, TAKEN, BOUND, conditions)
    return Result([_explained(figure, runs)], found)


def _explained(figure: Figure, runs: list[events.Makespan]) -> Figure:
    if figure.met is not False:
        return figure
    last = runs[-1]
    text = (
        f"in the last run {last.taken:.2f} s against {last.bound:.2f} s;"
        f" {last.idle:.2f} s in which a place was free while a task was ready"
    )
    return explained(figure, (text,))
