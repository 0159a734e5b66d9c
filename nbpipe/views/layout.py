"""Where the boxes and arrows of a graph go: layered, left to right, knowing nothing of drawing.

The way of Sugiyama, Tagawa and Toda (1981) in five steps: every node gets a column
(`layout_layers`), the columns get an order with few crossings (`layout_order`), the nodes get
heights with straight long edges (`layout_align`), then here columns get their horizontal places
and edges their curves. Connected parts are laid out one by one and packed; nodes without any
edge stand in a grid. The same input always gives the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from nbpipe.views.layout_align import align
from nbpipe.views.layout_layers import Layered, layered
from nbpipe.views.layout_order import reduce_crossings
from nbpipe.views.layout_tighten import packed, tighten

Span = tuple[float, float]
"""Left and right end of a column."""

FAN = 12
"""From this many edges at one end on, they share an upright line instead of bending alone."""

CORNER = 14.0
"""Radius of the corners of such a line, in pixels."""

LOOSE = 1.4
"""How much taller than packed columns a picture may be before it is tightened."""

HUGE = 10_000
"""From this many nodes and dummies on, a picture is tightened at once, to save time."""


class Size(NamedTuple):
    """Width and height of a box, in pixels."""

    width: float
    height: float


class Point(NamedTuple):
    """A place, in pixels: x to the right, y down."""

    x: float
    y: float


class Box(NamedTuple):
    """Where a node stands.

    Attributes:
        x: of its centre, pixels from the left of the picture.
        y: of its centre, pixels from the top of the picture.
        width: in pixels.
        height: in pixels.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2


Route = tuple[Point, ...]
"""An edge's curve: its start, then (control, control, end) for each cubic Bézier piece."""


class Spacing(msgspec.Struct, frozen=True):
    """Distances between things, in pixels.

    Attributes:
        column: least width of the gap between two columns.
        widest: greatest width of that gap; steep edges widen it.
        node: between two boxes of a column.
        track: between an edge that passes a column and what is beside it.
        part: between two unconnected parts of the graph.
        row: a row of parts or of nodes without edges wraps when it gets wider than this.
    """

    column: float = 60
    widest: float = 150
    node: float = 22
    track: float = 16
    part: float = 36
    row: float = 720


class Layout(msgspec.Struct, frozen=True):
    """A finished layout. Its top left corner is (0, 0).

    Attributes:
        boxes: by node, in the order of the input.
        routes: the curve of each edge, from the right side of its source's box to the left
            side of its target's.
        width: of everything, in pixels.
        height: of everything, in pixels.
    """

    boxes: dict[str, Box]
    routes: dict[tuple[str, str], Route]
    width: float
    height: float


def layout(
    nodes: Mapping[str, Size],
    edges: Sequence[tuple[str, str]],
    spacing: Spacing | None = None,
) -> Layout:
    """Place boxes so that every edge runs to the right and crosses no box.

    Args:
        nodes: size of every node's box.
        edges: (source, target) pairs; a pair given twice counts once.
        spacing: distances; None: the usual ones.

    Raises:
        KeyError: an edge names an unknown node.
        ValueError: the edges form a cycle.
    """
    space = spacing or Spacing()
    pairs = list(dict.fromkeys((source, target) for source, target in edges))
    parts, alone = _parts(nodes, pairs)
    blocks = [_part({n: nodes[n] for n in part}, inner, space) for part, inner in parts]
    packed = _pack(blocks, space)
    if alone:
        grid = _grid({n: nodes[n] for n in alone}, packed.width, space)
        packed = _pack([packed, grid], space, wrap=0) if blocks else grid
    return Layout({n: packed.boxes[n] for n in nodes}, packed.routes, packed.width, packed.height)


