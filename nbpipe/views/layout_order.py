"""An order for each column with few crossings: barycenter and median sweeps, then swaps."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

from nbpipe.views.layout_layers import Layered

SWEEPS = 24
"""Most sweeps over the columns; large graphs get fewer."""

WORK = 80_000
"""About how many nodes all sweeps together may visit, so that a huge graph takes a second."""


def reduce_crossings(net: Layered) -> None:
    """Reorder ``net.columns`` in place. The best order seen is kept."""
    best, fewest = _copy(net.columns), count_crossings(net)
    idle = 0
    for sweep in range(max(2, min(SWEEPS, WORK // max(net.count, 1)))):
        if fewest == 0 or idle == 6:
            break
        _sweep(net, sweep)
        _swap_neighbours(net, rounds=2)
        crossings = count_crossings(net)
        idle = 0 if crossings < fewest else idle + 1
        if crossings < fewest:
            best, fewest = _copy(net.columns), crossings
    net.columns[:] = best


def count_crossings(net: Layered) -> int:
    """How many pairs of edges cross."""
    total = 0
    for before, column in pairwise(net.columns):
        place = {v: i for i, v in enumerate(column)}
        ends: list[int] = []
        for v in before:
            mine = sorted(place[w] for w in net.right[v])
            total += sum(len(ends) - bisect_right(ends, end) for end in mine)
            for end in mine:
                insort(ends, end)
    return total


def _copy(columns: Sequence[Sequence[int]]) -> list[list[int]]:
    return [list(column) for column in columns]


def _sweep(net: Layered, number: int) -> None:
    """Sort each column by where its neighbours stand: to the right, then to the left, and so on.

    Means and medians take turns, and so do the two ways to break a tie: each alone gets stuck
    in places that the other leaves.
    """
    rightward = number % 2 == 0
    near = net.left if rightward else net.right
    columns = net.columns if rightward else net.columns[::-1]
    middle = _median if number % 4 >= 2 else _mean
    bias = -1 if number % 8 >= 4 else 1
    for before, column in pairwise(columns):
        place = {v: i for i, v in enumerate(before)}
        keys = {
            v: (middle(sorted(place[w] for w in near[v])), bias * i)
            for i, v in enumerate(column)
            if near[v]
        }
        # A node without neighbours on that side keeps its place.
        moved = iter(sorted(keys, key=keys.__getitem__))
        column[:] = [next(moved) if v in keys else v for v in column]


def _mean(places: Sequence[int]) -> float:
    return sum(places) / len(places)


def _median(places: Sequence[int]) -> float:
    half = len(places) // 2
    return places[half] if len(places) % 2 else (places[half - 1] + places[half]) / 2


def _swap_neighbours(net: Layered, rounds: int) -> None:
    """Exchange two neighbours wherever that saves a crossing."""
    for _ in range(rounds):
        swapped = False
        for i in range(len(net.columns)):
            swapped |= _swap_in(net, i)
        if not swapped:
            return


def _swap_in(net: Layered, number: int) -> bool:
    column = net.columns[number]
    sides = []
    if number > 0:
        sides.append(_places(column, net.left, net.columns[number - 1]))
    if number + 1 < len(net.columns):
        sides.append(_places(column, net.right, net.columns[number + 1]))
    swapped = False
    for i in range(len(column) - 1):
        upper, lower = column[i], column[i + 1]
        gain = sum(
            _inversions(side[upper], side[lower]) - _inversions(side[lower], side[upper])
            for side in sides
        )
        if gain > 0:
            column[i], column[i + 1] = lower, upper
            swapped = True
    return swapped


def _places(
    column: Sequence[int], near: Sequence[Sequence[int]], other: Sequence[int]
) -> dict[int, list[int]]:
    place = {v: i for i, v in enumerate(other)}
    return {v: sorted(place[w] for w in near[v]) for v in column}


def _inversions(upper: Sequence[int], lower: Sequence[int]) -> int:
    """How often edges of two neighbouring nodes cross, given the sorted places of their ends."""
    return sum(bisect_left(lower, end) for end in upper)
