"""Sources that are texts with placeholders: what they declare, and which edits of them count."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from nbpipe.core.fingerprint import text_digest, value_digest
from nbpipe.core.model import Declared, Location, Task
from nbpipe.core.work import TEMPLATES, Relation, Tool
from nbpipe.errors import Problem, SpecError
from nbpipe.store.reading import read_text
from nbpipe.store.script import normalised
from nbpipe.store.specclasses import RELATION_CLASSES

KINDS: tuple[Literal["table", "view"], ...] = ("table", "view")

_SQL = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\$(\w*)\$.*?\$\1\$"  # what is quoted stays
    r"|(?P<blank>(?:\s+|--[^\n]*|/\*(?![+!]).*?\*/|\{\#.*?\#\})+)",
    re.DOTALL,
)


def script_text(root: Path, task: Task) -> str:
    """The text of a script; of a download its address; "" where the source is no text.

    Raises:
        SpecError: it cannot be read.
    """
    assert task.work is not None
    if task.work.tool in TEMPLATES:
        return read_text(root / task.source, task.source)
    return task.source if task.work.tool == "download" else ""


def script_declared(text: str, task: Task) -> Declared:
    """What a script declares: the upstreams that its placeholders read, and perhaps its product.

    Raises:
        SpecError: jinja2 is not installed, or the product is no literal.
    """
    assert task.work is not None
    if task.work.tool not in TEMPLATES:
        return Declared()
    jinja2, path = _jinja2(task), task.source
    try:
        tree = jinja2.Environment().parse(normalised(text))
    except jinja2.TemplateSyntaxError as error:
        return Declared(problem=f"{path}:{error.lineno}: {error.message}")
    found: dict[str, Location] = {}
    for name, line in _uses(jinja2, tree):
        found.setdefault(name, Location(path, line))
    product, relations = _product(jinja2, tree, task)
    at = tuple(found.values())
    return Declared(upstream=tuple(found), at=at, product=product, relations=relations)


def _product(jinja2: Any, tree: Any, task: Task) -> tuple[str | None, dict[str, Relation]]:
    """What ``{% set product = SQLRelation(['name', 'table']) %}`` or ``File('path')`` says."""
    nodes = jinja2.nodes
    for node in tree.find_all(nodes.Assign):
        call = node.node
        named = isinstance(node.target, nodes.Name) and node.target.name == "product"
        if not named or not isinstance(call, nodes.Call) or not isinstance(call.node, nodes.Name):
            continue
        try:
            said = call.args[0].as_const()
        except (IndexError, nodes.Impossible):
            said = None
        relation = _relation(said, task) if call.node.name in RELATION_CLASSES else None
        if relation is not None:
            return relation.note, {relation.note: relation}
        if call.node.name == "File" and isinstance(said, str):
            return posixpath.normpath(said), {}
        what = "product is no literal such as SQLRelation(['name', 'table']) or File('path')"
        raise SpecError([Problem(task.source, node.lineno, 0, "", what, "write it so")])
    return None, {}


def _relation(said: Any, task: Task) -> Relation | None:
    if not isinstance(said, list | tuple) or len(said) not in (2, 3):
        return None
    kind = next((known for known in KINDS if known == said[-1]), None)
    if kind is None or not isinstance(said[-2], str) or task.work is None:
        return None
    schema = said[0] if len(said) == 3 else None
    return Relation(name=said[-2], kind=kind, schema=schema, client=task.work.client)


def _jinja2(task: Task) -> Any:
    try:
        import jinja2
    except ModuleNotFoundError:
        at = task.at or Location(task.source)
        what, hint = f"{task.source} needs jinja2 for its placeholders", "install nbpipe-kit[sql]"
        raise SpecError([Problem(at.file, at.line, at.column, "", what, hint)]) from None
    return jinja2


def _uses(jinja2: Any, tree: Any) -> Iterator[tuple[str, int]]:
    """Every ``upstream['name']`` or ``upstream.name`` with its line."""
    nodes = jinja2.nodes
    uses = []
    for node in tree.find_all((nodes.Getitem, nodes.Getattr)):
        if not isinstance(node.node, nodes.Name) or node.node.name != "upstream":
            continue
        if isinstance(node, nodes.Getattr):
            uses.append((node.attr, node.lineno))
        elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            uses.append((node.arg.value, node.lineno))
    yield from sorted(uses, key=lambda use: use[1])


def script_code(text: str, tool: Tool) -> str:
    """Digest of what a script does. In SQL, comments and the amount of white space do not count."""
    return value_digest([tool, _plain_sql(text) if tool in ("sql", "dump", "transfer") else text])


def _plain_sql(text: str) -> str:
    """SQL without comments, its white space made one space; in doubt the text as it is.

    In some databases a backslash hides a quote, so that nobody knows what is quoted.
    """
    text = normalised(text)
    if "\\" in text:
        return text
    return _SQL.sub(lambda m: " " if m["blank"] else m[0], text).strip()


def template_digests(root: Path, task: Task, text: str) -> dict[str, str | None]:
    """Digests of the files that a script includes or imports, by path; others are no files."""
    if task.work is None or task.work.tool not in TEMPLATES or "{%" not in text:
        return {}
    jinja2 = _jinja2(task)
    from jinja2 import meta

    folders = [*task.work.templates, posixpath.dirname(task.source), ""]
    found: dict[str, str | None] = {}
    todo = [text]
    while todo:
        try:
            names = list(meta.find_referenced_templates(jinja2.Environment().parse(todo.pop())))
        except jinja2.TemplateSyntaxError:
            continue
        for name in names:
            path = _located(root, folders, name) if name is not None else None
            if path is not None and path not in found:
                inner = read_text(root / path, path)
                found[path] = text_digest(inner)
                todo.append(inner)
    return found


def _located(root: Path, folders: list[str], name: str) -> str | None:
    for folder in folders:
        path = posixpath.normpath(posixpath.join(folder, name))
        if (root / path).is_file():
            return path
    return None
