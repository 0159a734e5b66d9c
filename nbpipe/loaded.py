"""A loaded pipeline, and every question that can be put to it without running anything."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from nbpipe.core.graph import Graph, build_graph, is_wildcard
from nbpipe.core.model import Record, Spec
from nbpipe.core.plan import Plan, make_plan
from nbpipe.errors import UsageError, did_you_mean
from nbpipe.store.cache import load_cache, save_cache
from nbpipe.store.facts import Gatherer
from nbpipe.store.imports import ImportFollower
from nbpipe.store.overlay import read_overlay, with_cells
from nbpipe.store.records import RecordStore
from nbpipe.store.specfile import find_spec, read_spec

if TYPE_CHECKING:
    from nbpipe.core.progress import Progress, TaskRun
    from nbpipe.views.plans import Explanation
    from nbpipe.views.status import Status

Theme = Literal["auto", "light", "dark"]


class Unchanged(msgspec.Struct, frozen=True):
    """A pipeline in which everything is fresh, and nothing has changed since that was found.

    Attributes:
        plan: every task is skipped.
        name: of the pipeline.
        rows: its table of states, encoded.
    """

    plan: Plan
    name: str
    rows: bytes

    def status(self) -> Status:
        """The state of every task, as :meth:`LoadedPipeline.status` gives it."""
        from nbpipe.views.status import Status, StatusRow

        rows = msgspec.msgpack.decode(self.rows, type=tuple[StatusRow, ...])
        return Status(rows, self.name, time.time())


def unchanged(path: str | os.PathLike[str] | None = None) -> Unchanged | None:
    """Whether everything is still fresh, told by signatures alone; None: load and plan.

    Args:
        path: as :meth:`LoadedPipeline.load` takes it.

    Raises:
        SpecError: there is no pipeline.yaml.
    """
    file = find_spec(Path(path) if path is not None else Path.cwd())
    cache = load_cache(file.parent, file)
    if cache is None:
        return None
    return Unchanged(cache.plan, file.parent.resolve().name, cache.rows)


class LoadedPipeline:
    """What can be asked of a pipeline. Nothing here runs code of the project or writes a file.

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
        self._began_ns = 0
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
    ) -> Self:
        """Load a pipeline.

        Args:
            path: a spec file, or a folder from which ``pipeline.yaml`` is looked for upward;
                None: the current folder.
            cells: a file that lists the tasks of a notebook's cells, to be taken in as well.

        Raises:
            SpecError: there is none, or it or a source is wrong; carries every problem.
            RecordVersionError: a record was written by a newer nbpipe.
        """
        began = time.time_ns()
        file = find_spec(Path(path) if path is not None else Path.cwd())
        spec = read_spec(file)
        if cells is None:
            pipeline = cls(file, spec)
        else:
            pipeline = cls(file, with_cells(spec, read_overlay(Path(cells))), Path(cells))
        pipeline._began_ns = began
        return pipeline

    def reload(self) -> Self:
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
        forced = (tasks if tasks is not None else self.graph.tasks.keys()) if force else ()
        return self._planned(tasks, forced, ImportFollower(self.root))

    def _planned(
        self, tasks: Collection[str] | None, force: Collection[str], follower: ImportFollower
    ) -> Plan:
        records = self._records()
        facts = self._gatherer.all_facts(self.graph.tasks.values(), records, follower)
        return make_plan(self.graph, facts, records, tasks=tasks, force=force)

    def status(self) -> Status:
        """The state of every task, with its reason, last run and products."""
        return self._status(self.plan())

    def _remember_fresh(self) -> bool:
        """Keep, for the next time, that the whole pipeline is fresh; returns whether it was."""
        if self.cells is not None or self.warnings or not self._began_ns:
            return False
        follower = ImportFollower(self.root)
        plan = self._planned(None, (), follower)
        if not plan.idle:
            return False
        rows = msgspec.msgpack.encode(self._status(plan).rows)
        consulted = self._gatherer.consulted(self.store, follower)
        consulted.paths.add(self.file)
        return save_cache(self.root, self.file, plan, rows, consulted, self._began_ns)

    def _status(self, plan: Plan) -> Status:
        from nbpipe.views.status import make_status

        return make_status(self.graph, plan, self._records(), self.name)

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

    def product(self, task: str) -> Any:
        """What a task is given as ``product``, with absolute paths: text, a mapping or None.

        Raises:
            UsageError: there is no such task.
        """
        found, root = self.graph.task(task).product, self.root.resolve()
        if isinstance(found, dict):
            return {key: str(root / path) for key, path in found.items()}
        return None if found is None else str(root / found)

    def record(self, task: str) -> Record | None:
        """What is remembered of a task; None: it never ran.

        Raises:
            UsageError: there is no such task.
        """
        return self._records().get(self.graph.task(task).name)

    def source(self, task: str) -> str:
        """The raw text of a task's source; of a function, of its module.

        Raises:
            UsageError: there is no such task.
        """
        return self._gatherer.text(self.graph.task(task))

    def kernels(self) -> frozenset[str]:
        """Names of the Jupyter kernels that the tasks need.

        Raises:
            SpecError: a source cannot be read.
        """
        notebooks = (task for task in self.spec.tasks if task.kind == "notebook")
        return frozenset(self._gatherer.kernel(task) for task in notebooks)

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
