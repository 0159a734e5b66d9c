"""The elements of one canvas. Imports ipycytoscape, so only `widget` imports it, and late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets
from ipycytoscape import CytoscapeWidget, Graph, Node
from ipywidgets import CallbackDispatcher, DOMWidget

from nbpipe.core.model import State
from nbpipe.views.diagram_code import node_ids
from nbpipe.views.diagram_scene import NAME_SIZE, PAD, Diagram, place
from nbpipe.views.diagram_text import clean, elide
from nbpipe.views.layout import Layout
from nbpipe.views.theme import FixedTheme
from nbpipe.views.widget_style import ARROWS, BEACON, EDGE, arrows_picture, beacon_css, stylesheet

THEMES: tuple[FixedTheme, FixedTheme] = ("light", "dark")

FIT = {"name": "preset", "fit": True, "padding": 14, "animate": False}
"""Our own positions, all of them in sight."""

ZOOMABLE = 30
"""From this many nodes on the wheel zooms; below, it scrolls the page."""


class Canvas(CytoscapeWidget):  # type: ignore[misc]
    """A canvas that also tells when a picture was loaded, which ipycytoscape does not offer."""

    _interaction_handlers = traitlets.Dict().tag(
        sync=True,
        to_json=lambda value, _: {kind: list(events) for kind, events in value.items()},
    )

    def __init__(self, graph: Any, **traits: Any) -> None:
        # Not by way of ipycytoscape's own, which would leave two empty graphs behind.
        DOMWidget.__init__(self, graph=graph, **traits)
        self.on_msg(self._handle_interaction)


class Drawing:
    """The models of one graph: nodes, and a canvas for each theme that shows them.

    A graph's topology is fixed for the life of its models; another graph is another drawing.

    Args:
        diagram: what is drawn.
        on_click: called with a task's name.
    """

    def __init__(self, diagram: Diagram, on_click: Callable[[str], None]) -> None:
        placed = place(diagram)
        self.ids = node_ids(diagram)
        self.names = {node: name for name, node in self.ids.items()}
        self.width = next((box.width for box in placed.boxes.values()), 124.0)
        self.height = placed.height + 2 * EDGE
        self.states = {name: diagram.state(name) for name in self.ids}
        self.forced: dict[str, State] = {}
        self._on_click = on_click
        self.nodes = {name: self._node(name, placed) for name in self.ids}
        self._arrows = _arrows_node(placed)
        self.graph = Graph()
        with self.graph.hold_sync():
            self.graph.add_nodes([self._arrows, *self.nodes.values()])
        self.canvases = {theme: self._canvas(theme) for theme in THEMES}
        self.sentinel = _sentinel(self.fit)

    def _node(self, name: str, placed: Layout) -> Any:
        box = placed.boxes[name]
        room = box.width - 2 * PAD
        data = {
            "id": self.ids[name],
            "label": elide(clean(name), room, NAME_SIZE, bold=True),
            "width": box.width,
            "height": box.height,
        }
        where = {"x": round(box.x, 1), "y": round(box.y, 1)}
        return Node(data=data, classes=self.states[name], position=where, grabbable=False)

    def _canvas(self, theme: FixedTheme) -> Any:
        many = len(self.ids) > ZOOMABLE
        canvas = Canvas(
            self.graph,
            cytoscape_layout=FIT,
            cytoscape_style=self.style(theme, ""),
            tooltip_source="",
            auto_ungrabify=True,
            min_zoom=0.05,
            max_zoom=2.0 if many else 1.0,
            user_zooming_enabled=many,
            wheel_sensitivity=0.3,
        )
        canvas.add_class("nbp-canvas").add_class(f"nbp-{theme}")
        # ipycytoscape drops handlers that come after the display, and swallows their errors.
        click = CallbackDispatcher()
        click.register_callback(self._clicked)
        canvas._interaction_handlers = {"node": {"tap": click}}
        return canvas

    def style(self, theme: FixedTheme, picked: str) -> list[dict[str, Any]]:
        """The style of one canvas; ``picked`` is a task's name."""
        return stylesheet(theme, self.width, self.forced, self.ids.get(picked, ""))

    def restyle(self, picked: str) -> None:
        """Assign the styles anew, with what is forced and what is selected."""
        for theme, canvas in self.canvases.items():
            canvas.cytoscape_style = self.style(theme, picked)

    def fit(self) -> None:
        """Bring everything into sight."""
        for canvas in self.canvases.values():
            canvas.relayout()

    def close(self) -> None:
        """Close every model: closing a canvas alone would leave all others behind."""
        beacons = list(self.sentinel.graph.nodes)
        for canvas in (*self.canvases.values(), self.sentinel):
            canvas.layout.close()
            canvas.graph.close()
            canvas.close()
        for node in (*self.nodes.values(), self._arrows, *beacons):
            node.close()

    def _clicked(self, data: dict[str, Any]) -> None:
        name = self.names.get(data["data"]["id"])
        if name is not None:
            self._on_click(name)


def _arrows_node(placed: Layout) -> Any:
    """All arrows as one element, below the cards.

    An element each would be a message each; and the arrows of one picture keep the layout's
    routes around the cards.
    """
    data: dict[str, Any] = {"id": ARROWS, "label": ""}
    data |= {"width": placed.width + 2 * EDGE, "height": placed.height + 2 * EDGE}
    data |= {theme: arrows_picture(placed, theme) for theme in THEMES}
    centre = {"x": placed.width / 2, "y": placed.height / 2}
    return Node(data=data, classes=ARROWS, position=centre, grabbable=False)


def _sentinel(seen: Callable[[], None]) -> Any:
    """A tiny canvas that calls ``seen`` when it is first on the screen.

    A canvas in a hidden tab has no size, so that nothing can fit into it, and nothing tells the
    kernel when the tab is shown. So this one has a single node beside its origin, whose picture is
    loaded when it is first drawn, which happens when there is a size. Cytoscape draws what
    is out of sight as well, in layers, unless it is magnified fourfold.
    """
    beacon = Node(
        data={"id": BEACON, "label": "", "width": 1, "height": 1},
        position={"x": 3.0, "y": 3.0},
        grabbable=False,
    )
    graph = Graph()
    graph.add_nodes([beacon])
    canvas = Canvas(
        graph,
        cytoscape_layout={"name": "preset", "fit": False, "zoom": 4, "pan": {"x": 0, "y": 0}},
        cytoscape_style=[{"selector": "node", "css": beacon_css()}],
        tooltip_source="",
    )
    canvas.add_class("nbp-sentinel")
    dispatcher = CallbackDispatcher()
    dispatcher.register_callback(lambda _: seen())
    canvas._interaction_handlers = {"node": {"background": dispatcher}}
    return canvas
