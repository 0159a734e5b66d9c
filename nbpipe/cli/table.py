"""A table that fits the terminal, as text; a thousand rows in a few milliseconds."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

GAP = "  "
"""Between two columns."""

Style = Callable[[str, str], str]
"""Given a whole cell and one line of it, the line as it is printed, such as with colours."""

_EXPLAINING = ("reason", "what happened", "why", "tasks")


def table_lines(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    total: int,
    *,
    right: Sequence[int] = (),
    style: Style = lambda cell, line: line,
) -> list[str]:
    """The lines of a table with a ruled head.

    Args:
        head: names of the columns.
        rows: cells, which may have several lines.
        total: columns of the terminal; what is too wide is folded, explanations first.
        right: indices of the columns that are set flush right.
        style: of the cells.
    """
    widths = _widths(head, rows, total)
    rule = "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
    lines = [*_row(head, widths, right, lambda cell, line: line), rule]
    for row in rows:
        lines += _row(row, widths, right, style)
    return lines


def width_of(text: str) -> int:
    """How many columns of a terminal a line takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def fold(text: str, width: int) -> list[str]:
    """A line as lines of at most ``width`` columns, broken between words where that is possible."""
    if width_of(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width_of(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, width)
        lines += full
    return [*lines, line]


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _pieces(word: str, width: int) -> list[str]:
    pieces, piece, used = [], "", 0
    for char in word:
        if used + _columns(char) > width and piece:
            pieces.append(piece)
            piece, used = "", 0
        piece += char
        used += _columns(char)
    return [*pieces, piece]


def _row(
    cells: Sequence[str], widths: Sequence[int], right: Sequence[int], style: Style
) -> list[str]:
    folded = [
        [piece for line in cell.splitlines() or [""] for piece in fold(line, width)]
        for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for n in range(max(map(len, folded))):
        parts = []
        for i, (cell, pieces, width) in enumerate(zip(cells, folded, widths, strict=True)):
            piece = pieces[n] if n < len(pieces) else ""
            blank = " " * (width - width_of(piece))
            shown = style(cell, piece)
            parts.append(blank + shown if i in right else shown + blank)
        lines.append(GAP.join(parts).rstrip())
    return lines


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> list[int]:
    """Columns as wide as they need; where that is too wide, long ones shrink, reasons first."""
    need = [
        max((width_of(line) for row in (head, *rows) for line in row[i].splitlines()), default=1)
        for i in range(len(head))
    ]
    spare = total - sum(need) - len(GAP) * (len(head) - 1)
    for names, least in ((_EXPLAINING, 16), (("product",), 24), (("task",), 16), (head, 8)):
        for i, name in enumerate(head):
            if spare < 0 and name in names and need[i] > least:
                cut = min(-spare, need[i] - least)
                need[i] -= cut
                spare += cut
    return need
