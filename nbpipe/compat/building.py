"""``DAG``, tasks and products of Ploomber's Python API, as what pipeline.yaml would hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nbpipe.compat import dag as loaded
from nbpipe.core.options import HOOKS
from nbpipe.errors import UsageError, did_you_mean


class DAG:
    """A pipeline that tasks are added to; built as that of a pipeline.yaml in this folder.

    Args:
        name: means nothing here.
        clients: not supported; see :class:`_NoClients`.
        executor: ``serial`` or ``parallel``.
    """

    def __init__(
        self, name: str | None = None, clients: Any = None, executor: str = "parallel"
    ) -> None:
        if clients:
            raise _no_clients()
        self.name = name
        self.executor = executor
        self.clients = _NoClients()
        self.on_render: Callable[..., Any] | None = None
        self.on_finish: Callable[..., Any] | None = None
        self.on_failure: Callable[..., Any] | None = None
        self._tasks: dict[str, Task] = {}

    def add(self, task: Task) -> None:
        """Take a task in, as its own constructor does.

        Raises:
            UsageError: its name is taken.
        """
        if task.name in self._tasks:
            raise UsageError(f"there are two tasks called '{task.name}'", "name one: name='…'")
        self._tasks[task.name] = task

    def as_dict(self) -> dict[str, Any]:
        """What pipeline.yaml would hold."""
        spec: dict[str, Any] = {
            "meta": {"extract_upstream": False, "compat": "ploomber"},
            "executor": self.executor,
            "tasks": [task.as_dict() for task in self._tasks.values()],
        }
        return spec | _hooks(self)

    def to_dag(self) -> loaded.DAG:
        """The pipeline, loaded from the current folder."""
        return loaded.DAG.from_dict(self.as_dict())

    def render(self, **ignored: Any) -> DAG:
        """Check it; returns itself.

        Raises:
            SpecError: something is wrong.
        """
        self.to_dag()
        return self

    def build(self, **options: Any) -> Any:
        """Build it; see :meth:`nbpipe.compat.dag.DAG.build`."""
        return self.to_dag().build(**options)

    def build_partially(self, target: str, **options: Any) -> Any:
        """Build some of it; see :meth:`nbpipe.compat.dag.DAG.build_partially`."""
        return self.to_dag().build_partially(target, **options)

    def status(self) -> Any:
        """The state of every task."""
        return self.to_dag().status()

    def plot(self, output: str = "embed", **options: Any) -> Any:
        """Draw it; see :meth:`nbpipe.compat.dag.DAG.plot`."""
        return self.to_dag().plot(output, **options)

    def __getitem__(self, name: str) -> Task:
        try:
            return self._tasks[name]
        except KeyError:
            raise UsageError(f"no task '{name}'", did_you_mean(name, self._tasks)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


class _NoClients(dict[Any, Any]):
    """Refuses clients: tasks run in processes of their own, and a client cannot be sent there."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise _no_clients()


def _no_clients() -> UsageError:
    what = "a DAG made in Python cannot have clients: its tasks run in other processes"
    return UsageError(what, "use pipeline.yaml, where 'clients:' names a function")


class File(os.PathLike[str]):
    """A product that is a file or a folder.

    Args:
        identifier: its path.
        client: not supported.
    """

    def __init__(self, identifier: str | os.PathLike[str], client: Any = None) -> None:
        if client is not None:
            raise _no_clients()
        self._path = os.fspath(identifier)

    def __fspath__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"File({self._path})"


class TaskGroup(list["Task"]):
    """Several tasks on one side of ``>>``."""

    def __rshift__(self, other: Any) -> Any:
        for task in _members(other):
            task.set_upstream(self)
        return other

    def __add__(self, other: Any) -> TaskGroup:  # type: ignore[override]
        return TaskGroup([*self, *_members(other)])


def _members(found: Any) -> Iterable[Task]:
    return [found] if isinstance(found, Task) else found


class Task:
    """One step; adds itself to its DAG.

    Args:
        source: a path, or a function.
        product: a product, or several by name.
        dag: that it belongs to.
        name: None: that of the file or of the function.
        params: values given to the source.
        options: of this class of task, as keys of pipeline.yaml call them.
    """

    def __init__(
        self,
        source: Any,
        product: Any,
        dag: DAG,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.source = self._described(source)
        self.product = product
        self.params = dict(params or {})
        self.name = name or self._own_name()
        self.on_render: Callable[..., Any] | None = options.pop("on_render", None)
        self.on_finish: Callable[..., Any] | None = options.pop("on_finish", None)
        self.on_failure: Callable[..., Any] | None = options.pop("on_failure", None)
        self._options = options
        self._upstream: dict[str, Task] = {}
        dag.add(self)

    def set_upstream(self, other: Any) -> None:
        """Have it read another task, or a group of tasks."""
        self._upstream |= {task.name: task for task in _members(other)}

    @property
    def upstream(self) -> dict[str, Task]:
        """The tasks that it reads."""
        return dict(self._upstream)

    def as_dict(self) -> dict[str, Any]:
        """The entry that pipeline.yaml would have."""
        entry: dict[str, Any] = {
            "source": self.source,
            "name": self.name,
            "class": type(self).__name__,
            "product": _path(self.product),
            "params": self.params,
            "upstream": list(self._upstream),
        }
        return entry | self._options | _hooks(self)

    def __rshift__(self, other: Any) -> Any:
        return TaskGroup([self]) >> other

    def __lshift__(self, other: Any) -> Any:
        self.set_upstream(other)
        return other

    def __add__(self, other: Any) -> TaskGroup:
        return TaskGroup([self, *_members(other)])

    def _described(self, source: Any) -> str:
        if isinstance(source, str) or not isinstance(source, os.PathLike):
            what = f"the source of a {type(self).__name__} must be a path"
            raise UsageError(what, "write the code into a file: Path('scripts/…')")
        return Path(source).as_posix()

    def _own_name(self) -> str:
        return Path(self.source).stem


class NotebookRunner(Task):
    """A script or notebook that runs in a kernel."""


class ScriptRunner(Task):
    """A script that runs in a kernel, and whose notebook is not kept."""


class ShellScript(Task):
    """A script that bash runs."""


class PythonCallable(Task):
    """A function of a module."""

    def _described(self, source: Any) -> str:
        return _dotted(source)

    def _own_name(self) -> str:
        return self.source.rpartition(".")[2]


def _dotted(function: Any) -> str:
    """The name under which another process imports a function."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", "<")
    if module in (None, "__main__") or "<" in name or "." in name:
        what = f"{name.removeprefix('<')} cannot be imported by another process"
        raise UsageError(what, "define it at the top of a module of the project")
    return f"{module}.{name}"


def _hooks(holder: DAG | Task) -> dict[str, str]:
    hooks = {name: getattr(holder, name) for name in HOOKS}
    return {name: _dotted(function) for name, function in hooks.items() if function is not None}


def _path(product: Any) -> Any:
    if isinstance(product, Mapping):
        return {name: _path(one) for name, one in product.items()}
    return Path(product).as_posix()
