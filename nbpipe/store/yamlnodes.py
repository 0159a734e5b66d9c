"""Nodes of a YAML text that know their line, their column and where they end.

Plain scalars mean what they mean in YAML 1.1, as PyYAML's ``SafeLoader`` reads them.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

CORE = "tag:yaml.org,2002:"
"""Prefix of the tags of YAML's own types."""

TYPE_NAMES = {
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "null": "nothing",
    "timestamp": "a date",
}
"""What a reader calls YAML's types."""

_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what the parser counts as one


@dataclass(slots=True)
class Scalar:
    """A single value, not yet interpreted.

    Attributes:
        line: 1-based.
        column: 1-based.
        end: 1-based line of its last character.
        text: without quotes, escapes resolved.
        plain: written without quotes, so that YAML guesses its type.
        tag: explicit core tag such as ``int``; None: none.
        filled: a placeholder gave it, so that it is text wherever text may stand.
    """

    line: int
    column: int
    end: int
    text: str
    plain: bool
    tag: str | None
    filled: bool = False


@dataclass(slots=True)
class Sequence:
    """A list. Positions as in `Scalar`.

    Attributes:
        flow: written in brackets.
        items: in order.
        size: nodes in it, itself and expanded aliases counted.
        height: levels of nesting, 1 for an empty list.
    """

    line: int
    column: int
    end: int
    flow: bool
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class Mapping:
    """A mapping with text keys. Positions, ``size`` and ``height`` as in `Sequence`.

    Attributes:
        flow: written in braces.
        entries: key and value by the key's text; merged (``<<``) ones last.
    """

    line: int
    column: int
    end: int
    flow: bool
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    def get(self, key: str) -> Node | None:
        """The value of ``key``; None: there is no such key."""
        entry = self.entries.get(key)
        return None if entry is None else entry[1]


Node = Scalar | Sequence | Mapping


class OddScalarError(ValueError):
    """A scalar that is no JSON-like value; its text says what it is read as."""


def scalar_value(node: Scalar) -> str | int | float | bool | None:
    """What a scalar means.

    Raises:
        OddScalarError: it means something that JSON has not, such as a date.
    """
    tag = scalar_tag(node)
    if tag == "str":
        return node.text
    if tag == "null":
        return None
    if tag not in ("bool", "int", "float"):
        raise OddScalarError(TYPE_NAMES.get(tag, tag))
    if ":" in node.text:
        raise OddScalarError("a number in base 60")
    return _number_or_bool(node, tag)


def scalar_tag(node: Scalar) -> str:
    """Name of the core type: ``str``, ``int``, ``float``, ``bool``, ``null``, ``timestamp``."""
    if node.tag is not None:
        return node.tag
    if not node.plain:
        return "str"
    for tag, pattern in _resolvers().get(node.text[:1], ()):
        if pattern.match(node.text):
            name = tag.removeprefix(CORE)
            return "str" if name in ("merge", "value") else name
    return "str"


def plain_value(node: Node) -> Any:
    """A node as lists, dicts and scalars; dates and the like stay text."""
    if isinstance(node, Scalar):
        try:
            return scalar_value(node)
        except OddScalarError:
            return node.text
    if isinstance(node, Sequence):
        return [plain_value(item) for item in node.items]
    return {key: plain_value(value) for key, (_, value) in node.entries.items()}


def node_of(value: Any, at: Node) -> Node:
    """A node with a JSON-like value, as if a placeholder at ``at`` had given it."""
    if isinstance(value, dict):
        entries = {
            str(key): (Scalar(at.line, at.column, at.end, str(key), False, "str"), node_of(one, at))
            for key, one in value.items()
        }
        return Mapping(at.line, at.column, at.end, True, entries)
    if isinstance(value, (list, tuple)):
        items = [node_of(one, at) for one in value]
        return Sequence(at.line, at.column, at.end, True, items)
    if isinstance(value, str):
        return Scalar(at.line, at.column, at.end, value, False, "str", True)
    text = {None: "null", True: "true", False: "false"}.get(value) if _is_word(value) else None
    return Scalar(at.line, at.column, at.end, text or str(value), True, _tag_of(value), True)


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _tag_of(value: Any) -> str:
    if _is_word(value):
        return "null" if value is None else "bool"
    return "int" if isinstance(value, int) else "float"


def split_lines(text: str) -> list[str]:
    """The lines as the parser counts them, each with its end."""
    cuts = [0, *(match.end() for match in _LINE_END.finditer(text)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(cuts) if a < b]


def show(text: str) -> str:
    """Text in quotes for a message: one line, without control characters, at most 60 long."""
    return repr(clip(text))


def clip(text: str) -> str:
    """Text cut to 60 characters."""
    return text if len(text) <= 60 else text[:59] + "…"


def quoted(text: str) -> str:
    """A scalar as it would be written in double quotes; a long one is cut."""
    return '"' + clip(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def join_key(path: str, key: str | int) -> str:
    """The path of a key one level down: ``tasks`` and 2 give ``tasks[2]``."""
    if isinstance(key, int):
        return f"{path or 'tasks'}[{key}]"  # a bare list at the top is the list of tasks
    shown = key if key.isprintable() and 0 < len(key) <= 60 else show(key)
    return f"{path}.{shown}" if path else shown


def place_after(before: str) -> tuple[int, int]:
    """Line and column, both 1-based, of what follows the text ``before``."""
    line, start = 1, 0
    for match in _LINE_END.finditer(before):
        line, start = line + 1, match.end()
    return line, len(before) - start + 1


def line_of(text: str, number: int) -> tuple[int, str]:
    """The line with a 1-based number, or the last one: its number and its text."""
    line, start = 1, 0
    for match in _LINE_END.finditer(text):
        if line == number or match.end() == len(text):
            return line, text[start : match.start()]
        line, start = line + 1, match.end()
    return line, text[start:]


def _number_or_bool(node: Scalar, tag: str) -> int | float | bool:
    scalar = yaml_library().ScalarNode(CORE + tag, node.text)
    try:
        value: int | float | bool = getattr(_constructor(), f"construct_yaml_{tag}")(scalar)
    except (ValueError, LookupError):  # "0b_", more than 4,300 digits, "!!bool maybe", "!!int"
        raise OddScalarError(f"a malformed {tag}") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise OddScalarError("a float that JSON has not")
    return value


@cache
def yaml_library() -> Any:
    """PyYAML."""
    # imported late: whoever only looks for the file, or reads a cache, does not pay for it
    import yaml

    return yaml


@cache
def _constructor() -> Any:
    return yaml_library().constructor.SafeConstructor()


@cache
def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    resolvers: dict[str, list[tuple[str, re.Pattern[str]]]]
    resolvers = yaml_library().resolver.Resolver.yaml_implicit_resolvers
    return resolvers
