"""The files that the documentation's page shows."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.outcome import Outcome, save
from tests.benchmarks.plots import PLOTS, draw

PARTS = {
    "goals": report.goals,
    "behind": report.behind,
    "builds": report.builds,
    "slower": report.slower,
    "run": report.run,
}
"""What the page includes, by file name without its suffix."""


def write_docs(outcome: Outcome, folder: Path) -> None:
    """Write the parts of the page, the plots, and all readings."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in PARTS.items():
        (folder / f"{name}.inc").write_text(part(outcome) + "\n", encoding="utf-8")
    save(outcome, folder / "results.json")
    write_plots(outcome, folder)


def write_plots(outcome: Outcome, folder: Path) -> None:
    """Write an SVG for each plot; one without series says so by having no lines."""
    for name in PLOTS:
        (folder / f"{name}.svg").write_text(draw(name, outcome.series.get(name, [])), "utf-8")
