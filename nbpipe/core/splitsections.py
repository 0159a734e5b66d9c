"""The sections of a notebook: what stands under each of its headings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from nbpipe.core.model import Cell
from nbpipe.core.splitflow import Statement
from nbpipe.core.splittrees import is_constant
from nbpipe.core.syntax import (
    ESCAPE,
    is_automagic,
    is_cell_magic,
    parse_cell,
    syntax_error,
    without_python_magic,
)
from nbpipe.errors import UsageError

_HEADING = re.compile(r"^(#{1,2})[ \t]+(\S.*?)[ \t]*#*$")
_MARKUP = re.compile(r"`|\*|!?\[([^\]]*)\]\([^)]*\)|<[^>]*>")
_LONGEST = 40


@dataclass(frozen=True)
class Part:
    """A section: the name of its task, and its cells."""

    name: str
    cells: tuple[Cell, ...]


def parts_of(cells: Sequence[Cell]) -> list[Part]:
    """The sections in their order; those without work of their own join the next one.

    Raises:
        UsageError: there are no headings to go by.
    """
    pieces = [piece for cell in cells for piece in _pieces(cell)]
    levels = [level for level, _, _ in pieces if level]
    deepest = 2 if 2 in levels else 1
    if not levels or (deepest == 1 and len(levels) < 2):
        raise UsageError(
            "the notebook has no headings that divide it",
            "put a markdown cell such as '## Load the data' before each step",
        )
    groups: list[tuple[str, list[Cell]]] = [("setup", [])]
    for level, title, cell in pieces:
        if level:
            groups.append((title, []))
        groups[-1][1].append(cell)
    return _named(_joined(groups))


def _pieces(cell: Cell) -> Iterator[tuple[int, str, Cell]]:
    """A cell, a markdown cell cut before each heading: its level, or 0, and its title."""
    if cell.kind != "markdown":
        yield 0, "", cell
        return
    blocks: list[tuple[int, str, list[str]]] = [(0, "", [])]
    fenced = False
    for line in cell.text.split("\n"):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        match = None if fenced else _HEADING.match(line)
        if match:
            blocks.append((len(match[1]), match[2], []))
        blocks[-1][2].append(line)
    for level, title, lines in blocks:
        text = "\n".join(lines).strip("\n")
        if text.strip():
            yield level, title, replace_text(cell, text)


def replace_text(cell: Cell, text: str) -> Cell:
    """The cell with another text."""
    return Cell(kind=cell.kind, text=text, tags=cell.tags)


def _joined(groups: list[tuple[str, list[Cell]]]) -> list[tuple[str, list[Cell]]]:
    found: list[tuple[str, list[Cell]]] = []
    held: list[Cell] = []
    for title, cells in groups:
        held += cells
        if any(_works(cell) for cell in cells):
            found.append((title, held))
            held = []
    if held and found:
        found[-1][1].extend(held)
    elif held:
        found.append((groups[-1][0], held))
    return found


def _works(cell: Cell) -> bool:
    """Whether a cell does more than to import and to define."""
    if cell.kind != "code" or not cell.text.strip():
        return False
    tree = parse_cell(cell.text)
    quiet = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    if tree is None:
        return True
    return not all(isinstance(n, quiet) or is_constant(n) or _is_setting(n) for n in tree.body)


def _is_setting(node: ast.stmt) -> bool:
    """Whether a line is a magic that only sets the notebook up."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == ESCAPE
        and re.match(
            r"%(matplotlib|load_ext|config|autoreload)\b", ast.literal_eval(node.value.args[0])
        )
        is not None
    )


def _named(groups: list[tuple[str, list[Cell]]]) -> list[Part]:
    seen: set[str] = set()
    parts = []
    for title, cells in groups:
        base = name = slug(title) or "section"
        number = 2
        while name.casefold() in seen:
            name, number = f"{base}-{number}", number + 1
        seen.add(name.casefold())
        parts.append(Part(name, tuple(cells)))
    return parts


def slug(title: str) -> str:
    """A heading as the name of a task: ``1. Load the *data*`` gives ``load-the-data``."""
    plain = _MARKUP.sub(lambda match: match[1] or "", title).lower()
    words = re.findall(r"[^\W_]+", re.sub(r"^\W*\d+(\.\d+)*[.):]?\s+(?=\S)", "", plain))
    name = ""
    for word in words:
        if name and len(name) + len(word) >= _LONGEST:
            break
        name += ("-" if name else "") + word
    return name[:_LONGEST]


def statements_of(parts: Sequence[Part]) -> list[Statement]:
    """Every statement at the top of a cell.

    Raises:
        UsageError: a cell does not parse.
    """
    found = []
    for section, part in enumerate(parts):
        for index, cell in enumerate(part.cells):
            if cell.kind == "code":
                found += list(_statements(cell, section, index))
    return found


def _statements(cell: Cell, section: int, index: int) -> Iterator[Statement]:
    if wrong := syntax_error(cell.text):
        first = cell.text.strip().partition("\n")[0]
        raise UsageError(f"the cell '{first[:50]}' does not parse: {wrong[1]}", "repair it first")
    inner = without_python_magic(cell.text)
    head = cell.text.split("\n", 1)[0] if inner != cell.text else ""
    tree = parse_cell(inner)
    opaque = tree is None or is_cell_magic(inner) or is_automagic(cell.text)
    if opaque or head:
        said = ast.parse(f"{ESCAPE}({(cell.text if opaque else head)!r})").body[0]
        yield Statement(said, cell.text, section, index, 0, 0, False)
    if opaque or tree is None:
        return
    lines = inner.split("\n")
    spans = [_span(node) for node in tree.body]
    for number, node in enumerate(tree.body):
        start, last = spans[number]
        others = [spans[i] for i in (number - 1, number + 1) if 0 <= i < len(spans)]
        alone = not head and all(b < start or last < a for a, b in others)
        text = "\n".join(lines[start - 1 : last])
        made = Statement(node, text, section, index, start, last, alone)
        yield made if alone else replace(made, text=ast.unparse(node))


def _span(node: ast.stmt) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)])
    return first, node.end_lineno or node.lineno
