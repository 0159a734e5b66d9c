"""Text for pictures: made safe, measured without a font, shortened in the middle."""

from __future__ import annotations

import unicodedata

_WIDTHS = {
    28: "'|ijl",
    33: " ,.:;!I",
    39: '()[]{}/\\-frt`"',
    50: "*_?sJczL",
    58: "aekvxyFTEPg$°",
    64: "bdhnopquSBRXYZVKACU0123456789#+<=>~^",
    78: "DGHNOQmw&",
    98: "MW@%…—",
}
"""Advance widths in hundredths of the font's size, of a rather wide sans-serif."""

_WIDTH = {char: width / 100 for width, chars in _WIDTHS.items() for char in chars}

_USUAL = 0.64
_WIDE = 1.06
_BOLD = 1.16

ELLIPSIS = "…"
_JOINER = "\u200d"


def clean(text: str) -> str:
    """The text on one line, without characters that XML forbids or that turn its direction."""
    flat = " ".join(text.split()) if any(c.isspace() and c != " " for c in text) else text
    return "".join(c if _allowed(c) else "\ufffd" for c in flat)


def _allowed(char: str) -> bool:
    if char in "\ufffe\uffff" or "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069":
        return False
    return unicodedata.category(char) not in ("Cc", "Cs")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is, in pixels, in a sans-serif of ``size`` pixels.

    It errs on the wide side, since nobody knows the reader's font.
    """
    return sum(map(_char_width, text)) * size * (_BOLD if bold else 1.0)


def _char_width(char: str) -> float:
    known = _WIDTH.get(char)
    if known is not None:
        return known
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    return _WIDE if unicodedata.east_asian_width(char) in "WF" else _USUAL


def elide(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """The text, or its head and tail around "…" when it is wider than ``room`` pixels."""
    if text_width(text, size, bold=bold) <= room:
        return text
    marks = _clusters(text)
    left = room - text_width(ELLIPSIS, size, bold=bold)
    head, tail = 0, len(marks)
    while head < tail:
        from_head = head <= len(marks) - tail
        left -= text_width(marks[head] if from_head else marks[tail - 1], size, bold=bold)
        if left < 0:
            break
        head, tail = (head + 1, tail) if from_head else (head, tail - 1)
    return "".join(marks[:head]).rstrip() + ELLIPSIS + "".join(marks[tail:]).lstrip()


def _clusters(text: str) -> list[str]:
    """What a reader takes for one character: a letter with its accents, a joined emoji."""
    found: list[str] = []
    for char in text:
        joined = found and (char == _JOINER or found[-1].endswith(_JOINER))
        modifier = unicodedata.category(char) in ("Mn", "Me", "Mc") or "🏻" <= char <= "🏿"
        if joined or (found and modifier):
            found[-1] += char
        else:
            found.append(char)
    return found
