"""A scene as SVG: no script, no font, no link; its styles reach nothing else on the page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from nbpipe.views.diagram_scene import (
    Curve,
    Disc,
    Group,
    Label,
    Line,
    Polygon,
    Rect,
    Scene,
    Shape,
)
from nbpipe.views.layout import Point
from nbpipe.views.theme import Theme, css_rules, palette

FONTS = (
    "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','Helvetica Neue',"
    "'Liberation Sans',Arial,'Noto Color Emoji',sans-serif"
)


def svg(scene: Scene, theme: Theme = "auto") -> str:
    """Draw a scene.

    Args:
        scene: the picture.
        theme: ``auto`` follows the page, then the reader's system; the others are fixed.
    """
    body = "\n".join(filter(None, map(_group, scene.groups)))
    about = f"{scene.title}\0{scene.about}\0{theme}\0{body}"
    # Ids are unique in a page with several pictures, and equal for equal pictures.
    name = "nbp-" + hashlib.sha256(about.encode()).hexdigest()[:10]
    width, height = _number(scene.width), _number(scene.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" role="img" '
        f'aria-labelledby="{name}-t {name}-d" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{FONTS}" fill="none" '
        'stroke-linecap="round" stroke-linejoin="round" '
        f'style="width:100%;max-width:{width}px;min-width:{_number(scene.width * 0.6)}px;'
        'height:auto">\n'
        f'<title id="{name}-t">{escape(scene.title)}</title>\n'
        f'<desc id="{name}-d">{escape(scene.about)}</desc>\n'
        f"<style>\n{_style(name, scene, theme)}\n</style>\n{body}\n</svg>\n"
    )


def _style(name: str, scene: Scene, theme: Theme) -> str:
    """A class for each colour in use. The plain colour before the variable is for old readers."""
    fills, strokes = _colours(shape for group in scene.groups for shape in group.shapes)
    colours = palette("dark" if theme == "dark" else "light")
    rules = [css_rules(f"#{name}", {*fills, *strokes})] if theme == "auto" else []
    for letter, what, roles in (("f", "fill", fills), ("s", "stroke", strokes)):
        for role in roles:
            follow = f";{what}:var(--nbp-{role})" if theme == "auto" else ""
            rules.append(f"#{name} .{letter}-{role}{{{what}:{colours[role]}{follow}}}")
    return "\n".join(rules)


def _colours(shapes: Iterable[Shape]) -> tuple[list[str], list[str]]:
    """The roles that fill, and those that stroke."""
    fills: dict[str, None] = {}
    strokes: dict[str, None] = {}
    for shape in shapes:
        fill, stroke = _paint(shape)
        fills |= dict.fromkeys([fill] if fill else [])
        strokes |= dict.fromkeys([stroke] if stroke else [])
    return sorted(fills), sorted(strokes)


def _paint(shape: Shape) -> tuple[str | None, str | None]:
    match shape:
        case Rect(fill=fill, stroke=stroke):
            return fill, stroke
        case Curve(stroke=stroke) | Line(stroke=stroke):
            return None, stroke
        case Polygon(fill=fill, line=line):
            return fill, fill if line else None
        case Disc(colour=colour, line=line):
            return (None, colour) if line else (colour, None)
        case Label(fill=fill):
            return fill, None


def _group(group: Group) -> str:
    body = "".join(map(_shape, group.shapes))
    if not body:
        return ""
    title = f"<title>{escape(group.about)}</title>" if group.about else ""
    return f"<g>{title}{body}</g>"


def _shape(shape: Shape) -> str:
    look = _look(shape)
    match shape:
        case Rect(x=x, y=y, width=width, height=height, radius=radius):
            where = f'x="{_number(x)}" y="{_number(y)}"'
            size = f'width="{_number(width)}" height="{_number(height)}"'
            return f'<rect {where} {size} rx="{_number(radius)}"{look}/>'
        case Curve(points=points):
            return f'<path d="{_path(points)}"{look}/>'
        case Line(points=points):
            return f'<path d="M{_pairs(points)}"{look}/>'
        case Polygon(points=points):
            return f'<path d="M{_pairs(points)}Z"{look}/>'
        case Disc(x=x, y=y, radius=radius):
            return f'<circle cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}"{look}/>'
        case Label(x=x, y=y, text=text, size=size_, bold=bold):
            font = f'font-size="{_number(size_)}"' + (' font-weight="600"' if bold else "")
            return f'<text x="{_number(x)}" y="{_number(y)}" {font}{look}>{escape(text)}</text>'


def _path(points: Sequence[Point]) -> str:
    """Bends as Béziers, straight pieces as lines."""
    parts = [f"M{_pairs(points[:1])}"]
    for i in range(1, len(points), 3):
        start, one, two, end = points[i - 1 : i + 3]
        straight = (one, two) == (start, end)
        parts.append(f"L{_pairs([end])}" if straight else f"C{_pairs([one, two, end])}")
    return "".join(parts)


def _look(shape: Shape) -> str:
    """The attributes of a shape's colours, with a space before them."""
    fill, stroke = _paint(shape)
    classes = [f"f-{fill}"] * bool(fill) + [f"s-{stroke}"] * bool(stroke)
    width = "" if stroke is None else f' stroke-width="{_number(getattr(shape, "line", 1.0))}"'
    return f' class="{" ".join(classes)}"{width}'


def _pairs(points: Sequence[Point]) -> str:
    return " ".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
