"""A notebook's code checked without running it: names that nothing defines, params that differ.

pyflakes does the work; it is imported when a task first asks for it.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.core.model import Cell
from nbpipe.core.options import Analysis
from nbpipe.core.syntax import ESCAPE, escapes, is_cell_magic, parse_body, syntax_error
from nbpipe.errors import Problem, UsageError, did_you_mean
from nbpipe.store.declared import PARAMETERS_TAG
from nbpipe.store.reading import Source

HINT = "mend it, or write 'static_analysis: disable' in the task"

_KNOWN_NAMES = frozenset(
    {"get_ipython", "display", "In", "Out", "_", "__", "___", "_ih", "_oh", "_dh", "exit", "quit"}
    | {"upstream", "product", "__file__", "__session__", ESCAPE}
)

_HARMLESS = frozenset(
    {"matplotlib", "time", "timeit", "load_ext", "reload_ext", "autoreload", "config", "cd", "env"}
    | {"pip", "conda", "mamba", "set_env", "html", "markdown", "latex", "javascript", "js", "svg"}
    | {"bash", "sh", "writefile", "prun", "lprun", "memit", "precision", "aimport"}
)
"""Magics that define no name."""

_ERRORS = frozenset(
    {"UndefinedName", "UndefinedLocal", "DuplicateArgument", "ReturnOutsideFunction"}
    | {"YieldOutsideFunction", "ContinueOutsideLoop", "BreakOutsideLoop", "DefaultExceptNotLast"}
    | {"TwoStarredExpressions", "TooManyExpressionsInStarredAssignment", "IfTuple"}
    | {"PercentFormatMissingArgument", "StringDotFormatMissingArgument"}
)
"""What pyflakes calls the mistakes that end a run; it also tells of much that is only untidy."""

_MAGIC = re.compile(r"%{1,2}(\w+)")


class _Line(msgspec.Struct, frozen=True):
    """Where a line of the joined code comes from."""

    cell: int
    number: int


def check_notebook(source: Source, params: Mapping[str, Any], analysis: Analysis) -> list[Problem]:
    """What would end a run of a Python notebook; nothing for another language.

    Args:
        source: the notebook.
        params: that it is given.
        analysis: ``strict`` also compares the params with the cell tagged ``parameters``.

    Raises:
        UsageError: pyflakes is not installed.
    """
    if analysis == "disable" or source.language != "python":
        return []
    found = list(_syntax(source))
    if not found:
        found += _flaws(source, {*params})
    if analysis == "strict":
        found += _signature(source, params)
    return found


def _code(source: Source) -> Iterator[tuple[int, Cell]]:
    for number, cell in enumerate(source.cells, 1):
        if cell.kind == "code" and INJECTED_TAG not in cell.tags:
            yield number, cell


def _problem(source: Source, number: int, cell: Cell, line: int, message: str) -> Problem:
    if not cell.line:
        return Problem(source.path, 0, 0, "", f"cell {number}, line {line}: {message}", HINT)
    return Problem(source.path, cell.line + line - 1, 0, "", message, HINT)


def _syntax(source: Source) -> Iterator[Problem]:
    for number, cell in _code(source):
        error = syntax_error(cell.text)
        if error is not None:
            yield _problem(source, number, cell, error[0], f"syntax error: {error[1]}")


def _flaws(source: Source, params: set[str]) -> Iterator[Problem]:
    """What pyflakes finds in the cells, read as one module."""
    try:
        from pyflakes.checker import Checker
    except ImportError:
        hint = "pip install pyflakes, or write 'static_analysis: disable'"
        raise UsageError(f"{source.path}: static_analysis needs pyflakes", hint) from None
    cells = list(_code(source))
    body, lines = _joined([cell for _, cell in cells])
    unsure = any(_may_define(cell) for _, cell in cells)
    tree = ast.Module(body=body, type_ignores=[])
    checker = Checker(tree, source.path, builtins=_KNOWN_NAMES | params)
    for message in sorted(checker.messages, key=lambda m: (m.lineno, m.col)):
        kind = type(message).__name__
        if kind not in _ERRORS or (unsure and kind.startswith("Undefined")):
            continue
        at = lines[message.lineno]
        number, cell = cells[at.cell]
        yield _problem(source, number, cell, at.number, message.message % message.message_args)


def _joined(cells: Sequence[Cell]) -> tuple[list[ast.stmt], dict[int, _Line]]:
    """The statements of all cells with lines of their own, and where each line comes from."""
    body: list[ast.stmt] = []
    lines: dict[int, _Line] = {}
    start = 0
    for index, cell in enumerate(cells):
        tree = parse_body(cell.text)
        count = cell.text.count("\n") + 1
        for number in range(1, count + 1):
            lines[start + number] = _Line(index, number)
        if tree is not None:
            body += ast.increment_lineno(tree, start).body
        start += count
    return body, lines


def _may_define(cell: Cell) -> bool:
    """Whether a magic may define names that nobody sees."""
    lines = [line for _, line in escapes(cell.text)]
    if is_cell_magic(cell.text):
        lines.append(cell.text.lstrip())
    names = [match[1] for line in lines if (match := _MAGIC.match(line))]
    return any(name not in _HARMLESS for name in names)


def _signature(source: Source, params: Mapping[str, Any]) -> Iterator[Problem]:
    """How the params differ from the names that the cell tagged ``parameters`` assigns."""
    tagged = next((pair for pair in _code(source) if PARAMETERS_TAG in pair[1].tags), None)
    if tagged is None:
        what = f"no cell is tagged '{PARAMETERS_TAG}', and the check is strict"
        yield Problem(source.path, 0, 0, "", what, f'tag one: # %% tags=["{PARAMETERS_TAG}"]')
        return
    number, cell = tagged
    declared = _assigned(cell)
    for name in sorted(declared.keys() - params.keys() - {"upstream", "product"}):
        what = f"'{name}' is declared, but the task gives no such param"
        yield _problem(source, number, cell, declared[name], what)
    for name in sorted(params.keys() - declared.keys()):
        near = did_you_mean(name, declared)
        what = f"the task gives the param '{name}', which is not declared here"
        problem = _problem(source, number, cell, 1, what)
        is_near = near is not None and near.startswith("did")
        yield dataclasses.replace(problem, hint=near) if is_near else problem


def _assigned(cell: Cell) -> dict[str, int]:
    """Names that a cell assigns at its top level, with their lines."""
    tree = parse_body(cell.text)
    found: dict[str, int] = {}
    for node in tree.body if tree is not None else ():
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for name in (inner for target in targets for inner in ast.walk(target)):
            if isinstance(name, ast.Name):
                found.setdefault(name.id, node.lineno)
    return found
