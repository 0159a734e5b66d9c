"""Hooks from Python: functions of this process that a build calls around tasks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.model import Failure, Job
from nbpipe.core.options import Call, HookCall, HookName, HookTask

OWN = Call("a function of this process")
"""Stands for a hook from Python, which has no name that another process could import."""

Hook = Callable[..., Any]
"""Takes, by name, what hooks of pipeline.yaml take; what it returns does not matter."""


class Callbacks:
    """Functions by the task that they belong to ("": the whole pipeline) and when they are called.

    Shared by a pipeline object, its tasks, and what :meth:`reload` makes of it.
    """

    def __init__(self) -> None:
        self._hooks: dict[tuple[str, HookName], Hook] = {}

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def get(self, whose: str, name: HookName) -> Hook | None:
        """The function; None: there is none."""
        return self._hooks.get((whose, name))

    def set(self, whose: str, name: HookName, function: Hook | None) -> None:
        """Hang a function; None: take it away."""
        self._hooks.pop((whose, name), None)
        if function is not None:
            self._hooks[(whose, name)] = function

    async def call(self, hook: HookCall, root: Path, folder: Path) -> Failure | None:
        """Call the function that hangs where ``hook`` says, in a thread.

        Args:
            hook: when, and what it is about.
            root: of the pipeline; paths that are given are absolute.
            folder: of the run.

        Returns:
            Why it failed; None: it went well, or there is none.
        """
        import asyncio  # a pipeline that is only looked at goes without

        from nbpipe.executors import call as calling

        whose = hook.task.name if hook.task is not None else ""
        function = self.get(whose, hook.hook)
        if function is None:
            return None
        job = Job(
            task=whose or "pipeline",
            kind="function",
            source=OWN.function,
            root=str(root),
            folder=str(folder),
            stem="",
            hooks=(_absolute(msgspec.structs.replace(hook, call=OWN), root.resolve()),),
        )

        def find(name: str) -> Hook:
            if name == OWN.function:
                return function
            with importing(root):  # a client of the project's
                return calling.find_function(name)

        return await asyncio.to_thread(calling.run, job, find=find)


@contextlib.contextmanager
def importing(root: Path) -> Iterator[None]:
    """The modules of a project can be imported into this process."""
    folder = str(root.resolve())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _absolute(hook: HookCall, root: Path) -> HookCall:
    """The same with absolute paths: this process may be in any folder."""
    if hook.task is not None:
        return msgspec.structs.replace(hook, task=_placed(hook.task, root))
    return msgspec.structs.replace(hook, tasks=tuple(_placed(task, root) for task in hook.tasks))


def _placed(task: HookTask, root: Path) -> HookTask:
    def place(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: place(one) for key, one in value.items()}
        if isinstance(value, str) and value not in task.relations:
            return str(root / value)
        return value

    return msgspec.structs.replace(task, product=place(task.product), upstream=place(task.upstream))
