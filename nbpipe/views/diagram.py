"""The graph and the state of its tasks as a picture, a page, or text for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import State
from nbpipe.errors import UsageError
from nbpipe.views.diagram_code import dot, elements, mermaid
from nbpipe.views.diagram_html import Row, page
from nbpipe.views.diagram_scene import Diagram, draw
from nbpipe.views.diagram_svg import svg
from nbpipe.views.theme import Theme

__all__ = [
    "SUFFIXES",
    "Row",
    "render",
    "to_dot",
    "to_elements",
    "to_html",
    "to_mermaid",
    "to_png",
    "to_svg",
]

States = Mapping[str, State]
Subtitles = Mapping[str, str]


def to_svg(
    graph: Graph,
    states: States,
    *,
    title: str | None = None,
    subtitles: Subtitles | None = None,
    theme: Theme = "auto",
) -> str:
    """A picture that stands alone: no script, no font, no link.

    Args:
        graph: the tasks and their edges.
        states: by task; one that is left out counts as new.
        title: name of the pipeline; None: none is shown.
        subtitles: by task, a few words beside its state, such as "cell 3/5".
        theme: ``auto`` follows the page that shows it, else the reader's system.
    """
    return svg(draw(Diagram(graph, states, title, subtitles or {})), theme)


def to_png(
    graph: Graph,
    states: States,
    *,
    title: str | None = None,
    subtitles: Subtitles | None = None,
    theme: Theme = "auto",
    scale: float = 2.0,
) -> bytes:
    """The picture of `to_svg` in pixels.

    Args:
        graph: the tasks and their edges.
        states: by task; one that is left out counts as new.
        title: name of the pipeline; None: none is shown.
        subtitles: by task, a few words beside its state.
        theme: ``auto`` is light here, since pixels cannot follow a page.
        scale: pixels for each pixel of the SVG; a huge picture gets fewer.
    """
    from nbpipe.views.diagram_png import png

    scene = draw(Diagram(graph, states, title, subtitles or {}))
    return png(scene, "dark" if theme == "dark" else "light", scale)


def to_html(
    graph: Graph,
    states: States,
    rows: Sequence[Row] | None = None,
    *,
    title: str | None = None,
    subtitles: Subtitles | None = None,
) -> str:
    """A page that stands alone, light or dark as the reader's system, without any script.

    Args:
        graph: the tasks and their edges.
        states: by task; one that is left out counts as new.
        rows: of the table below the picture; None: made from the graph.
        title: name of the pipeline.
        subtitles: by task, a few words beside its state.
    """
    diagram = Diagram(graph, states, title, subtitles or {})
    # The page has the title as its heading.
    picture = svg(draw(msgspec.structs.replace(diagram, title=None)))
    return page(diagram, picture, rows)


def to_mermaid(graph: Graph, states: States) -> str:
    """A Mermaid flowchart from left to right."""
    return mermaid(Diagram(graph, states))


def to_dot(graph: Graph, states: States) -> str:
    """A graph in Graphviz's DOT language."""
    return dot(Diagram(graph, states))


def to_elements(
    graph: Graph, states: States, *, subtitles: Subtitles | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Nodes and edges in Cytoscape's JSON form, with positions for its ``preset`` layout."""
    return elements(Diagram(graph, states, None, subtitles or {}))


def render(
    graph: Graph,
    states: States,
    suffix: str,
    *,
    title: str | None = None,
    subtitles: Subtitles | None = None,
    theme: Theme = "auto",
    scale: float = 2.0,
    rows: Sequence[Row] | None = None,
) -> bytes:
    """The content of a file with the given suffix; each format takes the options it knows.

    Args:
        graph: the tasks and their edges.
        states: by task; one that is left out counts as new.
        suffix: one of `SUFFIXES`, in any case, with or without its dot.
        title: name of the pipeline.
        subtitles: by task, a few words beside its state.
        theme: of SVG and PNG.
        scale: of PNG.
        rows: of the HTML page's table.

    Raises:
        UsageError: the suffix is unknown; the hint lists the known ones.
    """
    t, s = title, subtitles
    ways: dict[str, Callable[[], str | bytes]] = {
        ".svg": lambda: to_svg(graph, states, title=t, subtitles=s, theme=theme),
        ".png": lambda: to_png(graph, states, title=t, subtitles=s, theme=theme, scale=scale),
        ".html": lambda: to_html(graph, states, rows, title=t, subtitles=s),
        ".mmd": lambda: to_mermaid(graph, states),
        ".dot": lambda: to_dot(graph, states),
        ".gv": lambda: to_dot(graph, states),
        ".json": lambda: _json(to_elements(graph, states, subtitles=s)),
    }
    way = ways.get(f".{suffix.lower().removeprefix('.')}")
    if way is None:
        raise UsageError(f"no picture has the suffix '{suffix}'", f"use {', '.join(SUFFIXES)}")
    content = way()
    return content.encode("utf-8") if isinstance(content, str) else content


SUFFIXES = (".svg", ".png", ".html", ".mmd", ".dot", ".gv", ".json")
"""The formats that `render` knows."""


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
