"""What tasks take of the machine: cores, memory, GPUs; and how a task is told what is its own."""

from __future__ import annotations

import asyncio
import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpipe import InlineExecutor
from nbpipe.core.model import Resources, Task
from nbpipe.core.scheduler import Check, Scheduler, Start
from nbpipe.core.tokens import demand
from nbpipe.run import machine
from nbpipe.run.machine import DEVICES, THREADS, Devices, Machine, devices, environment, too_much

GB = 10**9


def task(name="fit", **wish):
    return Task(name=name, source=f"{name}.py", resources=Resources(**wish))


class Simulation:
    """A scheduler, and a clock that is only a number.

    Args:
        tasks: by name: what it takes, and how many seconds.
        limits: what there is.
    """

    def __init__(self, tasks, limits, jobs=8, upstream=None, expected=None):
        self.now = 0.0
        self.seconds = {name: seconds for name, (_, seconds) in tasks.items()}
        self.wishes = {name: wish for name, (wish, _) in tasks.items()}
        self.limits = limits
        self.order, self.starts, self._ends = [], {}, []
        self.scheduler = Scheduler(
            upstream or {name: [] for name in tasks},
            jobs=jobs,
            expected=self.seconds if expected is None else expected,
            wishes=self.wishes,
            limits=limits,
            clock=lambda: self.now,
        )

    def run(self):
        todo = self.scheduler.begin()
        while todo or self._ends:
            while todo:
                one = todo.pop(0)
                if isinstance(one, Check):
                    todo += self.scheduler.decided(one.task, run=True)
                elif isinstance(one, Start):
                    self._start(one.task)
            self.now, ended = heapq.heappop(self._ends)
            todo = self.scheduler.succeeded(ended)
        assert self.scheduler.finished
        return self

    def _start(self, name):
        self.order.append(name)
        self.starts[name] = self.now
        heapq.heappush(self._ends, (self.now + self.seconds[name], name))
        self._see_that_it_fits([name for _, name in self._ends])

    def _see_that_it_fits(self, running):
        for thing, limit in self.limits.items():
            taken = [min(self.wishes[name].get(thing, 0), limit) for name in running]
            assert sum(taken) <= limit + 1e-6, (thing, running)


# -- what runs at once -----------------------------------------------------------------------


def test_tasks_run_at_once_only_while_their_memory_fits():
    tasks = {name: ({"memory": 3 * GB}, 1.0) for name in "abcd"}
    done = Simulation(tasks, {"memory": 7 * GB}).run()
    assert sorted(done.starts.values()) == [0, 0, 1, 1]


def test_a_task_of_two_cores_takes_two_places_and_one_without_a_wish_takes_one():
    assert demand(Resources()) == {"cpu": 1.0}
    assert demand(Resources(cpu=2, memory=GB, gpu=1)) == {"cpu": 2.0, "memory": GB, "gpu": 1.0}
    tasks = {name: (demand(Resources(cpu=2)), 1.0) for name in "abc"} | {
        "d": (demand(Resources()), 1.0)
    }
    done = Simulation(tasks, {"cpu": 3}, jobs=3).run()
    assert sorted(done.starts.values()) == [0, 0, 1, 2]


def test_parts_of_a_core_add_up_without_rounding():
    tasks = {str(i): ({"cpu": 0.1}, 1.0) for i in range(10)}
    assert set(Simulation(tasks, {"cpu": 1}, jobs=10).run().starts.values()) == {0}


def test_who_asks_for_more_than_there_is_runs_alone():
    tasks = {"small": ({"memory": 1}, 2.0), "big": ({"memory": 99}, 1.0), "late": ({}, 1.0)}
    done = Simulation(tasks, {"memory": 10}).run()
    assert done.starts["late"] == 0
    assert abs(done.starts["big"] - done.starts["small"]) >= 1


def test_nobody_waits_for_a_thing_that_the_machine_does_not_have():
    tasks = {name: ({"gpu": 1}, 1.0) for name in "ab"}
    assert set(Simulation(tasks, {"gpu": 0}).run().starts.values()) == {0}


# -- who goes first --------------------------------------------------------------------------


