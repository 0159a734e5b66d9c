"""What is to be reached, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.benchmarks.measure import Race

Sense = Literal["at most", "at least", "none"]
Unit = Literal["times", "ms"]


@dataclass(frozen=True)
class Target:
    """A row of the goals table.

    Attributes:
        key: unique.
        row: what ``--only`` calls it; several targets may be measured together.
        what: which task or command.
        against: with what it is compared; "" for a figure that stands alone.
        sense: whether less or more is better; ``none``: it is shown without a goal.
        bound: the goal.
        unit: ``times`` for a ratio.
    """

    key: str
    row: str
    what: str
    against: str
    sense: Sense
    bound: float
    unit: Unit = "times"


@dataclass(frozen=True)
class Figure:
    """What was measured for a target.

    Attributes:
        key: of the target.
        value: None: it could not be measured.
        low: of the spread; None: there is only one value.
        high: of the spread.
        of_medians: for ratios, that of the medians.
        conditions: sizes, and how many at once.
        medians: of each contender, in the unit that ``unit`` names.
        unit: of the medians.
        rest: what else there is to say, and for a missed goal where the time goes; Markdown.
        reason: why there is no value.
        is_noisy: in some pair the larger of two builds took no longer than the smaller, and the
            pair tells nothing: the value is the ratio of the medians.
    """

    key: str
    value: float | None
    low: float | None = None
    high: float | None = None
    of_medians: float | None = None
    conditions: str = ""
    medians: Mapping[str, float] = field(default_factory=dict)
    unit: str = "s"
    rest: tuple[str, ...] = ()
    reason: str = ""
    is_noisy: bool = False

    @property
    def is_sure(self) -> bool:
        """Whether all of the spread is on one side of the goal."""
        bound = TARGETS[self.key].bound
        spread = [value for value in (self.value, self.low, self.high) if value is not None]
        return not self.is_noisy and (max(spread) <= bound or min(spread) >= bound)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None: nothing was measured, or there is no goal."""
        target = TARGETS[self.key]
        if self.value is None or target.sense == "none":
            return None
        less = target.sense == "at most"
        return self.value <= target.bound if less else self.value >= target.bound


def compared(
    key: str, race: Race, over: str, under: str, conditions: str, unit: str = "s"
) -> Figure:
    """A ratio of two contenders as a figure."""
    medians = race.medians()
    if not race.has(over, under):
        names = [name for name in (over, under) if not race.has(name)]
        reason = "; ".join(race.failed.get(name, f"{name} took no part") for name in names)
        return Figure(key, None, conditions=conditions, medians=medians, unit=unit, reason=reason)
    if min(medians[over], medians[under]) <= 0:
        reason = "too noisy: the larger of two builds took no longer than the smaller"
        return Figure(key, None, conditions=conditions, medians=medians, unit=unit, reason=reason)
    found = race.ratio(over, under)
    is_noisy = race.lowest(over, under) <= 0
    has_spread = found.pairs > 1 and not is_noisy
    return Figure(
        key,
        found.of_medians if is_noisy else found.value,
        found.low if has_spread else None,
        found.high if has_spread else None,
        of_medians=found.of_medians,
        conditions=conditions,
        medians=medians,
        unit=unit,
        is_noisy=is_noisy,
    )


_NOOP = "nothing to do, 1,000 tasks, whole process"
_TINY = "a tiny notebook task on a real kernel, 2 at once"
_ALL = (
    Target("tiny-python", "tiny", _TINY, "`python script.py`", "at most", 2.0),
    Target("tiny-nbclient", "tiny", _TINY, "stock nbclient", "at least", 15),
    Target(
        "stack-python",
        "stack",
        "a task that imports pandas and scikit-learn, 2 at once",
        "`python script.py`",
        "at most",
        0.05,
    ),
    Target("fan-serial", "fan", "a fan of tiny tasks", "Ploomber Serial", "at least", 20),
    Target("fan-parallel", "fan", "a fan of tiny tasks", "Ploomber Parallel", "at least", 10),
    Target("chain-serial", "chain", "a chain of tiny tasks", "Ploomber Serial", "at least", 10),
    Target("noop-python", "noop", _NOOP, "`python -c pass`", "at most", 2.5),
    Target("noop-make", "noop", _NOOP, "make", "at least", 1),
    Target("noop-doit", "noop", _NOOP, "doit", "at least", 1),
    Target("noop-dvc", "noop", _NOOP, "DVC", "none", 0),
    Target("noop-snakemake", "noop", _NOOP, "Snakemake", "none", 0),
    Target("noop-ploomber", "noop", _NOOP, "Ploomber Serial", "none", 0),
    Target(
        "status", "status", "`%pipeline status`, live kernel, 1,000 tasks", "", "at most", 10, "ms"
    ),
    Target("load", "load", "`%load_ext nbpipe`, live kernel", "", "at most", 20, "ms"),
    Target(
        "makespan",
        "makespan",
        "a DAG of 50 tasks or more, durations known",
        "max(critical path, work / cores)",
        "at most",
        1.02,
    ),
    Target("cells", "cells", "a short cell", "stock nbclient", "at most", 0.6),
    Target("memory-bare", "memory", "memory (PSS) of a kernel", "a cold one", "at most", 0.45),
    Target(
        "memory-stack",
        "memory",
        "memory (PSS) of a kernel with pandas and scikit-learn",
        "a cold one",
        "at most",
        0.35,
    ),
)

TARGETS: dict[str, Target] = {target.key: target for target in _ALL}
"""The goals, in the order of the table."""
