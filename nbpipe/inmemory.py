"""Pipelines of functions that pass values to each other in this process: nothing is on disk.

Made of the functions of a pipeline.yaml, for inference with the very code that trained, or of plain
functions.
"""

from __future__ import annotations

import functools
import graphlib
import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from nbpipe.errors import UsageError, did_you_mean
from nbpipe.run.callbacks import importing

if TYPE_CHECKING:
    from nbpipe.core.model import Task
    from nbpipe.loaded import LoadedPipeline


class Step(msgspec.Struct, frozen=True):
    """One function.

    Attributes:
        name: of the task.
        function: None: there is none, so its value must be given.
        upstream: the tasks whose values it reads.
        groups: wildcards of ``upstream`` with the tasks that they mean.
        params: values that it is given unless the caller says otherwise.
        by_name: True: each value is a parameter of its task's name; False: all are in ``upstream``.
    """

    name: str
    function: Callable[..., Any] | None
    upstream: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = {}
    params: dict[str, Any] = {}
    by_name: bool = False


class InMemoryPipeline:
    """Functions that pass values to each other.

    Make one with :meth:`Pipeline.in_memory` or :meth:`from_functions`. It may be run any number of
    times, from several threads too if the functions bear that.

    Args:
        steps: the functions.

    Raises:
        UsageError: two have one name, or they need each other.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps: dict[str, Step] = {}
        for step in steps:
            if step.name in self._steps:
                raise UsageError(
                    f"two functions are called '{step.name}'", "name them by a mapping"
                )
            self._steps[step.name] = step
        known = {name: set(step.upstream) & self._steps.keys() for name, step in self._pairs()}
        try:
            order = tuple(graphlib.TopologicalSorter(known).static_order())
        except graphlib.CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
            raise UsageError(f"functions that need each other: {circle}") from None
        self._steps = {name: self._steps[name] for name in order}

    @classmethod
    def from_functions(
        cls,
        *functions: Callable[..., Any],
        named: Mapping[str, Callable[..., Any]] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> InMemoryPipeline:
        """Of plain functions: a parameter that is called as another function is given its value.

        Args:
            functions: each is a task of its own name.
            named: functions under other names.
            params: values of the parameters that are no functions, by name.

        Raises:
            UsageError: two have one name, they need each other, or nothing takes a param.
        """
        tasks = [*((f.__name__, f) for f in functions), *(named or {}).items()]
        names, given = {name for name, _ in tasks}, dict(params or {})
        steps: list[Step] = []
        taken: set[str] = set()
        for name, function in tasks:
            parameters = inspect.signature(function).parameters
            own = {key: value for key, value in given.items() if key in parameters}
            taken |= own.keys()
            upstream = tuple(key for key in parameters if key in names)
            steps.append(Step(name, function, upstream, {}, own, by_name=True))
        if strange := sorted(given.keys() - taken):
            raise UsageError(f"no function has a parameter '{strange[0]}'")
        return cls(steps)

    def then(self, function: Callable[..., Any], name: str | None = None) -> InMemoryPipeline:
        """The same with one more function, such as a prediction from a trained model.

        Args:
            function: gets the value of a task by a parameter of its name, or all in ``upstream``.
            name: of the new task; None: the function's.
        """
        parameters = inspect.signature(function).parameters
        by_name = "upstream" not in parameters
        ends = self.terminals
        upstream = tuple(key for key in parameters if key in self._steps) if by_name else ends
        step = Step(name or function.__name__, function, upstream, by_name=by_name)
        return InMemoryPipeline([*self._steps.values(), step])

    def through(self, change: Callable[[Any], Any]) -> InMemoryPipeline:
        """The same, where what each function returns is changed first.

        Args:
            change: is given the value of a function, and gives the one that counts.
        """
        return InMemoryPipeline(
            msgspec.structs.replace(step, function=_changed(step.function, change))
            for step in self._steps.values()
        )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names, in an order in which they can run."""
        return tuple(self._steps)

    @property
    def terminals(self) -> tuple[str, ...]:
        """The tasks whose values no other reads."""
        read = {up for step in self._steps.values() for up in step.upstream}
        return tuple(name for name in self._steps if name not in read)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tasks that have no function here: their values must be given."""
        return tuple(name for name, step in self._pairs() if step.function is None)

    def run(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        outputs: Collection[str] = (),
    ) -> dict[str, Any]:
        """Call the functions in this thread, and return their values.

        Args:
            inputs: values that stand for tasks, which are then not called, nor what only they need.
            params: values for parameters of this name, before those of the spec.
            outputs: the tasks that are wanted; none: those that no other reads.

        Returns:
            The value of every task that was needed, by name, those of ``inputs`` included.

        Raises:
            UsageError: there is no such task or param, or a value is missing.
            Exception: what a function raises.
        """
        values, given = dict(inputs or {}), dict(params or {})
        for name in [*values, *outputs]:
            if name not in self._steps:
                raise UsageError(f"no task '{name}'", did_you_mean(name, self._steps))
        wanted = self._needed(outputs or self.terminals, values)
        known = {p for name in wanted for p in _parameters(self._steps[name])}
        if strange := sorted(given.keys() - known):
            hint = did_you_mean(strange[0], known)
            raise UsageError(f"no function that runs has a parameter '{strange[0]}'", hint)
        for name, step in self._pairs():
            if name in wanted:
                values[name] = _call(step, values, given)
        return {name: values[name] for name in self._steps if name in values}

    def _needed(self, targets: Iterable[str], values: Mapping[str, Any]) -> set[str]:
        """The tasks to call, in no order."""
        found: set[str] = set()
        left = [name for name in targets if name not in values]
        while left:
            name = left.pop()
            if name in found:
                continue
            if self._steps[name].function is None:
                hint = f"run({{'{name}': …}})"
                raise UsageError(f"the value of '{name}' must be given", hint)
            found.add(name)
            left += [up for up in self._steps[name].upstream if up not in values]
        return found

    def _pairs(self) -> Iterable[tuple[str, Step]]:
        return self._steps.items()

    def __repr__(self) -> str:
        """One line: the tasks in their order."""
        return f"<InMemoryPipeline: {' → '.join(self._steps)}>"


def _changed(
    function: Callable[..., Any] | None, change: Callable[[Any], Any]
) -> Callable[..., Any] | None:
    if function is None:
        return None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return change(function(*args, **kwargs))

    return call


def _parameters(step: Step) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(step.function).parameters if step.function is not None else {}


def _call(step: Step, values: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Call one function with what its signature names."""
    assert step.function is not None
    parameters = _parameters(step)
    offered = {**step.params, **given}
    if step.by_name:
        offered |= {up: values[up] for up in step.upstream}
    else:
        grouped = {name for names in step.groups.values() for name in names}
        upstream = {up: values[up] for up in step.upstream if up not in grouped}
        upstream |= {wild: {n: values[n] for n in ns} for wild, ns in step.groups.items()}
        offered["upstream"] = upstream or None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return _ended(step.function(**offered))
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in offered]
    missing = [n for n in missing if parameters[n].kind is not inspect.Parameter.VAR_POSITIONAL]
    if missing:
        hint = f"run(params={{'{missing[0]}': …}})"
        raise UsageError(f"task '{step.name}' needs a value for '{missing[0]}'", hint)
    return _ended(step.function(**{n: offered[n] for n in parameters if n in offered}))


