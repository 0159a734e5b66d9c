"""The life of a project whose tasks run in real kernels: fewer rules, since steps take longer."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from nbpipe import Pipeline
from nbpipe.core import events as ev
from nbpipe.run.report import BuildReport
from tests.faults.builder import Builder
from tests.faults.checks import SMALL, Checked
from tests.faults.steps import MODULES

JOBS = 2


class KernelBuilder(Builder):
    """Builds as the command line does."""

    def build(self, *names: str, **options: Any) -> tuple[BuildReport, list[ev.Event]]:
        """Build in this process, each task in a fresh kernel."""
        events: list[ev.Event] = []
        report = Pipeline.load(self.root).build(*names, on_event=events.append, **options)
        return report, events


class KernelLife(Checked):
    """Edits of a project, each followed by a build."""

    def __init__(self) -> None:
        super().__init__()
        self.builder = KernelBuilder(self.root)

    @initialize(data=st.data(), count=st.integers(1, 3))
    def begin(self, data: st.DataObject, count: int) -> None:
        for name in MODULES:
            self.write_module(name)
        for _ in range(count):
            self.new_task(data)
        self.good_build(jobs=JOBS)

    @rule(data=st.data(), constant=SMALL, comment=SMALL)
    def edit(self, data: st.DataObject, constant: int, comment: int) -> None:
        self.change(self.pick(data), constant=constant, comment=comment)
        self.good_build(jobs=JOBS)

    @rule(data=st.data(), name=st.sampled_from(sorted(MODULES)), constant=SMALL)
    def edit_a_module(self, data: st.DataObject, name: str, constant: int) -> None:
        self.edit_module(name, constant)
        self.good_build(self.pick(data), jobs=JOBS)

    @rule(data=st.data())
    def rename_and_tamper(self, data: st.DataObject) -> None:
        self.rename(self.pick(data), data.draw(self.free_names()))
        for path in self.product_files(data):
            path.write_text("by hand")
        self.good_build(jobs=JOBS)

    @rule(data=st.data())
    def lose_a_product(self, data: st.DataObject) -> None:
        for path in self.product_files(data):
            path.unlink()
        self.good_build(jobs=JOBS)
