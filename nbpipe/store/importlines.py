"""What a text of Python imports, runs or puts on ``sys.path``, as far as its text tells."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.core.model import Cell
from nbpipe.core.remember import remembering, total_length
from nbpipe.core.syntax import escapes, parse_body, walk

_RUN_VALUES = frozenset({"-s", "-l", "-r", "-N", "-T"})
_LOADERS = frozenset({"load_ext", "reload_ext", "aimport"})


class Import(msgspec.Struct, frozen=True):
    """One import.

    Attributes:
        module: dotted; "" in ``from . import x``.
        level: number of leading dots.
        names: what ``from`` takes out of it; any may be a module.
    """

    module: str
    level: int = 0
    names: tuple[str, ...] = ()


class Imports(msgspec.Struct, frozen=True):
    """All that one file says.

    Attributes:
        imports: wherever they stand: in functions, in ``try``, under ``TYPE_CHECKING``.
        runs: files that ``%run`` names.
        paths: literals that it puts on ``sys.path``.
        exported: literals of ``__all__``.
    """

    imports: tuple[Import, ...] = ()
    runs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()

    def absolute(self) -> Iterator[Import]:
        """The imports that are not relative."""
        return (one for one in self.imports if not one.level)


def imports_of(code: str | Sequence[Cell]) -> Imports:
    """What a module's text, or the code cells of a source, import."""
    return _of_module(code) if isinstance(code, str) else _of_cells(_code(code))


@lru_cache(maxsize=64)  # many tasks import the same module
def _of_module(text: str) -> Imports:
    return _of_texts([text])


@remembering(total_length)
def _of_cells(texts: tuple[str, ...]) -> Imports:
    return _of_texts(texts)


def _of_texts(texts: Iterable[str]) -> Imports:
    imports: list[Import] = []
    runs: list[str] = []
    paths: list[str] = []
    exported: list[str] = []
    for text in texts:
        tree = parse_body(text.removeprefix("\ufeff"))
        for node in walk(tree) if tree else ():
            imports += _imported(node)
            paths += _path_added(node)
            exported += _exported(node)
        magics = [line for _, line in escapes(text)] if "%" in text else []
        runs += [file for line in magics for file in _run_file(line)]
        imports += [one for line in magics for one in _loaded(line)]
    return Imports(tuple(dict.fromkeys(imports)), tuple(runs), tuple(paths), tuple(exported))


def _code(cells: Iterable[Cell]) -> tuple[str, ...]:
    return tuple(c.text for c in cells if c.kind == "code" and INJECTED_TAG not in c.tags)


def _imported(node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        yield Import(node.module or "", node.level, names)
    elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
        for name in _texts(node.args[:1]):
            level = len(name) - len(name.lstrip("."))
            yield Import(name[level:], level)


def _path_added(node: ast.AST) -> list[str]:
    """The literal in ``sys.path.append('lib')`` or ``sys.path.insert(0, 'lib')``."""
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="sys"), attr="path"),
                attr="append" | "insert",
            )
        ):
            return _texts(node.args[-1:])
    return []


def _exported(node: ast.AST) -> list[str]:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, (ast.List, ast.Tuple)):
        return []
    named = any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    return _texts(node.value.elts) if named else []


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _texts(nodes: Iterable[ast.expr]) -> list[str]:
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _run_file(line: str) -> Iterator[str]:
    """The file of a ``%run`` line; its suffix may be left out."""
    words = _words(line)
    if not words or words[0] != "%run" or "-m" in words:
        return
    skip = False
    for word in words[1:]:
        if not skip and not word.startswith("-"):
            yield word if word.endswith((".py", ".ipynb", ".ipy")) else f"{word}.py"
            return
        skip = word in _RUN_VALUES


def _loaded(line: str) -> Iterator[Import]:
    """The module of ``%run -m module`` and of ``%load_ext module``."""
    words = _words(line)
    if words[:1] == ["%run"] and "-m" in words[:-1]:
        yield Import(words[words.index("-m") + 1])
    elif len(words) > 1 and words[0].lstrip("%") in _LOADERS:
        yield Import(words[1])


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line.replace("\\\n", " "))
    except ValueError:
        return line.split()
