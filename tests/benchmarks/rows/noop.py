"""A build in which nothing is to do, as a whole process."""

from __future__ import annotations

from tests.benchmarks import projects, why
from tests.benchmarks.commands import CommandFailed, in_short
from tests.benchmarks.lab import Lab
from tests.benchmarks.measure import Contender, Reading
from tests.benchmarks.peers import Site
from tests.benchmarks.projects import Project
from tests.benchmarks.rows.result import Result, explained
from tests.benchmarks.targets import Figure, compared

BARE = "python -c pass"
SLOW = ("Ploomber Serial", "DVC", "Snakemake")
PEERS = ("nbpipe", "make", "doit", "DVC", "Snakemake", "Ploomber Serial")
KEYS = {
    "noop-make": "make",
    "noop-doit": "doit",
    "noop-dvc": "DVC",
    "noop-snakemake": "Snakemake",
    "noop-ploomber": "Ploomber Serial",
}


def measure(lab: Lab) -> Result:
    """Everything is up to date, without having been run: each tool is told so."""
    project = projects.web(lab.settings.wide)
    sites, failed = adopt(lab, PEERS, project)
    contenders = [again(lab, name, project, site) for name, site in sites.items()]
    contenders.append(Contender(BARE, lambda: bare(lab), lab.settings.rounds))
    found = lab.race(contenders)
    found.failed.update(failed)
    conditions = (
        f"{lab.settings.wide:,} tasks, {sum(len(s.upstream) for s in project.steps):,} edges"
    )
    figures = [compared("noop-python", found, "nbpipe", BARE, conditions)]
    figures += [compared(key, found, name, "nbpipe", conditions) for key, name in KEYS.items()]
    rest: tuple[str, ...] = ()
    if "nbpipe" in sites and any(figure.met is False for figure in figures):
        rest = why.of_imports(lab, sites["nbpipe"]) + why.of_calls(lab, sites["nbpipe"])
    return Result([_explained(figure, rest) for figure in figures], found)


def _explained(figure: Figure, rest: tuple[str, ...]) -> Figure:
    return explained(figure, rest) if figure.met is False else figure


def adopt(
    lab: Lab, names: tuple[str, ...], project: Project
) -> tuple[dict[str, Site], dict[str, str]]:
    """The project for each tool with everything up to date, and why where that failed."""
    sites, failed = {}, {}
    for name in names:
        if not lab.has(name):
            continue
        try:
            sites[name] = lab.adopted(name, project)
        except CommandFailed as error:
            failed[name] = in_short(error)
    return sites, failed


def again(lab: Lab, name: str, project: Project, site: Site) -> Contender:
    """A tool that finds nothing to do."""

    def run() -> Reading:
        done = lab.again(name, project, site)
        return Reading(done.seconds, {"processor time": done.cpu})

    rounds = lab.settings.slow_rounds if name in SLOW else lab.settings.rounds
    return Contender(name, run, rounds)


def bare(lab: Lab) -> Reading:
    """An interpreter, of nbpipe's own environment, that does nothing."""
    python = lab.environments["nbpipe"].python
    done = lab.run("nbpipe", [python, "-c", "pass"], lab.folder)
    return Reading(done.seconds, {"processor time": done.cpu})
