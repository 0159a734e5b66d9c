"""What a row gives back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.benchmarks.measure import Race
from tests.benchmarks.targets import TARGETS, Figure


@dataclass
class Result:
    """A row's figures and the readings that they come from.

    Attributes:
        figures: one for each of the row's targets.
        race: all readings; None: there was nothing to interleave.
    """

    figures: list[Figure]
    race: Race | None = field(default=None)


def nothing(row: str, reason: str) -> Result:
    """All targets of a row, not measured for one reason."""
    keys = [key for key, target in TARGETS.items() if target.row == row]
    return Result([Figure(key, None, reason=reason) for key in keys])


def explained(figure: Figure, *rest: tuple[str, ...]) -> Figure:
    """The figure, with what else there is to say."""
    return replace(figure, rest=tuple(line for lines in rest for line in lines))
