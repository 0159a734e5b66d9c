"""Magics in a kernel that is alive, as its client sees them."""

from __future__ import annotations

import json

from tests.benchmarks import projects, why
from tests.benchmarks.lab import Lab
from tests.benchmarks.measure import Contender, Race, Reading
from tests.benchmarks.peers.base import DRIVERS, Site, Words
from tests.benchmarks.rows.result import Result, explained, nothing
from tests.benchmarks.targets import Figure


def status(lab: Lab) -> Result:
    """``%pipeline status``, once it has been used; the time of an empty cell is taken off."""
    if not lab.has("nbpipe"):
        return nothing("status", lab.missing["nbpipe"])
    site = lab.adopted("nbpipe", projects.web(lab.settings.wide))
    conditions = (
        f"{lab.settings.wide:,} tasks, from request to idle with the table shown,"
        " less an empty cell"
    )
    return _measure(lab, site, "status", conditions)


def load(lab: Lab) -> Result:
    """``%load_ext nbpipe`` in a fresh kernel; the time of an empty cell is taken off."""
    if not lab.has("nbpipe"):
        return nothing("load", lab.missing["nbpipe"])
    site = lab.adopted("nbpipe", projects.chain(2))
    return _measure(lab, site, "load", "from request to idle in a fresh kernel, less an empty cell")


def _measure(lab: Lab, site: Site, key: str, conditions: str) -> Result:
    def run() -> Reading:
        words: Words = [site.python, DRIVERS / "live_kernel.py"]
        told = json.loads(lab.run("nbpipe", words, site.folder).output.strip().splitlines()[-1])
        notes = {what: told[what] for what in ("empty", "first status", "inside status")}
        return Reading(told[key] - told["empty"], notes)

    found = lab.race([Contender(key, run, lab.settings.rounds)])
    if not found.has(key):
        return Result([Figure(key, None, reason=found.failed[key])], found)
    figure = _figure(found, key, conditions)
    rest: tuple[str, ...] = ()
    if figure.met is False:
        rest = why.of_magic(lab, site, key)
    return Result([explained(figure, _inside(found, key), rest)], found)


def _inside(found: Race, key: str) -> tuple[str, ...]:
    if key != "status":
        return ()
    inside, first = (found.note(key, f"{what} status") for what in ("inside", "first"))
    return (
        f"the magic itself takes {inside:.1f} ms, the rest is showing the table;"
        f" the first use in a kernel {first:.0f} ms",
    )


def _figure(found: Race, key: str, conditions: str) -> Figure:
    values = [reading.value for reading in found.readings[key].values()]
    return Figure(
        key,
        found.median(key),
        min(values) if len(values) > 1 else None,
        max(values) if len(values) > 1 else None,
        conditions=conditions,
        medians={"it": found.median(key), "an empty cell": found.note(key, "empty")},
        unit="ms",
    )
