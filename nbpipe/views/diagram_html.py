"""A diagram as a page of its own: the picture and the same states in a real table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec

from nbpipe.core.model import State
from nbpipe.views.diagram_scene import Diagram
from nbpipe.views.diagram_text import clean
from nbpipe.views.page import CSS, POLICY
from nbpipe.views.theme import STATE_STYLES, css_rules


class Row(msgspec.Struct, frozen=True):
    """A line of the table below the picture.

    Attributes:
        task: its name.
        state: as shown in the picture.
        reason: why it is in that state; "" when there is nothing to say.
        product: paths of its products, joined; "" for none.
    """

    task: str
    state: State
    reason: str = ""
    product: str = ""


_CSS = f"""{CSS}figure{{margin:0 0 26px}}
caption{{font-weight:600}}
thead th{{font-size:12px;font-weight:600;color:var(--nbp-muted)}}
tbody th{{font-weight:600}}
td.state{{white-space:nowrap;font-weight:600}}
td.product{{font-family:ui-monospace,Consolas,"Liberation Mono",monospace;font-size:12.5px}}
"""


def rows_of(diagram: Diagram) -> list[Row]:
    """Rows that say what the diagram knows: no reason but the subtitle."""
    return [
        Row(
            name,
            diagram.state(name),
            diagram.subtitles.get(name, ""),
            ", ".join(task.products.values()),
        )
        for name, task in diagram.graph.tasks.items()
    ]


def page(diagram: Diagram, picture: str, rows: Sequence[Row] | None) -> str:
    """A page that loads nothing and runs nothing.

    Args:
        diagram: what is shown.
        picture: the same as SVG.
        rows: the table; None: made from the diagram.
    """
    title = escape(clean(diagram.title or "pipeline"))
    states = "\n".join(f".{state}{{color:var(--nbp-{state}-ink)}}" for state in STATE_STYLES)
    body = "\n".join(map(_row, rows_of(diagram) if rows is None else rows))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(diagram.summary)}</title>
<style>
{css_rules(":root", whole_page=True)}{_CSS}{states}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{escape(_tally(diagram))}</p>
<figure>
{picture}</figure>
<table>
<caption>Tasks</caption>
<thead><tr><th scope="col">task</th><th scope="col">state</th><th scope="col">reason</th>\
<th scope="col">product</th></tr></thead>
<tbody>
{body}
</tbody>
</table>
</main>
</body>
</html>
"""


def _tally(diagram: Diagram) -> str:
    count = sum(diagram.counts.values())
    return "1 task" if count == 1 else f"{count} tasks"


def _row(row: Row) -> str:
    style = STATE_STYLES[row.state]
    state = f'<span aria-hidden="true">{style.glyph}</span> {style.word}'
    return (
        f'<tr><th scope="row">{escape(clean(row.task))}</th><td class="state {row.state}">{state}'
        f'</td><td>{escape(clean(row.reason))}</td><td class="product">'
        f"{escape(clean(row.product))}</td></tr>"
    )