def _parts(
    nodes: Mapping[str, Size], edges: Sequence[tuple[str, str]]
) -> tuple[list[tuple[list[str], list[tuple[str, str]]]], list[str]]:
    """The connected parts as (nodes, edges), and the nodes that have no edge."""
    near: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        near[source].append(target)
        near[target].append(source)
    part_of: dict[str, int] = {}
    parts: list[tuple[list[str], list[tuple[str, str]]]] = []
    for name in nodes:
        if near[name] and name not in part_of:
            _flood(name, near, len(parts), part_of)
            parts.append(([], []))
        if near[name]:
            parts[part_of[name]][0].append(name)
    for edge in edges:
        parts[part_of[edge[0]]][1].append(edge)
    return parts, [name for name in nodes if not near[name]]


def _flood(start: str, near: Mapping[str, list[str]], part: int, part_of: dict[str, int]) -> None:
    part_of[start] = part
    todo = [start]
    while todo:
        for other in near[todo.pop()]:
            if other not in part_of:
                part_of[other] = part
                todo.append(other)


def _part(nodes: Mapping[str, Size], edges: Sequence[tuple[str, str]], space: Spacing) -> Layout:
    """Lay out one connected part."""
    names = list(nodes)
    sizes = list(nodes.values())
    index = {name: i for i, name in enumerate(names)}
    net = layered(len(names), [(index[source], index[target]) for source, target in edges])
    reduce_crossings(net)
    half = [size.height / 2 for size in sizes] + [0.0] * (net.count - len(sizes))

    def apart(upper: int, lower: int) -> float:
        both = upper < len(sizes) and lower < len(sizes)
        return half[upper] + half[lower] + (space.node if both else space.track)

    ys = _heights(net, apart)
    top = min(y - h for y, h in zip(ys, half, strict=True))
    ys = [y - top for y in ys]
    spans = _spans(net, sizes, ys, space)
    boxes = _boxes(net, sizes, ys, spans)
    routes = {
        (names[u], names[v]): _route(net, (u, *dummies, v), spans, boxes)
        for (u, v), dummies in net.ways.items()
    }
    height = max(y + h for y, h in zip(ys, half, strict=True))
    return Layout(dict(zip(names, boxes, strict=False)), routes, spans[-1][1], height)


def _heights(net: Layered, apart: Callable[[int, int], float]) -> list[float]:
    """Level long edges where they cost little room, else a tight picture."""
    if net.count > HUGE:
        return tighten(net, apart)
    ys = align(net, apart)
    tightest = packed(net, apart)
    if max(ys) - min(ys) > LOOSE * (max(tightest) - min(tightest)) + 2 * apart(0, 0):
        return tighten(net, apart)
    return ys


def _spans(net: Layered, sizes: Sequence[Size], ys: Sequence[float], space: Spacing) -> list[Span]:
    """Left and right end of each column. A gap widens with the steepest bend in it."""
    spans: list[Span] = []
    x = 0.0
    for column in net.columns:
        width = max((sizes[v].width for v in column if v < len(sizes)), default=0.0)
        climbs = [(w, v, abs(ys[v] - ys[w])) for v in column for w in net.left[v]]
        steepest = max((y for w, v, y in climbs if not _is_fan(net, w, v, y)), default=0.0)
        if spans:
            x += min(max(space.column, space.column * 0.7 + steepest * 0.14), space.widest)
        spans.append((x, x + width))
        x += width
    return spans


def _boxes(
    net: Layered, sizes: Sequence[Size], ys: Sequence[float], spans: Sequence[Span]
) -> list[Box]:
    middle = [(left + right) / 2 for left, right in spans]
    every = [*sizes, *[Size(0, 0)] * (net.count - len(sizes))]
    return [Box(middle[net.rank[v]], ys[v], *size) for v, size in enumerate(every)]


