"""A run as Markdown: the goals, whole builds, where nbpipe is slower, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.benchmarks.outcome import Outcome
from tests.benchmarks.settings import LESS_IN_QUICK, PARTS
from tests.benchmarks.targets import TARGETS, Figure, Target

BUSY = 0.5
"""A load average above which the machine has something else to do."""

NBSP = "\N{NO-BREAK SPACE}"
MARGIN = 1.05
"""From here on one is called slower than the other."""


def goals(outcome: Outcome) -> str:
    """Every row of the goals table that was measured, or was to be."""
    head = ("What", "Goal", "Measured", "Lowest to highest", "Ratio of medians", "Goal met")
    return _table(head, [_goal_row(figure) for figure in outcome.figures])


def _goal_row(figure: Figure) -> tuple[str, ...]:
    target = TARGETS[figure.key]
    if figure.value is None:
        return (_what(target), _goal(target), "not measured", "–", "–", "–")
    verdict = {True: "yes", False: "**no**", None: "–"}[figure.met]
    if figure.met is not None and not figure.is_sure:
        verdict += ", but not in every pair" if figure.met else ", though in some pairs"
    amount = _amount(figure.value, target)
    medians = "–" if figure.of_medians is None else f"{_digits(figure.of_medians)}×"
    return (_what(target), _goal(target), amount, _spread(figure, target), medians, verdict)


def _what(target: Target) -> str:
    return f"{target.what}, against {target.against}" if target.against else target.what


def _goal(target: Target) -> str:
    if target.sense == "none":
        return "–"
    bound = f"{target.bound:g}{NBSP}ms" if target.unit == "ms" else f"{target.bound:g}×"
    if target.sense == "at least":
        return f"≥{NBSP}{bound} as fast"
    return f"≤{NBSP}{bound}"


def _amount(value: float, target: Target) -> str:
    if target.unit == "ms":
        return f"{value:.1f}{NBSP}ms"
    return f"{_digits(value)}×" + ("" if target.sense == "at most" else " as fast")


def _spread(figure: Figure, target: Target) -> str:
    if figure.is_noisy:
        return "too noisy to tell"
    if figure.low is None or figure.high is None:
        return "one run"
    unit = " ms" if target.unit == "ms" else "×"
    return f"{_digits(figure.low)} to {_digits(figure.high)}{unit}"


def _medians(figure: Figure) -> str:
    text = ", ".join(f"{n} {_time(v, figure.unit)}" for n, v in figure.medians.items())
    return text and f"medians: {text}"


def _time(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.3g} {unit}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def behind(outcome: Outcome) -> str:
    """For each row how it was measured, all medians, and where the rest goes."""
    rows = dict.fromkeys(TARGETS[figure.key].row for figure in outcome.figures)
    return "\n".join(_behind_row(row, outcome.figures) for row in rows)


def _behind_row(row: str, figures: Iterable[Figure]) -> str:
    mine = [figure for figure in figures if TARGETS[figure.key].row == row]
    told: list[str] = []
    for figure in mine:
        what = TARGETS[figure.key].what
        reason = f"not measured: {figure.reason}" if figure.value is None else ""
        parts = (figure.conditions, _medians(figure), reason, *figure.rest)
        told += [part for part in (what, *parts) if part and part not in told]
    return f"- **{row}**: {'; '.join(told)}."


def builds(outcome: Outcome) -> str:
    """Seconds of every tool on every project."""
    if not outcome.builds:
        return "The table of whole builds was not part of this run."
    projects = list(outcome.builds)
    names = list(dict.fromkeys(name for row in outcome.builds.values() for name in row))
    rows = [(name, *(_build_cell(outcome, p, name) for p in projects)) for name in names]
    return _table(("Tool", *(_project_words(outcome, p) for p in projects)), rows)


def _project_words(outcome: Outcome, project: str) -> str:
    settings = outcome.settings
    return {
        "fan": f"Fan of 1 + {settings.fan} tasks",
        "chain": f"Chain of {settings.chain} tasks",
        "stack": f"{settings.stack[1]} tasks with pandas and scikit-learn",
        "cells": f"One task of {settings.cells[1]} cells",
    }[project]


def _build_cell(outcome: Outcome, project: str, name: str) -> str:
    found = outcome.builds[project].get(name)
    if found is None:
        return "–"
    median, low, high = found
    spread = f" ({low:.2f} to {high:.2f})" if high > low else ""
    return f"{median:.2f} s{spread}"


def slower(outcome: Outcome) -> str:
    """Where nbpipe takes longer than another tool, and which goals it misses."""
    lines = [line for project in outcome.builds for line in _slower_in(outcome, project)]
    for figure in outcome.figures:
        target = TARGETS[figure.key]
        if figure.met is False and figure.value is not None:
            amount, goal = _amount(figure.value, target), _goal(target)
            lines.append(f"- {_what(target)}: {amount}; the goal is {goal}.")
    return "\n".join(lines) or "In this run nbpipe was nowhere slower, and missed no goal."


def _slower_in(outcome: Outcome, project: str) -> Iterable[str]:
    row = outcome.builds[project]
    if "nbpipe" not in row:
        return
    ours = row["nbpipe"][0]
    faster = [(m, name) for name, (m, _, _) in row.items() if m * MARGIN < ours]
    if faster:
        told = ", ".join(f"{name} {m:.2f} s" for m, name in sorted(faster))
        yield f"- {_project_words(outcome, project)}: nbpipe takes {ours:.2f} s, but {told}."


def run(outcome: Outcome) -> str:
    """The machine, the versions, the command; what was left out, and who took no part."""
    machine = "; ".join(f"{key} {value}" for key, value in outcome.machine.items())
    lines = [
        f"- Run of {outcome.date[:16].replace('T', ' ')} UTC: `{outcome.command}`",
        f"- Machine: {machine}",
        f"- Repetitions: {outcome.settings.rounds}, of what is slow {outcome.settings.slow_rounds};"
        f" seed {outcome.settings.seed}",
        *(["- **The machine was busy with other work**"] if _was_busy(outcome) else []),
        f"- Versions: {_versions(outcome)}",
        *(f"- **{name} took no part**: {why}" for name, why in outcome.missing.items()),
        *(f"- **WRONG PRODUCTS**: {what}" for what in outcome.wrong),
    ]
    if outcome.settings.quick:
        lines.append(f"- A quick run: {'; '.join(LESS_IN_QUICK)}")
    lines += [f"- Left out: {what}" for what in _left_out(outcome)]
    return "\n".join(lines)


def _left_out(outcome: Outcome) -> list[str]:
    measured = {figure.key for figure in outcome.figures}
    rows = dict.fromkeys(t.row for t in TARGETS.values() if t.key not in measured)
    there = {"builds": outcome.builds, "scaling": outcome.series}
    parts = [what for part, what in PARTS.items() if not there[part]]
    return [f"the rows {', '.join(rows)}", *parts] if rows else parts


def _was_busy(outcome: Outcome) -> bool:
    return float(outcome.machine.get("load before", 0)) > BUSY


def _versions(outcome: Outcome) -> str:
    """Each package once; with several versions if environments differ."""
    found: dict[str, dict[str, None]] = {}
    for packages in outcome.versions.values():
        for name, version in packages.items():
            found.setdefault(name, {})[version] = None
    return ", ".join(f"{name} {' and '.join(versions)}" for name, versions in found.items())


def whole(outcome: Outcome) -> str:
    """Everything, for a terminal or a file."""
    parts = (
        ("Goals", goals),
        ("Behind the figures", behind),
        ("Whole builds", builds),
        ("Slower, or short of a goal", slower),
        ("The run", run),
    )
    return "\n\n".join(f"## {title}\n\n{part(outcome)}" for title, part in parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |" for cells in lines
    )
