"""Values as Python source, laid out as formatters lay it out, for exporters that write Python."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

WIDTH = 100
"""Characters of a line, at most, where a value can be broken."""

STEP = 4
"""Spaces that a broken value's parts are moved to the right."""


class Code(msgspec.Struct, frozen=True):
    """Text that is an expression already."""

    text: str


class Call(msgspec.Struct, frozen=True):
    """A call with keywords.

    Attributes:
        function: an expression.
        keywords: values by name, in this order.
        bare: what follows without a name: :class:`Code` such as ``**COMMON``, or the only values.
    """

    function: str
    keywords: dict[str, Any]
    bare: tuple[Any, ...] = ()


def source(value: Any, indent: int = 0, before: int = 0, after: int = 1) -> str:
    """A value as an expression: on one line where that fits, else one part a line.

    Args:
        value: a text, number, bool, None, list or dict of such, :class:`Code` or :class:`Call`.
        indent: spaces before the line in which it begins.
        before: characters between those spaces and the value.
        after: characters that follow it in its last line.
    """
    flat = _flat(value)
    if indent + before + len(flat) + after <= WIDTH or not _can_break(value):
        return flat
    inner = indent + STEP
    first, parts, last = _parts(value)
    lines = [f"{' ' * inner}{head}{source(part, inner, len(head))}," for head, part in parts]
    return "\n".join([first, *lines, f"{' ' * indent}{last}"])


def assignment(name: str, value: Any) -> str:
    """``name = value``."""
    return f"{name} = {source(value, before=len(name) + 3, after=0)}"


def _flat(value: Any) -> str:
    if isinstance(value, str):
        # JSON's escapes are Python's too; single quotes where they spare some.
        single = value.count('"') > value.count("'")
        return repr(value) if single else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Code):
        return value.text
    if isinstance(value, (dict, list, Call)):
        first, parts, last = _parts(value)
        return first + ", ".join(head + _flat(part) for head, part in parts) + last
    return repr(value)


def _can_break(value: Any) -> bool:
    return isinstance(value, (dict, list, Call)) and bool(_parts(value)[1])


def _parts(value: dict[str, Any] | list[Any] | Call) -> tuple[str, list[tuple[str, Any]], str]:
    """The opening, what stands between with what stands before each of it, and the closing."""
    if isinstance(value, Call):
        return f"{value.function}(", [*_keywords(value)], ")"
    if isinstance(value, dict):
        return "{", [(f"{_flat(key)}: ", part) for key, part in value.items()], "}"
    return "[", [("", part) for part in value], "]"


def _keywords(call: Call) -> Iterable[tuple[str, Any]]:
    yield from ((f"{name}=", part) for name, part in call.keywords.items())
    yield from (("", part) for part in call.bare)
