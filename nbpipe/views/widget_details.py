"""What the panel says of the selected task, as data and as HTML. All of it is escaped."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from importlib import import_module
from typing import Literal

import msgspec

from nbpipe.core.model import State
from nbpipe.errors import harmless
from nbpipe.views.widget_html import state_html, text
from nbpipe.views.widget_preview import preview_html
from nbpipe.views.words import ago, duration, size

Tab = Literal["Source", "Changes", "Products", "Log", "Runs"]
TABS: tuple[Tab, ...] = ("Source", "Changes", "Products", "Log", "Runs")

LOG_TAIL = 200
"""That many last lines of a log are shown."""

SOURCE_LINES = 1500
"""A longer source is cut; its file is a click away."""


class Link(msgspec.Struct, frozen=True):
    """A file to open.

    Attributes:
        label: what a reader clicks.
        path: relative to the root.
        url: where a browser finds it; "": nowhere, so that only the path is shown.
        lab: path relative to the Jupyter server's folder, for opening it in the same window; "":
            not below that folder.
    """

    label: str
    path: str
    url: str = ""
    lab: str = ""


class ProductInfo(msgspec.Struct, frozen=True):
    """A product as it is now.

    Attributes:
        path: relative to the root.
        full: absolute.
        size: bytes; None: it does not exist.
        modified: seconds since the epoch (UTC); None: it does not exist.
        notebook: whether it is the executed notebook.
        link: for opening it.
    """

    path: str
    full: str
    size: int | None
    modified: float | None
    notebook: bool
    link: Link


class PastRun(msgspec.Struct, frozen=True):
    """A try of the task.

    Attributes:
        run: id of the run.
        started: seconds since the epoch (UTC).
        seconds: duration.
        result: how it ended, such as ``ran`` or ``failed``.
    """

    run: str
    started: float
    seconds: float
    result: str


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """All about one task.

    Attributes:
        task: its name.
        state: as planned.
        reasons: why it is in that state.
        source: its text.
        diff: unified diff since the last good run; "" when there is none.
        ever: whether it ever ran well.
        products: in the order of the spec.
        log: what it printed last, or how it failed.
        runs: newest first.
        links: to the script, the executed and the failed notebook.
        now: seconds since the epoch (UTC).
    """

    task: str
    state: State
    reasons: tuple[str, ...] = ()
    source: str = ""
    diff: str = ""
    ever: bool = False
    products: tuple[ProductInfo, ...] = ()
    log: str = ""
    runs: tuple[PastRun, ...] = ()
    links: tuple[Link, ...] = ()
    now: float = 0.0


def about_html(details: Details, state: State) -> str:
    """Name, state, reasons and links; ``state`` is that of a running build, if there is one."""
    # The reasons are those of the plan: once a build has changed the state, they are history.
    why = "; ".join(details.reasons) if state == details.state else ""
    links = "".join(link_html(link) for link in details.links)
    return (
        f'<div class="nbp-about"><b>{text(details.task)}</b>&ensp;{state_html(state)}'
        f'<p class="nbp-muted">{text(why)}</p><div class="nbp-links">{links}</div></div>'
    )


NOTHING = '<div class="nbp-about nbp-muted">Select a task: click it, or use the table below.</div>'


def link_html(link: Link) -> str:
    """A link that JupyterLab opens in a tab of its own; elsewhere the browser follows it."""
    if not link.url:
        return f'<span class="nbp-muted">{text(link.label)}: {text(link.path)}</span>'
    opens = ""
    if link.lab:
        args = json.dumps({"path": link.lab})
        opens = (
            ' data-commandlinker-command="docmanager:open"'
            f' data-commandlinker-args="{escape(args)}"'
        )
    return (
        f'<a href="{escape(link.url)}" title="{text(link.path)}" target="_blank" '
        f'rel="noopener"{opens}>{text(link.label)}</a>'
    )


def tab_html(details: Details, tab: Tab) -> str:
    """The content of a tab."""
    made: dict[Tab, Callable[[], str]] = {
        "Source": lambda: source_html(details.source),
        "Changes": lambda: _changes_html(details),
        "Products": lambda: (
            "".join(_product_html(p, details.now) for p in details.products)
            or _none("This task declares no product.")
        ),
        "Log": lambda: _log_html(details.log),
        "Runs": lambda: _runs_html(details),
    }
    return harmless(made[tab]())


def _none(sentence: str) -> str:
    return f'<p class="nbp-muted">{escape(sentence)}</p>'


_KINDS = (
    ("Token.Comment", "c"),
    ("Token.Literal.String", "s"),
    ("Token.Literal.Number", "m"),
    ("Token.Keyword", "k"),
    ("Token.Operator.Word", "k"),
    ("Token.Operator", "o"),
    ("Token.Name.Function", "d"),
    ("Token.Name.Class", "d"),
    ("Token.Name.Decorator", "d"),
)


def source_html(source: str) -> str:
    """Python with line numbers and colours; without pygments, plain."""
    lines = source.splitlines()
    first = _after_header(lines)
    cut = lines[first : first + SOURCE_LINES]
    marked = _highlighted("\n".join(cut)).split("\n")
    numbered = "\n".join(
        f'<span class="nbp-num">{i}</span>{line}' for i, line in enumerate(marked, first + 1)
    )
    rest = len(lines) - first - len(cut)
    more = _none(f"… {rest} more lines") if rest else ""
    return f"<pre>{numbered}</pre>{more}" if lines else _none("The source is empty.")


def _after_header(lines: list[str]) -> int:
    """Index of the first line after Jupytext's header, which no reader wants to see first."""
    if not lines or lines[0].strip() != "# ---":
        return 0
    end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == "# ---"), -1)
    return next((i for i in range(end + 1, len(lines)) if lines[i].strip()), 0)


