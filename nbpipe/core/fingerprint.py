"""Digests of texts, values, code and products: SHA-256, in hexadecimal.

A digest of code ignores what cannot change a result: comments, blank lines, formatting. It never
takes two cells of different meaning for one; what it cannot read, it takes as it stands.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property, lru_cache
from typing import Any, TypeGuard

from nbpipe.core.model import Cell
from nbpipe.core.remember import remembering, total_length
from nbpipe.core.syntax import is_cell_magic, parse_cell, walk

INJECTED_TAG = "injected-parameters"
"""Tag of the cell that the runner writes; it is no part of the source."""

_IGNORED_FIELDS = frozenset({"type_ignores", "type_comment", "ctx"})
_SPACED_OPERATOR = re.compile(r"\s*[^\W\d]\w*\s+[-+*/%@&|^<>~(\[]\S")
_DYNAMIC = frozenset({"globals", "locals", "vars", "eval", "exec", "__import__", "modules"})


def text_digest(text: str) -> str:
    """Digest of a text; its line ends and a byte order mark do not count."""
    return _sha(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))


def value_digest(value: Any) -> str:
    """Digest of a JSON-like value; the order of keys does not count, types do."""
    return _sha("\n".join(_value_tokens(value)))


def code_digest(cells: Iterable[Cell], language: str = "python") -> str:
    """Digest of what the code cells do. Where a cell ends counts; an empty cell does not.

    Args:
        cells: all cells of a source.
        language: of its kernel; only Python is understood, other code counts as it stands.
    """
    code = (c.text for c in cells if c.kind == "code" and INJECTED_TAG not in c.tags)
    return _code_digest(tuple(code), language.lower())


@remembering(total_length)
def _code_digest(texts: tuple[str, ...], language: str) -> str:
    read = _python_cell if language == "python" else _other_cell
    return value_digest([said for text in texts if (said := read(text)) is not None])


@lru_cache(maxsize=64)  # many tasks import the same module
def module_digest(text: str) -> str:
    """Digest of a module's code."""
    said = _python_cell(text.removeprefix("\ufeff"), automagic=False)
    return value_digest(said)


def function_digest(module_text: str, function: str) -> str:
    """Digest of a function, of all definitions that it can reach by name, and of the rest.

    The rest is every top-level statement that is no plain definition: imports, constants,
    decorated definitions. So an edit of a sibling that is never mentioned changes nothing.
    A function that is not a plain definition gives the digest of the whole module.
    """
    kept = _definitions(module_text).needed(function.partition(".")[0])
    if kept is None:
        return module_digest(module_text)
    return value_digest(["function", function, *kept])


def output_digest(products: Mapping[str, tuple[str, str]]) -> str:
    """Digest of what consumers see: path and digest of each product by its name."""
    return value_digest({key: list(pair) for key, pair in products.items()})


def canonical(tree: ast.AST) -> str:
    """A tree as text, one for all of Python 3.11 to 3.13, without positions.

    A field that is None or empty is left out, since later versions add such fields. No
    recursion: a long sum is a deep tree.
    """
    out: list[str] = []
    todo: list[Any] = [tree]
    while todo:
        item = todo.pop()
        if type(item) is _Mark:
            out.append(item)
        elif isinstance(item, ast.AST):
            _add_node(item, todo)
        elif isinstance(item, list):
            todo.append(_CLOSE_LIST)
            todo.extend(reversed(item))
            todo.append(_OPEN_LIST)
        else:
            out.append(_scalar(item))
    return "\n".join(out)


class _Mark(str):
    """What stands between the values of a tree; a type of its own, as a value may be any text."""

    __slots__ = ()


_CLOSE, _OPEN_LIST, _CLOSE_LIST = _Mark(")"), _Mark("["), _Mark("]")


def _add_node(node: ast.AST, todo: list[Any]) -> None:
    """Put a node's parts on a stack, the last one first."""
    kind: Any = type(node)
    opening, fields = _shape(kind)
    todo.append(_CLOSE)
    if isinstance(node, ast.Constant):  # its value may be None; 'kind' is the u of u''
        todo.append(node.value)
    else:
        for field, mark in fields:
            value = getattr(node, field, None)
            if value is not None and value != []:
                todo += (value, mark)
    todo.append(opening)


@cache
def _shape(kind: type[Any]) -> tuple[_Mark, tuple[tuple[str, _Mark], ...]]:
    """The mark that opens a kind of node, and its fields that count, the last one first."""
    fields = [field for field in reversed(kind._fields) if field not in _IGNORED_FIELDS]
    return _Mark(f"({kind.__name__}"), tuple((field, _Mark(f".{field}")) for field in fields)


