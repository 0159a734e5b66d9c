"""Python cells as trees, with IPython's own syntax told apart from Python.

IPython is not imported here. A line that only IPython understands is replaced by a call that
carries its text, so that the rest of the cell can be parsed and nothing of it is lost.
"""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any

ESCAPE = "__nbpipe_escape__"
"""Name of the call that stands for a line of IPython syntax; its argument is the line."""

AUTOMAGIC = frozenset(
    "cat cd clear conda config cp dirs edit env history less ll ls lf lk lx load logstart "  # noqa: SIM905
    "logstop macro magic mamba man matplotlib micromamba mkdir more mv notebook page pdef pdoc "
    "pfile pinfo pip popd psource pushd pwd pycat pylab recall rehashx reload_ext rerun reset "
    "rm rmdir run save store sx system tb time timeit unalias uv who whos writefile xmode".split()
)
"""First words of one-line cells that IPython runs as a magic without its ``%``."""

PYTHON_BODIES = frozenset({"capture", "prun", "time", "timeit", "pyflyby", "memray_flamegraph"})
"""Cell magics whose body is Python that runs in the notebook's own namespace."""

_FAILURES = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
_ASSIGNED = re.compile(r"^(\s*[^\W\d][^=#!%]*=\s*)([!%].*)$", re.DOTALL)
_CELL_MAGIC = re.compile(r"\s*%%(\w+)")
_FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_QUOTES = ('"""', "'''", '"', "'")
_ONE_AT_A_TIME = threading.RLock()
"""In some versions of Python 3.11 and 3.12 two threads that parse at once disturb each other
(SystemError, cpython#106905); and what ``catch_warnings`` restores belongs to the process."""


def parse_python(text: str | bytes) -> ast.Module:
    """The tree of plain Python in which ``await`` may stand at the top.

    Warnings about it are not shown.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError, OverflowError: it has none.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = compile(text, "<cell>", "exec", flags=_FLAGS, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


def parse_cell(text: str) -> ast.Module | None:
    """The tree of a cell, IPython's lines as calls of `ESCAPE`; None: there is no tree.

    Lines keep their numbers. A cell that begins with ``%%`` has no tree.
    """
    tree = _parse_or_error(text)
    return tree if isinstance(tree, ast.Module) else None


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree that says something, in the order of `ast.walk`, but faster.

    Left out is whether a name is read or written (``ctx``): a third of all nodes.
    """
    todo = deque([tree])
    while todo:
        node = todo.popleft()
        yield node
        kind: Any = type(node)
        for field in _fields(kind):
            value = getattr(node, field, None)
            if isinstance(value, list):
                todo.extend([item for item in value if isinstance(item, ast.AST)])
            elif isinstance(value, ast.AST):
                todo.append(value)


@cache
def _fields(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field for field in kind._fields if field != "ctx")


def parse_body(text: str) -> ast.Module | None:
    """As `parse_cell`, but looks into cell magics like ``%%time`` whose body is Python."""
    return parse_cell(without_python_magic(text))


def syntax_error(text: str) -> tuple[int, str] | None:
    """Line (1-based, in the cell) and message of what keeps a cell from running.

    None: nothing does, or the cell is a magic, whose body is not ours to judge.
    """
    inner = without_python_magic(text)
    if is_cell_magic(inner) or is_automagic(inner):
        return None
    error = _parse_or_error(inner)
    if isinstance(error, SyntaxError):
        return error.lineno or 1, error.msg
    if isinstance(error, ValueError) and "\0" in text:
        return 1, str(error)
    return None


def is_cell_magic(text: str) -> bool:
    """Whether the whole cell belongs to a ``%%`` magic."""
    return text.lstrip().startswith("%%")


def is_automagic(text: str) -> bool:
    """Whether a cell is one line such as ``pip install x``, which only IPython understands."""
    words = text.strip().split()
    return bool(words) and "\n" not in text.strip() and words[0] in AUTOMAGIC


def without_python_magic(text: str) -> str:
    """The cell with the line of a ``%%time``-like magic emptied; any other cell as it is."""
    while match := _CELL_MAGIC.match(text):
        if match[1] not in PYTHON_BODIES:
            break
        _, _, body = text[match.end() :].partition("\n")
        text = "\n" * (match[0].count("\n") + 1) + body
    return text


