"""YAML text to nodes with positions, and everything that can be wrong on the way.

Built from the parser's events, without recursion and without constructing any object, so that
a stranger's file costs no more than a small budget and runs no code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from nbpipe.errors import Problem, SpecError
from nbpipe.store.yamlnodes import (
    CORE,
    TYPE_NAMES,
    Mapping,
    Node,
    Scalar,
    Sequence,
    clip,
    join_key,
    line_of,
    place_after,
    quoted,
    scalar_tag,
    show,
    yaml_library,
)

if TYPE_CHECKING:
    from yaml.error import Mark

MAX_BYTES = 5_000_000
"""Size of the largest file that is read."""

MAX_NODES = 250_000
"""Nodes of the largest file, every alias counted as what it stands for."""

MAX_DEPTH = 50
"""Levels of nesting, again with aliases expanded."""

_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""What YAML calls not printable. Said the other way round it takes 6 ms to compile."""

_SCALAR_TAGS = ("str", "int", "float", "bool", "null")
_BAD = "bad"  # tag of a key that was reported already, so that nothing more is said of it


def compose(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """The only document of ``data``.

    Args:
        data: UTF-8 text, with or without a byte order mark.
        file: its name, for messages.

    Returns:
        The root (None: there is nothing but comments) and all that is wrong with keys and tags.

    Raises:
        SpecError: the text cannot be read as YAML at all.
    """
    text = _decode(data, file)
    composer = _Composer(file)
    try:
        composer.feed(_events(text))
    except yaml_library().YAMLError as error:
        raise SpecError([*composer.problems, _syntax(error, text, file)]) from None
    return composer.root, composer.problems


def _events(text: str) -> Iterable[Any]:
    yaml = yaml_library()
    events: Iterable[Any] = yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return events


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise SpecError([Problem(file, 0, 0, "", f"larger than {MAX_BYTES:,} bytes")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "ignore")
        what, hint = f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8"
        raise SpecError([Problem(file, *place_after(before), "", what, hint)]) from None
    if bad := _FORBIDDEN.search(text):
        what = f"the character U+{ord(bad[0]):04X} is not allowed"
        where = place_after(text[: bad.start()])
        raise SpecError([Problem(file, *where, "", what, "delete it, or escape it in quotes")])
    return text


def _syntax(error: Any, text: str, file: str) -> Problem:
    mark: Mark | None = getattr(error, "problem_mark", None)
    if mark is None:  # pragma: no cover: characters that cannot be read were refused before
        return Problem(file, 0, 0, "", f"YAML syntax: {error}")
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    line, here = line_of(text, mark.line + 1)
    # at an unexpected end the parser names the line after the last
    column = mark.column + 1 if line == mark.line + 1 else len(here) + 1
    if "\t" in here[: len(here) - len(here.lstrip())]:
        column = here.index("\t") + 1
        return Problem(file, line, column, "", "a tab in the indentation", "indent with spaces")
    hint = "check the indentation, and the quotes and brackets above"
    if "mapping values are not allowed" in said:
        hint = "quote a text that contains ': ', and check the indentation"
    elif here[column - 1 : column] in ("@", "`", "%", "*", "&", "!"):
        hint = f"quote a text that starts with '{here[column - 1]}'"
    return Problem(file, line, column, "", f"YAML syntax: {said}", hint)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    node: Sequence | Mapping
    anchor: str | None
    key: Scalar | None = None
    merges: list[tuple[Scalar, Node]] = field(default_factory=list)


class _Composer:
    """Turns events into nodes; a stack takes the place of recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}  # None: not closed yet
        self._nodes = 0
        self._documents = 0

    def feed(self, events: Iterable[Any]) -> None:
        yaml = yaml_library()
        actions = {
            yaml.ScalarEvent: self._scalar,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        for event in events:
            if action := actions.get(type(event)):
                action(event)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(event, "a second document", "one file holds one pipeline: remove '---'")

    def _scalar(self, event: Any) -> None:
        start, end = event.start_mark, event.end_mark
        last = max(end.line if end.column == 0 else end.line + 1, start.line + 1)
        tag = self._tag(event, *_SCALAR_TAGS) if event.tag else None
        plain = event.implicit[0]
        node = Scalar(start.line + 1, start.column + 1, last, event.value, plain, tag)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._count(event, 1)
        self._add(node, 0)

    def _open(self, event: Any) -> None:
        self._count(event, 1)
        self._check_depth(event, 1)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        kind = Sequence if isinstance(event, yaml_library().SequenceStartEvent) else Mapping
        if event.tag:
            self._tag(event, "seq" if kind is Sequence else "map")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(kind(line, column, line, bool(event.flow_style)), event.anchor))

    def _close(self, event: Any) -> None:
        done = self._stack.pop()
        node = done.node
        if node.flow:
            node.end = event.end_mark.line + 1
        if isinstance(node, Mapping):
            self._merge(node, done.merges)
        if done.anchor:
            self._anchors[done.anchor] = node
        self._add(node, node.height)

    def _alias(self, event: Any) -> None:
        name = event.anchor
        if name not in self._anchors:
            self._stop(event, f"'*{name}' names no anchor", "define it above, or quote the text")
        target = self._anchors[name]
        if target is None:
            self._stop(event, f"'*{name}' contains itself", "write the value out")
        size, height = (1, 0) if isinstance(target, Scalar) else (target.size, target.height)
        self._count(event, size)
        self._check_depth(event, height)
        self._add(_moved(target, event.start_mark), height)

    def _add(self, node: Node, height: int) -> None:
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        above = top.node
        above.size += 1 if height == 0 or isinstance(node, Scalar) else node.size
        if above.height <= height:
            above.height = height + 1
        if above.end < node.end:
            above.end = node.end
        if isinstance(above, Sequence):
            above.items.append(node)
        elif top.key is None:
            top.key = self._key(node)
        else:
            self._pair(top, above, top.key, node)
            top.key = None

    def _key(self, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            self._report(node, self._path(), "a list or a mapping as a key", "a key must be text")
            return Scalar(node.line, node.column, node.end, "?", False, _BAD)
        tag = scalar_tag(node)
        if tag == "str":
            return node
        what = f"the key {show(node.text)} is read as {TYPE_NAMES.get(tag, tag)}, not as text"
        self._report(node, self._path(), what, f"quote it: {quoted(node.text)}")
        return Scalar(node.line, node.column, node.end, node.text, False, _BAD)

    def _pair(self, top: _Open, mapping: Mapping, key: Scalar, value: Node) -> None:
        if key.tag == _BAD:
            return
        if key.text == "<<" and key.plain:
            top.merges.append((key, value))
        elif first := mapping.entries.get(key.text):
            what = f"duplicate key {show(key.text)}: it is already on line {first[0].line}"
            self._report(key, self._path(), what, "remove one of the two")
        else:
            mapping.entries[key.text] = (key, value)

    def _merge(self, mapping: Mapping, merges: list[tuple[Scalar, Node]]) -> None:
        for key, value in merges:
            for other in value.items if isinstance(value, Sequence) else [value]:
                if not isinstance(other, Mapping):
                    what, hint = "only a mapping can be merged", "write '<<: *anchor'"
                    self._report(key, self._path(), what, hint)
                    continue
                for name, entry in other.entries.items():
                    mapping.entries.setdefault(name, entry)

    def _tag(self, event: Any, *allowed: str) -> str | None:
        name: str = event.tag.removeprefix(CORE)
        if event.tag == "!":
            return "str"
        if event.tag.startswith(CORE) and name in allowed:
            return name
        what = f"the tag {show(event.tag.replace(CORE, '!!'))} is not allowed here"
        mark = event.start_mark
        self._problem(mark.line + 1, mark.column + 1, self._path(), what, "write plain values")
        return None

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            what = f"more than {MAX_NODES:,} values, aliases expanded"
            self._stop(event, what, "split the pipeline, or use fewer aliases")

    def _check_depth(self, event: Any, levels: int) -> None:
        if len(self._stack) + levels > MAX_DEPTH:
            self._stop(event, f"nested deeper than {MAX_DEPTH} levels", "check the brackets")

    def _path(self) -> str:
        path = ""
        for level in self._stack:
            if isinstance(level.node, Sequence):
                path = join_key(path, len(level.node.items))
            elif level.key is not None:
                path = join_key(path, level.key.text)
        return path

    def _report(self, node: Node, key: str, message: str, hint: str) -> None:
        self._problem(node.line, node.column, key, message, hint)

    def _problem(self, line: int, column: int, key: str, message: str, hint: str) -> None:
        self.problems.append(Problem(self.file, line, column, clip(key), message, hint))

    def _stop(self, event: Any, message: str, hint: str) -> NoReturn:
        mark = event.start_mark
        self._problem(mark.line + 1, mark.column + 1, self._path(), message, hint)
        raise SpecError(self.problems)


def _moved(node: Node, mark: Mark) -> Node:
    """The same value at the place of its alias; what is in it stays where it was written."""
    line, column = mark.line + 1, mark.column + 1
    if isinstance(node, Scalar):
        return Scalar(line, column, line, node.text, node.plain, node.tag)
    if isinstance(node, Sequence):
        return Sequence(line, column, line, True, node.items, node.size, node.height)
    return Mapping(line, column, line, True, node.entries, node.size, node.height)
