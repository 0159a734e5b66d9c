"""Columns for the nodes of a graph, and dummy nodes where an edge passes a column.

Nodes are integers here: 0 … n-1 are the graph's own, higher ones are dummies.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

Edge = tuple[int, int]


class Layered(msgspec.Struct):
    """A graph whose every edge joins two neighbouring columns.

    Attributes:
        real: how many nodes are the graph's own; from this number on they are dummies.
        rank: column of each node, from 0.
        columns: the nodes of each column, from top to bottom.
        left: neighbours in the column before, of each node.
        right: neighbours in the column after, of each node.
        ways: the dummies that each edge of the graph passes, from left to right.
    """

    real: int
    rank: list[int]
    columns: list[list[int]]
    left: list[list[int]]
    right: list[list[int]]
    ways: dict[Edge, list[int]]

    @property
    def count(self) -> int:
        """How many nodes there are, dummies too."""
        return len(self.rank)


def layered(count: int, edges: Sequence[Edge]) -> Layered:
    """Give each of ``count`` nodes a column and split the long edges.

    Raises:
        ValueError: the edges form a cycle.
    """
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        targets[source].append(target)
    rank = ranks(targets)
    net = Layered(count, rank, [], [[] for _ in rank], [[] for _ in rank], {})
    for source, ends in enumerate(targets):
        _link(net, source, ends)
    net.columns = _first_order(net)
    return net


def ranks(targets: Sequence[Sequence[int]]) -> list[int]:
    """The column of each node: one more than its last source's, then pulled to the right.

    A node with more targets than sources moves as near to its targets as it can, since that
    shortens more edges than it lengthens.
    """
    order = _topological(targets)
    rank = [0] * len(targets)
    sources = [0] * len(targets)
    for v in order:
        for w in targets[v]:
            rank[w] = max(rank[w], rank[v] + 1)
            sources[w] += 1
    for v in reversed(order):
        if len(targets[v]) > sources[v]:
            rank[v] = min(rank[w] for w in targets[v]) - 1
    return rank


def _topological(targets: Sequence[Sequence[int]]) -> list[int]:
    waits = [0] * len(targets)
    for ends in targets:
        for w in ends:
            waits[w] += 1
    order = [v for v, n in enumerate(waits) if n == 0]
    for v in order:
        for w in targets[v]:
            waits[w] -= 1
            if waits[w] == 0:
                order.append(w)
    if len(order) < len(targets):
        raise ValueError("the edges form a cycle")
    return order


def _link(net: Layered, source: int, targets: Sequence[int]) -> None:
    """Join a node with its targets. Its long edges share one trunk and branch off it."""
    far = max((net.rank[w] for w in targets), default=0)
    trunk = [net.count + i for i in range(far - net.rank[source] - 1)]
    net.rank += range(net.rank[source] + 1, far)
    net.left += [[] for _ in trunk]
    net.right += [[] for _ in trunk]
    stems = [source, *trunk]
    for target in targets:
        steps = net.rank[target] - net.rank[source] - 1
        net.right[stems[steps]].append(target)
        net.left[target].append(stems[steps])
        net.ways[source, target] = trunk[:steps]
    for stem, onward in zip(stems, trunk, strict=False):
        # In the middle of its siblings, so that a symmetric graph gives a symmetric picture.
        net.right[stem].insert(len(net.right[stem]) // 2, onward)
        net.left[onward].append(stem)


def _first_order(net: Layered) -> list[list[int]]:
    """Columns in the order of a walk from each source in turn, which keeps relatives together."""
    columns: list[list[int]] = [[] for _ in range(max(net.rank, default=-1) + 1)]
    seen = [False] * net.count
    starts = [v for v in range(net.real) if not net.left[v]]
    todo = starts[::-1]
    while todo:
        v = todo.pop()
        if not seen[v]:
            seen[v] = True
            columns[net.rank[v]].append(v)
            todo += reversed(net.right[v])
    return columns
