"""A scene as PNG, drawn with Pillow in bands that are larger than life and then scaled down."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nbpipe.views.diagram_fonts import Fonts
from nbpipe.views.diagram_scene import Curve, Disc, Label, Line, Polygon, Rect, Scene, Shape
from nbpipe.views.layout import Point, Route
from nbpipe.views.theme import FixedTheme, palette

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

FINER = 3
"""How much finer than the result a band is drawn, for smooth edges."""

BAND = 512
"""Height of a band, in pixels of the result: memory stays small however tall the picture is."""

MOST_PIXELS = 48_000_000
MOST_ACROSS = 30_000
"""Limits of the result. Pillow itself warns of a bomb when it opens more than 89 million."""


def png(scene: Scene, theme: FixedTheme = "light", scale: float = 2.0) -> bytes:
    """Draw a scene.

    Args:
        scene: the picture.
        theme: its colours.
        scale: pixels of the result for a logical pixel; a huge picture gets fewer.
    """
    from PIL import Image

    scale = _affordable(scene, scale)
    width, height = max(1, round(scene.width * scale)), max(1, round(scene.height * scale))
    colours = palette(theme)
    whole = Image.new("RGB", (width, height), colours["paper"])
    shapes = [(*_extent(shape), shape) for group in scene.groups for shape in group.shapes]
    pen = _Pen(colours, scale * FINER)
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        near = (s for upper, lower, s in shapes if upper * scale < bottom and lower * scale > top)
        band = pen.band(width * FINER, (bottom - top) * FINER, top * FINER, near)
        whole.paste(band.resize((width, bottom - top), Image.Resampling.BOX), (0, top))
    return _encode(whole, scale)


def _encode(image: Image.Image, scale: float) -> bytes:
    small = image.width * image.height < 4_000_000  # else the search for the best size takes long
    file = io.BytesIO()
    image.save(file, "PNG", optimize=small, dpi=(96 * scale,) * 2)
    return file.getvalue()


def _affordable(scene: Scene, scale: float) -> float:
    width, height = max(scene.width, 1.0), max(scene.height, 1.0)
    most = min(MOST_ACROSS / max(width, height), math.sqrt(MOST_PIXELS / (width * height)))
    return max(min(scale, most), 1e-3)


def _extent(shape: Shape) -> tuple[float, float]:
    """The top and bottom of what a shape may touch, in logical pixels."""
    match shape:
        case Rect(y=y, height=height, line=line):
            return y - line, y + height + line
        case Curve(points=points) | Line(points=points) | Polygon(points=points):
            ys = [p.y for p in points]
            return min(ys) - shape.line - 1, max(ys) + shape.line + 1
        case Disc(y=y, radius=radius, line=line):
            return y - radius - line, y + radius + line
        case Label(y=y, size=size):
            return y - 1.5 * size, y + size


class _Pen:
    """Draws shapes of one picture at one scale."""

    def __init__(self, colours: dict[str, str], scale: float) -> None:
        self.colours = colours
        self.scale = scale
        self.fonts = Fonts()
        self.down = 0.0

    def band(self, width: int, height: int, down: float, shapes: Iterable[Shape]) -> Image.Image:
        """A part of the picture that starts ``down`` pixels below its top."""
        from PIL import Image, ImageDraw

        self.down = down
        image = Image.new("RGB", (width, height), self.colours["paper"])
        canvas = ImageDraw.Draw(image)
        for shape in shapes:
            self._draw(canvas, shape)
        return image

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return x * self.scale, y * self.scale - self.down

    def _draw(self, canvas: ImageDraw.ImageDraw, shape: Shape) -> None:
        match shape:
            case Rect():
                self._rect(canvas, shape)
            case Curve(points=points):
                self._stroke(canvas, flatten(points), shape.stroke, shape.line)
            case Line(points=points):
                self._stroke(canvas, points, shape.stroke, shape.line)
            case Polygon(points=points):
                self._polygon(canvas, points, shape.fill, shape.line)
            case Disc():
                self._disc(canvas, shape)
            case Label():
                self._label(canvas, shape)

    def _rect(self, canvas: ImageDraw.ImageDraw, shape: Rect) -> None:
        # A stroke lies half outside its shape, as in SVG.
        out = shape.line / 2 if shape.stroke else 0.0
        left, top = self._at(shape.x - out, shape.y - out)
        right, bottom = self._at(shape.x + shape.width + out, shape.y + shape.height + out)
        canvas.rounded_rectangle(
            (round(left), round(top), round(right) - 1, round(bottom) - 1),
            radius=(shape.radius + out) * self.scale,
            fill=self.colours[shape.fill] if shape.fill else None,
            outline=self.colours[shape.stroke] if shape.stroke else None,
            width=max(1, round(shape.line * self.scale)) if shape.stroke else 0,
        )

    def _stroke(
        self, canvas: ImageDraw.ImageDraw, points: Sequence[Point], role: str, line: float
    ) -> None:
        places = [self._at(*p) for p in points]
        width = max(1, round(line * self.scale))
        canvas.line(places, fill=self.colours[role], width=width, joint="curve")
        for x, y in (places[0], places[-1]):
            r = width / 2 - 0.5
            canvas.ellipse((x - r, y - r, x + r, y + r), fill=self.colours[role])

    def _polygon(
        self, canvas: ImageDraw.ImageDraw, points: Sequence[Point], role: str, line: float
    ) -> None:
        canvas.polygon([self._at(*p) for p in points], fill=self.colours[role])
        if line:
            for start, end in zip(points, (*points[1:], points[0]), strict=True):
                self._stroke(canvas, (start, end), role, line)

    def _disc(self, canvas: ImageDraw.ImageDraw, shape: Disc) -> None:
        out = shape.radius + shape.line / 2
        box = (*self._at(shape.x - out, shape.y - out), *self._at(shape.x + out, shape.y + out))
        colour = self.colours[shape.colour]
        if shape.line:
            canvas.ellipse(box, outline=colour, width=max(1, round(shape.line * self.scale)))
        else:
            canvas.ellipse(box, fill=colour)

    def _label(self, canvas: ImageDraw.ImageDraw, shape: Label) -> None:
        size = shape.size * self.scale
        runs, width = self.fonts.runs(shape.text, size, bold=shape.bold)
        room = shape.room * self.scale
        if width > room + 1:
            runs, width = self.fonts.runs(shape.text, size * room / width, bold=shape.bold)
        x, y = self._at(shape.x, shape.y)
        for text, font in runs:
            canvas.text((x, y), text, fill=self.colours[shape.fill], font=font, anchor="ls")
            x += font.getlength(text)


def flatten(route: Route, steps: int = 24) -> list[Point]:
    """A route as straight pieces: a straight one stays whole, a bend becomes ``steps`` pieces."""
    points = [route[0]]
    for i in range(1, len(route) - 2, 3):
        start, (one, two, end) = points[-1], route[i : i + 3]
        if start.y == one.y == two.y == end.y or (start, end) == (one, two):
            points.append(end)
            continue
        for n in range(1, steps + 1):
            t, u = n / steps, 1 - n / steps
            a, b, c, d = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            x = a * start.x + b * one.x + c * two.x + d * end.x
            points.append(Point(x, a * start.y + b * one.y + c * two.y + d * end.y))
    return points
