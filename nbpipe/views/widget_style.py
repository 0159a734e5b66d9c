"""How the live diagram looks: Cytoscape styles for a light and a dark page, and their pictures.

Cytoscape draws on a canvas, which cannot read CSS variables. There is a style for each theme, and
a canvas for each, of which the page's CSS shows one. A state's pill and the arrows are small SVGs
in the style, so that the live diagram and the static one look alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from nbpipe.core.model import STATES, State
from nbpipe.views.diagram_scene import (
    CHIP_HEIGHT,
    NAME_SIZE,
    PAD,
    SMALL_SIZE,
    Group,
    Label,
    Rect,
    Scene,
    Shape,
    _arrows,
    glyph,
)
from nbpipe.views.diagram_svg import FONTS, svg
from nbpipe.views.diagram_text import text_width
from nbpipe.views.layout import Layout
from nbpipe.views.theme import STATE_STYLES, FixedTheme, palette

ARROWS = "arrows"
"""Id of the element that carries every arrow as one picture."""

BEACON = "beacon"
"""Id of the node that tells when a canvas is first on the screen."""

PICKED = {"light": "#1976d2", "dark": "#64b5f6"}
"""Around the selected node."""

EDGE = 12.0
"""Free space around the arrows' picture, so that no arrow is cut."""

Style = list[dict[str, Any]]


def stylesheet(theme: FixedTheme, width: float, forced: Mapping[str, State], picked: str) -> Style:
    """The whole style of a diagram.

    Args:
        theme: of the page.
        width: of every card, in pixels.
        forced: state by node id, where the node's class is out of date.
        picked: id of the selected node; "": none.
    """
    colours = palette(theme)
    by_state = {state: _state_css(state, theme) for state in STATES}
    style = [
        {"selector": "core", "css": {"active-bg-opacity": 0}},
        {"selector": "node", "css": _card_css(colours, width)},
        {"selector": f"#{ARROWS}", "css": _arrows_css(theme)},
        *({"selector": f"node.{state}", "css": css} for state, css in by_state.items()),
    ]
    for state, css in by_state.items():
        if nodes := [node for node, wanted in forced.items() if wanted == state]:
            style.append({"selector": _ids(nodes), "css": css})
    if picked:
        style.append({"selector": f"#{picked}", "css": _picked_css(theme)})
    return style


def _ids(nodes: Iterable[str]) -> str:
    return ",".join(f"#{node}" for node in nodes)


def _card_css(colours: Mapping[str, str], width: float) -> dict[str, Any]:
    return {
        "shape": "round-rectangle",
        "width": "data(width)",
        "height": "data(height)",
        "label": "data(label)",
        "background-color": colours["card"],
        "background-fit": "none",
        "background-clip": "none",
        "background-image-containment": "over",
        "background-position-x": f"{PAD - 2:g}px",
        "background-position-y": "28.5px",
        "background-height": f"{CHIP_HEIGHT:g}px",
        "color": colours["ink"],
        "font-family": FONTS.replace("'", ""),
        "font-size": f"{NAME_SIZE:g}px",
        "font-weight": 600,
        "min-zoomed-font-size": 3,
        # A label right of the card, moved back into it, is the only left-aligned one there is.
        "text-halign": "right",
        "text-valign": "center",
        "text-margin-x": PAD - width,
        "text-margin-y": -10.5,
        "overlay-opacity": 0,
        "z-index": 10,
    }


def _state_css(state: State, theme: FixedTheme) -> dict[str, Any]:
    strong = state in ("running", "failed")
    return {
        "border-color": palette(theme)[f"{state}-edge"],
        "border-width": 2.0 if strong else 1.25,
        "background-image": _chip(state, theme),
        "background-width": f"{_chip_width(state):g}px",
    }


def _arrows_css(theme: FixedTheme) -> dict[str, Any]:
    return {
        "label": "",
        "background-opacity": 0,
        "border-width": 0,
        "background-image": f"data({theme})",
        "background-width": "100%",
        "background-height": "100%",
        "background-position-x": "0px",
        "background-position-y": "0px",
        "events": "no",
        "z-index": 0,
    }


def beacon_css() -> dict[str, Any]:
    """The style of a node that is not seen."""
    return {
        "width": 1,
        "height": 1,
        "background-opacity": 0,
        "background-image": _picture((), 1, 1, "light"),
        "background-width": "1px",
        "background-height": "1px",
        "background-position-x": "0px",
        "background-position-y": "0px",
    }


def _picked_css(theme: FixedTheme) -> dict[str, Any]:
    return {
        "border-color": PICKED[theme],
        "border-width": 2.5,
        "underlay-color": PICKED[theme],
        "underlay-opacity": 0.22,
        "underlay-padding": 6,
        "underlay-shape": "round-rectangle",
    }


def arrows_picture(placed: Layout, theme: FixedTheme) -> str:
    """Every arrow of a layout, as a data URI; `EDGE` wider than the layout on each side."""
    width, height = placed.width + 2 * EDGE, placed.height + 2 * EDGE
    routes = [
        tuple(p._replace(x=p.x + EDGE, y=p.y + EDGE) for p in route)
        for route in placed.routes.values()
    ]
    return _picture(tuple(_arrows(routes)), width, height, theme)


def _chip_width(state: State) -> float:
    return 30 + text_width(STATE_STYLES[state].word, SMALL_SIZE)


@lru_cache
def _chip(state: State, theme: FixedTheme) -> str:
    """The pill with a state's glyph and word, as in the static picture."""
    width, half, word = _chip_width(state), CHIP_HEIGHT / 2, STATE_STYLES[state].word
    shapes: tuple[Shape, ...] = (
        Rect(0, 0, width, CHIP_HEIGHT, half, fill=f"{state}-tint"),
        *glyph(state, 12.5, half, 4.0),
        Label(21.5, 13.5, word, SMALL_SIZE, f"{state}-ink", width - 30),
    )
    return _picture(shapes, width, CHIP_HEIGHT, theme)


def _picture(shapes: tuple[Shape, ...], width: float, height: float, theme: FixedTheme) -> str:
    text = svg(Scene(width, height, (Group(shapes),), "", ""), theme)
    # Its own size, not the page's: on a canvas there is no page.
    text = re.sub(r' style="[^"]*"', "", text, count=1)
    # All of it quoted: Cytoscape takes a space for the end of an address.
    return "data:image/svg+xml;utf8," + quote(text, safe="")
