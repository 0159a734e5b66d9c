"""A large graph made small: its groups, or else its layers, as single nodes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import State, Task
from nbpipe.views.words import plural

URGENCY: tuple[State, ...] = (
    "failed",
    "running",
    "blocked",
    "queued",
    "stale",
    "new",
    "fresh",
)
"""What several tasks together show: the first of these that one of them is."""


class Shown(msgspec.Struct, frozen=True):
    """What a diagram draws.

    Attributes:
        graph: of nodes, each a task or several.
        members: the tasks of each node.
    """

    graph: Graph
    members: dict[str, tuple[str, ...]]

    def states(self, states: Mapping[str, State]) -> dict[str, State]:
        """The state of each node: the most pressing of its tasks'."""
        return {
            node: min((states.get(task, "new") for task in tasks), key=URGENCY.index)
            for node, tasks in self.members.items()
        }

    def node_of(self, task: str) -> str | None:
        """The node that stands for a task."""
        return next((node for node, tasks in self.members.items() if task in tasks), None)

    def pressing(self, node: str, states: Mapping[str, State]) -> str | None:
        """The task of a node that a reader wants to see first."""
        tasks = self.members.get(node, ())
        return min(tasks, key=lambda t: URGENCY.index(states.get(t, "new")), default=None)


def shown(graph: Graph, limit: int) -> Shown:
    """The graph itself when it has ``limit`` tasks or fewer, else collapsed."""
    if len(graph.tasks) <= limit:
        return Shown(graph, {name: (name,) for name in graph.tasks})
    by_group = _collapsed(graph, _groups(graph))
    if len(by_group.members) <= limit and _acyclic(by_group.graph):
        return by_group
    return _collapsed(graph, _layers(graph))


def _groups(graph: Graph) -> dict[str, str]:
    return {name: task.group or name for name, task in graph.tasks.items()}


def _layers(graph: Graph) -> dict[str, str]:
    depth: dict[str, int] = {}
    for name in graph.order():
        depth[name] = 1 + max((depth[up] for up in graph.upstream.get(name, ())), default=0)
    return {name: f"step {depth[name]}" for name in graph.order()}


def _collapsed(graph: Graph, label: Mapping[str, str]) -> Shown:
    tasks: dict[str, list[str]] = {}
    for name, node in label.items():
        tasks.setdefault(node, []).append(name)
    called = {
        node: node if own == [node] else f"{node} · {plural(len(own), 'task')}"
        for node, own in tasks.items()
    }
    upstream: dict[str, dict[str, None]] = {called[node]: {} for node in tasks}
    for name, ups in graph.upstream.items():
        here = called[label[name]]
        upstream[here].update({called[label[u]]: None for u in ups if called[label[u]] != here})
    return Shown(
        Graph(
            {name: Task(name=name, source="") for name in called.values()},
            {name: tuple(ups) for name, ups in upstream.items()},
        ),
        {called[node]: tuple(own) for node, own in tasks.items()},
    )


def _acyclic(graph: Graph) -> bool:
    try:
        graph.order()
    except ValueError:  # graphlib.CycleError
        return False
    return True
