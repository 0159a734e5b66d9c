"""The command line: what to measure, where to keep environments, where to write."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import environments, machine, report, scaling
from tests.benchmarks.commands import in_short
from tests.benchmarks.lab import Lab
from tests.benchmarks.outcome import Outcome, load, save
from tests.benchmarks.peers import PEERS
from tests.benchmarks.rows import ROWS, Result, builds
from tests.benchmarks.rows.result import nothing
from tests.benchmarks.settings import FULL, LESS_IN_QUICK, PARTS, QUICK
from tests.benchmarks.writing import write_docs, write_plots

DOCS = environments.CHECKOUT / "docs" / "explanation" / "speed"


def main(words: list[str] | None = None) -> int:
    """Returns 0 when all was measured, 1 when products were wrong or nothing could be measured."""
    options = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders are removed
    outcome = load(options.render) if options.render else _measure(options)
    print(report.whole(outcome))
    if options.docs:
        write_docs(outcome, DOCS)
    elif options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        save(outcome, options.out / "results.json")
        (options.out / "report.md").write_text(report.whole(outcome), encoding="utf-8")
        write_plots(outcome, options.out)
    return 1 if outcome.wrong or not outcome.figures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks",
        description="Measure nbpipe beside its peers; prints Markdown.",
        epilog=f"--quick: {'; '.join(LESS_IN_QUICK)}. It leaves out {'; '.join(PARTS.values())},"
        " unless --only asks for them.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="under 5 minutes once the environments are there")
    add("--only", action="append", choices=[*ROWS, *PARTS], help="this row only; may be repeated")
    add("--rounds", type=int, help="repetitions")
    add("--seed", type=int, default=FULL.seed, help="of the order of runs")
    add("--environments", type=Path, help="folder of the tools' environments, which are kept")
    add("--source", type=Path, help="checkout from which nbpipe is installed; default: this one")
    add("--out", type=Path, help="folder for results.json, report.md and the plots")
    add("--docs", action="store_true", help="write the files of the documentation's page instead")
    add("--render", type=Path, metavar="RESULTS", help="measure nothing; use this results.json")
    return parser


def _measure(options: argparse.Namespace) -> Outcome:
    settings = dataclasses.replace(QUICK if options.quick else FULL, seed=options.seed)
    if options.rounds:
        slow = min(options.rounds, settings.slow_rounds)
        settings = dataclasses.replace(settings, rounds=options.rounds, slow_rounds=slow)
    only = options.only or [*ROWS, *(() if options.quick else PARTS)]
    began = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    source = (options.source or environments.CHECKOUT).resolve()
    outcome = Outcome(began, _command(options), settings, machine.describe(source))
    _say("environments")
    kept = options.environments or environments.default_folder()
    made, failed = environments.make_all(environments.REQUIREMENTS, kept.resolve(), source)
    outcome.versions = environments.shown_versions(made.values())
    with tempfile.TemporaryDirectory(prefix="nbpipe-benchmarks-") as folder:
        lab = Lab(settings, Path(folder).resolve(), made, _say)
        lab.missing.update({n: failed[p.tool] for n, p in PEERS.items() if p.tool in failed})
        _say("every tool builds a chain of two")
        lab.try_peers(PEERS)
        outcome.missing, outcome.wrong = lab.missing, lab.wrong
        _rows(lab, outcome, only)
    return outcome


def _rows(lab: Lab, outcome: Outcome, only: list[str]) -> None:
    for row, measure in ROWS.items():
        if row in only:
            _say(f"  {row}")
            result = _row(lab, row, measure)
            outcome.figures += result.figures
            if result.race is not None:
                outcome.add_race(row, result.race)
    for part, fill in (("builds", _builds), ("scaling", _scaling)):
        if part in only:
            _say(f"  {part}")
            try:
                fill(lab, outcome)
            except Exception as error:
                traceback.print_exc()
                outcome.missing[part] = in_short(error)


def _builds(lab: Lab, outcome: Outcome) -> None:
    for project, race in builds.everything(lab).items():
        outcome.add_build(project, race)


def _scaling(lab: Lab, outcome: Outcome) -> None:
    outcome.series = scaling.everything(lab)


def _row(lab: Lab, row: str, measure: Callable[[Lab], Result]) -> Result:
    """A row that breaks does not take the others with it."""
    try:
        return measure(lab)
    except Exception as error:
        traceback.print_exc()
        return nothing(row, f"{type(error).__name__}: {in_short(error)}")


def _command(options: argparse.Namespace) -> str:
    """The command without what depends on the machine."""
    words = ["python tests/benchmarks"]
    words += ["--quick"] if options.quick else []
    words += [f"--only {row}" for row in options.only or ()]
    words += [f"--rounds {options.rounds}"] if options.rounds else []
    words += [f"--seed {options.seed}"] if options.seed != FULL.seed else []
    words += ["--docs"] if options.docs else []
    return " ".join(words)


def _say(text: str) -> None:
    print(f"{dt.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)
