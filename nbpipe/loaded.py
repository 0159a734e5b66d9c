"""A loaded pipeline, and every question that can be put to it without running anything."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from nbpipe.core.graph import Graph, build_graph, is_wildcard
from nbpipe.core.model import Record, Spec
from nbpipe.core.plan import Plan, make_plan
from nbpipe.errors import SpecError, UsageError, did_you_mean
from nbpipe.store.cache import Idle, save_cache
from nbpipe.store.env import Env
from nbpipe.store.facts import Gatherer
from nbpipe.store.imports import ImportFollower
from nbpipe.store.overlay import read_overlay, with_cells
from nbpipe.store.records import RecordStore
from nbpipe.store.speccalls import call_key
from nbpipe.store.specfile import Entry, Reading, find_entry, load_spec
from nbpipe.store.specproducts import with_products

if TYPE_CHECKING:
    from nbpipe.core.progress import Progress, TaskRun
    from nbpipe.exporters.base import GraphDocument
    from nbpipe.views.plans import Explanation
    from nbpipe.views.status import Status

Theme = Literal["auto", "light", "dark"]


class Look(msgspec.Struct, frozen=True):
    """A plan with all that was read for it.

    Attributes:
        plan: the decisions.
        records: what is remembered.
        follower: the modules that were read and looked for.
    """

    plan: Plan
    records: dict[str, Record]
    follower: ImportFollower


class LoadedPipeline:
    """What can be asked of a pipeline. Nothing here runs code of the project or writes a file.

    Args:
        file: path of the spec file.
        spec: its content, cell tasks included.
        cells: the file that lists a notebook's cell tasks; None: there are none.
        reading: how the spec was read; None: it was made otherwise.
    """

    def __init__(
        self, file: Path, spec: Spec, cells: Path | None = None, reading: Reading | None = None
    ) -> None:
        self.file = file
        self.reading = reading
        self.entry = reading.entry if reading is not None else Entry(file, file.parent)
        self.root = self.entry.root
        self.spec = spec
        self.cells = cells
        self._began_ns = 0
        self._values: dict[str, Any] | None = None
        self.store = RecordStore(self.root, self.entry.pattern or file.name)
        self._gatherer = Gatherer(self.root, spec)
        records = self._records()
        declared = {task.name: self._gatherer.declared_of(task, records) for task in spec.tasks}
        self._gatherer.raise_problems()
        if spec.meta.extract_product:
            self.spec = self._gatherer.spec = with_products(spec, declared)
        self._graph = build_graph(self.spec, declared)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | Entry | None = None,
        *,
        cells: str | os.PathLike[str] | None = None,
        env: Mapping[str, Any] | Env | None = None,
        call: bool = False,
    ) -> Self:
        """Load a pipeline.

        Args:
            path: a spec file; a folder from which ``pipeline.yaml`` is looked for upward; a
                pattern of scripts, such as ``*.py``, that say themselves what they make; None:
                the current folder.
            cells: a file that lists the tasks of a notebook's cells, to be taken in as well.
            env: values in the place of those in env.yaml, by path such as ``model.depth``.
            call: True: call the functions that the spec names for params and grids, in a
                process of their own; False: take what they gave when a build last called them.

        Raises:
            SpecError: there is none, or it or a source is wrong, or a function that was called
                failed; carries every problem.
            UsageError: ``env`` names a key that env.yaml has not.
            RecordVersionError: a record was written by a newer nbpipe.
        """
        began = time.time_ns()
        entry = path if isinstance(path, Entry) else find_entry(path)
        if env is not None and not isinstance(env, Env):
            env = Env({key: str(value) for key, value in env.items()})
        reading = load_spec(entry, env)
        values: dict[str, Any] | None = None
        if call and reading.calls:
            reading, values = _called(reading)
        if reading.pending:
            raise SpecError(reading.pending)
        spec, file = reading.spec, None
        if cells is not None:
            spec, file = with_cells(spec, read_overlay(Path(cells))), Path(cells)
        pipeline = cls(entry.file, spec, file, reading)
        pipeline._began_ns = began
        pipeline._values = values
        return pipeline

    def reload(self) -> Self:
        """The pipeline as its files are now."""
        return type(self).load(self.entry, cells=self.cells, env=self._env)

    @property
    def _env(self) -> Env:
        return self.reading.env if self.reading is not None else Env()

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
        """What is doubtful in the spec and the sources, one sentence each."""
        said = self.reading.warnings if self.reading is not None else ()
        return (*said, *self._gatherer.warnings)

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
        return self._look(names, force, upstream, upstream_of).plan

    def _look(
        self,
        names: Collection[str] = (),
        force: bool = False,
        upstream: bool = True,
        upstream_of: str | None = None,
    ) -> Look:
        tasks = self._chosen(names, upstream, upstream_of)
        forced = (tasks if tasks is not None else self.graph.tasks.keys()) if force else ()
        records, follower = self._records(), ImportFollower(self.root)
        facts = self._gatherer.all_facts(self.graph.tasks.values(), records, follower)
        plan = make_plan(self.graph, facts, records, tasks=tasks, force=forced)
        return Look(plan, records, follower)

    def status(self) -> Status:
        """The state of every task, with its reason, last run and products."""
        return self._status(self._look())

    def _remember_fresh(self, look: Look) -> bool:
        """Keep, for the next time, that the whole pipeline is fresh; returns whether it was."""
        if self.cells is not None or self.warnings or not self._began_ns:
            return False
        if self.reading is None or not self.reading.settled:
            return False
        if self.spec.meta.store:  # fresh here says nothing of what the store has
            return False
        from nbpipe.run.report import idle_text, nothing_to_do

        rows = msgspec.msgpack.encode(self._status(look).rows)
        consulted = self._gatherer.consulted(self.store, look.follower)
        consulted.read.add(self.file)
        consulted.looked |= self.reading.files
        said = idle_text(nothing_to_do(look.plan, 0.0))
        return save_cache(self.file, Idle(look.plan, rows), said, consulted, self._began_ns)

    def _status(self, look: Look) -> Status:
        from nbpipe.views.status import make_status

        return make_status(self.graph, look.plan, look.records, self.name)

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

    @property
    def arguments(self) -> tuple[str, ...]:
        """Words that name this pipeline to ``nbpipe`` in another process, in the root folder."""
        place = self.entry.pattern or os.path.relpath(self.entry.file, self.root)
        said = self._env.overrides.items()
        values = (w for key, value in said for w in (f"--env--{key.replace('.', '--')}", value))
        return ("-e", place, *values)

    def document(self) -> GraphDocument:
        """The pipeline as a value that other programs can read, in a stable form.

        Raises:
            SpecError: a source cannot be read.
        """
        from nbpipe.exporters.base import graph_document

        notebooks = [task for task in self.spec.tasks if task.kind == "notebook"]
        kernels = {task.name: self._gatherer.kernel(task) for task in notebooks}
        return graph_document(self.name, self.spec, self.graph, kernels, self.arguments)

    def export(
        self,
        exporter: str,
        settings: Mapping[str, Any] | None = None,
        tasks: Collection[str] = (),
    ) -> dict[str, str]:
        """The pipeline in the form of another engine: texts by path.

        Args:
            exporter: name of an installed one; ``json`` is the plainest.
            settings: what it is told.
            tasks: names or wildcards; none: all.

        Raises:
            UsageError: there is no such exporter, setting or task, or the engine cannot do it.
            SpecError: a source cannot be read.
        """
        from nbpipe import plugins
        from nbpipe.exporters.base import Exporter, read_settings

        made: Exporter = plugins.make(plugins.EXPORTERS, exporter, {})
        told = read_settings(made, settings or {})
        return made.export(self.document().only(tuple(tasks)), told)

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

    @property
    def _has_called(self) -> bool:
        """Whether its params are those that functions give now."""
        return self._values is not None or self.reading is None or not self.reading.calls

    def _records(self) -> dict[str, Record]:
        return self._gatherer.records(self.store, self.spec.tasks)


def _called(reading: Reading) -> tuple[Reading, dict[str, Any]]:
    """The spec with what its functions give now, and that; a value may name further functions."""
    from nbpipe.run.values import call_all

    values: dict[str, Any] = {}
    while new := [call for call in reading.calls if call_key(call) not in values]:
        values |= call_all(new, reading.entry.root, reading.spec.file)
        reading = load_spec(reading.entry, reading.env, values=values)
    return reading, values
