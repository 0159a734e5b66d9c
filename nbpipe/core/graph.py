"""Tasks and their edges: wildcards resolved, names checked, cycles found."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from nbpipe.core.model import Declared, Location, Spec, Task
from nbpipe.errors import Problem, SpecError, UsageError, did_you_mean

if TYPE_CHECKING:
    import networkx


class Graph(msgspec.Struct, frozen=True):
    """A directed acyclic graph of tasks.

    Attributes:
        tasks: by name, in the order of the spec.
        upstream: names of the direct upstreams of each task, in the order it declares them.
        wildcards: for each task that uses them, the names that each pattern stands for.
    """

    tasks: dict[str, Task]
    upstream: dict[str, tuple[str, ...]]
    wildcards: dict[str, dict[str, tuple[str, ...]]] = {}

    def order(self) -> tuple[str, ...]:
        """Names in topological order; ties in the order of the spec."""
        return tuple(_topological(self.tasks, self.upstream))

    def downstream(self) -> dict[str, tuple[str, ...]]:
        """Names of the direct downstreams of each task."""
        found: dict[str, list[str]] = {name: [] for name in self.tasks}
        for name, ups in self.upstream.items():
            for up in ups:
                found[up].append(name)
        return {name: tuple(downs) for name, downs in found.items()}

    def ancestors(self, *names: str) -> frozenset[str]:
        """Everything upstream of the tasks ``names``, themselves left out."""
        return _reach(names, self.upstream)

    def descendants(self, *names: str) -> frozenset[str]:
        """Everything downstream of the tasks ``names``, themselves left out."""
        return _reach(names, self.downstream())

    def task(self, name: str) -> Task:
        """The task called ``name``.

        Raises:
            UsageError: there is none; the hint names the nearest.
        """
        try:
            return self.tasks[name]
        except KeyError:
            raise UsageError(f"no task '{name}'", did_you_mean(name, self.tasks)) from None

    def to_networkx(self) -> networkx.DiGraph[str]:
        """The same graph for networkx, nodes in the order of the spec."""
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph()
        graph.add_nodes_from(self.tasks)
        graph.add_edges_from((up, name) for name, ups in self.upstream.items() for up in ups)
        return graph


def build_graph(spec: Spec, declared: Mapping[str, Declared]) -> Graph:
    """Join the tasks by what the spec or their sources declare.

    Args:
        spec: the pipeline.
        declared: what each task's source says, by task name.

    Raises:
        SpecError: an unknown upstream, or a cycle; all of them at once.
    """
    tasks = {task.name: task for task in spec.tasks}
    problems: list[Problem] = []
    upstream: dict[str, tuple[str, ...]] = {}
    wildcards: dict[str, dict[str, tuple[str, ...]]] = {}
    for task in spec.tasks:
        said = declared.get(task.name, Declared())
        names, groups, wrong = _resolve(task, said, tasks, spec.file)
        upstream[task.name] = names
        if groups:
            wildcards[task.name] = groups
        problems.extend(wrong)
    problems.extend(_cycles(tasks, upstream, spec.file))
    if problems:
        raise SpecError(problems)
    return Graph(tasks, upstream, wildcards)


def is_wildcard(name: str) -> bool:
    """Whether an upstream's name is a pattern (``*``, ``?``, ``[…]``)."""
    return any(mark in name for mark in "*?[")


def _resolve(
    task: Task, said: Declared, tasks: Mapping[str, Task], file: str
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], list[Problem]]:
    wanted = said.upstream if task.upstream is None else task.upstream
    places = said.at if task.upstream is None else ()
    names: dict[str, None] = {}
    groups: dict[str, tuple[str, ...]] = {}
    problems = []
    for i, name in enumerate(wanted):
        found = _matches(name, task.name, tasks)
        if not found:
            place = places[i] if i < len(places) else task.at or Location(file)
            problems.append(_unknown(name, task, place, tasks))
        elif name not in tasks:
            groups[name] = found
        names.update(dict.fromkeys(found))
    return tuple(names), groups, problems


def _matches(name: str, own: str, tasks: Mapping[str, Task]) -> tuple[str, ...]:
    if name in tasks or not is_wildcard(name):
        return (name,) if name in tasks else ()
    return tuple(other for other in tasks if other != own and fnmatchcase(other, name))


def _unknown(name: str, task: Task, place: Location, tasks: Mapping[str, Task]) -> Problem:
    what = "pattern matches no task" if is_wildcard(name) else "no such task"
    message = f"upstream '{name}' of task '{task.name}': {what}"
    others = [other for other in tasks if other != task.name]
    return Problem(place.file, place.line, place.column, "", message, did_you_mean(name, others))


def _cycles(
    tasks: Mapping[str, Task], upstream: Mapping[str, tuple[str, ...]], file: str
) -> Iterator[Problem]:
    try:
        for _ in _topological(tasks, upstream):
            pass
    except graphlib.CycleError as error:
        path: list[str] = error.args[1]
        place = tasks[path[0]].at or Location(file)
        message = f"cycle: {' → '.join(path)}"
        hint = "a task cannot wait for itself: remove one of these upstreams"
        yield Problem(place.file, place.line, place.column, "", message, hint)


def _topological(
    tasks: Mapping[str, Task], upstream: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """Kahn's order; among the ready tasks the one that stands first in the spec."""
    rank = {name: i for i, name in enumerate(tasks)}
    sorter = graphlib.TopologicalSorter(upstream)
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        yield from ready
        sorter.done(*ready)


def _reach(names: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    seen: set[str] = set()
    todo = [near for name in names for near in edges[name]]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(edges[name])
    return frozenset(seen)
