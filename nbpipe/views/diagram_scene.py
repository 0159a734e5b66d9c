"""The picture of a pipeline as shapes, which the SVG and the PNG renderer then draw alike.

Lengths are logical pixels, x to the right and y down; colours are roles of `theme.palette`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import State
from nbpipe.views.diagram_text import clean, elide, text_width
from nbpipe.views.layout import Box, Layout, Point, Route, Size, layout
from nbpipe.views.theme import STATE_STYLES

MARGIN = 22.0
CARD_HEIGHT = 54.0
CARD_WIDTHS = (124.0, 236.0)
CHIP_HEIGHT = 19.0
PAD = 12.0
NAME_SIZE = 13.0
SMALL_SIZE = 11.0
TITLE_SIZE = 15.0
ARROW = 8.0
LEGEND_LINE = 26.0


class Rect(msgspec.Struct, frozen=True):
    """A box with round corners; ``fill`` and ``stroke`` are colour roles, None: not drawn."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    fill: str | None = None
    stroke: str | None = None
    line: float = 1.0


class Curve(msgspec.Struct, frozen=True):
    """Joined cubic Béziers: a start, then (control, control, end) for each."""

    points: Route
    stroke: str
    line: float


class Line(msgspec.Struct, frozen=True):
    """Straight strokes with round ends and corners."""

    points: tuple[Point, ...]
    stroke: str
    line: float


class Polygon(msgspec.Struct, frozen=True):
    """A filled shape; its corners are rounded by ``line``, the width of a stroke around it."""

    points: tuple[Point, ...]
    fill: str
    line: float = 0.0


class Disc(msgspec.Struct, frozen=True):
    """A circle around (x, y), filled, or with a stroke of width ``line`` when that is not 0."""

    x: float
    y: float
    radius: float
    colour: str
    line: float = 0.0


class Label(msgspec.Struct, frozen=True):
    """A line of text that starts at (x, y) on its baseline; ``room`` is the width it may take."""

    x: float
    y: float
    text: str
    size: float
    fill: str
    room: float
    bold: bool = False


Shape = Rect | Curve | Line | Polygon | Disc | Label


class Group(msgspec.Struct, frozen=True):
    """Shapes that belong together.

    Attributes:
        shapes: drawn in this order.
        about: what a pointer that rests on them is told; "" for nothing.
    """

    shapes: tuple[Shape, ...]
    about: str = ""


class Scene(msgspec.Struct, frozen=True):
    """A whole picture.

    Attributes:
        width: in logical pixels.
        height: in logical pixels.
        groups: drawn in this order.
        title: one line about the whole, such as "iris · 2 fresh · 1 stale".
        about: every task with its state and upstreams, for who cannot see the picture.
    """

    width: float
    height: float
    groups: tuple[Group, ...]
    title: str
    about: str


class Diagram(msgspec.Struct, frozen=True):
    """What a picture shows.

    Attributes:
        graph: the tasks and their edges.
        states: by task; a task that is left out counts as new.
        title: name of the pipeline; None: there is no title.
        subtitles: by task, a few words such as "cell 3/5".
    """

    graph: Graph
    states: Mapping[str, State]
    title: str | None = None
    subtitles: Mapping[str, str] = {}

    def state(self, task: str) -> State:
        """The state of a task."""
        return self.states.get(task, "new")

    @property
    def edges(self) -> list[tuple[str, str]]:
        """(upstream, task) pairs, in the order of the tasks."""
        return [(up, name) for name in self.graph.tasks for up in self.graph.upstream.get(name, ())]

    @property
    def counts(self) -> dict[State, int]:
        """How many tasks are in each state that occurs, in the order of the legend."""
        states = [self.state(name) for name in self.graph.tasks]
        return {state: states.count(state) for state in STATE_STYLES if state in states}

    @property
    def summary(self) -> str:
        """One line, such as "iris · 2 fresh · 1 stale"."""
        parts = [clean(self.title)] if self.title else []
        parts += [f"{n} {STATE_STYLES[state].word}" for state, n in self.counts.items()]
        return " · ".join(parts or ["no tasks"])


def place(diagram: Diagram) -> Layout:
    """The layout of a diagram's cards, which all have one size."""
    width = max((_card_width(diagram, name) for name in diagram.graph.tasks), default=0.0)
    size = Size(width, CARD_HEIGHT)
    return layout(dict.fromkeys(diagram.graph.tasks, size), diagram.edges)


def draw(diagram: Diagram) -> Scene:
    """Turn a diagram into shapes."""
    placed = place(diagram)
    head, head_width, head_height = _header(diagram, max(placed.width, 460.0))
    down = MARGIN + head_height + (18.0 if placed.boxes else 0.0)
    boxes = {
        name: box._replace(x=box.x + MARGIN, y=box.y + down) for name, box in placed.boxes.items()
    }
    routes = [
        tuple(Point(p.x + MARGIN, p.y + down) for p in route) for route in placed.routes.values()
    ]
    width = max(placed.width, head_width) + 2 * MARGIN
    height = down + placed.height + MARGIN
    back = Group((Rect(0, 0, width, height, 8, fill="paper"),))
    cards = [_card(diagram, name, box) for name, box in boxes.items()]
    groups = (back, Group(tuple(head)), Group(tuple(_arrows(routes))), *cards)
    return Scene(width, height, groups, diagram.summary, _about(diagram))


def _card_width(diagram: Diagram, name: str) -> float:
    title = text_width(clean(name), NAME_SIZE, bold=True)
    below = _chip_width(STATE_STYLES[diagram.state(name)].word)
    if subtitle := clean(diagram.subtitles.get(name, "")):
        below += 8 + text_width(subtitle, SMALL_SIZE)
    low, high = CARD_WIDTHS
    return float(round(min(max(max(title, below) + 2 * PAD, low), high)))


