"""All that a run has found, as one value that is kept as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Race
from tests.benchmarks.scaling import Series
from tests.benchmarks.settings import Settings
from tests.benchmarks.targets import Figure


@dataclass
class Outcome:
    """A run of the benchmarks.

    Attributes:
        date: when it began, ISO 8601, UTC.
        command: with which it can be repeated.
        settings: sizes and repetitions.
        machine: from `machine.describe`.
        versions: of packages, by environment.
        missing: why a tool took no part, by tool.
        figures: of the goals.
        builds: by project, seconds of each tool: median, lowest, highest.
        series: by plot.
        readings: every single one, by row and contender.
        wrong: builds whose products were not right; nothing else counts then.
    """

    date: str
    command: str
    settings: Settings
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    builds: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)
    series: dict[str, list[Series]] = field(default_factory=dict)
    readings: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add_race(self, row: str, race: Race) -> None:
        """Keep the readings of a row."""
        self.readings[row] = {
            name: [{"value": r.value, **r.notes} for r in rounds.values()]
            for name, rounds in race.readings.items()
        }

    def add_build(self, project: str, race: Race) -> None:
        """Keep a row of the table of whole builds."""
        self.add_race(f"build {project}", race)
        self.builds[project] = {
            name: (race.median(name), min(values), max(values))
            for name in race.medians()
            if (values := [reading.value for reading in race.readings[name].values()])
        }


def save(outcome: Outcome, path: Path) -> None:
    """Write it as JSON."""
    text = json.dumps(dataclasses.asdict(outcome), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> Outcome:
    """Read what `save` has written."""
    told = json.loads(path.read_text(encoding="utf-8"))
    sizes: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in told["settings"].items()
    }
    told["settings"] = Settings(**sizes)
    told["figures"] = [Figure(**{**f, "rest": tuple(f["rest"])}) for f in told["figures"]]
    told["series"] = {k: [Series(**s) for s in lines] for k, lines in told["series"].items()}
    return Outcome(**told)
