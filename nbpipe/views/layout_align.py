"""Heights for the nodes of ordered columns.

After Brandes and Köpf, "Fast and simple horizontal coordinate assignment" (2001): four
alignments (with the neighbours on the left or right, ties upward or downward), each made compact,
then the mean of the middle two. Edges between dummies come out level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from nbpipe.views.layout_layers import Layered

Apart = Callable[[int, int], float]
"""Least distance between the centres of a node and of the next one below it."""


def align(net: Layered, apart: Apart) -> list[float]:
    """The y of every node's centre; the order of the columns is kept."""
    blocked = _conflicts(net)
    found: list[list[float]] = []
    for rightward in (True, False):
        for downward in (True, False):
            columns = [column if downward else column[::-1] for column in net.columns]
            near = net.left if rightward else net.right
            roots = _blocks(net, columns if rightward else columns[::-1], near, blocked)
            distance = apart if downward else _flipped(apart)
            ys = _compact(columns, roots, distance)
            found.append(ys if downward else [-y for y in ys])
    return _balance(found)


def _flipped(apart: Apart) -> Apart:
    return lambda upper, lower: apart(lower, upper)


def _places(columns: Sequence[Sequence[int]], count: int) -> list[int]:
    place = [0] * count
    for column in columns:
        for i, v in enumerate(column):
            place[v] = i
    return place


def _conflicts(net: Layered) -> set[tuple[int, int]]:
    """Edges that cross one between dummies; they give way so that the long edge stays level."""
    place = _places(net.columns, net.count)
    found: set[tuple[int, int]] = set()
    for before, column in pairwise(net.columns):
        upper, done = 0, 0
        for i, v in enumerate(column):
            inner = [w for w in net.left[v] if v >= net.real and w >= net.real]
            if not inner and i < len(column) - 1:
                continue
            lower = place[inner[0]] if inner else len(before) - 1
            for u in column[done : i + 1]:
                found.update(
                    (w, u)
                    for w in net.left[u]
                    if not upper <= place[w] <= lower and not (w >= net.real and u >= net.real)
                )
            upper, done = lower, i + 1
    return found


def _blocks(
    net: Layered,
    columns: Sequence[Sequence[int]],
    near: Sequence[Sequence[int]],
    blocked: set[tuple[int, int]],
) -> list[int]:
    """Join each node with a middle neighbour of the column before. Gives each node's root."""
    place = _places(columns, net.count)
    root = list(range(net.count))
    taken = [False] * net.count
    for column in columns:
        last = -1
        for v in column:
            others = sorted(near[v], key=place.__getitem__)
            for m in sorted({(len(others) - 1) // 2, len(others) // 2}):
                w = others[m] if others else v
                free = w != v and root[v] == v and not taken[w] and place[w] > last
                if free and (w, v) not in blocked and (v, w) not in blocked:
                    taken[w] = True
                    root[v] = root[w]
                    last = place[w]
    return root


def _compact(columns: Sequence[Sequence[int]], roots: Sequence[int], apart: Apart) -> list[float]:
    """Push the blocks as far up as they go, then each down again as far as it has room."""
    below: dict[int, list[tuple[int, float]]] = {root: [] for root in roots}
    waits = dict.fromkeys(below, 0)
    for column in columns:
        for upper, lower in pairwise(column):
            below[roots[upper]].append((roots[lower], apart(upper, lower)))
            waits[roots[lower]] += 1
    y = dict.fromkeys(below, 0.0)
    order = [root for root, n in waits.items() if n == 0]
    for root in order:
        for other, distance in below[root]:
            y[other] = max(y[other], y[root] + distance)
            waits[other] -= 1
            if waits[other] == 0:
                order.append(other)
    for root in reversed(order):
        room = min((y[other] - distance for other, distance in below[root]), default=y[root])
        y[root] = max(y[root], room)
    return [y[root] for root in roots]


def _balance(found: Sequence[list[float]]) -> list[float]:
    """The mean of the middle two of four, after moving all over the narrowest one."""
    spans = [(min(ys), max(ys)) for ys in found]
    low, high = min(spans, key=lambda span: span[1] - span[0])
    moved = []
    for i, (ys, (top, bottom)) in enumerate(zip(found, spans, strict=True)):
        shift = low - top if i % 2 == 0 else high - bottom
        moved.append([y + shift for y in ys])
    return [sum(sorted(four)[1:3]) / 2 for four in zip(*moved, strict=True)]