def _chip_width(word: str) -> float:
    return 22 + text_width(word, SMALL_SIZE) + 8


def _card(diagram: Diagram, name: str, box: Box) -> Group:
    state = diagram.state(name)
    strong = state in ("running", "failed")
    room = box.width - 2 * PAD
    x, y = box.left + PAD, box.top
    title = elide(clean(name), room, NAME_SIZE, bold=True)
    shapes: list[Shape] = [
        Rect(
            *(box.left, box.top, box.width, box.height, 9),
            fill="card",
            stroke=f"{state}-edge",
            line=2.0 if strong else 1.25,
        ),
        Label(x, y + 21, title, NAME_SIZE, "ink", room, bold=True),
        *_chip(x - 2, y + 28.5, state),
    ]
    taken = _chip_width(STATE_STYLES[state].word) - 2 + 7
    if subtitle := clean(diagram.subtitles.get(name, "")):
        small = elide(subtitle, room - taken, SMALL_SIZE)
        shapes.append(Label(x + taken, y + 42, small, SMALL_SIZE, "muted", room - taken))
    return Group(tuple(shapes), _sentence(diagram, name))


def _chip(x: float, y: float, state: State) -> Iterator[Shape]:
    """A small pill with the glyph and the word of a state."""
    word = STATE_STYLES[state].word
    half = CHIP_HEIGHT / 2
    yield Rect(x, y, _chip_width(word), CHIP_HEIGHT, half, fill=f"{state}-tint")
    yield from glyph(state, x + 12.5, y + half, 4.0)
    room = text_width(word, SMALL_SIZE)
    yield Label(x + 21.5, y + 13.5, word, SMALL_SIZE, f"{state}-ink", room)


def glyph(state: State, x: float, y: float, r: float) -> tuple[Shape, ...]:
    """The sign of a state around (x, y), about ``2 r`` wide, drawn without any font."""
    ink = f"{state}-ink"
    line = r * 0.42

    def at(*pairs: float) -> tuple[Point, ...]:
        return tuple(
            Point(x + dx * r, y + dy * r) for dx, dy in zip(pairs[::2], pairs[1::2], strict=True)
        )

    signs: dict[State, tuple[Shape, ...]] = {
        "fresh": (Line(at(-0.9, 0.1, -0.25, 0.75, 0.95, -0.7), ink, line),),
        "stale": (Disc(x, y, r * 0.85, ink),),
        "running": (Polygon(at(-0.6, -0.8, 0.85, 0, -0.6, 0.8), ink, line * 0.6),),
        "queued": tuple(Disc(x + dx * r, y, r * 0.25, ink) for dx in (-0.8, 0.0, 0.8)),
        "failed": (
            Line(at(-0.72, -0.72, 0.72, 0.72), ink, line),
            Line(at(-0.72, 0.72, 0.72, -0.72), ink, line),
        ),
        "blocked": (
            Disc(x, y, r * 0.9, ink, line * 0.9),
            Line(at(-0.5, 0.5, 0.5, -0.5), ink, line * 0.9),
        ),
        "new": (Disc(x, y, r * 0.8, ink, line * 0.9),),
    }
    return signs[state]


def _arrows(routes: Sequence[Route]) -> Iterator[Shape]:
    """Lines that end where their arrow's head begins; edges into one box share a head."""
    heads: dict[Point, None] = {}
    for route in routes:
        control, tip = route[-2:]
        end = Point(tip.x - ARROW + 1, tip.y)
        heads[tip] = None
        yield Curve((*route[:-2], end if control == tip else control, end), "line", 1.4)
    for x, y in heads:
        corners = (Point(x - 1.5, y), Point(x - ARROW, y - 3.6), Point(x - ARROW, y + 3.6))
        yield Polygon(corners, "line", 1.0)


def _header(diagram: Diagram, width: float) -> tuple[list[Shape], float, float]:
    """Title and legend, in as many lines as they need, with their width and height."""
    x, y, right = MARGIN, MARGIN, MARGIN
    shapes: list[Shape] = []
    title = clean(diagram.title or "") or ("" if diagram.counts else "no tasks")
    if title:
        text = elide(title, width, TITLE_SIZE, bold=True)
        room = text_width(text, TITLE_SIZE, bold=True)
        shapes.append(Label(x, y + 15, text, TITLE_SIZE, "ink", room, bold=True))
        right = x + room
        x = right + 20
    for state, count in diagram.counts.items():
        text = f"{count} {STATE_STYLES[state].word}"
        room = text_width(text, SMALL_SIZE + 1)
        if x > MARGIN and x + 16 + room > MARGIN + width:
            x, y = MARGIN, y + LEGEND_LINE
        shapes += glyph(state, x + 5, y + 10.5, 4.6)
        shapes.append(Label(x + 15, y + 15, text, SMALL_SIZE + 1, f"{state}-ink", room))
        right = max(right, x + 15 + room)
        x += 15 + room + 18
    return shapes, right - MARGIN, y + 20 - MARGIN


def _sentence(diagram: Diagram, name: str) -> str:
    words = f"{clean(name)}: {STATE_STYLES[diagram.state(name)].word}"
    subtitle = clean(diagram.subtitles.get(name, ""))
    return f"{words}, {subtitle}" if subtitle else words


def _about(diagram: Diagram) -> str:
    lines = []
    for name in diagram.graph.tasks:
        ups = ", ".join(clean(up) for up in diagram.graph.upstream.get(name, ()))
        lines.append(_sentence(diagram, name) + (f" (after {ups})" if ups else ""))
    return "; ".join(lines)