def test_small_tasks_use_what_is_free_while_a_big_one_waits():
    tasks = {
        "long": ({"cpu": 3}, 10.0),
        "big": ({"cpu": 4}, 9.0),
        **{f"small-{i}": ({"cpu": 1}, 2.0) for i in range(4)},
    }
    done = Simulation(tasks, {"cpu": 4}).run()
    assert [done.starts[f"small-{i}"] for i in range(4)] == [0, 2, 4, 6]
    assert done.starts["big"] == 10


def test_no_stream_of_small_tasks_holds_up_a_big_one():
    tasks = {
        "first": ({"cpu": 2}, 6.0),
        "big": ({"cpu": 4}, 5.5),
        **{f"small-{i}": ({"cpu": 2}, 4.0) for i in range(20)},
    }
    done = Simulation(tasks, {"cpu": 4}).run()
    assert done.starts["small-0"] == 0
    assert done.starts["big"] == 6


def test_who_takes_nothing_that_the_waiting_one_needs_goes_first():
    tasks = {
        "train-1": ({"gpu": 1, "cpu": 1}, 10.0),
        "train-2": ({"gpu": 1, "cpu": 1}, 9.0),
        "plot": ({"cpu": 1}, 8.0),
    }
    done = Simulation(tasks, {"gpu": 1, "cpu": 4}).run()
    assert done.starts == {"train-1": 0, "plot": 0, "train-2": 10}


def test_a_big_task_is_not_held_up_longer_by_wrong_estimates_than_those_before_it_last():
    tasks = {"first": ({"cpu": 1}, 50.0), "big": ({"cpu": 2}, 1.0)}
    tasks |= {f"small-{i}": ({"cpu": 1}, 40.0) for i in range(5)}
    expected = {"first": 3.0, "big": 2.5, **{f"small-{i}": 1.0 for i in range(5)}}
    done = Simulation(tasks, {"cpu": 2}, expected=expected).run()
    assert done.starts["big"] == 50


@st.composite
def machines(draw):
    limits = {"cpu": draw(st.integers(1, 4)), "memory": draw(st.integers(1, 8)), "gpu": 2}
    amounts = st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.sampled_from([0.3, 0.5, 1, 2, 9]),
            "memory": st.integers(1, 12),
            "gpu": st.integers(1, 3),
        },
    )
    count = draw(st.integers(1, 12))
    upstream = {str(i): [str(j) for j in range(i) if draw(st.booleans())] for i in range(count)}
    return limits, upstream, {name: draw(amounts) for name in upstream}


@given(machines(), st.integers(1, 6), st.integers(0, 2**32), st.booleans())
def test_whatever_is_asked_for_never_more_is_taken_than_there_is_and_all_of_it_ends(
    given_machine, jobs, seed, estimates
):
    limits, upstream, wishes = given_machine
    chance = random.Random(seed)
    tasks = {name: (wish, chance.uniform(0.1, 9)) for name, wish in wishes.items()}
    expected = {name: chance.uniform(0, 9) for name in tasks} if estimates else {}
    done = Simulation(tasks, limits, jobs, upstream, expected).run()
    assert sorted(done.order) == sorted(tasks)
    for name, ups in upstream.items():
        for up in ups:
            assert done.starts[up] + done.seconds[up] <= done.starts[name]


# -- what the machine has --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0,1", ("0", "1")),
        ("3", ("3",)),
        ("GPU-8932f937, MIG-2f4a", ("GPU-8932f937", "MIG-2f4a")),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
    ],
)
def test_the_gpus_are_those_that_the_build_was_given(text, found):
    assert devices({DEVICES: text}) == found


