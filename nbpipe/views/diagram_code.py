"""A diagram as text for other programs: Mermaid, Graphviz's DOT, Cytoscape's elements.

Nodes are called n0, n1, … there, in the order of the tasks; a task's name is only ever a label.
"""

from __future__ import annotations

from typing import Any

from nbpipe.views.diagram_scene import Diagram, place
from nbpipe.views.diagram_text import clean
from nbpipe.views.theme import NEUTRAL, STATE_STYLES


def node_ids(diagram: Diagram) -> dict[str, str]:
    """The id of each task: n0, n1, …"""
    return {name: f"n{i}" for i, name in enumerate(diagram.graph.tasks)}


def mermaid(diagram: Diagram) -> str:
    """A Mermaid flowchart, as GitHub shows it in a code block."""
    ids = node_ids(diagram)
    lines = ["flowchart LR"]
    for name, node in ids.items():
        style = STATE_STYLES[diagram.state(name)]
        label = f"<b>{_entities(clean(name))}</b><br/>{style.glyph} {style.word}"
        lines.append(f'  {node}("{label}"):::{diagram.state(name)}')
    lines += [f"  {ids[up]} --> {ids[name]}" for up, name in diagram.edges]
    for state in diagram.counts:
        colours = STATE_STYLES[state].light
        look = f"fill:{colours.tint},stroke:{colours.edge},color:{colours.ink}"
        lines.append(f"  classDef {state} {look}")
    return "\n".join(lines) + "\n"


def _entities(text: str) -> str:
    """Everything that could mean something to Mermaid, Markdown or HTML as ``#number;``."""
    return "".join(c if c.isalnum() or c in " -_." or ord(c) > 127 else f"#{ord(c)};" for c in text)


def dot(diagram: Diagram) -> str:
    """A graph for Graphviz."""
    ids = node_ids(diagram)
    line = NEUTRAL["line"][0]
    lines = [
        "digraph pipeline {",
        "  rankdir=LR",
        '  graph [bgcolor="transparent", nodesep=0.3, ranksep=0.7]',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11]',
        f'  edge [color="{line}", arrowsize=0.7]',
    ]
    for name, node in ids.items():
        style = STATE_STYLES[diagram.state(name)]
        text = _quoted(clean(name))
        colours = style.light
        lines.append(
            f'  {node} [label="{text}\\n{style.glyph} {style.word}", tooltip="{text}", '
            f'color="{colours.edge}", fillcolor="{colours.tint}", fontcolor="{colours.ink}"]'
        )
    lines += [f"  {ids[up]} -> {ids[name]}" for up, name in diagram.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    """The inside of a quoted string: a backslash would start an escape, a & an HTML entity."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def elements(diagram: Diagram) -> dict[str, list[dict[str, Any]]]:
    """Nodes with positions and edges, in the JSON form that Cytoscape reads.

    A node's ``data`` holds ``id`` (n0, n1, …), ``name`` (the task), ``label``, ``state``,
    ``subtitle``, ``width`` and ``height``; its class is its state.
    """
    ids = node_ids(diagram)
    nodes = []
    for name, box in place(diagram).boxes.items():
        style = STATE_STYLES[diagram.state(name)]
        data = {
            "id": ids[name],
            "name": name,
            "label": f"{clean(name)}\n{style.glyph} {style.word}",
            "state": diagram.state(name),
            "subtitle": clean(diagram.subtitles.get(name, "")),
            "width": box.width,
            "height": box.height,
        }
        position = {"x": round(box.x, 2), "y": round(box.y, 2)}
        nodes.append({"data": data, "classes": diagram.state(name), "position": position})
    edges = [
        {
            "data": {"id": f"e{i}", "source": ids[up], "target": ids[name]},
            "classes": "directed",
        }
        for i, (up, name) in enumerate(diagram.edges)
    ]
    return {"nodes": nodes, "edges": edges}
