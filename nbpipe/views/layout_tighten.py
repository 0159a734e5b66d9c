"""Heights for dense graphs, where level long edges would cost too much room.

`layout_align` keeps every long edge level, whatever that costs. Here columns start packed and
each node drifts towards its neighbours; then every stretch of a long edge that can be level
without moving anything else becomes so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from nbpipe.views.layout_align import Apart
from nbpipe.views.layout_layers import Layered

SWEEPS = 20
WORK = 150_000
"""About how many nodes all sweeps together may visit."""

_WIGGLE = 14.0
"""A bend smaller than this, in pixels, looks like a mistake."""

_LONG, _HALF, _SHORT = 6.0, 2.0, 1.0
"""How strongly an edge pulls: between two dummies, between a dummy and a node, between nodes."""


def packed(net: Layered, apart: Apart) -> list[float]:
    """Every column as short as it can be, around y = 0."""
    ys = [0.0] * net.count
    for column in net.columns:
        steps = _steps(column, apart)
        for v, step in zip(column, steps, strict=True):
            ys[v] = step - steps[-1] / 2
    return ys


def tighten(net: Layered, apart: Apart) -> list[float]:
    """The y of every node's centre; the order of the columns is kept."""
    ys = packed(net, apart)
    steps = [_steps(column, apart) for column in net.columns]
    numbers = range(len(net.columns))
    for sweep in range(max(2, min(SWEEPS, WORK // net.count))):
        for i in numbers if sweep % 2 == 0 else reversed(numbers):
            sides = (net.left, net.right) if sweep > 3 else (net.left, net.right)[sweep % 2 :][:1]
            _settle(net, ys, net.columns[i], steps[i], sides)
    _level(net, ys, apart)
    return ys


def _steps(column: Sequence[int], apart: Apart) -> list[float]:
    """How far each node is below the first one at least."""
    steps = [0.0]
    for upper, lower in pairwise(column):
        steps.append(steps[-1] + apart(upper, lower))
    return steps


def _settle(
    net: Layered,
    ys: list[float],
    column: Sequence[int],
    steps: Sequence[float],
    sides: Sequence[Sequence[Sequence[int]]],
) -> None:
    """Move a column's nodes as near to their neighbours as their distances allow."""
    wanted: list[float] = []
    weights: list[float] = []
    for v, step in zip(column, steps, strict=True):
        pulls = [(_pull(net, v, w), ys[w]) for near in sides for w in near[v]]
        weight = sum(pull for pull, _ in pulls)
        goal = sum(pull * y for pull, y in pulls) / weight if pulls else ys[v]
        wanted.append(goal - step)
        weights.append(weight or 0.05)
    for v, y, step in zip(column, _rising(wanted, weights), steps, strict=True):
        ys[v] = y + step


def _pull(net: Layered, v: int, w: int) -> float:
    dummies = (v >= net.real) + (w >= net.real)
    return (_SHORT, _HALF, _LONG)[dummies]


def _rising(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The rising sequence nearest to ``wanted`` by weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for goal, weight in zip(wanted, weights, strict=True):
        pool = (goal, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, heavy, count = pools.pop()
            both = heavy + pool[1]
            pool = ((mean * heavy + pool[0] * pool[1]) / both, both, count + pool[2])
        pools.append(pool)
    return [mean for mean, _, count in pools for _ in range(count)]


def _level(net: Layered, ys: list[float], apart: Apart) -> None:
    """Remove small bends: of short edges first, then of the long ones, stretch by stretch."""
    room = _Room(net, ys, apart)
    for v in range(net.real):
        low, high = room.of(v)
        near = min((ys[w] for w in net.left[v] + net.right[v]), key=lambda y: abs(y - ys[v]))
        if abs(near - ys[v]) < _WIGGLE and low <= near <= high:
            ys[v] = near
    for way in _trunks(net):
        _straighten(way, ys, room)


class _Room:
    """Tells how far a node can move between the ones above and below it."""

    def __init__(self, net: Layered, ys: list[float], apart: Apart) -> None:
        self.above: dict[int, tuple[int, float]] = {}
        self.below: dict[int, tuple[int, float]] = {}
        self.ys = ys
        for column in net.columns:
            for upper, lower in pairwise(column):
                self.above[lower] = (upper, apart(upper, lower))
                self.below[upper] = (lower, apart(upper, lower))

    def of(self, v: int) -> tuple[float, float]:
        """The least and the greatest y that ``v`` may have."""
        low, high = -math.inf, math.inf
        if v in self.above:
            low = self.ys[self.above[v][0]] + self.above[v][1]
        if v in self.below:
            high = self.ys[self.below[v][0]] - self.below[v][1]
        return low, high


def _trunks(net: Layered) -> Iterator[list[int]]:
    """Each long edge's source, its dummies, and the last target; many-branched ones too."""
    for source in range(net.real):
        way = [source]
        while onward := [w for w in net.right[way[-1]] if w >= net.real]:
            way.append(onward[0])
        if len(way) > 1:
            yield [*way, net.right[way[-1]][0]]


def _straighten(way: Sequence[int], ys: list[float], room: _Room) -> None:
    """Make a long edge level, in as few stretches as its neighbours allow; its ends stay."""
    bounds = [(ys[way[0]], ys[way[0]]), *map(room.of, way[1:-1]), (ys[way[-1]], ys[way[-1]])]
    start = 0
    while start < len(way):
        low, high = bounds[start]
        end = start + 1
        while end < len(way) and max(low, bounds[end][0]) <= min(high, bounds[end][1]):
            low, high = max(low, bounds[end][0]), min(high, bounds[end][1])
            end += 1
        mean = sum(ys[v] for v in way[start:end]) / (end - start)
        for v in way[start:end]:
            ys[v] = min(max(mean, low), high)
        start = end
