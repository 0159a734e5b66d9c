"""Runs that are interleaved in random order, and what follows from them: medians and ratios."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.checks import WrongProducts
from tests.benchmarks.commands import CommandFailed, in_short

Notes = Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """One measurement.

    Attributes:
        value: the figure, in the unit of its row.
        notes: further figures of the same run, by what they are; in the same unit.
    """

    value: float
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """What takes part in a race.

    Attributes:
        name: as tables show it.
        run: measures once.
        rounds: in how many rounds it takes part, from the first.
    """

    name: str
    run: Callable[[], Reading]
    rounds: int


@dataclass(frozen=True)
class Ratio:
    """One contender over another.

    Attributes:
        value: the median of the ratios of runs of the same round.
        low: the lowest of them.
        high: the highest.
        of_medians: the ratio of the two medians.
        pairs: how many rounds both took part in.
    """

    value: float
    low: float
    high: float
    of_medians: float
    pairs: int


@dataclass
class Race:
    """The readings of a race, by contender and round.

    Attributes:
        readings: in the order of rounds.
        failed: why a contender was taken out.
        wrong: those whose products were not right.
    """

    readings: dict[str, dict[int, Reading]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def has(self, *names: str) -> bool:
        """Whether there is something to compare."""
        return all(self.readings.get(name) and name not in self.failed for name in names)

    def median(self, name: str) -> float:
        """The median of a contender's values."""
        return statistics.median(reading.value for reading in self.readings[name].values())

    def lowest(self, *names: str) -> float:
        """The lowest value of all that are named."""
        return min(reading.value for n in names for reading in self.readings[n].values())

    def note(self, name: str, what: str) -> float:
        """The median of a further figure."""
        return statistics.median(r.notes[what] for r in self.readings[name].values())

    def medians(self) -> dict[str, float]:
        """Of all that were not taken out."""
        return {name: self.median(name) for name in self.readings if self.has(name)}

    def ratio(self, over: str, under: str) -> Ratio:
        """How many times the one is the other."""
        one, other = self.readings[over], self.readings[under]
        pairs = [one[r].value / other[r].value for r in one if r in other and other[r].value]
        of_medians = self.median(over) / self.median(under)
        return Ratio(statistics.median(pairs), min(pairs), max(pairs), of_medians, len(pairs))


def race(contenders: Sequence[Contender], seed: int, say: Callable[[str], None]) -> Race:
    """Measure all contenders round by round, each round in an order of its own.

    A contender that fails is taken out and the reason kept: the others go on.

    Args:
        contenders: with different names.
        seed: of the orders.
        say: told of each reading, for the impatient.
    """
    chance = random.Random(seed)
    found = Race({contender.name: {} for contender in contenders})
    for number in range(max((c.rounds for c in contenders), default=0)):
        order = [c for c in contenders if number < c.rounds]
        chance.shuffle(order)
        for contender in order:
            if contender.name not in found.failed:
                _measure(contender, number, found)
                value = found.readings[contender.name].get(number)
                told = "failed" if value is None else f"{value.value:.4g}"
                say(f"    {number + 1}. {contender.name}: {told}")
    return found


def _measure(contender: Contender, number: int, found: Race) -> None:
    try:
        found.readings[contender.name][number] = contender.run()
    except WrongProducts as error:
        found.failed[contender.name] = str(error)
        found.wrong.append(str(error))
    except (CommandFailed, OSError) as error:
        found.failed[contender.name] = in_short(error)
