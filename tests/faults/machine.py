"""The life of a project as a state machine: whoever edits, breaks, kills and builds it.

After every build what ran is compared with the second opinion of ``model.py``, and what is on the
disk with what a clean build in a fresh folder makes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from nbpipe import LockedError, Pipeline
from nbpipe.core import events as ev
from tests.faults.builder import Builder, Forked
from tests.faults.checks import MAKES, SMALL, Checked
from tests.faults.model import World
from tests.faults.steps import MODULES

CHANGES_OF_A_TASK = 30
"""About so many changes of files does a task cost, its records and its log included."""

JOBS = st.sampled_from([1, 3])
HOW = st.sampled_from(["before", "half", "after", "exit", "silent"])


Change = Callable[..., None]


def changes(**draws: st.SearchStrategy[Any]) -> Callable[[Change], Change]:
    """A rule that changes something; as often as not a build follows."""

    def to_rule(change: Change) -> Change:
        @wraps(change)
        def run(self: Checked, data: st.DataObject, then: int, **drawn: Any) -> None:
            change(self, data, **drawn)
            if then:
                self.good_build(jobs=then)

        then = st.sampled_from([0, 0, 1, 3])
        return rule(data=st.data(), then=then, **draws)(run)  # type: ignore[no-any-return]

    return to_rule


class Life(Checked):
    """Edits of a project and builds of it."""

    # ------------------------------------------------------------------ what the author does

    @initialize(data=st.data(), in_spec=st.booleans(), count=st.integers(1, 5), built=st.booleans())
    def begin(self, data: st.DataObject, in_spec: bool, count: int, built: bool) -> None:
        self.world.in_spec = in_spec
        for name in MODULES:
            self.write_module(name)
        for _ in range(count):
            self.new_task(data)
        if built:
            self.good_build()

    @precondition(lambda self: len(self.world.steps) < 6)
    @changes()
    def add_task(self, data: st.DataObject) -> None:
        self.new_task(data)

    @precondition(lambda self: len(self.world.steps) > 1)
    @changes()
    def remove_task(self, data: st.DataObject) -> None:
        gone = self.pick(data)
        del self.world.steps[gone]
        for name, step in self.world.steps.items():
            if gone in step.upstream:
                self.change(name, upstream=tuple(up for up in step.upstream if up != gone))
        self.save()

    @changes()
    def rename_task(self, data: st.DataObject) -> None:
        self.rename(self.pick(data), data.draw(self.free_names()))

    @precondition(lambda self: len(self.world.steps) > 1)
    @changes()
    def swap_names(self, data: st.DataObject) -> None:
        one, other = self.pick(data), self.pick(data)
        steps = self.world.steps
        if set(steps[one].upstream) == set(steps[other].upstream) == set():
            steps[one], steps[other] = steps[other], steps[one]
            self.save()

    @precondition(lambda self: len(self.world.steps) > 1)
    @changes()
    def change_edges(self, data: st.DataObject) -> None:
        name = self.pick(data)
        allowed = self.world.steps.keys() - self.world.below([name])
        self.change(name, upstream=self.some(data, allowed))

    @changes(constant=SMALL)
    def edit(self, data: st.DataObject, constant: int) -> None:
        self.change(self.pick(data), constant=constant)

    @changes(comment=SMALL)
    def edit_looks(self, data: st.DataObject, comment: int) -> None:
        self.change(self.pick(data), comment=comment)

    @changes(level=SMALL)
    def change_params(self, data: st.DataObject, level: int) -> None:
        self.change(self.pick(data), level=level)

    @changes(makes=MAKES)
    def change_products(self, data: st.DataObject, makes: str) -> None:
        self.serial += 1
        self.change(self.pick(data), makes=makes, place=f"out/{self.serial}")

    @changes()
    def revert(self, data: st.DataObject) -> None:
        name = self.pick(data)
        step = self.world.steps[name]
        for old in self.past.get(step.source, []):
            if old.upstream == step.upstream:
                self.put(name, old)
                return

    @changes(name=st.sampled_from(sorted(MODULES)), constant=SMALL)
    def edit_a_module(self, data: st.DataObject, name: str, constant: int) -> None:
        self.edit_module(name, constant)

    @precondition(lambda self: len(self.world.steps) > 1)
    @changes()
    def reorder(self, data: st.DataObject) -> None:
        order = data.draw(st.permutations(list(self.world.steps)))
        self.world.steps = {name: self.world.steps[name] for name in order}
        self.save()

    # ------------------------------------------------------------------ what befalls the files

    @changes(shift=st.sampled_from([-200_000, 0, 200_000]))
    def touch(self, data: st.DataObject, shift: int) -> None:
        step = self.world.steps[self.pick(data)]
        moment = time.time() + shift
        for path in (step.source, *step.paths):
            if (self.root / path).exists():
                os.utime(self.root / path, (moment, moment))

    @changes(text=st.sampled_from(["0123456789", "by hand", ""]))
    def tamper(self, data: st.DataObject, text: str) -> None:
        """Overwrite a product, and put its mtime back."""
        for path in self.product_files(data):
            info = path.stat()
            path.write_text(text)
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    @changes()
    def delete_product(self, data: st.DataObject) -> None:
        for path in self.product_files(data):
            path.unlink()

    @changes(
        how=st.sampled_from(["delete", "cut", "garbage", "flip"]),
        part=st.floats(0, 1, exclude_max=True),
    )
    def lose_record(self, data: st.DataObject, how: str, part: float) -> None:
        name = self.pick(data)
        if name not in self.world.memory:
            return
        path = self.store.path(name)
        content = path.read_bytes()
        half = len(content) // 2
        if how == "delete":
            path.unlink()
        elif how == "cut":
            path.write_bytes(content[: int(part * (len(content) - 1))])
        elif how == "garbage":
            path.write_bytes(b"{}")
        else:
            path.write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
        del self.world.memory[name]

    @changes(what=st.sampled_from(["cache", "runs", "lock", "holder.json"]))
    def clean_up(self, data: st.DataObject, what: str) -> None:
        """Delete what may be deleted at any time."""
        path = self.root / ".nbpipe" / what
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    @changes()
    def forget_all(self, data: st.DataObject) -> None:
        shutil.rmtree(self.root / ".nbpipe", ignore_errors=True)
        self.world.memory.clear()

    @changes()
    def let_time_pass(self, data: st.DataObject) -> None:
        """So that a build which finds nothing to do may keep that."""
        time.sleep(0.025)

    # ------------------------------------------------------------------ builds

    @rule(jobs=JOBS, again=st.booleans())
    def build_all(self, jobs: int, again: bool) -> None:
        self.good_build(jobs=jobs)
        if again:
            assert self.good_build(jobs=jobs) == []

    @rule(data=st.data(), jobs=JOBS, force=st.booleans(), alone=st.booleans())
    def build_some(self, data: st.DataObject, jobs: int, force: bool, alone: bool) -> None:
        self.good_build(self.pick(data), jobs=jobs, force=force, upstream=not alone)

    @rule(data=st.data(), jobs=JOBS, keep_going=st.booleans(), force=st.booleans())
    def build_and_fail(self, data: st.DataObject, jobs: int, keep_going: bool, force: bool) -> None:
        failing = {self.pick(data): data.draw(HOW) for _ in range(2)}
        forecast = self.world.forecast(self.world.steps, force)
        self.plan_holds(forecast, (), {"force": force})
        self.builder.failing = failing
        report, events = self.builder.build(jobs=jobs, keep_going=keep_going, force=force)
        self.builder.failing = {}
        self.ran_as_forecast(report, events, forecast, failing)
        if keep_going:
            left = self.world.below(report.named("failed"))
            assert set(forecast.sure) <= {*report.named("ran"), *left}
        self.remember(report, forecast)

    @rule(data=st.data(), part=st.floats(0, 1), jobs=JOBS, force=st.booleans(), new=st.booleans())
    def build_and_die(
        self, data: st.DataObject, part: float, jobs: int, force: bool, new: bool
    ) -> None:
        """Killed before some change of a file; past the last of them it lives."""
        if new and len(self.world.steps) < 6:
            self.new_task(data)
        tasks = len(self.world.steps) if force else 1
        at = 1 + int(part * CHANGES_OF_A_TASK * tasks)
        forecast = self.world.forecast(self.world.steps, force)
        build = Forked(self.builder, kill_at=at, jobs=jobs, force=force)
        killed, events = build.end()
        done = [event.task for event in events if isinstance(event, ev.TaskDone)]
        started = [event.task for event in events if isinstance(event, ev.TaskStarted)]
        assert set(started) <= {*forecast.sure, *forecast.unsure}
        for name in done:
            self.world.remember(name, forecast.consumed[name])
        self.world.doubt(set(started) - set(done))
        if not killed:
            self.all_is_right(self.world.steps)
        self.world.keep(self.recorded)
        Pipeline.load(self.root).status()

    @rule(jobs=JOBS)
    def two_builds_at_once(self, jobs: int) -> None:
        forecast = self.world.forecast(self.world.steps, False)
        builds = [Forked(self.builder, jobs=jobs, wait=None) for _ in range(2)]
        events = [event for build in builds for event in build.end()[1]]
        ran = [event.task for event in events if isinstance(event, ev.TaskDone)]
        assert len(ran) == len(set(ran)), "a task ran in both builds"
        assert set(forecast.sure) <= set(ran) <= {*forecast.sure, *forecast.unsure}
        for name in self.world.steps:
            self.world.remember(name, forecast.consumed[name])
        self.all_is_right(self.world.steps)
        self.world.keep(self.recorded)

    @rule(data=st.data(), module=st.booleans(), constant=SMALL, jobs=JOBS)
    def edit_during_a_build(
        self, data: st.DataObject, module: bool, constant: int, jobs: int
    ) -> None:
        """While one task runs, a module, another script or its own is edited."""
        runs, other = self.pick(data), self.pick(data)
        uses = [name for name, step in self.world.steps.items() if step.module is not None]

        def hook() -> None:
            if module:
                self.edit_module("base", constant)
            else:
                self.change(other, constant=constant)

        self.build_with(hook, runs, jobs)
        self.world.doubt(self.world.below(uses if module else [other]) & self.world.memory.keys())
        self.good_build(jobs=jobs)

    @rule(data=st.data(), delete=st.booleans(), jobs=JOBS)
    def spoil_an_upstream_during_a_build(
        self, data: st.DataObject, delete: bool, jobs: int
    ) -> None:
        """While a task runs, what it reads is overwritten by hand, or deleted."""
        steps = self.world.steps
        edges = [(up, name) for name, step in steps.items() for up in step.upstream]
        files = [edge for edge in edges if steps[edge[0]].makes in ("named", "data")]
        if not files:
            return
        up, runs = data.draw(st.sampled_from(files), label="edge")
        path = self.root / str(steps[up].data)

        def hook() -> None:
            path.write_text("by hand")
            if delete:
                path.unlink()

        self.build_with(hook, runs, jobs)
        self.world.doubt(self.world.below([up]) & self.world.memory.keys())
        self.good_build(jobs=jobs)

    def build_with(self, hook: Callable[[], None], runs: str, jobs: int) -> None:
        """Build everything anew; while one task runs, something else is done."""
        forecast = self.world.forecast(self.world.steps, True)
        self.builder.during = {runs: hook}
        report, events = self.builder.build(jobs=jobs, keep_going=True, force=True)
        self.builder.during = {}
        self.in_order(events)
        self.remember(report, forecast)

    @rule(data=st.data())
    def build_while_another_holds_the_pipeline(self, data: st.DataObject) -> None:
        forecast = self.world.forecast(self.world.steps, True)
        refused: list[LockedError] = []

        def hook() -> None:
            Pipeline.load(self.root).status()
            try:
                self.builder.build(force=True)
            except LockedError as error:
                refused.append(error)

        self.builder.during = {self.pick(data): hook}
        report, events = self.builder.build(force=True, jobs=1)
        self.builder.during = {}
        assert len(refused) == 1
        assert f"pid {os.getpid()}" in str(refused[0])
        self.ran_as_forecast(report, events, forecast, ())
        self.remember(report, forecast)
        self.all_is_right(self.world.steps)

    @rule()
    def compare_with_a_clean_build(self) -> None:
        """The oracle of soundness: the same sources in a folder that was never built."""
        self.good_build()
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(
                self.root,
                folder,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("out", ".nbpipe"),
            )
            clean = Builder(Path(folder))
            report, _ = clean.build(jobs=1)
            assert set(report.named("ran")) == self.world.steps.keys()
            made = World(Path(folder), self.world.in_spec)
            for path in self.world.right():
                assert self.world.on_disk(path) == made.on_disk(path), path
