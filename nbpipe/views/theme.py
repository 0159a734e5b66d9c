"""How states look: glyph, word and colours, for light and dark; and the colours around them.

The hues are those of Okabe and Ito (2002), "Color universal design", which people with any colour
vision can tell apart. Where one is too light for text, its ink is a darker (in dark: a lighter)
shade of the same hue: text has a contrast of 4.5 to 1 or more on the card and on its own tint.
A state never shows by colour alone.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from nbpipe.core.model import State

Theme = Literal["auto", "light", "dark"]
"""``auto`` follows the page or the reader's system."""

FixedTheme = Literal["light", "dark"]
_FIXED: tuple[FixedTheme, FixedTheme] = ("light", "dark")


class Colours(msgspec.Struct, frozen=True):
    """The colours of a state, as ``#rrggbb``.

    Attributes:
        ink: for its word and glyph.
        edge: for the border of a box.
        tint: behind its word and glyph.
    """

    ink: str
    edge: str
    tint: str


class StateStyle(msgspec.Struct, frozen=True):
    """How a state looks.

    Attributes:
        glyph: one character.
        word: what a reader calls it.
        light: its colours on a light page.
        dark: its colours on a dark page.
    """

    glyph: str
    word: str
    light: Colours
    dark: Colours


def _style(glyph: str, word: str, light: str, dark: str) -> StateStyle:
    return StateStyle(glyph, word, Colours(*light.split()), Colours(*dark.split()))


STATE_STYLES: dict[State, StateStyle] = {
    "fresh": _style("✓", "fresh", "#00694d #009e73 #e3f4ee", "#4fd0a5 #009e73 #12332a"),
    "stale": _style("●", "stale", "#855500 #e69f00 #fcf1d9", "#f2b640 #d39200 #38290c"),
    "running": _style("▶", "running", "#005a8d #0072b2 #dfeefa", "#7cc4f2 #3c9bd6 #12304a"),
    "queued": _style("…", "queued", "#33678a #56b4e9 #ebf5fc", "#a5cfe8 #4f93bb #1f323f"),
    "failed": _style("✗", "failed", "#a34500 #d55e00 #fde9dd", "#ff9457 #e0690c #41210f"),
    "blocked": _style("⊘", "blocked", "#8c3f6c #cc79a7 #f9ecf3", "#e8a9cb #cc79a7 #3a2431"),
    "new": _style("○", "new", "#57606a #98a2ad #f0f2f4", "#aab4bf #6f7a86 #2a3038"),
}
"""In the order in which legends and summaries list them."""

NEUTRAL: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#15181c"),
    "card": ("#ffffff", "#1d2228"),
    "ink": ("#1b2026", "#e8ebef"),
    "muted": ("#5b6570", "#a3adb8"),
    "line": ("#8a95a1", "#67727e"),
}
"""Colours of no state, light and dark: the page, a box, its name, small print, arrows."""

HOST: dict[str, tuple[str, ...]] = {
    "paper": ("--jp-layout-color0", "--vscode-editor-background"),
    "card": ("--jp-layout-color1", "--vscode-editorWidget-background"),
    "ink": ("--jp-ui-font-color0", "--vscode-editor-foreground"),
}
"""CSS variables of JupyterLab and VS Code that stand for a colour, where the page has them."""

LIGHT_PAGE = (
    '[data-jp-theme-light="true"]',
    '[data-vscode-theme-kind="vscode-light"]',
    '[data-theme="light"]',
)
"""CSS selectors of a page that says it is light, whatever the reader's system says."""

DARK_PAGE = (
    '[data-jp-theme-light="false"]',
    '[data-vscode-theme-kind="vscode-dark"]',
    '[data-theme="dark"]',
)
"""CSS selectors of a page that says it is dark: JupyterLab, VS Code, Sphinx's furo."""


def palette(theme: FixedTheme) -> dict[str, str]:
    """Every colour as ``#rrggbb`` by its role: ``paper``, …, ``fresh-ink``, ``fresh-edge``, …"""
    dark = theme == "dark"
    roles = {role: pair[dark] for role, pair in NEUTRAL.items()}
    for state, style in STATE_STYLES.items():
        colours = style.dark if dark else style.light
        roles[f"{state}-ink"] = colours.ink
        roles[f"{state}-edge"] = colours.edge
        roles[f"{state}-tint"] = colours.tint
    return roles


def css_rules(
    selector: str, roles: Collection[str] | None = None, *, whole_page: bool = False
) -> str:
    """CSS that gives ``selector`` the colours of the theme that its page, or system, has.

    Args:
        selector: of one element, which gets variables such as ``--nbp-fresh-ink``.
        roles: which colours; None: all.
        whole_page: True: the page is ours, so that only the system's theme counts.
    """
    light, dark = (_variables(palette(t), roles) for t in _FIXED)
    rules = [f"{selector}{{{light}}}", f"@media(prefers-color-scheme:dark){{{selector}{{{dark}}}}}"]
    if not whole_page:
        for pages, variables in ((LIGHT_PAGE, light), (DARK_PAGE, dark)):
            rules.append(",".join(f"{page} {selector}" for page in pages) + f"{{{variables}}}")
    return "\n".join(rules)


def _variables(colours: dict[str, str], roles: Collection[str] | None) -> str:
    """CSS declarations; a host's own colours come first."""
    parts = []
    for role, colour in colours.items():
        value = colour
        for variable in reversed(HOST.get(role, ())):
            value = f"var({variable},{value})"
        if roles is None or role in roles:
            parts.append(f"--nbp-{role}:{value}")
    return ";".join(parts)
