"""The scheduler: events in, instructions out; no clock, no kernels, no sleeps."""

import heapq
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpipe.core.scheduler import (
    Block,
    Cancel,
    Check,
    IllegalTransitionError,
    Scheduler,
    Start,
    critical_paths,
    with_default,
)

DIAMOND = {"get": [], "sepal": ["get"], "petal": ["get"], "fit": ["sepal", "petal"]}


def started(instructions):
    return [i.task for i in instructions if isinstance(i, Start)]


def test_a_run_begins_by_checking_what_waits_for_nothing():
    assert Scheduler(DIAMOND).begin() == [Check("get")]


def test_a_task_that_must_run_is_started_when_there_is_a_place():
    scheduler = Scheduler(DIAMOND)
    scheduler.begin()
    assert scheduler.decided("get", run=True) == [Start("get", 1)]


def test_a_success_and_a_skip_both_release_what_waits_for_them():
    scheduler = Scheduler(DIAMOND, jobs=2)
    scheduler.begin()
    assert scheduler.decided("get", run=False) == [Check("sepal"), Check("petal")]
    scheduler.decided("sepal", run=True)
    assert scheduler.decided("petal", run=False) == []
    assert scheduler.succeeded("sepal") == [Check("fit")]


def test_no_more_tasks_run_at_once_than_there_are_jobs():
    scheduler = Scheduler({"a": [], "b": [], "c": []}, jobs=2)
    scheduler.begin()
    first = [i for task in "abc" for i in scheduler.decided(task, run=True)]
    assert started(first) == ["a", "b"]
    assert scheduler.succeeded("a") == [Start("c", 1)]


def test_the_longest_path_goes_first():
    upstream = {"busy": [], "short": [], "long": [], "after": ["long"]}
    seconds = {"short": 3, "long": 2, "after": 5, "busy": 9}
    scheduler = Scheduler(upstream, jobs=1, expected=seconds)
    assert scheduler.begin() == [Check("busy"), Check("long"), Check("short")]
    for task in ("busy", "short", "long"):
        scheduler.decided(task, run=True)
    assert started(scheduler.succeeded("busy")) == ["long"]


def test_a_task_does_not_start_while_one_with_a_longer_path_is_being_decided():
    scheduler = Scheduler({"short": [], "long": []}, jobs=1, expected={"short": 3, "long": 7})
    scheduler.begin()
    assert scheduler.decided("short", run=True) == []
    assert started(scheduler.decided("long", run=True)) == ["long"]


def test_a_longer_path_that_turns_out_to_be_fresh_holds_up_nothing():
    scheduler = Scheduler({"short": [], "long": []}, jobs=1, expected={"short": 3, "long": 7})
    scheduler.begin()
    scheduler.decided("short", run=True)
    assert started(scheduler.decided("long", run=False)) == ["short"]


def test_a_critical_path_is_the_longest_chain_below_a_task():
    seconds = {"get": 1.0, "sepal": 10.0, "petal": 2.0, "fit": 2.0}
    paths = {"fit": 2.0, "sepal": 12.0, "petal": 4.0, "get": 13.0}
    assert critical_paths(DIAMOND, seconds) == paths


def test_a_newcomer_is_taken_to_last_the_median_of_those_with_a_history_else_a_second():
    known = {"get": 1.0, "sepal": 10.0, "petal": 2.0}
    assert with_default(DIAMOND, known)["fit"] == 2.0
    assert with_default(DIAMOND, {}) == dict.fromkeys(DIAMOND, 1.0)


def test_a_failure_blocks_all_that_depends_on_it_and_names_the_culprit():
    scheduler = Scheduler(DIAMOND, keep_going=True)
    scheduler.begin()
    scheduler.decided("get", run=True)
    assert scheduler.failed("get") == [
        Block("sepal", "get"),
        Block("petal", "get"),
        Block("fit", "get"),
    ]
    assert scheduler.finished


def test_with_keep_going_an_independent_branch_finishes():
    scheduler = Scheduler({"a": [], "b": ["a"], "c": [], "d": ["c"]}, jobs=1, keep_going=True)
    scheduler.begin()
    scheduler.decided("a", run=True)
    scheduler.decided("c", run=True)
    assert scheduler.failed("a") == [Block("b", "a"), Start("c", 1)]
    assert scheduler.succeeded("c") == [Check("d")]


def test_without_keep_going_nothing_new_starts_after_a_failure():
    scheduler = Scheduler({"a": [], "b": ["a"], "c": [], "d": ["c"]}, jobs=2)
    scheduler.begin()
    scheduler.decided("a", run=True)
    scheduler.decided("c", run=True)
    assert scheduler.failed("a") == [Block("b", "a"), Cancel("d")]
    assert scheduler.succeeded("c") == []
    assert scheduler.phases == {"a": "failed", "b": "blocked", "c": "done", "d": "cancelled"}


