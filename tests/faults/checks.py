"""What holds before and after every build of the state machine, and the hands that change files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from nbpipe import Pipeline
from nbpipe.core import events as ev
from nbpipe.core.plan import Plan
from nbpipe.run.report import BuildReport
from nbpipe.run.unchanged import unchanged
from nbpipe.store.records import RecordStore
from tests.faults.builder import Builder
from tests.faults.model import Forecast, World
from tests.faults.steps import MODULES, Step

NAMES = ["get", "fit", "a b", "<b>&amp;", "ü", "$(id)", '"q"', "a;b", "it's"]
SMALL = st.integers(0, 3)
MAKES = st.sampled_from(["named", "named", "data", "folder", "notebook"])

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory, where there is one: thousands of builds wait for no disk."""

Tree = dict[str, tuple[int, int, int]]


class Checked(RuleBasedStateMachine):
    """A project with its second opinion; the rules are in ``machine.py``."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="life-", dir=MEMORY))
        self.world = World(self.root, in_spec=False)
        self.builder = Builder(self.root)
        self.store = RecordStore(self.root)
        self.serial = 0
        self.past: dict[str, list[Step]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    # ------------------------------------------------------------------ hands

    def pick(self, data: st.DataObject) -> str:
        """One of the tasks."""
        return data.draw(st.sampled_from(list(self.world.steps)), label="task")

    def some(self, data: st.DataObject, names: Iterable[str]) -> tuple[str, ...]:
        """Up to three of these, in any order."""
        known = sorted(names)
        lists = st.lists(st.sampled_from(known), max_size=3, unique=True) if known else st.just([])
        return tuple(data.draw(lists))

    def free_names(self) -> st.SearchStrategy[str]:
        """Names that no task has."""
        return st.sampled_from([name for name in NAMES if name not in self.world.steps])

    def new_task(self, data: st.DataObject) -> None:
        """Write a script and add it to the spec."""
        name, upstream = data.draw(self.free_names()), self.some(data, self.world.steps)
        module, makes = data.draw(st.sampled_from([None, *MODULES])), data.draw(MAKES)
        self.serial += 1
        step = Step(f"s{self.serial}.py", f"out/{self.serial}", makes, 0, 0, module, upstream)
        self.put(name, step)

    def put(self, name: str, step: Step) -> None:
        """Write a task down."""
        old = self.world.steps.get(name)
        if old is not None:
            self.past.setdefault(old.source, []).insert(0, old)
        self.world.steps[name] = step
        self.write(step.source, self.world.script(step))
        self.save()

    def change(self, name: str, **changes: Any) -> None:
        """Write a task anew."""
        self.put(name, replace(self.world.steps[name], **changes))

    def rename(self, old: str, new: str) -> None:
        """Give a task another name, wherever it is mentioned."""
        steps = {new if name == old else name: step for name, step in self.world.steps.items()}
        self.world.steps = steps
        for name, step in steps.items():
            if old in step.upstream:
                ups = tuple(new if up == old else up for up in step.upstream)
                self.change(name, upstream=ups)
        self.save()

    def save(self) -> None:
        """Write pipeline.yaml."""
        self.write("pipeline.yaml", yaml.safe_dump(self.world.spec(), sort_keys=False))

    def write_module(self, name: str) -> None:
        """Write a module of the project."""
        self.write(f"{name}.py", self.world.module(name))

    def edit_module(self, name: str, constant: int) -> None:
        """Write another constant into a module."""
        self.world.modules[name] = constant
        self.write_module(name)

    def write(self, path: str, text: str) -> None:
        """As editors do: a new file in the place of the old one."""
        made = self.root / f".{path}.new"
        made.write_text(text, encoding="utf-8")
        made.replace(self.root / path)

    def product_files(self, data: st.DataObject) -> list[Path]:
        """The files of one product, if it is there."""
        path = self.root / data.draw(st.sampled_from(self.world.steps[self.pick(data)].paths))
        if path.is_dir():
            return [sorted(path.iterdir())[-1]] if any(path.iterdir()) else []
        return [path] if path.exists() else []

    def recorded(self, name: str) -> bool:
        """Whether there is a record of a task, good or bad."""
        return self.store.path(name).exists()

    # ------------------------------------------------------------------ checks

    def good_build(self, *names: str, **options: Any) -> list[str]:
        """Build what cannot fail; returns what ran."""
        chosen = self.chosen(names, options.get("upstream", True))
        forecast = self.world.forecast(chosen, options.get("force", False))
        choice = {key: options[key] for key in ("force", "upstream") if key in options}
        plan = self.plan_holds(forecast, names, choice)
        report, events = self.builder.build(*names, **options)
        self.ran_as_forecast(report, events, forecast, forecast.lacking)
        if forecast.lacking:
            assert set(report.named("failed")) == forecast.lacking
        else:
            self.ran_as_planned(report, plan)
            assert report.exit_code == 0
        self.remember(report, forecast)
        if options.get("upstream", True):
            self.all_is_right(chosen)
        return list(report.named("ran"))

    def chosen(self, names: Iterable[str], upstream: bool) -> set[str]:
        """The tasks that a build looks at."""
        wanted = set(names) or set(self.world.steps)
        return self.world.above(wanted) if upstream else wanted

    def plan_holds(self, forecast: Forecast, names: Iterable[str], options: dict[str, Any]) -> Plan:
        """Plan, status and the cache agree with the forecast, and asking changes nothing."""
        before = self.tree()
        cached = unchanged(self.root)
        pipeline = Pipeline.load(self.root)
        plan, states = pipeline.plan(*names, **options), pipeline.status().states
        assert self.tree() == before, "a question has changed a file"
        may = {*forecast.sure, *forecast.unsure, *forecast.lacking}
        assert set(forecast.sure) <= {*plan.named("run"), *plan.named("maybe")}
        assert set(plan.named("run")) <= may
        whole = pipeline.plan()
        assert {n for n, state in states.items() if state == "fresh"} == set(whole.named("skip"))
        if cached is not None:
            assert cached.plan == whole
            assert whole.idle, "the cache holds, and something is stale"
        return plan

    def ran_as_planned(self, report: BuildReport, plan: Plan) -> None:
        """What the plan said is what the build did."""
        ran = set(report.named("ran"))
        assert set(plan.named("run")) <= ran <= {*plan.named("run"), *plan.named("maybe")}
        assert set(report.tasks) == set(plan.decisions)

    def ran_as_forecast(
        self,
        report: BuildReport,
        events: list[ev.Event],
        forecast: Forecast,
        failing: Collection[str],
    ) -> None:
        """Nothing ran without need, nothing was skipped that was stale, in the right order."""
        self.in_order(events)
        assert set(report.named("ran")) <= {*forecast.sure, *forecast.unsure}
        assert not set(report.named("skipped")) & set(forecast.sure)
        assert set(report.named("failed")) <= set(failing)
        if not report.named("failed"):
            assert set(forecast.sure) <= set(report.named("ran"))
            assert report.exit_code == 0
        else:
            assert report.exit_code == 1
        assert not report.warnings or any("damaged" in one for one in report.warnings)

    def in_order(self, events: list[ev.Event]) -> None:
        """Each task once, and after its upstreams."""
        ended: set[str] = set()
        started: set[str] = set()
        among = {name for one in events if isinstance(one, ev.RunStarted) for name in one.tasks}
        for event in events:
            if isinstance(event, ev.TaskStarted):
                assert event.task not in started, f"{event.task} ran twice"
                started.add(event.task)
                ups = self.world.steps[event.task].upstream
                assert set(ups) & among <= ended, f"{event.task} ran before an upstream"
            elif isinstance(event, ev.TaskDone | ev.TaskSkipped):
                ended.add(event.task)

    def remember(self, report: BuildReport, forecast: Forecast) -> None:
        """Take down what a build did."""
        self.world.memory = self.world.known()
        for name in report.named("ran"):
            self.world.remember(name, forecast.consumed[name])
        for name in report.named("skipped"):
            if self.world.memory[name].unsure:
                self.world.remember(name, forecast.consumed[name])
        for name in report.named("failed"):
            self.world.broke(name)
        self.world.keep(self.recorded)

    def all_is_right(self, names: Iterable[str]) -> None:
        """The products of these tasks hold what they must; no other trace is left."""
        right = self.world.right()
        for path in (self.world.steps[name].data for name in names):
            if path is not None:
                assert self.world.on_disk(path) == right[path], path
        for name in names:
            assert all((self.root / path).exists() for path in self.world.steps[name].paths)
        self.store.load_all(self.world.steps)

    def tree(self) -> Tree:
        """Every file with its size, mtime and inode."""
        found = {}
        for folder, _, files in os.walk(self.root):
            for path in (os.path.join(folder, file) for file in files):
                info = os.stat(path)
                found[path] = (info.st_size, info.st_mtime_ns, info.st_ino)
        return found
