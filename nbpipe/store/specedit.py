"""A task written into the text of pipeline.yaml; comments and formatting stay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as AbstractMapping
from functools import cache
from typing import Any

from nbpipe.errors import Problem, SpecError, UsageError, did_you_mean
from nbpipe.store.specread import parse_spec
from nbpipe.store.yamlnodes import (
    CORE,
    Mapping,
    Node,
    Scalar,
    Sequence,
    plain_value,
    split_lines,
    yaml_library,
)
from nbpipe.store.yamltext import compose

_EMPTY_LIST = re.compile(r"""(["']?tasks["']?\s*:)\s*(?:\[\s*\]|null|~)?([ \t]*(?:\#.*)?)""")
_UNUSUAL = re.compile("[\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff]")


def spec_text_with_task(
    text: str,
    entry: AbstractMapping[str, Any],
    *,
    replace: str | None = None,
    file: str = "pipeline.yaml",
) -> str:
    """The text with one task more, or another one in the place of ``replace``.

    Args:
        text: of the spec file; may be empty.
        entry: keys and JSON-like values of the task, as in the file.
        replace: name of the task whose lines give way; None: append.
        file: name of the spec file, for messages.

    Raises:
        SpecError: the old or the new text is wrong, or its list of tasks is in a style that
            cannot be extended without rewriting it.
        UsageError: there is no task called ``replace``.
    """
    root = _root(text, file)
    rows = root if isinstance(root, Sequence) else _rows(root)
    item = _item_lines(entry, file)
    index = None if replace is None else _index(text, replace, file)
    if isinstance(rows, Sequence) and rows.items:
        new = _spliced(text, rows, item, index, file)
    else:
        new = _first(text, root, item, file)
    _check(new, root, rows, entry, index, file)
    return new


def _root(text: str, file: str) -> Node | None:
    root, problems = compose(_encoded(text), file)
    if problems:
        raise SpecError(problems)
    return root


def _rows(root: Node | None) -> Node | None:
    return root.get("tasks") if isinstance(root, Mapping) else None


def _index(text: str, name: str, file: str) -> int:
    names = [task.name for task in parse_spec(_encoded(text), file).tasks]
    if name not in names:
        raise UsageError(f"no task '{name}' in {file}", did_you_mean(name, names))
    return names.index(name)


def _item_lines(entry: AbstractMapping[str, Any], file: str) -> list[str]:
    """The task as lines of a block list, the first with its dash, without line ends."""
    yaml = yaml_library()
    try:
        text: str = yaml.dump(
            dict(entry), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=10**6
        )
    except (yaml.YAMLError, RecursionError) as error:
        what = f"the task cannot be written as YAML: {error}".splitlines()[0]
        raise SpecError([Problem(file, 0, 0, "", what, "use JSON-like values")]) from None
    lines = text.rstrip("\n").split("\n")
    return [("  " if i else "- ") + line if line else line for i, line in enumerate(lines)]


@cache
def _dumper() -> Any:
    yaml = yaml_library()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, name-defined]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        # PyYAML writes these raw, and a reader takes some of them for line ends
        style = '"' if _UNUSUAL.search(value) else None
        return dumper.represent_scalar(CORE + "str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def _spliced(text: str, rows: Sequence, item: list[str], index: int | None, file: str) -> str:
    """The text with the lines of ``item`` after the last task, or instead of one task."""
    if rows.flow:
        raise SpecError([_unfit(rows, file)])
    lines, indent = split_lines(text), " " * (rows.column - 1)
    new = [indent + line if line else line for line in item]
    if index is None:
        start = end = _end_of(rows.items[-1], lines, rows.column)
        if _are_apart(rows, lines):
            new.insert(0, "")
    else:
        node = rows.items[index]
        start, end = _dash_line(node, lines, rows.column), node.end
    return _joined(lines[:start], new, lines[end:], text)


def _are_apart(rows: Sequence, lines: list[str]) -> bool:
    """Whether the file keeps a blank line between its last two tasks."""
    if len(rows.items) < 2:
        return False
    dash = _dash_line(rows.items[-1], lines, rows.column)
    between = lines[rows.items[-2].end : dash]
    return any(not line.strip() for line in between)


def _end_of(node: Node, lines: list[str], column: int) -> int:
    """Lines up to the end of a task, with the comments that are indented as part of it."""
    end = node.end
    for i in range(end, len(lines)):
        stripped = lines[i].lstrip(" ")
        if stripped.startswith("#") and len(lines[i]) - len(stripped) >= column:
            end = i + 1
        elif stripped.strip():
            break
    return end


def _dash_line(node: Node, lines: list[str], column: int) -> int:
    """0-based line of the dash of a task: above it when the task starts on a line of its own."""
    start = node.line - 1
    while start > 0 and lines[start][column - 1 : column] != "-":
        start -= 1
    return start


def _first(text: str, root: Node | None, item: list[str], file: str) -> str:
    """The text with its first task."""
    lines = split_lines(text)
    if root is not None and (not isinstance(root, Mapping) or "tasks" in root.entries):
        parse_spec(_encoded(text), file)  # perhaps there is more to say than "not in a block"
    if root is None:
        return _joined(lines, ["tasks:", *("  " + line for line in item)], [], text)
    if not isinstance(root, Mapping) or root.flow:
        raise SpecError([_unfit(root, file)])
    if "tasks" not in root.entries:
        head = ["tasks:", *("  " + line for line in item)]
        return _joined(lines, head, [], text)
    key = root.entries["tasks"][0]
    line = lines[key.line - 1]
    content = line.rstrip("\r\n")
    match = _EMPTY_LIST.fullmatch(content, key.column - 1)
    if match is None:
        raise SpecError([_unfit(key, file)])
    head = [content[: key.column - 1] + match[1] + match[2].rstrip()]
    head += ["  " + line for line in item]
    return _joined(lines[: key.line - 1], head, lines[key.line :], text)


def _unfit(node: Node, file: str) -> Problem:
    what = "this list of tasks cannot be extended without rewriting it"
    hint = "write it as a block: 'tasks:' and, below it, one '- source: …' for each task"
    return Problem(file, node.line, node.column, "tasks", what, hint)


def _joined(before: list[str], new: list[str], after: list[str], text: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    if before and before[-1] == before[-1].rstrip("\r\n"):
        before = [*before[:-1], before[-1] + end]
    return "".join([*before, *(line + end for line in new), *after])


def _check(
    new: str,
    root: Node | None,
    rows: Node | None,
    entry: AbstractMapping[str, Any],
    index: int | None,
    file: str,
) -> None:
    """Make sure that the new text is a good spec and differs by that one task only."""
    parse_spec(_encoded(new), file)
    wanted: list[Any] = plain_value(rows) if isinstance(rows, Sequence) else []
    at = len(wanted) if index is None else index
    wanted[at : at + 1] = [json.loads(json.dumps(dict(entry)))]  # tuples count as lists
    expected: Any = {"tasks": wanted} if root is None else wanted
    if isinstance(root, Mapping):
        expected = {**plain_value(root), "tasks": wanted}
    if _plain(new, file) != expected:
        raise SpecError([_unfit(rows or Scalar(0, 0, 0, "", False, None), file)])


def _plain(text: str, file: str) -> Any:
    root = _root(text, file)
    return None if root is None else plain_value(root)


def _encoded(text: str) -> bytes:
    # a lone surrogate becomes a byte that is refused with a position
    return text.encode("utf-8", "surrogatepass")