def _route(net: Layered, way: Sequence[int], spans: Sequence[Span], boxes: Sequence[Box]) -> Route:
    """A curve that is level across every column and bends only in the gaps, where no box is.

    Args:
        net: the graph.
        way: the edge's source, the dummies that it passes, its target.
        spans: of the columns.
        boxes: of all nodes, a dummy's without width.
    """
    source, target = boxes[way[0]], boxes[way[-1]]
    route = [Point(source.right, source.y)]
    for v, w in pairwise(way):
        start = Point(spans[net.rank[v]][1], boxes[v].y)
        end = Point(spans[net.rank[w]][0], boxes[w].y)
        if start.y != end.y:
            route += _straight(route[-1], start) if route[-1] != start else []
            route += (
                _elbow(start, end) if _is_fan(net, v, w, end.y - start.y) else _bend(start, end)
            )
    if route[-1].x < target.left:
        route += _straight(route[-1], Point(target.left, target.y))
    return tuple(route)


def _is_fan(net: Layered, v: int, w: int, climb: float) -> bool:
    """Whether so many edges leave or enter here that they share an upright line."""
    many = len(net.right[v]) >= FAN or len(net.left[w]) >= FAN
    return many and abs(climb) > 2 * CORNER


def _straight(start: Point, end: Point) -> list[Point]:
    return [start, end, end]


def _bend(start: Point, end: Point) -> list[Point]:
    middle = (start.x + end.x) / 2
    return [Point(middle, start.y), Point(middle, end.y), end]


def _elbow(start: Point, end: Point) -> list[Point]:
    """Level, round a corner, upright, round a corner, level."""
    middle = (start.x + end.x) / 2
    turn = math.copysign(CORNER, end.y - start.y)
    first, top = Point(middle - CORNER, start.y), Point(middle, start.y + turn)
    foot, last = Point(middle, end.y - turn), Point(middle + CORNER, end.y)
    return [
        *_straight(start, first),
        *(Point(middle - CORNER * 0.45, start.y), Point(middle, start.y + turn * 0.55), top),
        *_straight(top, foot),
        *(Point(middle, end.y - turn * 0.55), Point(middle + CORNER * 0.45, end.y), last),
        *_straight(last, end),
    ]


def _grid(nodes: Mapping[str, Size], beside: float, space: Spacing) -> Layout:
    """Nodes without edges, in rows of equal length, row by row in their order."""
    width = max(size.width for size in nodes.values())
    height = max(size.height for size in nodes.values())
    across, down = width + space.node * 1.5, height + space.node
    room = max(space.row, beside)
    # At least as wide as the rest of the picture, and never a tower: about 8 to 5.
    columns = max(1, int((room + 1) / across), round(math.sqrt(len(nodes) * 1.6 * down / across)))
    columns = math.ceil(len(nodes) / math.ceil(len(nodes) / columns))
    boxes = {
        name: Box(i % columns * across + width / 2, i // columns * down + height / 2, *size)
        for i, (name, size) in enumerate(nodes.items())
    }
    rows = math.ceil(len(nodes) / columns)
    return Layout(boxes, {}, columns * across - across + width, rows * down - down + height)


def _pack(blocks: Sequence[Layout], space: Spacing, wrap: float | None = None) -> Layout:
    """Set parts side by side in rows, in their order; ``wrap``: width at which a row is full."""
    area = sum((b.width + space.part) * (b.height + space.part) for b in blocks)
    widest = max((b.width for b in blocks), default=0.0)
    full = max(widest, math.sqrt(area * 1.6)) if wrap is None else wrap
    boxes: dict[str, Box] = {}
    routes: dict[tuple[str, str], Route] = {}
    x = y = row = right = 0.0
    for block in blocks:
        if x > 0 and x + block.width > full + 0.5:
            x, y, row = 0.0, y + row + space.part, 0.0
        boxes |= {n: box._replace(x=box.x + x, y=box.y + y) for n, box in block.boxes.items()}
        for edge, route in block.routes.items():
            routes[edge] = tuple(Point(p.x + x, p.y + y) for p in route)
        right = max(right, x + block.width)
        row = max(row, block.height)
        x += block.width + space.part
    return Layout(boxes, routes, right, y + row)