def test_without_a_driver_there_are_no_gpus(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert devices({}) == ()


def test_the_gpus_are_else_those_that_the_driver_lists(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(machine.shutil, "which", lambda name: str(tool))
    assert devices({}) == ("0", "1")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert devices({}) == ()


def test_a_machine_is_asked_only_for_what_some_task_wishes(monkeypatch):
    monkeypatch.setattr(machine, "_memory", lambda: pytest.fail("asked for memory"))
    monkeypatch.setattr(machine, "devices", lambda environ: pytest.fail("asked for GPUs"))
    assert machine.look(4, [task(cpu=2), task()]) == Machine(cpu=4)


def test_the_memory_is_that_of_the_container_where_it_is_less(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    limit.write_text(f"{123 * 10**6}\n")
    monkeypatch.setattr(machine, "_CGROUPS", (str(limit), str(tmp_path / "nothing")))
    assert machine.look(1, [task(memory=GB)]).memory == 123 * 10**6
    limit.write_text("max\n")
    assert machine.look(1, [task(memory=GB)]).memory > 123 * 10**6


def test_who_asks_for_too_much_is_told_what_becomes_of_it():
    small = Machine(cpu=2, memory=8 * GB)
    wishes = [task("a", cpu=3), task("b", memory=16 * GB), task("c", gpu=1), task("d", cpu=2)]
    assert list(too_much(small, wishes)) == [
        ("a", "asks for 3 cores, but 2 may be used at once (--jobs): it runs alone"),
        ("b", "asks for 16.0 GB of memory, but this machine has 8.0 GB of memory: it runs alone"),
        ("c", "asks for 1 GPU, but none was found: it runs without"),
    ]


def test_with_one_job_at_a_time_no_wish_for_cores_is_worth_a_word():
    assert list(too_much(Machine(cpu=1), [task(cpu=3)])) == []


# -- what a task is told ---------------------------------------------------------------------


def test_a_task_is_told_its_threads_where_the_user_has_not_said_otherwise():
    told = environment(Resources(cpu=4), (), {"OMP_NUM_THREADS": "7"})
    assert "OMP_NUM_THREADS" not in told
    assert told == {name: "4" for name in THREADS if name != "OMP_NUM_THREADS"}


@pytest.mark.parametrize(("cpu", "threads"), [(0.5, "1"), (1, "1"), (2.9, "2")])
def test_threads_are_whole_and_at_least_one(cpu, threads):
    assert environment(Resources(cpu=cpu), (), {})["OMP_NUM_THREADS"] == threads


def test_a_task_without_a_wish_is_told_nothing():
    assert environment(Resources(), (), {}) == {}


def test_a_task_sees_the_gpus_that_are_its_own_and_none_when_it_asks_for_none():
    assert environment(Resources(gpu=2), ("0", "3"), {DEVICES: "0,3"}) == {DEVICES: "0,3"}
    assert environment(Resources(gpu=0), (), {}) == {DEVICES: ""}
    assert environment(Resources(gpu=1), (), {}) == {}


def test_no_gpu_is_given_twice_and_one_that_came_back_is_given_again():
    all_devices = Devices("01")
    assert all_devices.give("a", 1) == ("0",)
    assert all_devices.give("a", 1) == ("0",)
    assert all_devices.give("b", 1) == ("1",)
    all_devices.take_back("a")
    assert all_devices.give("c", 1) == ("0",)


# -- in a build ------------------------------------------------------------------------------


def test_two_gpu_tasks_of_a_build_have_a_device_each(project, monkeypatch):
    monkeypatch.setenv(DEVICES, "4,7")
    for name in ("a", "b", "c", "d"):
        project.task(name, resources={"gpu": 1})
    shared = {"4": [], "7": []}

    async def work(job):
        using = shared[job.environ[DEVICES]]
        using.append(job.task)
        await asyncio.sleep(0.01)
        assert using == [job.task]
        using.remove(job.task)
        (project.root / job.product["data"]).write_text(job.task)

    project.executor = InlineExecutor(work)
    assert project.build(jobs=4) == ["a", "b", "c", "d"]


def test_a_task_that_is_too_big_runs_with_a_warning_and_is_told_its_threads(project):
    project.task("big", resources={"cpu": 64, "memory": "900 TB"})
    project.task("free")
    report = project.report(jobs=2)
    assert report.ok
    assert [w.split(":")[0] for w in report.warnings] == ["big", "big"]
    by_name = {job.task: job for job in project.executor.jobs}
    assert by_name["big"].environ["OPENBLAS_NUM_THREADS"] == "64"
    assert "OPENBLAS_NUM_THREADS" not in by_name["free"].environ


def test_two_tasks_whose_memory_does_not_fit_beside_each_other_take_turns(project, monkeypatch):
    monkeypatch.setattr(machine, "_memory", lambda: 4 * GB)
    running, most = set(), []

    async def work(job):
        running.add(job.task)
        most.append(len(running))
        await asyncio.sleep(0.01)
        running.discard(job.task)
        (project.root / job.product["data"]).write_text(job.task)

    project.executor = InlineExecutor(work)
    for name in "abc":
        project.task(name, resources={"memory": "3 GB"})
    project.build(jobs=4)
    assert max(most) == 1