def test_a_failed_task_is_tried_again_as_often_as_it_may():
    scheduler = Scheduler({"a": []}, retries={"a": 2})
    scheduler.begin()
    scheduler.decided("a", run=True)
    assert scheduler.failed("a") == [Start("a", 2)]
    assert scheduler.failed("a") == [Start("a", 3)]
    assert scheduler.failed("a") == []
    assert scheduler.phases["a"] == "failed"


def test_a_task_that_is_tried_again_keeps_its_place():
    scheduler = Scheduler({"a": [], "b": []}, jobs=1, retries={"a": 1})
    scheduler.begin()
    scheduler.decided("a", run=True)
    scheduler.decided("b", run=True)
    assert scheduler.failed("a") == [Start("a", 2)]
    assert scheduler.succeeded("a") == [Start("b", 1)]


def test_stop_cancels_what_has_not_started_and_ignores_late_decisions():
    scheduler = Scheduler({"a": [], "b": [], "c": ["a"]}, jobs=1)
    scheduler.begin()
    scheduler.decided("a", run=True)
    assert scheduler.stop() == [Cancel("b"), Cancel("c")]
    assert scheduler.decided("b", run=True) == []
    assert scheduler.interrupted("a") == []
    assert scheduler.finished


def begun(upstream, *tasks, **options):
    """A scheduler whose tasks are to run, as far as there is room."""
    scheduler = Scheduler(upstream, **options)
    scheduler.begin()
    for task in tasks:
        scheduler.decided(task, run=True)
    return scheduler


def test_a_task_whose_process_is_gone_gives_its_place_back_before_it_is_settled():
    scheduler = begun({"a": [], "b": []}, "a", "b", jobs=1)
    assert scheduler.left("a") == [Start("b", 1)]
    assert scheduler.phases == {"a": "running", "b": "running"}
    assert not scheduler.finished


def test_what_waits_for_a_task_waits_for_its_record_and_not_for_its_process():
    scheduler = begun({"a": [], "c": ["a"]}, "a", jobs=2)
    assert scheduler.left("a") == []
    assert scheduler.succeeded("a") == [Check("c")]


@pytest.mark.parametrize("end", ["succeeded", "failed", "interrupted"])
def test_a_place_is_given_back_once_however_the_task_ends(end):
    scheduler = begun({"a": [], "b": [], "c": []}, "a", "b", "c", jobs=1, keep_going=True)
    assert scheduler.left("a") == [Start("b", 1)]
    assert getattr(scheduler, end)("a") == []
    assert scheduler.succeeded("b") == [Start("c", 1)]


def test_what_else_a_task_takes_is_given_back_with_its_place():
    scheduler = begun(
        {"a": [], "b": []},
        "a",
        "b",
        jobs=2,
        wishes={"a": {"memory": 2.0}, "b": {"memory": 2.0}},
        limits={"memory": 3.0},
    )
    assert scheduler.left("a") == [Start("b", 1)]


def test_a_failure_after_the_place_is_given_back_waits_for_a_place_to_be_tried_again():
    scheduler = begun({"a": [], "b": []}, "a", "b", jobs=1, retries={"a": 1})
    assert scheduler.left("a") == [Start("b", 1)]
    assert scheduler.failed("a") == []
    assert scheduler.phases["a"] == "queued"
    assert scheduler.succeeded("b") == [Start("a", 2)]


def test_a_failure_after_the_place_is_given_back_is_tried_again_at_once_where_there_is_room():
    scheduler = begun({"a": [], "b": []}, "a", jobs=1, retries={"a": 2})
    scheduler.decided("b", run=False)
    assert scheduler.left("a") == []
    assert scheduler.failed("a") == [Start("a", 2)]
    assert scheduler.failed("a") == [Start("a", 3)], "this try has kept its place"


def test_a_try_that_waits_for_a_place_is_cancelled_like_any_that_has_not_started():
    scheduler = begun({"a": [], "b": []}, "a", "b", jobs=1, retries={"a": 1})
    scheduler.left("a")
    scheduler.failed("a")
    assert scheduler.failed("b") == [Cancel("a")]
    assert scheduler.finished


def test_after_a_stop_nothing_takes_the_place_that_is_given_back_nor_is_anything_tried_again():
    scheduler = begun({"a": [], "b": []}, "a", "b", jobs=1, retries={"a": 1})
    assert scheduler.stop() == [Cancel("b")]
    assert scheduler.left("a") == []
    assert scheduler.failed("a") == []
    assert scheduler.phases == {"a": "failed", "b": "cancelled"}


def test_what_cannot_have_happened_is_told_with_the_tasks_story():
    scheduler = Scheduler({"a": []})
    scheduler.begin()
    with pytest.raises(IllegalTransitionError, match="a: waiting → checking; a: checking → done"):
        scheduler.succeeded("a")


@st.composite
def dags(draw):
    count = draw(st.integers(1, 12))
    return {str(i): [str(j) for j in range(i) if draw(st.booleans())] for i in range(count)}


