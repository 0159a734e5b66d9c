"""The live diagram in a notebook, behind an interface of four methods.

`DagView` draws on ipycytoscape, which is imported when a view is made: it imports pandas.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from nbpipe.core.graph import Graph
from nbpipe.core.model import State
from nbpipe.views.diagram_scene import Diagram
from nbpipe.views.widget_collapse import Shown, shown

if TYPE_CHECKING:
    from nbpipe.views.widget_cyto import Drawing

COLLAPSE_ABOVE = 150
"""More tasks than that are drawn by group, or by layer."""

STATIC_ABOVE = 500
"""More tasks than that are a picture that cannot be clicked."""

BULK = 50
"""More changes than that at once are one new style instead of a message each."""

EVERY = 0.1
"""Seconds between two flushes of changes."""

LEAST, MOST = 330, 440
"""Height of the diagram, in pixels."""

Picked = Callable[[str], None]


class GraphView(Protocol):
    """What a panel asks of a diagram. ``widget`` is what it displays."""

    widget: Any

    def set_graph(self, graph: Graph, states: Mapping[str, State]) -> None:
        """Draw a graph; what was drawn before is closed."""

    def set_states(self, states: Mapping[str, State], picked: str | None = None) -> None:
        """Show the states of tasks, and ``picked`` as selected (None: as it was, "": none)."""

    def on_select(self, callback: Picked) -> None:
        """Call ``callback`` with the name of a task that the reader clicks."""

    def close(self) -> None:
        """Close every model of the diagram."""


def make_view(graph: Graph) -> GraphView:
    """The view that suits the size of a graph; the caller still gives it the graph."""
    return StaticView() if len(graph.tasks) > STATIC_ABOVE else DagView()


class DagView:
    """The diagram as ipycytoscape widgets. May be used from any thread."""

    def __init__(self) -> None:
        import ipywidgets

        self.widget = ipywidgets.Box()
        self.widget.add_class("nbp-dag")
        self._lock = threading.RLock()
        self._callbacks: list[Picked] = []
        self._states: dict[str, State] = {}
        self._waiting: dict[str, State] = {}
        self._shown: Shown | None = None
        self._drawing: Drawing | None = None
        self._picked, self._picked_shown = "", ""
        self._last = 0.0
        self._timer: threading.Timer | None = None

    def set_graph(self, graph: Graph, states: Mapping[str, State]) -> None:
        """Draw a graph; above `COLLAPSE_ABOVE` tasks its groups or layers."""
        from nbpipe.views.widget_cyto import Drawing

        with self._lock:
            old, self._waiting, self._picked_shown = self._drawing, {}, ""
            self._states = {name: states.get(name, "new") for name in graph.tasks}
            self._shown = shown(graph, COLLAPSE_ABOVE)
            diagram = Diagram(self._shown.graph, self._shown.states(self._states))
            self._drawing = Drawing(diagram, self._clicked)
            self.widget.layout.height = f"{min(max(self._drawing.height + 44, LEAST), MOST):.0f}px"
            self.widget.children = [*self._drawing.canvases.values(), self._drawing.sentinel]
            if old is not None:
                old.close()

    def set_states(self, states: Mapping[str, State], picked: str | None = None) -> None:
        """Queue changes, the newest for each node; they are sent ten times a second at most."""
        with self._lock:
            if self._shown is None or self._drawing is None:
                return
            self._states.update((t, s) for t, s in states.items() if t in self._states)
            if picked is not None:
                self._picked = self._shown.node_of(picked) or ""
            for node, state in self._shown.states(self._states).items():
                if state != self._drawing.states[node]:
                    self._waiting[node] = state
                else:
                    self._waiting.pop(node, None)
            self._soon()

    def on_select(self, callback: Picked) -> None:
        """Register a callback; what it raises is its own to show."""
        self._callbacks.append(callback)

    def fit(self) -> None:
        """Bring the whole diagram into sight."""
        with self._lock:
            if self._drawing is not None:
                self._drawing.fit()

    def close(self) -> None:
        """Close every model."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._drawing is not None:
                self._drawing.close()
            self._drawing = self._shown = None
            self.widget.layout.close()
            self.widget.close()

    def _soon(self) -> None:
        """Flush now, or when the last flush is long enough ago."""
        left = self._last + EVERY - time.monotonic()
        if left <= 0:
            self._flush()
        elif self._timer is None:
            self._timer = threading.Timer(left, self._late)
            self._timer.daemon = True
            self._timer.start()

    def _late(self) -> None:
        with self._lock:
            self._timer = None
            self._flush()

    def _flush(self) -> None:
        drawing, waiting = self._drawing, self._waiting
        if drawing is None or (not waiting and self._picked == self._picked_shown):
            return
        self._waiting, self._last = {}, time.monotonic()
        drawing.states.update(waiting)
        ids = {drawing.ids[name]: state for name, state in waiting.items()}
        # A class under a forced style would not show: such a node stays forced.
        if len(ids) > BULK or not ids.keys().isdisjoint(drawing.forced):
            drawing.forced.update(ids)
            drawing.restyle(self._picked)
        else:
            for name, state in waiting.items():
                drawing.nodes[name].classes = state
            if self._picked != self._picked_shown:
                drawing.restyle(self._picked)
        self._picked_shown = self._picked

    def _clicked(self, node: str) -> None:
        task = self._shown.pressing(node, self._states) if self._shown is not None else None
        for callback in list(self._callbacks) if task is not None else ():
            callback(task or "")


class StaticView:
    """The diagram as a picture, for graphs too large for a canvas."""

    def __init__(self) -> None:
        import ipywidgets

        self.widget = ipywidgets.HTML(layout={"height": f"{MOST}px"})
        self.widget.add_class("nbp-dag").add_class("nbp-dag-static")
        self._graph: Graph | None = None
        self._states: dict[str, State] = {}
        self._last = 0.0
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()

    def set_graph(self, graph: Graph, states: Mapping[str, State]) -> None:
        """Draw a graph."""
        with self._lock:
            self._graph, self._states = graph, dict(states)
            self._draw()

    def set_states(self, states: Mapping[str, State], picked: str | None = None) -> None:
        """Draw the states anew; takes twenty times as long between two drawings as one took."""
        with self._lock:
            changed = any(self._states.get(task) != state for task, state in states.items())
            self._states.update(states)
            if changed and self._timer is None:
                left = max(0.05, self._last - time.monotonic())
                self._timer = threading.Timer(left, self._late)
                self._timer.daemon = True
                self._timer.start()

    def on_select(self, callback: Picked) -> None:
        """A picture cannot be clicked; the table below it can."""

    def close(self) -> None:
        """Close its models."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._graph = None
            self.widget.layout.close()
            self.widget.close()

    def _late(self) -> None:
        with self._lock:
            self._timer = None
            if self._graph is not None:
                self._draw()

    def _draw(self) -> None:
        from nbpipe.views.diagram import to_svg

        began = time.monotonic()
        if self._graph is not None:
            self.widget.value = picture(to_svg(self._graph, self._states))
        self._last = time.monotonic() + 20 * (time.monotonic() - began)


def picture(svg: str, about: str = "the pipeline as a picture") -> str:
    """An SVG as an ``<img>``: it survives a sanitizer and its styles reach nothing else."""
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    return f'<img class="nbp-picture" alt="{escape(about)}" src="data:image/svg+xml;base64,{data}">'