def escapes(text: str) -> Iterator[tuple[int, str]]:
    """Every line of IPython syntax in a cell: its 1-based line and its text, unindented.

    Of ``x = %magic`` only the magic is given. A cell under a ``%%`` magic gives nothing,
    unless its body is Python.
    """
    inner = without_python_magic(text)
    if is_cell_magic(inner):
        return
    for number, logical in _logical_lines(inner):
        found = _split_escape(logical)
        if found is not None:
            yield number, found[1]


def _parse_or_error(text: str) -> ast.Module | BaseException:
    if is_cell_magic(text):
        return _tried(text)
    if ESCAPE in text:  # it could pass for the line that a call of this name stands for
        return ValueError(f"the name {ESCAPE} is reserved")
    plain = _tried(text)
    if isinstance(plain, ast.Module):
        return plain
    replaced = replace_escapes(_unindented(text))
    return plain if replaced == text else _tried(replaced)


def _tried(text: str) -> ast.Module | BaseException:
    try:
        return parse_python(text)
    except _FAILURES as error:
        return error


def _unindented(text: str) -> str:
    """The cell without its first line's indent, which IPython removes from every line."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    return "\n".join(line.removeprefix(indent) for line in lines) if indent else text


def replace_escapes(text: str) -> str:
    """The cell with each line of IPython syntax as a call of `ESCAPE`; lines keep their number."""
    out = []
    for _, logical in _logical_lines(text):
        found = _split_escape(logical)
        if found is None:
            out.append(logical)
        else:
            start, escape = found
            out.append(f"{start}{ESCAPE}({escape!r})" + "\n" * logical.count("\n"))
    return "\n".join(out)


def _split_escape(logical: str) -> tuple[str, str] | None:
    """What stands before the IPython syntax of a logical line, and that syntax; None: Python."""
    stripped = logical.lstrip()
    indent = logical[: len(logical) - len(stripped)]
    if stripped[:1] and stripped[0] in "%!?,;/":
        return indent, stripped.rstrip()
    if match := _ASSIGNED.match(logical):
        return match[1], match[2].rstrip()
    if stripped.rstrip().endswith("?") and _code_end(logical) == len(logical):
        return indent, stripped.rstrip()
    return None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined where a string, a bracket or a backslash goes on, with their first number."""
    state = _State()
    held: list[str] = []
    first = 1
    for number, line in enumerate(text.split("\n"), 1):
        if not held:
            first = number
        held.append(line)
        escaped = len(held) == 1 and line.lstrip()[:1] in tuple("%!?,;/")
        if (escaped or state.magic) and line.endswith("\\"):
            state.magic = True
            continue
        if not (escaped or state.magic):
            state.read(line)
        if state.open:
            continue
        yield first, "\n".join(held)
        state.magic = False
        held = []
    if held:
        yield first, "\n".join(held)


def _code_end(line: str) -> int:
    """Where the comment of a logical line begins; its length: it has none."""
    state = _State()
    return state.read(line)


class _State:
    """Whether a string, a bracket or a backslash keeps a logical line open."""

    def __init__(self) -> None:
        self.quote = ""
        self.depth = 0
        self.backslash = False
        self.magic = False

    @property
    def open(self) -> bool:
        return bool(self.quote) or self.depth > 0 or self.backslash

    def read(self, line: str) -> int:
        """Take one line in; gives where its comment begins, else its length."""
        self.backslash = False
        i = 0
        while i < len(line):
            if line[i] == "\\":
                self.backslash = i == len(line) - 1
                i += 2
            elif self.quote:
                i += self._in_string(line, i)
            elif line[i] == "#":
                return i
            else:
                i += self._in_code(line, i)
        if len(self.quote) == 1 and not self.backslash:
            self.quote = ""  # an unclosed quote never leaves its line
        return len(line)

    def _in_string(self, line: str, i: int) -> int:
        if not line.startswith(self.quote, i):
            return 1
        width = len(self.quote)
        self.quote = ""
        return width

    def _in_code(self, line: str, i: int) -> int:
        for quote in _QUOTES:
            if line.startswith(quote, i):
                self.quote = quote
                return len(quote)
        if line[i] in "([{":
            self.depth += 1
        elif line[i] in ")]}":
            self.depth = max(0, self.depth - 1)
        return 1