def _highlighted(source: str) -> str:
    try:
        lexers = import_module("pygments.lexers.python")
    except ImportError:
        return escape(source)
    parts = []
    lexer = lexers.PythonLexer(stripnl=False, ensurenl=False)
    for token, value in lexer.get_tokens(source):
        kind = next((k for name, k in _KINDS if str(token).startswith(name)), "")
        # A token may span lines, and each line is wrapped on its own.
        pieces = [
            f'<span class="c-{kind}">{escape(v)}</span>' if kind and v else escape(v)
            for v in value.split("\n")
        ]
        parts.append("\n".join(pieces))
    return "".join(parts)


def _changes_html(details: Details) -> str:
    if not details.diff:
        return _none(
            "The source is the same as in the last good run."
            if details.ever
            else "It never ran well, so there is nothing to compare with."
        )
    look = {"+": "nbp-add", "-": "nbp-del", "@": "nbp-hunk"}
    lines = [
        f'<span class="{look.get(line[:1], "")}">{escape(line) or " "}</span>'
        if line[:1] in look
        else f"{escape(line)}\n"
        for line in details.diff.splitlines()
    ]
    return f"<pre>{''.join(lines)}</pre>"


def _product_html(product: ProductInfo, now: float) -> str:
    what = "executed notebook" if product.notebook else ""
    if product.size is None or product.modified is None:
        facts, shown = "not there yet", ""
    else:
        facts = f"{size(product.size)} · {ago(product.modified, now)}"
        shown = "" if product.notebook else preview_html(product.full, product.size)
    name = link_html(product.link) if product.size is not None else text(product.path)
    said = " · ".join(filter(None, (what, facts)))
    return (
        f'<section class="nbp-product"><header><code>{name}</code>'
        f'<span class="nbp-muted">{escape(said)}</span></header>{shown}</section>'
    )


def _log_html(log: str) -> str:
    lines = log.splitlines()
    if not lines:
        return _none("Nothing was printed.")
    cut = len(lines) - LOG_TAIL
    head = _none(f"… {cut} lines before") if cut > 0 else ""
    return f'{head}<pre class="nbp-wrap">{escape(chr(10).join(lines[-LOG_TAIL:]))}</pre>'


def _runs_html(details: Details) -> str:
    if not details.runs:
        return _none("It never ran.")
    longest = max(run.seconds for run in details.runs) or 1.0
    rows = "".join(
        f'<tr><td>{ago(run.started, details.now)}</td><td class="nbp-right">'
        f"{duration(run.seconds)}</td><td>"
        f'<span class="nbp-spark {"failed" if run.result == "failed" else ""}" '
        f'style="width:{max(2.0, 90 * run.seconds / longest):.0f}px"></span></td>'
        f'<td>{escape(run.result)}</td><td class="nbp-muted">{text(run.run)}</td></tr>'
        for run in details.runs
    )
    head = '<th>started</th><th class="nbp-right">took</th><th></th><th>result</th><th>run</th>'
    return (
        f'<div class="nbp-scroll"><table class="nbp-grid"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
