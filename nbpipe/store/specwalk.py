"""Nodes checked against the shape of the file: all problems at once, each where it stands.

`msgspec.convert` does the same in one call, but stops at the first problem and knows no lines.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, inspect

from nbpipe.errors import Problem
from nbpipe.store.spectypes import key_fault
from nbpipe.store.yamlnodes import (
    Mapping,
    Node,
    OddScalarError,
    Scalar,
    Sequence,
    clip,
    join_key,
    quoted,
    scalar_value,
    show,
)

MAX_PROBLEMS = 100
"""More than these are counted, not listed."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_WORDS = {
    inspect.StrType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.ListType: "a list",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
}


@dataclass(frozen=True)
class Shape:
    """What may stand at a place: one alternative of each kind at most.

    Attributes:
        anything: every JSON-like value may.
        null: nothing may.
        text, whole, number, boolean: that scalar may; None: it may not.
        items: shape of a list's items; None: no list may.
        values: shape of a mapping's values, keys being free; None: no such mapping may.
        entry: the struct that lists a mapping's keys; None: no such mapping may.
        fields: shape of each of those keys.
        required: those of them that may not be left out.
        words: the alternatives for a reader, such as "text or a mapping".
        name: of the field in its struct, which differs from the key where that is a word of
            Python's.
    """

    anything: bool = False
    null: bool = False
    text: inspect.StrType | None = None
    whole: inspect.IntType | None = None
    number: inspect.FloatType | None = None
    boolean: inspect.BoolType | None = None
    items: Shape | None = None
    values: Shape | None = None
    entry: type[msgspec.Struct] | None = None
    fields: dict[str, Shape] | None = None
    required: tuple[str, ...] = ()
    words: str = "a value"
    name: str = ""


@cache
def shape_of(kind: Any) -> Shape:
    """The shape of a type, read once."""
    return _shape(inspect.type_info(kind))


def _shape(info: inspect.Type, name: str = "") -> Shape:
    parts: dict[str, Any] = {}
    words = []
    for one in _alternatives(info):
        parts.update(_part(one))
        if word := _WORDS.get(type(one)):
            words.append(word)
    return Shape(words=" or ".join(words) or "a value", name=name, **parts)


