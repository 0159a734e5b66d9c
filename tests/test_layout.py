"""Where boxes and arrows go: nothing overlaps, nothing points back, nothing moves by chance."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpipe.views.layout import Box, Layout, Point, Route, Size, Spacing, layout
from nbpipe.views.layout_layers import layered, ranks
from nbpipe.views.layout_order import count_crossings, reduce_crossings

Edges = list[tuple[str, str]]


some = settings(max_examples=60, deadline=None)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Size], Edges]:
    """Any small acyclic graph, with boxes of any size, in any order."""
    count = draw(st.integers(0, 16))
    lengths = st.floats(10, 200, allow_nan=False)
    nodes = {f"t{i}": Size(draw(lengths), draw(lengths)) for i in range(count)}
    pairs = list(combinations(nodes, 2))
    edges = draw(st.lists(st.sampled_from(pairs), max_size=30)) if pairs else []
    order = draw(st.permutations(list(nodes)))
    return {name: nodes[name] for name in order}, edges


def random_graph(count: int, edges: int, seed: int) -> tuple[dict[str, Size], Edges]:
    rng = random.Random(seed)
    names = [f"t{i}" for i in range(count)]
    found: dict[tuple[str, str], None] = {}
    while len(found) < edges:
        a, b = sorted(rng.sample(range(count), 2))
        found[names[a], names[b]] = None
    return {name: Size(140, 54) for name in names}, list(found)


def samples(route: Route) -> list[Point]:
    """Points along a route."""
    points = [route[0]]
    for i in range(1, len(route), 3):
        p, a, b, q = route[i - 1 : i + 3]
        for n in range(1, 21):
            t, u = n / 20, 1 - n / 20
            f = (u**3, 3 * u * u * t, 3 * u * t * t, t**3)
            x, y = (sum(k * v[d] for k, v in zip(f, (p, a, b, q), strict=True)) for d in (0, 1))
            points.append(Point(x, y))
    return points


def overlap(a: Box, b: Box) -> bool:
    return (
        abs(a.x - b.x) < (a.width + b.width) / 2 - 1e-6
        and abs(a.y - b.y) < (a.height + b.height) / 2 - 1e-6
    )


def inside(point: Point, box: Box) -> bool:
    e = 0.01
    return box.left + e < point.x < box.right - e and box.top + e < point.y < box.bottom - e


def crossed(found: Layout) -> list[tuple[tuple[str, str], str]]:
    """Every (edge, box) where the edge runs through the box."""
    return [
        (edge, name)
        for edge, points in ((edge, samples(route)) for edge, route in found.routes.items())
        for name, box in found.boxes.items()
        if any(inside(p, box) for p in points)
    ]


@some
@given(graphs())
def test_every_edge_goes_to_the_right(graph: tuple[dict[str, Size], Edges]) -> None:
    """An arrow never points back: the target's box begins right of where the source's ends."""
    found = layout(*graph)
    for source, target in graph[1]:
        assert found.boxes[source].right < found.boxes[target].left
        route = found.routes[source, target]
        assert all(a.x <= b.x + 1e-6 for a, b in pairwise(samples(route)))


@some
@given(graphs())
def test_no_two_boxes_overlap(graph: tuple[dict[str, Size], Edges]) -> None:
    """Whatever the sizes, boxes keep apart."""
    boxes = layout(*graph).boxes
    assert [(a, b) for a, b in combinations(boxes, 2) if overlap(boxes[a], boxes[b])] == []


@some
@given(graphs())
def test_no_edge_runs_through_a_box(graph: tuple[dict[str, Size], Edges]) -> None:
    """Long edges go around the boxes in between, even where boxes differ in width."""
    assert crossed(layout(*graph)) == []


@pytest.mark.parametrize(
    ("count", "edges", "seed"), [(40, 60, 1), (60, 150, 2), (30, 200, 3), (80, 90, 4)]
)
def test_no_edge_runs_through_a_box_in_a_dense_graph(count: int, edges: int, seed: int) -> None:
    """The same where columns are tight and long edges many."""
    found = layout(*random_graph(count, edges, seed))
    assert crossed(found) == []
    boxes = found.boxes
    assert not any(overlap(boxes[a], boxes[b]) for a, b in combinations(boxes, 2))


@some
@given(graphs())
def test_a_route_joins_the_sides_of_its_boxes(graph: tuple[dict[str, Size], Edges]) -> None:
    """From the middle of the right side to the middle of the left side, in whole Béziers."""
    found = layout(*graph)
    assert set(found.routes) == set(graph[1])
    for (source, target), route in found.routes.items():
        start, end = found.boxes[source], found.boxes[target]
        assert len(route) % 3 == 1
        assert len(route) >= 4
        assert route[0] == pytest.approx((start.right, start.y))
        assert route[-1] == pytest.approx((end.left, end.y))


@some
@given(graphs())
def test_everything_is_within_the_picture(graph: tuple[dict[str, Size], Edges]) -> None:
    """Boxes and curves lie between (0, 0) and (width, height)."""
    found = layout(*graph)
    corners = [Point(x, y) for b in found.boxes.values() for x, y in [(b.left, b.top)]]
    corners += [Point(b.right, b.bottom) for b in found.boxes.values()]
    corners += [p for route in found.routes.values() for p in samples(route)]
    for x, y in corners:
        assert -1e-6 <= x <= found.width + 1e-6
        assert -1e-6 <= y <= found.height + 1e-6


@some
@given(graphs())
def test_the_same_graph_gives_the_same_layout(graph: tuple[dict[str, Size], Edges]) -> None:
    """No chance, no set order: two runs agree to the last bit, boxes in the order of the input."""
    first = layout(*graph)
    assert first == layout(*graph)
    assert list(first.boxes) == list(graph[0])
    assert {n: Size(b.width, b.height) for n, b in first.boxes.items()} == graph[0]


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (4, 4, 1), (5, 3, 2), (12, 4, 3)]
)
def test_tasks_without_edges_stand_in_a_grid(count: int, columns: int, rows: int) -> None:
    """Up to four stand in one row; more make rows of equal length."""
    found = layout({f"t{i}": Size(124, 54) for i in range(count)}, [])
    assert len({box.x for box in found.boxes.values()}) == columns
    assert len({box.y for box in found.boxes.values()}) == rows


def test_a_long_edge_between_two_branches_is_straight_and_in_the_middle() -> None:
    """The iris pipeline comes out symmetric: get and fit on one line, the features around it."""
    nodes = {name: Size(124, 54) for name in ("get", "sepal", "petal", "fit")}
    ways = ("get sepal", "get petal", "sepal fit", "petal fit", "get fit")
    found = layout(nodes, [(a, b) for a, b in map(str.split, ways)])
    box = found.boxes
    assert box["get"].y == box["fit"].y == pytest.approx((box["sepal"].y + box["petal"].y) / 2)
    assert {p.y for p in found.routes["get", "fit"]} == {box["get"].y}


def test_a_chain_is_one_straight_line() -> None:
    """Each in a column of its own, all at one height."""
    names = [f"t{i}" for i in range(20)]
    found = layout(dict.fromkeys(names, Size(124, 54)), list(pairwise(names)))
    assert len({box.y for box in found.boxes.values()}) == 1
    assert found.height == 54


def test_a_fan_shares_an_upright_line() -> None:
    """Fifty arrows out of one box would make a grey wedge: they run together, then branch off."""
    names = [f"t{i}" for i in range(51)]
    found = layout(dict.fromkeys(names, Size(124, 54)), [("t0", name) for name in names[1:]])
    middle = (found.boxes["t0"].right + found.boxes["t1"].left) / 2
    assert all(any(p.x == middle for p in r) for r in found.routes.values() if len(r) > 4)
    assert found.boxes["t0"].y == pytest.approx(found.height / 2)


def test_sources_stand_next_to_what_uses_them() -> None:
    """A source that only a late task reads is not drawn far away from it."""
    assert ranks([[1], [2], [3], [], [3]]) == [0, 1, 2, 3, 2]


def test_unconnected_parts_are_packed_without_mixing() -> None:
    """Each part keeps to a rectangle of its own, in the order of the input."""
    nodes = {name: Size(124, 54) for name in "abcdef"}
    boxes = layout(nodes, [("a", "b"), ("c", "d"), ("e", "f")]).boxes
    assert boxes["a"].y == boxes["b"].y < boxes["e"].y
    assert not any(overlap(boxes[a], boxes[b]) for a, b in combinations(boxes, 2))


def test_sweeps_remove_crossings() -> None:
    """Two parts that were given tangled come out without a crossing."""
    net = layered(6, [(0, 5), (1, 4), (2, 3), (0, 4), (2, 4)])
    net.columns = [[0, 1, 2], [3, 4, 5]]
    assert count_crossings(net) > 0
    reduce_crossings(net)
    assert count_crossings(net) == 0


@pytest.mark.parametrize(("count", "edges"), [(500, 800), (500, 0)])
def test_a_large_graph_is_laid_out(count: int, edges: int) -> None:
    """Five hundred tasks are no problem."""
    found = layout(*random_graph(count, edges, 7))
    assert len(found.boxes) == count
    assert len(found.routes) == edges


def test_a_thousand_tasks_in_a_chain_or_a_fan_are_laid_out() -> None:
    """Depth needs no recursion, breadth no square of time."""
    names = [f"t{i}" for i in range(1000)]
    nodes = dict.fromkeys(names, Size(124, 54))
    assert layout(nodes, list(pairwise(names))).height == 54
    assert layout(nodes, [("t0", name) for name in names[1:]]).height > 50_000


def test_an_edge_given_twice_counts_once() -> None:
    """Duplicates change nothing."""
    nodes = {"a": Size(10, 10), "b": Size(10, 10)}
    assert layout(nodes, [("a", "b")] * 2) == layout(nodes, [("a", "b")])


def test_a_cycle_and_an_unknown_node_are_refused() -> None:
    """Both are the caller's mistake."""
    nodes = {"a": Size(10, 10), "b": Size(10, 10)}
    with pytest.raises(ValueError, match="cycle"):
        layout(nodes, [("a", "b"), ("b", "a")])
    with pytest.raises(KeyError):
        layout(nodes, [("a", "zzz")])


def test_distances_can_be_chosen() -> None:
    """A widget may want more air between columns."""
    nodes = {"a": Size(10, 10), "b": Size(10, 10)}
    boxes = layout(nodes, [("a", "b")], Spacing(column=100)).boxes
    assert boxes["b"].left - boxes["a"].right == 100