@given(
    dags(),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 2**32),
    st.floats(0, 0.5),
    st.integers(0, 2),
)
def test_every_run_ends_with_each_task_settled_once_and_in_order(
    upstream, jobs, keep_going, seed, failing, retries
):
    """A random runner: whatever it reports, order, jobs and blocking hold, and the run ends."""
    chance = random.Random(seed)
    scheduler = Scheduler(
        upstream, jobs=jobs, keep_going=keep_going, retries=dict.fromkeys(upstream, retries)
    )
    todo, running, left, tries = scheduler.begin(), set(), set(), {}
    good, blocked = set(), set()
    while todo or running or left:
        if todo and chance.random() < 0.7:
            one = todo.pop(chance.randrange(len(todo)))
            if isinstance(one, Check):
                assert set(upstream[one.task]) <= good
                run = chance.random() < 0.7
                if scheduler.phases[one.task] == "checking" and not run:
                    good.add(one.task)
                todo += scheduler.decided(one.task, run=run)
            elif isinstance(one, Start):
                tries[one.task] = tries.get(one.task, 0) + 1
                assert one.attempt == tries[one.task] <= retries + 1
                running.add(one.task)
                assert len(running) <= jobs
            elif isinstance(one, Block):
                blocked.add(one.task)
        elif running or left:
            task = chance.choice(sorted(running | left))
            if task in running and chance.random() < 0.5:
                running.remove(task)
                left.add(task)
                todo += scheduler.left(task)
                continue
            running.discard(task)
            left.discard(task)
            if chance.random() < failing:
                todo += scheduler.failed(task)
            else:
                good.add(task)
                todo += scheduler.succeeded(task)
    assert scheduler.finished
    assert good == {t for t, phase in scheduler.phases.items() if phase in ("done", "skipped")}
    failed = {t for t, phase in scheduler.phases.items() if phase == "failed"}
    assert {t for t, phase in scheduler.phases.items() if phase == "blocked"} == blocked
    assert all(set(upstream[t]) & (failed | blocked) for t in blocked)
    if keep_going:
        assert "cancelled" not in scheduler.phases.values()


# -- how near to the best possible -----------------------------------------------------------


def random_dag(chance, count):
    """Each task has up to three upstreams among the thirty before it; most have one."""
    upstream = {}
    for i in range(count):
        near = range(max(0, i - 30), i)
        ups = chance.sample(near, min(chance.choice([0, 1, 1, 2, 3]), len(near)))
        upstream[str(i)] = [str(up) for up in ups]
    return upstream


def makespan(upstream, seconds, jobs):
    """What the scheduler's instructions come to, on a clock that is only a number."""
    now = [0.0]
    scheduler = Scheduler(upstream, jobs=jobs, expected=seconds, clock=lambda: now[0])
    ends = []
    todo = scheduler.begin()
    while todo or ends:
        while todo:
            one = todo.pop(0)
            if isinstance(one, Check):
                todo += scheduler.decided(one.task, run=True)
            elif isinstance(one, Start):
                heapq.heappush(ends, (now[0] + seconds[one.task], one.task))
        now[0], task = heapq.heappop(ends)
        todo = scheduler.succeeded(task)
    assert scheduler.finished
    return now[0]


def makespan_first_come_first_served(upstream, seconds, jobs):
    """The same by who was ready first, for comparison."""
    missing = {task: len(ups) for task, ups in upstream.items()}
    ready = [task for task, count in missing.items() if count == 0]
    now, ends = 0.0, []
    while ready or ends:
        while ready and len(ends) < jobs:
            task = ready.pop(0)
            heapq.heappush(ends, (now + seconds[task], task))
        now, task = heapq.heappop(ends)
        for below, ups in upstream.items():
            if task in ups:
                missing[below] -= 1
                if missing[below] == 0:
                    ready.append(below)
    return now


@pytest.mark.parametrize("jobs", [2, 4, 8])
def test_with_known_durations_a_build_takes_at_most_a_fiftieth_longer_than_the_least_possible(jobs):
    """The least possible is the longest path, or the work divided by the jobs, if that is more.

    Over 24 pipelines of 60 to 100 tasks whose durations are log-normal (sigma 1: a hundredth of
    the tasks take more than ten times the median). First come, first served takes 2 to 10 %
    longer.
    """
    ours, theirs = [], []
    for seed in range(24):
        chance = random.Random(seed)
        upstream = random_dag(chance, chance.randint(60, 100))
        seconds = {task: chance.lognormvariate(0, 1) for task in upstream}
        longest = max(critical_paths(upstream, seconds).values())
        least = max(longest, sum(seconds.values()) / jobs)
        ours.append(makespan(upstream, seconds, jobs) / least)
        theirs.append(makespan_first_come_first_served(upstream, seconds, jobs) / least)
    assert min(ours) >= 1.0 - 1e-9
    assert statistics.mean(ours) <= 1.01
    assert statistics.quantiles(ours, n=10)[-1] <= 1.02
    assert statistics.mean(theirs) > statistics.mean(ours)
