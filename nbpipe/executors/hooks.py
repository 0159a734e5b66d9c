"""Calls hooks, in the process that calls functions: what they are given, by the names they use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from nbpipe.core.options import HookCall
from nbpipe.core.options import HookTask as TaskData

Find = Callable[[str], Callable[..., Any]]
"""Gives the function of a dotted name."""


class HookTask:
    """A task as its hook gets it.

    Attributes:
        name: of the task.
        source: path of the script, or the dotted function.
        product: a path, paths by name, or None.
        upstream: paths of the products of each upstream task, by its name.
        params: values given to the source, ``product`` and ``upstream`` included.
    """

    def __init__(self, data: TaskData, find: Find | None = None) -> None:
        self.name = data.name
        self.source = data.source
        self.product = paths(data.product, data.relations)
        self.upstream = paths(data.upstream, data.relations)
        self.params = {**data.params, "product": self.product}
        if self.upstream is not None:
            self.params["upstream"] = self.upstream
        self._call = data.client
        self._find = find

    @cached_property
    def client(self) -> Any:
        """The client of the task's database; None: it has none."""
        if self._call is None or self._find is None:
            return None
        from nbpipe.executors.sql import client_of

        return client_of(self._call, self._find)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<task {self.name}: {self.source}>"


class HookDag(Mapping[str, HookTask]):
    """All tasks by their names, as a hook of the pipeline gets them."""

    def __init__(self, tasks: tuple[TaskData, ...], find: Find | None = None) -> None:
        self._tasks = {task.name: HookTask(task, find) for task in tasks}

    def __getitem__(self, name: str) -> HookTask:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def paths(value: Any, relations: Collection[str] = ()) -> Any:
    """Texts as paths, in mappings too; the names of tables and views stay texts."""
    if isinstance(value, Mapping):
        return {key: paths(one, relations) for key, one in value.items()}
    if isinstance(value, str):
        return value if value in relations else Path(value)
    return value


def offered(call: HookCall, find: Find | None = None) -> dict[str, Any]:
    """What a hook may ask for by the names of its parameters.

    Args:
        call: the hook.
        find: gives the function of a dotted name, for clients; None: there are none.
    """
    if call.task is not None:
        task = HookTask(call.task, find)
        given = {
            "task": task,
            "product": task.product,
            "upstream": task.upstream,
            "params": task.params,
            "client": task.client,
        }
    else:
        given = {"dag": HookDag(call.tasks, find)}
        if call.hook == "on_finish":
            given["report"] = _report(call)
        if call.hook == "on_failure":
            given["traceback"] = {"build": call.traceback}
    return {**given, **call.call.arguments}


def _report(call: HookCall) -> dict[str, list[Any]]:
    """How each task ended, by columns."""
    total = sum(seconds for _, _, seconds in call.report) or 1.0
    return {
        "name": [name for name, _, _ in call.report],
        "Ran?": [ran for _, ran, _ in call.report],
        "Elapsed (s)": [seconds for _, _, seconds in call.report],
        "Percentage": [100 * seconds / total for _, _, seconds in call.report],
    }


def call_hooks(
    calls: tuple[HookCall, ...],
    find: Find,
    chosen: Callable[..., dict[str, Any]],
) -> Iterator[HookCall]:
    """Call hooks one after another.

    Args:
        calls: the hooks.
        find: gives the function of a dotted name.
        chosen: gives, of the offered values, those that a function takes; it is given the
            function, the values, its name, and the values that the function must take.

    Yields:
        Each hook before it is called, so that an error has a name.
    """
    for call in calls:
        yield call
        function = find(call.call.function)
        named = call.call
        function(**chosen(function, offered(call, find), named.function, named.arguments))
