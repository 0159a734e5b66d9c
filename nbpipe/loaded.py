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
from nbpipe.core.model import Facts, Record, Spec
from nbpipe.core.plan import Plan, make_plan
from nbpipe.errors import SpecError, UsageError, did_you_mean
from nbpipe.pastruns import PastRuns
from nbpipe.store.cache import Idle, save_cache
from nbpipe.store.env import Env
from nbpipe.store.facts import Gatherer
from nbpipe.store.imports import ImportFollower
from nbpipe.store.overlay import read_overlay, with_cells
from nbpipe.store.records import RecordStore
from nbpipe.store.specfile import Entry, Reading, find_entry, load_spec
from nbpipe.store.specproducts import with_products

if TYPE_CHECKING:
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
        facts: what is true of each task.
    """

    plan: Plan
    records: dict[str, Record]
    follower: ImportFollower
    facts: dict[str, Facts]


class LoadedPipeline(PastRuns):
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
            from nbpipe.run.values import with_values

            reading, values = with_values(reading)
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
        return self._again()

    def _again(self, *, call: bool = False) -> Self:
        return type(self).load(self.entry, cells=self.cells, env=self._env, call=call)

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
        store: str | None = "",
    ) -> Plan:
        """What a build would do now. Runs nothing and writes nothing.

        Args:
            names: task names or wildcards; none: the whole pipeline.
            force: True: everything that is looked at runs.
            upstream: False: only the named tasks themselves.
            upstream_of: all that this task needs, without the task.
            store: address of the store that the build would use; what it has is skipped, since it
                would be taken. None: that of ``NBPIPE_STORE`` or of the spec; "": none is looked
                into, which needs no connection.

        Raises:
            UsageError: there is no such task, or no such kind of store.
            StoreError: the store cannot be read.
        """
        return self._with_store(self._look(names, force, upstream, upstream_of), store).plan

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
        return Look(plan, records, follower, facts)

    def _with_store(self, look: Look, store: str | None) -> Look:
        """The same with what a store has; it is asked once, since a view does not wait long."""
        if store == "" or look.plan.idle:
            return look
        from nbpipe.run.sharing import Share, choose_store, open_store
        from nbpipe.run.stored import StoredPlan

        url = choose_store(store, os.environ, self.spec.meta)
        shared = open_store(url, self.root, brief=True)
        if shared is None:
            return look
        stored = StoredPlan(self.graph, look.plan, look.facts, look.records, Share(shared))
        return msgspec.structs.replace(look, plan=stored.look())

    def status(self, *, store: str | None = "") -> Status:
        """The state of every task, with its reason, last run and products.

        Args:
            store: as of :meth:`plan`.

        Raises:
            UsageError, StoreError: as :meth:`plan`.
        """
        return self._status(self._with_store(self._look(), store))

    def _remember_fresh(self, look: Look) -> bool:
        """Keep, for the next time, that the whole pipeline is fresh; returns whether it was."""
        if self.cells is not None or self.warnings or not self._began_ns:
            return False
        if self.reading is None or not self.reading.settled:
            return False
        if self.spec.meta.store:  # fresh here says nothing of what the store has
            return False
        if any(task.relations for task in self.spec.tasks):  # nor of what a database has
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
        root = self.root.resolve()
        return self.graph.task(task).given(lambda path: str(root / path))

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
        """Words that name this pipeline to ``nbpipe`` in another process, in the root folder.

        Raises:
            UsageError: Python has described it, so no other process can load it.
        """
        if self.entry.data:
            what = "a pipeline that Python describes cannot be loaded by another process"
            raise UsageError(what, "write it into a pipeline.yaml")
        place = self.entry.pattern or os.path.relpath(self.entry.file, self.root)
        said = self._env.overrides.items()
        values = (w for key, value in said for w in (f"--env--{key.replace('.', '--')}", value))
        return ("-e", place, *values)

    def document(self) -> GraphDocument:
        """The pipeline as a value that other programs can read, in a stable form.

        Raises:
            SpecError: a source cannot be read.
        """
        from nbpipe.exporters.base import REQUIREMENTS, graph_document

        notebooks = [task for task in self.spec.tasks if task.kind == "notebook"]
        kernels = {task.name: self._gatherer.kernel(task) for task in notebooks}
        needs = tuple(name for name in REQUIREMENTS if (self.root / name).is_file())
        return graph_document(self.name, self.spec, self.graph, kernels, self.arguments, needs)

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
