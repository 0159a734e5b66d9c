"""Fonts for pictures drawn with Pillow: the system's where there are some, else Pillow's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont

_PLAIN = ("NotoSans-Regular", "DejaVuSans", "LiberationSans-Regular", "Arial", "segoeui")
_BOLD = ("NotoSans-SemiBold", "DejaVuSans-Bold", "LiberationSans-Bold", "Arial Bold", "seguisb")
_TEXT = {False: _PLAIN, True: _BOLD}
"""Families for text, the best first; a text takes the first that has its characters."""

_WIDE = ("NotoSansCJK-Regular", "NotoSansCJK-Medium", "NotoSansSC-Regular", "PingFang", "msyh")
_SIGNS = ("DejaVuSans", "NotoSansSymbols2-Regular", "NotoEmoji-Regular", "Symbola", "seguisym")

_NOWHERE = "\U0010fffd"
"""A character for private use, which no font has: what it shows is the sign for a missing one."""


class Fonts:
    """Finds a font for each character, and remembers it for the picture at hand."""

    def __init__(self) -> None:
        self._chosen: dict[tuple[str, bool], int] = {}

    def runs(self, text: str, size: float, *, bold: bool) -> tuple[list[tuple[str, Font]], float]:
        """The text in pieces of one font each, and the width of all, in pixels."""
        pieces: list[tuple[str, int]] = []
        for char in text:
            number = self._number(char, bold)
            if pieces and pieces[-1][1] == number:
                pieces[-1] = (pieces[-1][0] + char, number)
            else:
                pieces.append((char, number))
        fonts = [(piece, _sized(number, round(size, 1), bold)) for piece, number in pieces]
        return fonts, sum(font.getlength(piece) for piece, font in fonts)

    def _number(self, char: str, bold: bool) -> int:
        """Which of the fonts has a character; the first when none has."""
        key = (char, bold)
        if key not in self._chosen:
            count = len(_files(bold))
            able = (n for n in range(count) if _has(_sized(n, 40.0, bold), char))
            self._chosen[key] = next(able, 0)
        return self._chosen[key]


def _has(font: Font, char: str) -> bool:
    return bytes(font.getmask(char)) != bytes(font.getmask(_NOWHERE))


@cache
def _sized(number: int, size: float, bold: bool) -> Font:
    from PIL import ImageFont

    file = _files(bold)[number]
    if file is None:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    return ImageFont.truetype(file, size)


@cache
def _files(bold: bool) -> tuple[str | None, ...]:
    """Paths of the usable fonts, the best first; None stands for Pillow's own."""
    known = _installed()
    text = [known[name] for name in _TEXT[bold] if name in known][:1]
    more = [known[name] for name in (*_WIDE, *_SIGNS) if name in known]
    files = [file for file in dict.fromkeys(text + more) if _opens(file)]
    return (*files,) if text and files else (None, *files)


def _opens(file: str) -> bool:
    from PIL import ImageFont

    try:
        ImageFont.truetype(file, 40)
    except OSError:
        return False
    return True


@cache
def _installed() -> dict[str, str]:
    """Path of each font file of the system by its name without suffix."""
    found: dict[str, str] = {}
    for folder in _folders():
        for place, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in (".ttf", ".otf", ".ttc"):
                    found.setdefault(stem, os.path.join(place, name))
    return found


def _folders() -> Iterator[Path]:
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    else:
        yield from (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
        yield from (home / ".local/share/fonts", home / ".fonts")
