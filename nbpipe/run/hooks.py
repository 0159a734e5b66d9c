"""When hooks are called in a run; each in a clean process, never in this one."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph
from nbpipe.core.model import Failure, Job, Outcome, Task
from nbpipe.core.options import Call, HookCall, HookName, Hooks, HookTask
from nbpipe.core.progress import Progress
from nbpipe.errors import EARLY_STOP, BuildError
from nbpipe.executors.function import FunctionExecutor
from nbpipe.run.prepare import upstream_value
from nbpipe.store.records import file_stem


class RunHooks:
    """The hooks of one run.

    Args:
        graph: the pipeline.
        hooks: of the whole pipeline.
        root: its folder, where hooks run.
        folder: of the run, where their output goes.
        emit: takes warnings.
    """

    def __init__(
        self,
        graph: Graph,
        hooks: Hooks,
        root: Path,
        folder: Path,
        emit: Callable[[ev.Event], None],
    ) -> None:
        self._graph = graph
        self._hooks = hooks
        self._root = root
        self._folder = folder
        self._emit = emit

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
        if failure is None or failure.error == EARLY_STOP:
            return failure
        raise build_error(failure)

    async def after(self, task: Task, outcome: Outcome) -> Failure | None:
        """``on_finish`` of a task; why its run does not count as good, None when it does.

        The executed notebook is not in its place yet: the hook finds it in the run's folder.
        """
        if task.hooks.on_finish is None:
            return None
        return await self._call([self._of("on_finish", task.hooks.on_finish, task, outcome)])

    async def failed(self, task: Task) -> None:
        """``on_failure`` of a task; an error in it is a warning."""
        if task.hooks.on_failure is None:
            return
        failure = await self._call([self._of("on_failure", task.hooks.on_failure, task)])
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
        if call is None:
            return
        texts = [f"{task}: {f.error}: {f.message}\n{f.traceback}" for task, f in failures.items()]
        rows = [(n, t.result == "ran", t.seconds) for n, t in progress.tasks.items()]
        whole = self._of_all(name, call)
        whole = msgspec.structs.replace(whole, report=tuple(rows), traceback="\n".join(texts))
        failure = await self._call([whole])
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
        )

    async def _call(self, calls: list[HookCall], name: str = "") -> Failure | None:
        if not calls:
            return None
        whose = calls[0].task.name if calls[0].task is not None and not name else name or "pipeline"
        job = Job(
            task=whose,
            kind="function",
            source=calls[0].call.function,
            root=str(self._root),
            folder=str(self._folder),
            stem=f"{file_stem(whose)}.{calls[0].hook}",
            hooks=tuple(calls),
            environ={"NBPIPE_RUN": self._folder.name, "NBPIPE_ROOT": str(self._root)},
        )
        return (await FunctionExecutor().run(job, self._emit)).failure


def _as_it_is(task: Task, outcome: Outcome | None, root: Path) -> str | dict[str, str] | None:
    """The products, of which the executed notebook still lies in the run's folder."""
    if outcome is None or not task.notebooks:
        return task.product
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
