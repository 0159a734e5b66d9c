"""Calls hooks, in the process that calls functions: what they are given, by the names they use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nbpipe.core.options import HookCall
from nbpipe.core.options import HookTask as TaskData


class HookTask:
    """A task as its hook gets it.

    Attributes:
        name: of the task.
        source: path of the script, or the dotted function.
        product: a path, paths by name, or None.
        upstream: paths of the products of each upstream task, by its name.
        params: values given to the source, ``product`` and ``upstream`` included.
        client: None: the task has no client.
    """

    def __init__(self, data: TaskData) -> None:
        self.name = data.name
        self.source = data.source
        self.product = paths(data.product)
        self.upstream = paths(data.upstream)
        self.params = {**data.params, "product": self.product}
        if self.upstream is not None:
            self.params["upstream"] = self.upstream
        self.client = None

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<task {self.name}: {self.source}>"


class HookDag(Mapping[str, HookTask]):
    """All tasks by their names, as a hook of the pipeline gets them."""

    def __init__(self, tasks: tuple[TaskData, ...]) -> None:
        self._tasks = {task.name: HookTask(task) for task in tasks}

    def __getitem__(self, name: str) -> HookTask:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def paths(value: Any) -> Any:
    """Texts as paths, in mappings too."""
    if isinstance(value, Mapping):
        return {key: paths(one) for key, one in value.items()}
    return Path(value) if isinstance(value, str) else value


def offered(call: HookCall) -> dict[str, Any]:
    """What a hook may ask for by the names of its parameters."""
    if call.task is not None:
        task = HookTask(call.task)
        given = {
            "task": task,
            "product": task.product,
            "upstream": task.upstream,
            "params": task.params,
            "client": task.client,
        }
    else:
        given = {"dag": HookDag(call.tasks)}
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
    find: Callable[[str], Callable[..., Any]],
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
        function(**chosen(function, offered(call), named.function, named.arguments))
