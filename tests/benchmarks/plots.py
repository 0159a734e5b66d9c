"""The plots, as SVG that stands in a page and takes its theme's colours."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any, Literal

from nbpipe.views.theme import css_rules, palette
from tests.benchmarks.scaling import Series

ROLES = (
    "running-ink",
    "failed-ink",
    "fresh-ink",
    "stale-ink",
    "blocked-ink",
    "new-ink",
)
"""Colours of lines, in their order: they can be told apart with any colour vision."""

MARKERS = "osD^vP"
INK, GRID = "ink", "line"
SIZE = (7.2, 3.8)
"""Inches."""


@dataclass(frozen=True)
class Plot:
    """How a plot is labelled.

    Attributes:
        title: what it shows.
        x: label of the axis, with the unit.
        y: the same.
        logarithmic: the axes that are; the others of y begin at 0.
    """

    title: str
    x: str
    y: str
    logarithmic: Literal["xy", "x", ""] = "xy"


PLOTS: dict[str, Plot] = {
    "noop": Plot("A build with nothing to do", "tasks", "wall time, s"),
    "cells": Plot("One notebook of short cells", "cells", "wall time, s"),
    "cores": Plot("Tasks that keep a core busy", "tasks at once", "wall time, s", ""),
    "memory": Plot("Memory of the builder at its peak", "tasks", "resident memory, MiB", "x"),
}


def draw(name: str, series: list[Series]) -> str:
    """An SVG element; the same series give the same text."""
    import matplotlib as mpl
    from matplotlib.figure import Figure  # not pyplot, which would choose a backend for all

    colours = palette("light")
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 10,
        "font.family": "sans-serif",
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), colours[INK]),
        **dict.fromkeys(("xtick.color", "ytick.color"), colours[INK]),
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        _lines(axes, series, colours)
        _label(axes, PLOTS[name], colours)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return _themed(written.getvalue(), name, colours)


def _lines(axes: Any, series: list[Series], colours: dict[str, str]) -> None:
    for line, role, marker in zip(series, ROLES, MARKERS, strict=False):
        width = 2.4 if line.label == "nbpipe" else 1.4
        axes.plot(
            line.x, line.y, label=line.label, color=colours[role], marker=marker, linewidth=width
        )


def _label(axes: Any, plot: Plot, colours: dict[str, str]) -> None:
    from matplotlib import ticker

    axes.set(xlabel=plot.x, ylabel=plot.y, title=plot.title)
    for name in plot.logarithmic:
        axes.set(**{f"{name}scale": "log"})
        axis = getattr(axes, f"{name}axis")
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=15))
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
        axis.set_minor_locator(ticker.NullLocator())
    if "x" not in plot.logarithmic:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    if "y" not in plot.logarithmic:
        axes.set_ylim(bottom=0)
    axes.grid(color=colours[GRID], alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.figure.legend(loc="outside right upper", frameon=False)
    else:
        axes.text(0.5, 0.5, "not part of this run", ha="center", transform=axes.transAxes)


def _themed(svg: str, name: str, colours: dict[str, str]) -> str:
    """The element alone, with colours as variables that follow the page's theme."""
    svg = svg[svg.index("<svg") :]
    used = (*ROLES, INK, GRID)
    for role in used:
        svg = svg.replace(colours[role], f"var(--nbp-{role})")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]+"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]+"', r"\1", svg, count=1)
    for before in ('id="', "url(#", 'href="#'):  # several plots stand in one page
        svg = svg.replace(before, f"{before}{name}-")
    label = f'class="speed" role="img" aria-label="{PLOTS[name].title}"'
    svg = svg.replace("<svg ", f"<svg {label} ", 1)
    opening = svg.index(">") + 1
    return f"{svg[:opening]}\n<style>{css_rules('svg.speed', used)}</style>{svg[opening:]}"