def _scalar(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int {value:x}"  # repr refuses more than 4300 digits
    return f"{type(value).__name__} {value!r}"


def _value_tokens(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield f"{{{len(value)}"
        for key in sorted(value, key=_scalar):
            yield _scalar(key)
            yield from _value_tokens(value[key])
    elif isinstance(value, (list, tuple)):
        yield f"[{len(value)}"
        for item in value:
            yield from _value_tokens(item)
    else:
        yield _scalar(value)


def _python_cell(text: str, *, automagic: bool = True) -> list[str] | None:
    """What a cell says, as its kind and a text; None: nothing."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return None
    if is_cell_magic(text):
        return ["magic", text.strip()]  # of any language, so blank lines may count
    tree = parse_cell(text)
    if tree is None or (automagic and _is_command(text)):
        return ["text", _trimmed(text)]
    return ["tree", canonical(tree)] if tree.body else None


def _is_command(text: str) -> bool:
    """Whether IPython may run a one-line cell like ``ls -l`` as a command, though it parses."""
    line = text.strip()
    return "\n" not in line and _SPACED_OPERATOR.match(line) is not None


def _other_cell(text: str) -> list[str] | None:
    return ["text", _trimmed(text)] if text.strip() else None


def _trimmed(text: str) -> str:
    """Without trailing whitespace and blank lines, unless they may stand in a long string."""
    lines = text.strip("\n").split("\n")
    spans = any(line.count(quote) % 2 for line in lines for quote in "\"'`") or "<<" in text
    if spans or '"""' in text or "'''" in text:
        return text.strip("\n")
    return "\n".join(line.rstrip() for line in lines if line.strip())


class _Definitions:
    """A module's top-level statements. Each is read once, however many functions ask for it."""

    def __init__(self, text: str) -> None:
        tree = parse_cell(text.removeprefix("\ufeff"))
        self._parsed = tree is not None
        self._body = tree.body if tree is not None else []
        self._plain: dict[str, list[int]] = {}
        self._rest: list[int] = []
        for place, node in enumerate(self._body):
            name = _plain_name(node)
            (self._rest if name is None else self._plain.setdefault(name, [])).append(place)
        self._said: dict[int, frozenset[str]] = {}
        self._texts: dict[int, str] = {}

    def needed(self, function: str) -> list[str] | None:
        """What a function rests on, as texts in the module's order; None: it cannot be told."""
        if not self._parsed or function not in self._plain:
            return None
        said = {function} | self._said_by_rest
        todo = [name for name in said if name in self._plain]
        seen = set(todo)
        while todo:
            more: set[str] = set()
            for place in self._plain[todo.pop()]:
                more |= self._said_by(place)
            said |= more
            new = [name for name in more if name in self._plain and name not in seen]
            seen.update(new)
            todo.extend(new)
        if said & _DYNAMIC:
            return None
        places = [*self._rest, *(place for name in seen for place in self._plain[name])]
        return [self._text(place) for place in sorted(places)]

    @cached_property
    def _said_by_rest(self) -> frozenset[str]:
        return frozenset().union(*map(self._said_by, self._rest))

    def _said_by(self, place: int) -> frozenset[str]:
        if place not in self._said:
            self._said[place] = frozenset(_mentions(self._body[place]))
        return self._said[place]

    def _text(self, place: int) -> str:
        if place not in self._texts:
            self._texts[place] = canonical(self._body[place])
        return self._texts[place]


_definitions = lru_cache(maxsize=4)(_Definitions)  # functions of a pipeline often share a module


def _plain_name(node: ast.stmt) -> str | None:
    """The name of a plain definition; None: it is another statement."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return node.name if isinstance(node, kinds) and not node.decorator_list else None


def _mentions(tree: ast.AST) -> set[str]:
    """Every name, attribute and text in a tree: each may lead to a definition.

    Not so the keys of ``upstream['name']``: a function and its task share a name, and what a
    consumer sees of it are its products.
    """
    found: set[str] = set()
    keys = {id(node.slice) for node in walk(tree) if _reads_upstream(node)}
    for node in walk(tree):
        if id(node) in keys:
            continue
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def _reads_upstream(node: ast.AST) -> TypeGuard[ast.Subscript]:
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "upstream"
        and isinstance(node.slice, ast.Constant)
    )


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