def _ended(value: Any) -> Any:
    """What a function returned; of one that is ``async``, what it came to."""
    if not inspect.iscoroutine(value):
        return value
    import asyncio

    return asyncio.run(value)


# -- of a pipeline.yaml ------------------------------------------------------------------------


def of_pipeline(
    pipeline: LoadedPipeline, chosen: Collection[str] | None, *, named: bool
) -> InMemoryPipeline:
    """The functions of a pipeline; other tasks are inputs.

    Args:
        pipeline: whose modules are imported into this process.
        chosen: names of tasks; None: all.
        named: True: the caller named tasks, one of which at least must be a function.

    Raises:
        UsageError: there is no function among them.
        ImportError: a module of the project cannot be imported.
    """
    graph = pipeline.graph
    names = [name for name in graph.tasks if chosen is None or name in chosen]
    with importing(pipeline.root):
        functions = {name: _function(graph.tasks[name]) for name in names}
    if not any(functions.values()):
        what = "none of these tasks is" if named else "no task of this pipeline is"
        raise UsageError(
            f"{what} a function that returns its value",
            "notebooks, and functions that take 'product', work with files",
        )
    return InMemoryPipeline(
        Step(
            name,
            functions[name],
            graph.upstream[name],
            {wild: tuple(ns) for wild, ns in graph.wildcards.get(name, {}).items()},
            dict(graph.tasks[name].params),
        )
        for name in names
    )


def _function(task: Task) -> Callable[..., Any] | None:
    """The function of a task; None: it has none, or one that works with files."""
    if task.kind != "function":
        return None
    module, _, name = task.source.rpartition(".")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return None if "product" in inspect.signature(function).parameters else function
