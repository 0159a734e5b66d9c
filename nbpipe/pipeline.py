"""``Pipeline``: the public API, over which the command line and the notebook are thin views."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from nbpipe.core import events as ev
from nbpipe.core.model import Kind
from nbpipe.core.plan import Plan
from nbpipe.edits import EditablePipeline
from nbpipe.errors import LockedError, NbpipeError, UsageError
from nbpipe.loaded import Look, Theme
from nbpipe.run.report import BuildReport, nothing_to_do

if TYPE_CHECKING:
    from nbpipe.executors.base import Executor
    from nbpipe.run.background import Run
    from nbpipe.run.runner import Runner
    from nbpipe.run.settings import Settings
    from nbpipe.run.sharing import Share

__all__ = ["BuildReport", "Listener", "Pipeline", "Theme", "default_executor", "refuse_nested"]

Listener = Callable[[ev.Event], None]


class Choice(NamedTuple):
    """What the caller of a build says of the way it is done."""

    force: bool
    jobs: int | None
    keep_going: bool
    dumps: bool


class Pipeline(EditablePipeline):
    """A loaded pipeline.yaml. Loading, planning and reading run no code of the project.

    Use :meth:`load`. The spec and the sources are read when the object is made; :meth:`reload`
    reads them again.

    Args:
        file: path of the spec file.
        spec: its content, cell tasks included.
        cells: the file that lists a notebook's cell tasks; None: there are none.
    """

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
        executor: Executor | str | None = None,
        settings: Mapping[str, str] | None = None,
        store: str | None = None,
        debug_later: bool = False,
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
            executor: runs every task; the name of an installed one; None: notebooks in fresh
                kernels, functions in fresh processes.
            settings: of an executor that is given by its name.
            store: address of the store in which results are shared: what it has is taken instead
                of being run, what is run is put into it; None: that of ``NBPIPE_STORE`` or of
                the spec; "": none.
            debug_later: True: the frames of a task that fails, with their variables, are kept in
                the folder of the run, for ``nbpipe debug``.

        Returns:
            How each task ended. A failed task is no exception; see
            :meth:`BuildReport.raise_for_failure`.

        Raises:
            UsageError: there is no such task, or ``jobs`` is not positive.
            LockedError: another build holds the pipeline.
            StoreError: a record or a product cannot be written.
        """
        from nbpipe.run.engines import named_executor
        from nbpipe.run.lock import wait_until_free

        if jobs is not None and jobs < 1:
            raise UsageError(f"jobs must be at least 1, not {jobs}")
        refuse_nested()
        end = None if wait is None else time.monotonic() + wait
        pipeline = self._with_calls()
        share = pipeline._share(store)
        while True:
            plan_time = time.monotonic()
            look = pipeline._look(names, force, upstream, upstream_of)
            if look.plan.idle:
                pipeline._settle(look)
                if share is not None:
                    share.ensure_all(pipeline.graph, look.plan, look.records)
                return nothing_to_do(look.plan, time.monotonic() - plan_time)
            try:
                runs = named_executor(executor, settings or {})
                how = Choice(force=force, jobs=jobs, keep_going=keep_going, dumps=debug_later)
                return pipeline._build(look.plan, how, on_event, on_wait, runs, share)
            except LockedError:
                if not wait_until_free(self.store.home, end):
                    raise
            pipeline = pipeline.reload()._with_calls()

    def _with_calls(self) -> Pipeline:
        """The pipeline with what the functions give now that its spec names for params."""
        from nbpipe.store.callvalues import keep_values

        called = self
        if not self._has_called:
            called = self._again(call=True)
        if called._values is not None:
            keep_values(self.root, called._values)
        if any(task.relations for task in called.spec.tasks):
            from nbpipe.run.relations import forget_lost

            forget_lost(called.root, called.spec)
        return called

    def _settle(self, look: Look) -> None:
        """What a build leaves behind that found nothing to do, if it may write."""
        if any(not self.store.path(name).exists() for name in look.records):
            from nbpipe.run.lock import build_lock
            from nbpipe.run.prepare import save_adopted

            with contextlib.suppress(NbpipeError), build_lock(self.store.home, "rename"):
                save_adopted(self.store, self.graph.tasks, look.records)
        elif len(look.plan.decisions) == len(self.graph.tasks):
            self._remember_fresh(look)

    def _build(
        self,
        plan: Plan,
        how: Choice,
        on_event: Listener | None,
        on_wait: Callable[[], None] | None,
        executor: Executor | None,
        share: Share | None,
    ) -> BuildReport:
        from nbpipe.executors.base import RecordsItself
        from nbpipe.run.local import run_to_end
        from nbpipe.run.machine import cores
        from nbpipe.run.settings import Settings
        from nbpipe.run.sharing import keep_failed

        tasks = frozenset(plan.decisions)
        if how.dumps and isinstance(executor, RecordsItself):
            what = "variables of failed tasks are kept only where they run on this machine"
            raise UsageError(what, "build without --debug-later, or without an executor")
        sent_off = self._elsewhere() if isinstance(executor, RecordsItself) else None
        if share is not None:
            share.bring = sent_off is None
        settings = Settings(
            tasks=tasks,
            force=tasks if how.force else frozenset(),
            jobs=how.jobs or (len(tasks) if sent_off else self.spec.jobs or cores()),
            keep_going=how.keep_going,
            sent_off=sent_off,
            dumps=how.dumps,
        )
        runner = self._runner(settings, on_event, executor, share)
        runner.check_kernels(plan)
        report = run_to_end(runner, on_wait)
        # What is sent off has been kept by the process that ran it.
        return report if sent_off else keep_failed(report, share, self.store.home, on_event)

    def start(
        self,
        *names: str,
        force: bool = False,
        upstream: bool = True,
        upstream_of: str | None = None,
        jobs: int | None = None,
        keep_going: bool = False,
        executor: str | None = None,
        settings: Mapping[str, str] | None = None,
        store: str | None = None,
        debug_later: bool = False,
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
        self._elsewhere()
        called = self._with_calls()
        plan = called.plan(*names, force=force, upstream=upstream, upstream_of=upstream_of)
        if plan.idle and called._share(store) is None:
            return without_work(self.store.home, nothing_to_do(plan, time.monotonic() - began))
        request = Request(
            file=os.path.abspath(self.file),
            root=os.path.abspath(self.root),
            pattern=self.entry.pattern,
            overrides=self._env.overrides,
            cwd=self._env.folder,
            cells=None if self.cells is None else os.path.abspath(self.cells),
            names=names,
            force=force,
            upstream=upstream,
            upstream_of=upstream_of,
            jobs=jobs,
            keep_going=keep_going,
            executor=executor,
            settings=dict(settings or {}),
            store=store,
            debug_later=debug_later,
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

    def run_only(
        self,
        name: str,
        *,
        force: bool = False,
        retry: bool = True,
        store: str | None = None,
        wait: float | None = 0.0,
        on_event: Listener | None = None,
        on_wait: Callable[[], None] | None = None,
        executor: Executor | None = None,
        debug_later: bool = False,
    ) -> BuildReport:
        """Run one task alone, as the engine of a cluster does: its upstreams are not run.

        Several processes may do this in one folder at the same time, each for another task. With
        a store, upstream products that are missing here are fetched, and nothing is fetched or
        run when the store has the task's results already.

        Args:
            name: of the task.
            force: True: run it even if it is fresh.
            retry: False: try once whatever the spec says.
            store: as of :meth:`build`.
            wait: seconds to wait for another process that runs this task, or for a build; None:
                without limit.
            on_event: as of :meth:`build`.
            on_wait: as of :meth:`build`.
            executor: runs the task; None: as of :meth:`build`.
            debug_later: as of :meth:`build`.

        Raises:
            UsageError: there is no such task.
            LockedError: another process runs this task, or a build holds the pipeline.
            StoreError: a record, a product or an object cannot be read or written.
            SpecError: a kernel is not installed.
        """
        from nbpipe.run.only import How, Lonely

        self.graph.task(name)
        refuse_nested()
        self._without_callbacks()
        called = self._with_calls()
        share = called._share(store)
        shared = share.store if share is not None else None
        lonely = Lonely(called.graph, called._gatherer, self.store, shared, name)
        how = How(force=force, retry=retry, wait=wait, dumps=debug_later)
        return lonely.run(how, _maker(executor), on_event, on_wait)

    def call_on_finish(self, name: str) -> None:
        """Call what the spec says is ``on_finish`` of a task, on the products that are there.

        Runs in a process of its own, and records nothing.

        Raises:
            UsageError: there is no such task, or it has no such hook.
            BuildError: the hook failed.
        """
        from nbpipe.run.hooks import call_on_finish

        call_on_finish(self.graph, self.graph.task(name), self.root, self.spec.meta)

    def build_partially(self, target: str, *, upstream: bool = True, **options: Any) -> BuildReport:
        """Build some tasks, with what they need.

        Args:
            target: name of a task, or a wildcard.
            upstream: False: what they need is taken as it is.
            options: of :meth:`build`.
        """
        return self.build(target, upstream=upstream, **options)

    def _elsewhere(self) -> tuple[str, ...]:
        """Words that name it to another process.

        Raises:
            UsageError: no other process can load it, or functions of this one hang on it.
        """
        self._without_callbacks()
        return self.arguments

    def _without_callbacks(self) -> None:
        if self._callbacks:
            what = "hooks that are functions of this process are called by 'build' on this machine"
            raise UsageError(what, "name them in pipeline.yaml as module.function")

    def _share(self, store: str | None) -> Share | None:
        from nbpipe.run.sharing import Share, choose_store, open_store

        opened = open_store(choose_store(store, os.environ, self.spec.meta), self.root)
        return None if opened is None else Share(opened)

    def _runner(
        self,
        settings: Settings,
        on_event: Listener | None,
        executor: Executor | None,
        share: Share | None = None,
    ) -> Runner:
        from nbpipe.run.runner import Runner

        listeners = [on_event] if on_event is not None else []
        return Runner(
            self.graph,
            self._gatherer,
            self.store,
            _maker(executor),
            settings,
            listeners,
            share=share,
            callbacks=self._callbacks,
        )


def default_executor(kind: Kind) -> Executor:
    """The executor of a kind of task."""
    if kind != "notebook":
        from nbpipe.executors.function import FunctionExecutor

        return FunctionExecutor()
    from nbpipe.executors.notebook import NotebookExecutor

    return NotebookExecutor()


def _maker(executor: Executor | None) -> Callable[[Kind], Executor]:
    return default_executor if executor is None else lambda kind: executor


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
