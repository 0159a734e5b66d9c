"""``Pipeline``: the public API, over which the command line and the notebook are thin views."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph, build_graph, is_wildcard
from nbpipe.core.model import Kind, Record, Spec
from nbpipe.core.plan import Plan, make_plan
from nbpipe.errors import LockedError, UsageError, did_you_mean
from nbpipe.run.report import BuildReport, nothing_to_do
from nbpipe.store.facts import Gatherer
from nbpipe.store.overlay import read_overlay, with_cells
from nbpipe.store.records import RecordStore
from nbpipe.store.specfile import find_spec, read_spec

if TYPE_CHECKING:
    from nbpipe.core.progress import Progress, TaskRun
    from nbpipe.executors.base import Executor
    from nbpipe.run.background import Run
    from nbpipe.run.runner import Runner, Settings
    from nbpipe.views.plans import Explanation
    from nbpipe.views.status import Status

Theme = Literal["auto", "light", "dark"]
Listener = Callable[[ev.Event], None]


class Pipeline:
    """A loaded pipeline.yaml. Loading, planning and reading run no code of the project.

    Use :meth:`load`. The spec and the sources are read when the object is made; :meth:`reload`
    reads them again.

    Args:
        file: path of the spec file.
        spec: its content, cell tasks included.
        cells: the file that lists a notebook's cell tasks; None: there are none.
    """

    def __init__(self, file: Path, spec: Spec, cells: Path | None = None) -> None:
        self.file = file
        self.root = file.parent
        self.spec = spec
        self.cells = cells
        self.store = RecordStore(self.root)
        self._gatherer = Gatherer(self.root, spec)
        records = self._records()
        declared = {task.name: self._gatherer.declared_of(task, records) for task in spec.tasks}
        self._gatherer.raise_problems()
        self._graph = build_graph(spec, declared)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        cells: str | os.PathLike[str] | None = None,
    ) -> Pipeline:
        """Load a pipeline.

        Args:
            path: a spec file, or a folder from which ``pipeline.yaml`` is looked for upward;
                None: the current folder.
            cells: a file that lists the tasks of a notebook's cells, to be taken in as well.

        Raises:
            SpecError: there is none, or it or a source is wrong; carries every problem.
            RecordVersionError: a record was written by a newer nbpipe.
        """
        file = find_spec(Path(path) if path is not None else Path.cwd())
        spec = read_spec(file)
        if cells is None:
            return cls(file, spec)
        return cls(file, with_cells(spec, read_overlay(Path(cells))), Path(cells))

    def reload(self) -> Pipeline:
        """The pipeline as its files are now."""
        return type(self).load(self.file, cells=self.cells)

    @property
    def name(self) -> str:
        """The name of the root folder."""
        return self.root.resolve().name

    @property
    def graph(self) -> Graph:
        """Tasks and edges."""
        return self._graph

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful in the sources, one sentence each."""
        return self._gatherer.warnings

    def select(self, names: Iterable[str], *, upstream: bool = True) -> frozenset[str] | None:
        """The tasks that a build of ``names`` looks at.

        Args:
            names: task names or wildcards; none: the whole pipeline.
            upstream: True: with everything upstream of them.

        Returns:
            Names; None for the whole pipeline.

        Raises:
            UsageError: there is no such task.
        """
        chosen: set[str] = set()
        for name in names:
            found = self._matching(name)
            if not found:
                raise UsageError(f"no task '{name}'", did_you_mean(name, self.graph.tasks))
            chosen |= found
        if not chosen:
            return None
        return frozenset(chosen | self.graph.ancestors(*chosen)) if upstream else frozenset(chosen)

    def plan(
        self,
        *names: str,
        force: bool = False,
        upstream: bool = True,
        upstream_of: str | None = None,
    ) -> Plan:
        """What a build would do now. Runs nothing and writes nothing.

        Args:
            names: task names or wildcards; none: the whole pipeline.
            force: True: everything that is looked at runs.
            upstream: False: only the named tasks themselves.
            upstream_of: all that this task needs, without the task.

        Raises:
            UsageError: there is no such task.
        """
        tasks = self._chosen(names, upstream, upstream_of)
        records = self._records()
        facts = self._gatherer.all_facts(self.graph.tasks.values(), records)
        forced = (tasks if tasks is not None else self.graph.tasks.keys()) if force else ()
        return make_plan(self.graph, facts, records, tasks=tasks, force=forced)

    def status(self) -> Status:
        """The state of every task, with its reason, last run and products."""
        from nbpipe.views.status import make_status

        return make_status(self.graph, self.plan(), self._records(), self.name)

    def why(self, task: str) -> Explanation:
        """Why a task would run, or would not, with what changed in its source.

        Raises:
            UsageError: there is no such task.
        """
        from nbpipe.views.plans import Explanation

        found = self.graph.task(task)
        record = self._records().get(task)
        decision = self.plan().decisions[task]
        return Explanation(decision, self._gatherer.diff(found, record))

    def upstream(self, task: str) -> dict[str, Any] | None:
        """What a task is given as ``upstream``, with absolute paths; None: it has no upstream.

        Raises:
            UsageError: there is no such task.
        """
        from nbpipe.run.prepare import upstream_value

        root = self.root.resolve()
        return upstream_value(self.graph, self.graph.task(task), lambda path: str(root / path))

    def record(self, task: str) -> Record | None:
        """What is remembered of a task; None: it never ran.

        Raises:
            UsageError: there is no such task.
        """
        return self._records().get(self.graph.task(task).name)

    def write_task(
        self,
        name: str,
        path: str,
        body: str,
        *,
        upstream: Sequence[str] = (),
        product: Mapping[str, str] | None = None,
        force: bool = False,
    ) -> str:
        """Write a script and add it to pipeline.yaml, whose comments are kept.

        Args:
            name: of the new task.
            path: of the script, relative to the root.
            body: Python code, which becomes the script's last cell.
            upstream: tasks that it reads.
            product: what it makes, beside the executed notebook ``output/NAME.ipynb``.
            force: True: overwrite a script and replace a task that are there.

        Returns:
            The script's path, relative to the root.

        Raises:
            UsageError: the script or the task is there, or the path leads elsewhere.
            SpecError: the entry does not fit into the file.
            StoreError: the disk is full or read-only.
        """
        from nbpipe.store.writing import write_task

        spec = read_spec(self.file)
        return write_task(
            self.file,
            spec,
            name,
            path,
            body,
            upstream=upstream,
            product=product or {},
            force=force,
        )

    def product(self, task: str) -> Any:
        """What a task is given as ``product``, with absolute paths: text, a mapping or None.

        Raises:
            UsageError: there is no such task.
        """
        found, root = self.graph.task(task).product, self.root.resolve()
        if isinstance(found, dict):
            return {key: str(root / path) for key, path in found.items()}
        return None if found is None else str(root / found)

    def build(
        self,
        *names: str,
        force: bool = False,
        upstream: bool = True,
        upstream_of: str | None = None,
        jobs: int | None = None,
        keep_going: bool = False,
        wait: float | None = 0.0,
        on_event: Listener | None = None,
        on_wait: Callable[[], None] | None = None,
        executor: Executor | None = None,
    ) -> BuildReport:
        """Run what is stale, in parallel, and return when all has ended.

        May be called where an event loop runs (in a notebook): it then builds in a thread of
        its own. In the main thread SIGINT and SIGTERM end the build in an orderly way.

        Args:
            names: task names or wildcards; none: the whole pipeline.
            force: True: run also what is fresh.
            upstream: False: only the named tasks themselves.
            upstream_of: build all that this task needs, without the task.
            jobs: how many tasks run at once; None: the number of cores.
            keep_going: True: what does not depend on a failed task still runs.
            wait: seconds to wait for another build to end; None: without limit.
            on_event: called with every event as it happens, in the build's thread.
            on_wait: called in the calling thread about ten times a second while the build runs in
                a thread of its own.
            executor: runs every task; None: notebooks in fresh kernels, functions in fresh
                processes.

        Returns:
            How each task ended. A failed task is no exception; see
            :meth:`BuildReport.raise_for_failure`.

        Raises:
            UsageError: there is no such task, or ``jobs`` is not positive.
            LockedError: another build holds the pipeline.
            StoreError: a record or a product cannot be written.
        """
        from nbpipe.run.lock import wait_until_free

        if jobs is not None and jobs < 1:
            raise UsageError(f"jobs must be at least 1, not {jobs}")
        refuse_nested()
        end = None if wait is None else time.monotonic() + wait
        pipeline = self
        while True:
            plan_time = time.monotonic()
            plan = pipeline.plan(*names, force=force, upstream=upstream, upstream_of=upstream_of)
            if plan.idle:
                return nothing_to_do(plan, time.monotonic() - plan_time)
            try:
                return pipeline._build(plan, force, jobs, keep_going, on_event, on_wait, executor)
            except LockedError:
                if not wait_until_free(self.store.home, end):
                    raise
            pipeline = pipeline.reload()

    def _build(
        self,
        plan: Plan,
        force: bool,
        jobs: int | None,
        keep_going: bool,
        on_event: Listener | None,
        on_wait: Callable[[], None] | None,
        executor: Executor | None,
    ) -> BuildReport:
        from nbpipe.run.local import run_to_end
        from nbpipe.run.runner import Settings

        tasks = frozenset(plan.decisions)
        settings = Settings(
            tasks=tasks,
            force=tasks if force else frozenset(),
            jobs=jobs or os.cpu_count() or 1,
            keep_going=keep_going,
        )
        return run_to_end(self._runner(settings, on_event, executor), on_wait)

    def start(
        self,
        *names: str,
        force: bool = False,
        upstream: bool = True,
        upstream_of: str | None = None,
        jobs: int | None = None,
        keep_going: bool = False,
    ) -> Run:
        """Build in the background, in a process of its own that outlives this one.

        The arguments are those of :meth:`build`.

        Returns:
            The run, which has begun. When there was nothing to do, one that has ended and whose
            ``id`` is "".

        Raises:
            UsageError, LockedError, StoreError, SpecError: as :meth:`build`.
            BuildError: the process did not come up.
        """
        from nbpipe.run.background import without_work
        from nbpipe.run.launch import Request, launch

        if jobs is not None and jobs < 1:
            raise UsageError(f"jobs must be at least 1, not {jobs}")
        refuse_nested()
        began = time.monotonic()
        plan = self.plan(*names, force=force, upstream=upstream, upstream_of=upstream_of)
        if plan.idle:
            return without_work(self.store.home, nothing_to_do(plan, time.monotonic() - began))
        request = Request(
            file=os.path.abspath(self.file),
            cells=None if self.cells is None else os.path.abspath(self.cells),
            names=names,
            force=force,
            upstream=upstream,
            upstream_of=upstream_of,
            jobs=jobs,
            keep_going=keep_going,
        )
        return launch(request, self.root, self.store.home)

    def attach(self, run: str | None = None) -> Run | None:
        """A run, of whichever process, to follow or to stop.

        Args:
            run: its id; ``last``: the latest; None: the one that goes on now.

        Returns:
            None when ``run`` is None and no build is running.

        Raises:
            UsageError: there is no such run.
        """
        from nbpipe.run import background

        if run is None:
            return background.running(self.store.home)
        return background.past(self.store.home, run)

    def source(self, task: str) -> str:
        """The raw text of a task's source; of a function, of its module.

        Raises:
            UsageError: there is no such task.
        """
        return self._gatherer.text(self.graph.task(task))

    def plot(self, suffix: str = ".svg", *, theme: Theme = "auto") -> bytes:
        """A picture of the pipeline with the state of every task.

        Args:
            suffix: the format: ``.svg``, ``.png``, ``.html``, ``.mmd``, ``.dot`` or ``.json``.
            theme: ``light``, ``dark``, or ``auto``, where the format can follow its reader.

        Raises:
            UsageError: there is no such format.
        """
        from nbpipe.views.diagram import Row, render

        status = self.status()
        rows = [
            Row(task=row.task, state=row.state, reason=row.reason, product=", ".join(row.products))
            for row in status.rows
        ]
        return render(self.graph, status.states, suffix, title=self.name, theme=theme, rows=rows)

    def history(self, last: int | None = None) -> list[Progress]:
        """The runs that are kept, oldest first; the ``last`` of them."""
        from nbpipe.run.history import runs

        return runs(self.store.home, last)

    def task_history(self, task: str) -> list[TaskRun]:
        """The runs in which a task was tried, oldest first.

        Raises:
            UsageError: there is no such task.
        """
        from nbpipe.run.history import task_runs

        return task_runs(self.store.home, self.graph.task(task).name)

    def past_run(self, run: str = "last") -> Progress:
        """One run as its events tell it.

        Raises:
            UsageError: there is no such run.
        """
        from nbpipe.run.history import read_run

        return read_run(self._run_folder(run))

    def event_lines(self, run: str = "last") -> list[str]:
        """The events of a run, one JSON object each.

        Raises:
            UsageError: there is no such run.
        """
        from nbpipe.run.eventlog import read_events

        events = read_events(self._run_folder(run) / "events.jsonl")
        return [msgspec.json.encode(event).decode() for event in events]

    def kernels(self) -> frozenset[str]:
        """Names of the Jupyter kernels that the tasks need.

        Raises:
            SpecError: a source cannot be read.
        """
        notebooks = (task for task in self.spec.tasks if task.kind == "notebook")
        return frozenset(self._gatherer.kernel(task) for task in notebooks)

    def removable(self, *, products: bool = False) -> list[str]:
        """What :meth:`remove` may take, relative to the root and POSIX.

        Args:
            products: True: also the products whose bytes are still those that a build wrote,
                with their records; what was changed by hand is kept.
        """
        from nbpipe.store.leftovers import leftovers, own_products

        found = leftovers(self.store, self.graph.tasks)
        if products:
            found += own_products(self.root, self.store, self._records())
        return found

    def remove(self, paths: Iterable[str]) -> int:
        """Remove what :meth:`removable` named, while no build runs; returns how many went.

        Raises:
            LockedError: a build is running.
        """
        from nbpipe.run.lock import build_lock
        from nbpipe.store.leftovers import remove_paths

        listed = list(paths)
        if not self.store.home.exists():
            return 0
        with build_lock(self.store.home, "clean"):
            return remove_paths(self.root, listed)

    def _run_folder(self, run: str) -> Path:
        from nbpipe.run.eventlog import run_folders

        folders = run_folders(self.store.home)
        found = folders[-1:] if run == "last" else [f for f in folders if f.name == run]
        if not found:
            raise UsageError(f"no run '{run}'", did_you_mean(run, [f.name for f in folders]))
        return found[0]

    def _chosen(
        self, names: Collection[str], upstream: bool, upstream_of: str | None
    ) -> frozenset[str] | None:
        if upstream_of is None:
            return self.select(names, upstream=upstream)
        self.graph.task(upstream_of)
        needed = self.graph.ancestors(upstream_of)
        return needed if not names else needed | (self.select(names, upstream=upstream) or needed)

    def _matching(self, name: str) -> set[str]:
        if name in self.graph.tasks:
            return {name}
        if not is_wildcard(name):
            return set()
        return {other for other in self.graph.tasks if fnmatchcase(other, name)}

    def _records(self) -> dict[str, Record]:
        return self._gatherer.records(self.store, self.spec.tasks)

    def _runner(
        self, settings: Settings, on_event: Listener | None, executor: Executor | None
    ) -> Runner:
        from nbpipe.run.runner import Runner

        make = (lambda kind: executor) if executor is not None else default_executor
        listeners = [on_event] if on_event is not None else []
        return Runner(self.graph, self._gatherer, self.store, make, settings, listeners)


def default_executor(kind: Kind) -> Executor:
    """The executor of a kind of task."""
    if kind == "function":
        from nbpipe.executors.function import FunctionExecutor

        return FunctionExecutor()
    from nbpipe.executors.notebook import NotebookExecutor

    return NotebookExecutor()


def refuse_nested() -> None:
    """A build must not start another one.

    Raises:
        UsageError: this process belongs to a task of a build.
    """
    task = os.environ.get("NBPIPE_TASK")
    if task:
        raise UsageError(
            f"nested build: task '{task}' is being built, and a build cannot start another",
            "declare what the task needs as its upstream",
        )
