"""Tables as plain text and as HTML: whatever a cell holds, it is one text that steers nothing."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from nbpipe.errors import harmless


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns without colours; control characters in a cell become spaces."""
    return "\n".join([line.rstrip() for line in _aligned(head, rows)])


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A real table; every text is escaped."""
    return harmless(_html(head, [[_on_lines(cell) for cell in row] for row in rows], caption))


class Drawn:
    """A table that is drawn but for one column, the only one that changes with time.

    It says what :func:`plain_table` and :func:`html_table` say, in a tenth of the time: all that
    stays is measured, escaped and joined once.

    Args:
        head: of all columns.
        rows: what they hold in that column is not looked at.
        column: its place, neither the first nor the last.
        caption: of the HTML.
    """

    def __init__(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], column: int, caption: str
    ) -> None:
        self._title = head[column]
        self._left = [f"{line}  " for line in _cut(head, rows, slice(column))]
        self._right = [f"  {line}".rstrip() for line in _cut(head, rows, slice(column + 1, None))]
        laid = [[_on_lines(cell) for cell in row] for row in rows]
        for cells in laid:
            cells[column] = _LATER
        self._seams = [
            harmless(part) for part in _html(head, laid, harmless(caption)).split(_LATER)
        ]

    def plain(self, said: Sequence[str]) -> str:
        """The text, with these cells in the column, one for each row."""
        clean = {text: _on_one_line(text) for text in {self._title, *said}}
        width = max(map(len, clean.values()))
        padded = {text: cell.ljust(width) for text, cell in clean.items()}
        column = [padded[self._title], "─" * width, *[padded[text] for text in said]]
        lines = zip(self._left, column, self._right, strict=True)
        return "\n".join([(left + cell + right).rstrip() for left, cell, right in lines])

    def html(self, said: Sequence[str]) -> str:
        """The HTML, with these cells in the column, one for each row."""
        escaped = {text: harmless(_marked(_on_lines(text), "td")) for text in {*said}}
        parts = [""] * (2 * len(said) + 1)
        parts[::2] = self._seams
        parts[1::2] = [escaped[text] for text in said]
        return "".join(parts)


def printable(text: str) -> str:
    """The text without anything that could steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _aligned(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of the same width, with a rule below the head."""
    clean = [tuple([_on_one_line(cell) for cell in row]) for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    form = "  ".join([f"%-{width}s" for width in widths])
    lines = [form % row for row in clean]
    lines.insert(1, "  ".join(["─" * width for width in widths]))
    return lines


def _cut(head: Sequence[str], rows: Iterable[Sequence[str]], columns: slice) -> list[str]:
    """The lines of these columns alone."""
    return _aligned(head[columns], [row[columns] for row in rows])


def _on_one_line(cell: str) -> str:
    return cell if cell.isprintable() else printable(", ".join(cell.splitlines()))


# These stand between texts that are printable or free of them, until all have been escaped.
_LINE, _CELL, _ROW, _LATER = "\x01", "\x02", "\x03", "\x04"
_ENDS = str.maketrans(dict.fromkeys(_LINE + _CELL + _ROW + _LATER, "\ufffd"))


def _html(head: Sequence[str], laid: Sequence[Sequence[str]], caption: str) -> str:
    """A table of cells that :func:`_on_lines` has made."""
    body = _html_rows("td", laid) if laid else ""
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead>{_html_rows('th', [head])}</thead><tbody>{body}</tbody></table>"
    )


def _html_rows(tag: str, laid: Iterable[Sequence[str]]) -> str:
    """At least one row. All texts are escaped in one go: a thousand rows are five thousand."""
    inner = _marked(_ROW.join([_CELL.join(row) for row in laid]), tag)
    return f"<tr><{tag}>{inner.replace(_ROW, f'</{tag}></tr><tr><{tag}>')}</{tag}></tr>"


def _marked(said: str, tag: str) -> str:
    """Texts escaped, with the ends of lines and cells as markup."""
    return html.escape(said).replace(_LINE, "<br>").replace(_CELL, f"</{tag}><{tag}>")


def _on_lines(cell: str) -> str:
    return cell if cell.isprintable() else _LINE.join(cell.translate(_ENDS).splitlines())
