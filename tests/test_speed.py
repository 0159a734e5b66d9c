"""The page about speed shows what the benchmarks have found, and they count correctly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.benchmarks import events, projects, report
from tests.benchmarks.checks import WrongProducts, check_data
from tests.benchmarks.commands import CommandFailed, environment_of, run
from tests.benchmarks.forms import write_data
from tests.benchmarks.measure import Contender, Race, Reading, race
from tests.benchmarks.outcome import Outcome, load, save
from tests.benchmarks.plots import PLOTS, draw
from tests.benchmarks.rows import ROWS
from tests.benchmarks.settings import QUICK
from tests.benchmarks.targets import TARGETS, Figure, compared
from tests.benchmarks.writing import PARTS

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "speed"


# -- the page --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return load(PAGE / "results.json")


@pytest.mark.parametrize("name", PARTS)
def test_what_the_page_shows_follows_from_the_results(outcome: Outcome, name: str) -> None:
    assert (PAGE / f"{name}.inc").read_text(encoding="utf-8") == PARTS[name](outcome) + "\n"


@pytest.mark.parametrize("name", PLOTS)
def test_the_plots_show_the_results(outcome: Outcome, name: str) -> None:
    """By their words and marks: the numbers in a path depend on matplotlib's version."""
    kept = (PAGE / f"{name}.svg").read_text(encoding="utf-8")
    assert features(kept) == features(draw(name, outcome.series.get(name, [])))


def features(svg: str) -> tuple[list[str], int]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg), svg.count("<use ")


@pytest.mark.parametrize("name", PLOTS)
def test_plots_name_their_units_and_follow_the_theme(name: str) -> None:
    svg = draw(name, [])
    words, _ = features(svg)
    assert {PLOTS[name].x, PLOTS[name].y, PLOTS[name].title} <= set(words)
    assert PLOTS[name].y.endswith((", s", ", MiB"))
    assert "prefers-color-scheme:dark" in svg
    assert re.findall(r"(?:fill|stroke): (#\w+)", svg) == []


def test_every_goal_belongs_to_a_row_that_is_measured() -> None:
    assert {target.row for target in TARGETS.values()} == set(ROWS)


def test_the_results_have_every_goal(outcome: Outcome) -> None:
    assert [figure.key for figure in outcome.figures] == list(TARGETS)


# -- the arithmetic --------------------------------------------------------------------------


def raced(**values: list[float]) -> Race:
    readings = {n: {i: Reading(v) for i, v in enumerate(vs)} for n, vs in values.items()}
    return Race(readings)


def test_a_ratio_is_the_median_of_pairs_of_the_same_round() -> None:
    found = raced(a=[2.0, 9.0, 4.0], b=[1.0, 3.0, 1.0]).ratio("a", "b")
    assert (found.value, found.low, found.high, found.pairs) == (3.0, 2.0, 4.0, 3)
    assert found.of_medians == 4.0


def test_rounds_that_one_of_them_missed_are_no_pairs() -> None:
    assert raced(a=[6.0], b=[2.0, 100.0]).ratio("a", "b").pairs == 1


@pytest.mark.parametrize(
    ("key", "value", "met"),
    [
        ("tiny-python", 2.0, True),
        ("tiny-python", 2.01, False),
        ("fan-serial", 20.0, True),
        ("fan-serial", 19.9, False),
        ("noop-dvc", 1.0, None),
        ("noop-make", None, None),
    ],
)
def test_a_goal_is_met_or_missed_or_cannot_be_told(
    key: str, value: float | None, met: bool | None
) -> None:
    assert Figure(key, value).met is met


def test_who_fails_is_taken_out_and_the_others_go_on() -> None:
    def fails() -> Reading:
        raise CommandFailed("no such option")

    names = ("well", "ill")
    runs = (lambda: Reading(1.0), fails)
    found = race([Contender(n, r, 3) for n, r in zip(names, runs, strict=True)], 1, lambda _: None)
    assert len(found.readings["well"]) == 3
    assert found.failed == {"ill": "no such option"}
    figure = compared("noop-make", found, "ill", "well", "")
    assert (figure.value, figure.reason) == (None, "no such option")