def _alternatives(info: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        yield from _alternatives(info.type)
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _alternatives(one)
    else:
        yield info


def _part(info: inspect.Type) -> dict[str, Any]:
    match info:
        case inspect.AnyType():
            return {"anything": True}
        case inspect.NoneType():
            return {"null": True}
        case inspect.StrType():
            return {"text": info}
        case inspect.IntType():
            return {"whole": info}
        case inspect.FloatType():
            return {"number": info}
        case inspect.BoolType():
            return {"boolean": info}
        case inspect.ListType():
            return {"items": _shape(info.item_type)}
        case inspect.DictType():
            return {"values": _shape(info.value_type)}
        case inspect.StructType():
            fields = {field.encode_name: _shape(field.type, field.name) for field in info.fields}
            required = tuple(field.encode_name for field in info.fields if field.required)
            return {"entry": info.cls, "fields": fields, "required": required}
    raise TypeError(f"the shape of the spec uses {info}")  # pragma: no cover


class Walk:
    """Reads nodes by their shape and collects what is wrong.

    What is wrong is read as ``UNSET``, so that the rest can still be looked at.

    Args:
        file: name of the file, for messages.
        fills: False: placeholders were not filled, and one may stand for any value.

    Attributes:
        problems: in the order they were found.
    """

    def __init__(self, file: str, fills: bool = True) -> None:
        self.file = file
        self.fills = fills
        self.problems: list[Problem] = []

    def report(self, node: Node, key: str, message: str, hint: str | None = None) -> None:
        """Note a problem at a node."""
        self.problems.append(Problem(self.file, node.line, node.column, clip(key), message, hint))

    def read(self, node: Node, shape: Shape, key: str) -> Any:
        """The value of a node; ``UNSET`` if it has not the shape."""
        if isinstance(node, Scalar):
            return self._scalar(node, shape, key)
        if isinstance(node, Sequence):
            return self._list(node, shape, key)
        return self._mapping(node, shape, key)

    def _scalar(self, node: Scalar, shape: Shape, key: str) -> Any:
        if "{{" in node.text and not self.fills:
            return node.text if shape.text or shape.anything else UNSET
        if node.filled and shape.text is not None and not shape.anything:
            return self._text(node, node.text, shape, key)
        try:
            value = scalar_value(node)
        except OddScalarError as odd:
            self._misread(node, shape, key, str(odd))
            return UNSET
        if shape.anything or (value is None and shape.null):
            return value
        if isinstance(value, str):
            return self._text(node, value, shape, key)
        if isinstance(value, bool):
            allowed = shape.boolean is not None
        elif isinstance(value, int | float):
            return self._number(node, value, shape, key)
        else:
            allowed = False
        if allowed:
            return value
        self._misread(node, shape, key, "nothing" if value is None else str(value).lower())
        return UNSET

    def _text(self, node: Scalar, value: str, shape: Shape, key: str) -> Any:
        if shape.text is None:
            plain = Scalar(node.line, node.column, node.end, value, True, None)
            guess = "remove the quotes" if not node.plain and _is_not_text(plain) else None
            self.report(node, key, f"must be {shape.words}, not the text {show(value)}", guess)
            return UNSET
        if not value.strip() and shape.text.min_length:
            self.report(node, key, "is empty", "write a value or remove the key")
            return UNSET
        if shape.text.min_length and _CONTROL.search(value):
            what = f"{show(value)} has a line end or a control character"
            self.report(node, key, what, "write it on one line")
            return UNSET
        return value

    def _number(self, node: Scalar, value: float, shape: Shape, key: str) -> Any:
        limits: inspect.IntType | inspect.FloatType | None = shape.number
        if shape.whole is not None and isinstance(value, int):
            limits = shape.whole
        if limits is None:
            self._misread(node, shape, key, f"the number {clip(str(value))}")
            return UNSET
        if limits.gt is not None and value <= limits.gt:
            self.report(node, key, f"must be more than {limits.gt}, not {clip(node.text)}")
            return UNSET
        if limits.ge is not None and value < limits.ge:
            self.report(node, key, f"must be {limits.ge} or more, not {clip(node.text)}")
            return UNSET
        if limits is shape.number and abs(value) > sys.float_info.max:
            self.report(node, key, f"{clip(node.text)} is too large")
            return UNSET
        return value

    def _misread(self, node: Scalar, shape: Shape, key: str, seen: str) -> None:
        """A plain scalar of the wrong type: quotes help wherever text may stand."""
        if not node.text:
            self.report(node, key, "is empty", "write a value or remove the key")
            return
        text_helps = shape.anything or (shape.text and not shape.number and not shape.whole)
        hint = f"quote it: {quoted(node.text)}" if text_helps else None
        words = "a JSON-like value" if shape.anything else shape.words
        text = clip(node.text)
        self.report(node, key, f"must be {words}, but {text} is read as {seen}", hint)

    def _list(self, node: Sequence, shape: Shape, key: str) -> Any:
        items = shape if shape.anything else shape.items
        if items is None:
            self.report(node, key, f"must be {shape.words}, not a list")
            return UNSET
        return [self.read(item, items, join_key(key, i)) for i, item in enumerate(node.items)]

    def _mapping(self, node: Mapping, shape: Shape, key: str) -> Any:
        if shape.entry is not None:
            return self._entry(node, shape, key)
        values = shape if shape.anything else shape.values
        if values is None:
            self.report(node, key, f"must be {shape.words}, not a mapping")
            return UNSET
        return {
            name: self.read(value, values, join_key(key, name))
            for name, (_, value) in node.entries.items()
        }

    def _entry(self, node: Mapping, shape: Shape, key: str) -> Any:
        assert shape.entry is not None
        assert shape.fields is not None
        found = {}
        for name, (at, value) in node.entries.items():
            field = shape.fields.get(name)
            if field is None:
                few = len(self.problems) < MAX_PROBLEMS  # looking for a near word is slow
                fault = key_fault(shape.entry, name) if few else ("unknown key", None)
                self.report(at, join_key(key, name), *fault)
            else:
                found[field.name] = self.read(value, field, join_key(key, name))
        for name in shape.required:
            if name not in node.entries:
                self.report(node, key, f"key '{name}' is missing", f"add '{name}:'")
        if any(found.get(shape.fields[name].name, UNSET) is UNSET for name in shape.required):
            return UNSET
        return shape.entry(**found)


def _is_not_text(node: Scalar) -> bool:
    try:
        return not isinstance(scalar_value(node), str)
    except OddScalarError:
        return False
