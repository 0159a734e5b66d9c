"""One task on its own: ``nbpipe task NAME --only``, which every engine calls in a clean process.

Its upstreams are not run. With a store, a task whose record there is fresh is skipped and nothing
is fetched; else the products of its upstreams are fetched where they are missing, the task runs,
and its products and its record are put into the store. Several such processes, each for another
task, may work in one folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Kind, Reason
from nbpipe.core.plan import Plan, make_plan
from nbpipe.executors.base import Executor
from nbpipe.run.eventlog import KEPT, run_folders
from nbpipe.run.guard import one_task
from nbpipe.run.local import run_to_end
from nbpipe.run.lost import settle_lost_runs
from nbpipe.run.note import read_note
from nbpipe.run.report import BuildReport, nothing_to_do
from nbpipe.run.runner import Listener, Runner
from nbpipe.run.settings import Settings
from nbpipe.run.sharing import Share, keep_failed
from nbpipe.run.standing import Standing, Survey
from nbpipe.run.tasklocks import TaskLock
from nbpipe.store.facts import Gatherer
from nbpipe.store.records import RecordStore
from nbpipe.store.shared import SharedStore


class How(msgspec.Struct, frozen=True, kw_only=True):
    """How to run it.

    Attributes:
        force: True: run it even if it is fresh.
        retry: False: try once whatever the spec says, since the caller tries again.
        wait: seconds to wait for another process that holds the task, or for a build; None:
            without limit.
        dumps: True: the frames of the task, if it fails, are kept in the run's folder.
    """

    force: bool = False
    retry: bool = True
    wait: float | None = 0.0
    dumps: bool = False


class Lonely:
    """Runs one task of a pipeline; used once.

    Args:
        graph: the pipeline.
        gatherer: reads sources and products.
        store: the records.
        shared: results that other machines see; None: those of this folder alone.
        name: of the task.
    """

    def __init__(
        self,
        graph: Graph,
        gatherer: Gatherer,
        store: RecordStore,
        shared: SharedStore | None,
        name: str,
    ) -> None:
        self.graph = graph
        self.gatherer = gatherer
        self.store = store
        self.shared = shared
        self.name = name
        self.warnings: list[str] = []
        self._tell: Listener = lambda event: None

    def run(
        self,
        how: How,
        executors: Callable[[Kind], Executor],
        on_event: Listener | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> BuildReport:
        """Run it, unless it is fresh.

        Raises:
            LockedError: another process runs this task, or a build holds the pipeline.
            StoreError: a record, a product or an object cannot be read or written.
            SpecError: a kernel is not installed, or a source cannot be read; nothing has run.
        """
        began = time.monotonic()
        self._tell = on_event or self._tell
        self.store.prepare()
        with one_task(self.store.home, self.name, how.wait) as lock:
            settle_lost_runs(self.store.home, self.gatherer.root, self.name)
            decision = self._decide(how.force)
            if decision.action == "skip":
                plan = Plan({self.name: decision})
                return nothing_to_do(plan, time.monotonic() - began)
            runner = self._runner(
                how, executors, [_teller(lock), *([on_event] if on_event else [])]
            )
            runner.check_kernels(Plan({self.name: decision}))
            share = None if self.shared is None else Share(self.shared)
            report = run_to_end(runner, on_wait)
            report = keep_failed(report, share, self.store.home, on_event)
            drop_done_runs(self.store)
        return msgspec.structs.replace(report, warnings=(*self.warnings, *report.warnings))

    def _decide(self, force: bool) -> Decision:
        """Whether it runs; then its upstreams are in place."""
        records = self.gatherer.records(self.store, self.graph.tasks.values())
        if self.shared is None:
            near = _near(self.graph, self.name)
            facts = self.gatherer.all_facts(near.tasks.values(), records)
            forced = (self.name,) if force else ()
            plan = make_plan(near, facts, records, tasks=(self.name,), force=forced)
            return plan.decisions[self.name]
        survey = Survey(self.graph, self.gatherer, records, self.shared, self.name)
        standings = survey.standings()
        mine = standings[self.name]
        if mine.fresh and not force:
            if mine.stored is None:
                Share(self.shared).ensure(self.graph.tasks[self.name], records.get(self.name))
                return mine.decision
            note = Reason("stored", f"up to date in {self.shared.shown}")
            return Decision(task=self.name, action="skip", state="fresh", notes=(note,))
        self._bring_upstreams(standings)
        return msgspec.structs.replace(mine.decision, action="run")

    def _bring_upstreams(self, standings: Mapping[str, Standing]) -> None:
        assert self.shared is not None
        for up in self.graph.upstream[self.name]:
            standing = standings[up]
            if standing.warning is not None:
                self._warn(standing.warning)
            if standing.stored is not None:
                self.store.save(self.shared.bring(standing.stored))

    def _runner(
        self, how: How, executors: Callable[[Kind], Executor], listeners: list[Listener]
    ) -> Runner:
        chosen = frozenset({self.name})
        forced = chosen if how.force else frozenset()
        settings = Settings(tasks=chosen, force=forced, jobs=1, dumps=how.dumps)
        near = _near(self.graph, self.name)
        if not how.retry:
            near.tasks[self.name] = msgspec.structs.replace(near.tasks[self.name], retries=0)
        return Runner(
            near,
            self.gatherer,
            self.store,
            executors,
            settings,
            listeners,
            share=None if self.shared is None else Share(self.shared),
            held=True,
        )

    def _warn(self, message: str) -> None:
        """Say what the run itself does not: it has not begun."""
        self.warnings.append(message)
        self._tell(ev.Warned(task=self.name, message=message, time=time.time()))


def drop_done_runs(store: RecordStore, keep: int = KEPT) -> None:
    """Remove the folders of old runs that went well; others may be going on, or be looked into."""
    for folder in run_folders(store.home)[:-keep]:
        note = read_note(folder)
        if note is not None and note.exit_code == 0:
            shutil.rmtree(folder, ignore_errors=True)


def _near(graph: Graph, name: str) -> Graph:
    """A task with its direct upstreams, as a pipeline."""
    ups = graph.upstream[name]
    tasks = {other: graph.tasks[other] for other in (*ups, name)}
    upstream = {other: ups if other == name else () for other in tasks}
    groups = {name: graph.wildcards[name]} if name in graph.wildcards else {}
    return Graph(tasks, upstream, groups)


def _teller(lock: TaskLock) -> Listener:
    """Notes in which run the task is, once that has begun."""

    def listen(event: ev.Event) -> None:
        if isinstance(event, ev.RunStarted):
            lock.tell(event.run)

    return listen
