"""When hooks are called in a run; each in a clean process, never in this one."""

from __future__ import annotations

import asyncio
import posixpath
import tempfile
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph
from nbpipe.core.model import Failure, Job, Meta, Outcome, Task
from nbpipe.core.options import NO_HOOKS, Call, HookCall, HookName, Hooks, HookTask
from nbpipe.core.progress import Progress
from nbpipe.errors import EARLY_STOP, BuildError, UsageError
from nbpipe.executors.function import FunctionExecutor
from nbpipe.run.callbacks import OWN, Callbacks
from nbpipe.run.prepare import compat_of, upstream_value
from nbpipe.store.bytecode import drop_racy_of
from nbpipe.store.records import file_stem


class RunHooks:
    """The hooks of one run.

    Args:
        graph: the pipeline.
        hooks: of the whole pipeline.
        root: its folder, where hooks run.
        folder: of the run, where their output goes.
        emit: takes warnings.
        callbacks: functions of this process, called after those that the spec names; None: none.
        environ: variables for the processes in which hooks run.
    """

    def __init__(
        self,
        graph: Graph,
        hooks: Hooks,
        root: Path,
        folder: Path,
        emit: Callable[[ev.Event], None],
        callbacks: Callbacks | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self._graph = graph
        self._hooks = hooks
        self._root = root
        self._folder = folder
        self._emit = emit
        self._callbacks = callbacks or Callbacks()
        self._environ = environ or {}

    async def before(self, tasks: Collection[str]) -> Failure | None:
        """``on_render`` of the tasks that may run, then the pipeline's own.

        Returns:
            The early stop that one of them asks for; None: go on.

        Raises:
            BuildError: one of them failed.
        """
        calls = list(self._of_tasks("on_render", tasks))
        if self._hooks.on_render is not None:
            calls.append(self._of_all("on_render", self._hooks.on_render))
        failure = await self._call(calls, "on_render")
        for name in tasks if failure is None else ():
            failure = failure or await self._own("on_render", self._graph.tasks[name])
        failure = failure or await self._own("on_render")
        if failure is None or failure.error == EARLY_STOP:
            return failure
        raise build_error(failure)

    async def after(self, task: Task, outcome: Outcome) -> Failure | None:
        """``on_finish`` of a task; why its run does not count as good, None when it does.

        The executed notebook is not in its place yet: the hook finds it in the run's folder.
        """
        call = task.hooks.on_finish
        failure = await self._call([self._of("on_finish", call, task, outcome)] if call else [])
        return failure or await self._own("on_finish", task, outcome)

    async def failed(self, task: Task) -> None:
        """``on_failure`` of a task; an error in it is a warning."""
        call = task.hooks.on_failure
        for failure in (
            await self._call([self._of("on_failure", call, task)] if call else []),
            await self._own("on_failure", task),
        ):
            if failure is not None:
                self._emit(ev.Warned(task=task.name, message=shown(failure)))

    async def at_end(self, progress: Progress) -> None:
        """``on_finish`` of the pipeline, or ``on_failure`` when a task failed.

        Raises:
            BuildError: the hook failed.
        """
        failures = {n: t.failure for n, t in progress.tasks.items() if t.failure is not None}
        failures = {n: f for n, f in failures.items() if progress.tasks[n].result == "failed"}
        name: HookName = "on_failure" if failures else "on_finish"
        call = self._hooks.get(name)
        if call is None and not self._callbacks:
            return
        texts = [f"{task}: {f.error}: {f.message}\n{f.traceback}" for task, f in failures.items()]
        rows = [(n, t.result == "ran", t.seconds) for n, t in progress.tasks.items()]
        whole = self._of_all(name, call or OWN)
        whole = msgspec.structs.replace(whole, report=tuple(rows), traceback="\n".join(texts))
        failure = await self._call([whole] if call is not None else [])
        failure = failure or await self._callbacks.call(whole, self._root, self._folder)
        if failure is not None and failure.error == EARLY_STOP:
            self._emit(ev.Warned(message=stopped(failure)))
        elif failure is not None:
            raise build_error(failure)

    def _of_tasks(self, name: HookName, tasks: Iterable[str]) -> Iterable[HookCall]:
        for task in (self._graph.tasks[one] for one in tasks):
            call = task.hooks.get(name)
            if call is not None:
                yield self._of(name, call, task)

    def _of(
        self, name: HookName, call: Call, task: Task, outcome: Outcome | None = None
    ) -> HookCall:
        return HookCall(hook=name, call=call, task=self._data(task, outcome))

    def _of_all(self, name: HookName, call: Call) -> HookCall:
        tasks = tuple(self._data(task) for task in self._graph.tasks.values())
        return HookCall(hook=name, call=call, tasks=tasks)

    def _data(self, task: Task, outcome: Outcome | None = None) -> HookTask:
        return HookTask(
            name=task.name,
            source=task.source,
            product=_as_it_is(task, outcome, self._root),
            upstream=upstream_value(self._graph, task),
            params=task.params,
            client=task.client,
            relations=tuple(
                relation.text
                for other in self._graph.tasks.values()
                for relation in other.relations.values()
            ),
        )

    async def _own(
        self, name: HookName, task: Task | None = None, outcome: Outcome | None = None
    ) -> Failure | None:
        """Call the function of this process that hangs there, if one does."""
        if self._callbacks.get("" if task is None else task.name, name) is None:
            return None
        hook = self._of_all(name, OWN) if task is None else self._of(name, OWN, task, outcome)
        return await self._callbacks.call(hook, self._root, self._folder)

    async def _call(self, calls: list[HookCall], name: str = "") -> Failure | None:
        if not calls:
            return None
        functions = {one.call.function: None for one in calls}
        await asyncio.to_thread(drop_racy_of, self._root, functions)
        whose = calls[0].task.name if calls[0].task is not None and not name else name or "pipeline"
        job = Job(
            task=whose,
            kind="function",
            source=calls[0].call.function,
            root=str(self._root),
            folder=str(self._folder),
            stem=f"{file_stem(whose)}.{calls[0].hook}",
            hooks=tuple(calls),
            environ={
                **self._environ,
                "NBPIPE_RUN": self._folder.name,
                "NBPIPE_ROOT": str(self._root),
            },
        )
        return (await FunctionExecutor().run(job, self._emit)).failure


def call_on_finish(graph: Graph, task: Task, root: Path, meta: Meta) -> None:
    """Call a task's ``on_finish`` on the products that are there.

    Raises:
        UsageError: it has none.
        BuildError: it failed.
    """
    if task.hooks.on_finish is None:
        raise UsageError(f"task '{task.name}' has no on_finish", "add it in pipeline.yaml")
    with tempfile.TemporaryDirectory(prefix="nbpipe-") as folder:
        hooks = RunHooks(
            graph, NO_HOOKS, root, Path(folder), lambda event: None, None, compat_of(meta)
        )
        # A loop may run in the caller's thread.
        with ThreadPoolExecutor(1) as thread:
            failure = thread.submit(asyncio.run, hooks.after(task, Outcome())).result()
    if failure is not None:
        raise build_error(failure)


def _as_it_is(task: Task, outcome: Outcome | None, root: Path) -> str | dict[str, str] | None:
    """The products, of which the executed notebook still lies in the run's folder."""
    if outcome is None or not task.notebooks:
        return task.given()
    made = {path: str(outcome.notebook) for path in task.notebooks.values() if outcome.notebook}
    made |= outcome.notebooks
    made = {path: posixpath.relpath(at, root) for path, at in made.items()}
    if isinstance(task.product, str):
        return made.get(task.product, task.product)
    return {name: made.get(path, path) for name, path in (task.product or {}).items()}


def build_error(failure: Failure) -> BuildError:
    """A hook's failure as the error that ends a build."""
    place = f" ({failure.file}:{failure.line})" if failure.file else ""
    return BuildError(f"{shown(failure)}{place}", failure.hint or "mend the hook, then build again")


def shown(failure: Failure) -> str:
    """A hook's failure in one line."""
    return f"{failure.error}: {failure.message}".splitlines()[0]


def stopped(failure: Failure) -> str:
    """An early stop in one line."""
    said = failure.message.splitlines()[0] if failure.message else "no reason was given"
    return f"the build was ended early: {said}"