def test_wrong_products_are_told_apart_from_failures() -> None:
    def wrong() -> Reading:
        raise WrongProducts("output/a.txt is not what it must be")

    found = race([Contender("it", wrong, 1)], 1, lambda _: None)
    assert found.wrong == ["output/a.txt is not what it must be"]


def test_who_is_faster_is_named() -> None:
    result = Outcome("2026-01-01T00:00:00", "", QUICK)
    result.builds["chain"] = {"nbpipe": (2.0, 2.0, 2.0), "make": (1.0, 1.0, 1.0)}
    assert "nbpipe takes 2.00 s, but make 1.00 s" in report.slower(result)
    result.builds["chain"]["make"] = (3.0, 3.0, 3.0)
    assert "make" not in report.slower(result)


def test_results_survive_the_disk(tmp_path: Path) -> None:
    result = Outcome("2026-01-01T00:00:00", "", QUICK, figures=[Figure("load", 1.0, rest=("x",))])
    save(result, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == result


# -- the projects and their products -----------------------------------------------------------


def test_data_must_be_what_the_project_expects(tmp_path: Path) -> None:
    project = projects.fan(3)
    write_data(project, tmp_path)
    check_data(project, tmp_path, "it")
    (tmp_path / "output" / "t0001.txt").write_text("something else")
    with pytest.raises(WrongProducts, match=r"t0001\.txt is not what it must be"):
        check_data(project, tmp_path, "it")


@pytest.mark.parametrize(
    "project",
    [projects.fan(2), projects.chain(3), projects.web(9), projects.cells(4)],
    ids=lambda p: p.name,
)
def test_the_code_of_a_step_makes_the_data_that_is_expected(
    project: projects.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output").mkdir()
    for step in project.steps:
        above = {name: {"data": f"output/{name}.txt"} for name in step.upstream}
        scope = {"upstream": above or None, "product": {"data": step.data}}
        for cell in step.cells:
            exec(cell, scope)
    check_data(project, tmp_path, "exec")


def event(kind: str, task: str, time: float, **more: float) -> dict[str, object]:
    return {"event": kind, "task": task, "time": time, **more}


def test_a_free_place_beside_a_ready_task_is_idle() -> None:
    project = projects.many(2)
    story = [
        {"event": "run-started", "time": 0.0},
        event("task-started", "t0000", 0.0),
        event("task-done", "t0000", 4.0, seconds=4.0),
        event("task-started", "t0001", 1.0),
        event("task-done", "t0001", 4.0, seconds=3.0),
    ]
    found = events.makespan(project, story, cores=2)
    assert (found.taken, found.bound, found.idle) == (4.0, 4.0, 1.0)


def test_a_task_is_work_while_something_of_it_runs_and_is_awaited_until_it_is_recorded() -> None:
    project = projects.chain(2)
    story = [
        {"event": "run-started", "time": 0.0},
        event("task-started", "t0000", 0.0),
        event("task-done", "t0000", 2.0, seconds=2.0, ran=1.0),
        event("task-started", "t0001", 2.0),
        event("task-done", "t0001", 4.0, seconds=2.0, ran=1.5),
    ]
    assert events.makespan(project, story, cores=1).bound == 4.0
    story[3] = event("task-started", "t0001", 1.0)
    independent = events.makespan(projects.many(2), story, cores=1)
    assert independent.bound == 2.5, "not 4: the one runs while the other is recorded"


def test_the_events_of_the_latest_run_are_read(tmp_path: Path) -> None:
    for run_id, seconds in (("20260101-000000-000000", 1), ("20260102-000000-000000", 2)):
        folder = tmp_path / ".nbpipe" / "runs" / run_id
        folder.mkdir(parents=True)
        line = json.dumps({"event": "run-finished", "seconds": seconds})
        (folder / "events.jsonl").write_text(line + "\n")
    assert events.last_run(tmp_path) == [{"event": "run-finished", "seconds": 2}]


@pytest.mark.process
def test_a_command_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    words = ["bash", "-c", "sleep 60 & echo $! > child; wait"]
    with pytest.raises(CommandFailed, match="ended with -9"):
        run(words, tmp_path, environment_of(Path("/usr/bin"), tmp_path), limit=0.5)
    state = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
