"""Products that the sources declare, ``product = …``, where the spec leaves that to them."""

from __future__ import annotations

import ast
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from nbpipe.core.fingerprint import INJECTED_TAG
from nbpipe.core.model import Cell, Declared, Location, Product, Spec, Task
from nbpipe.core.syntax import parse_body
from nbpipe.errors import Problem, SpecError
from nbpipe.store.declared import PARAMETERS_TAG
from nbpipe.store.spectask import source_folder
from nbpipe.store.yamlnodes import show

_HINT = "write a path, or a mapping such as {'nb': 'out/a.ipynb'}; it is read, never run"
_R_STRING = r"(?:\"([^\"\\\n]*)\"|'([^'\\\n]*)')"
_R_ASSIGNED = re.compile(r"^[ \t]*product[ \t]*(?:<-|=)[ \t]*(.*)", re.MULTILINE)
_R_PAIR = re.compile(rf"\s*([A-Za-z][\w.]*)\s*=\s*{_R_STRING}\s*(?:,|$)")


def declared_product(cells: Sequence[Cell], path: str, language: str) -> Product:
    """What a source says of its products: a literal in the cell tagged ``parameters``.

    Args:
        cells: all of them.
        path: of the source, for messages.
        language: of its kernel; Python and R are understood.

    Raises:
        SpecError: it is no literal.
    """
    code = [c for c in cells if c.kind == "code" and INJECTED_TAG not in c.tags]
    tagged = [c for c in code if PARAMETERS_TAG in c.tags]
    for cell in [*tagged, *(c for c in code if c not in tagged)]:
        found = list(_said_in_r(cell, path) if language == "r" else _said(cell, path))
        if found:
            return found[-1]
    return None


def _said(cell: Cell, path: str) -> Iterator[Product]:
    tree = parse_body(cell.text)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "product" for target in node.targets
        ):
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                raise _bad(cell, path, node.lineno, "product is not a literal") from None
            yield _checked(value, cell, path, node.lineno)


def _checked(value: object, cell: Cell, path: str, line: int) -> Product:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and all(
        isinstance(k, str) and k and isinstance(v, str) and v for k, v in value.items()
    ):
        return value
    raise _bad(cell, path, line, "product is neither a path nor a mapping of names to paths")


def _said_in_r(cell: Cell, path: str) -> Iterator[Product]:
    for match in _R_ASSIGNED.finditer(cell.text):
        said = match[1].strip()
        line = cell.text[: match.start()].count("\n") + 1
        if said == "NULL":
            yield None
        elif text := re.fullmatch(_R_STRING, said):
            yield text[1] or text[2]
        else:
            yield _r_list(said, cell, path, line)


def _r_list(said: str, cell: Cell, path: str, line: int) -> Product:
    inner = re.fullmatch(r"list\((.*)\)", said)
    text, found = (inner[1] if inner else "?"), {}
    while text:
        pair = _R_PAIR.match(text)
        if pair is None:
            raise _bad(cell, path, line, "product is not a literal")
        found[pair[1]] = pair[2] or pair[3]
        text = text[pair.end() :].strip()
    return found


def _bad(cell: Cell, path: str, line: int, message: str) -> SpecError:
    place = cell.line + line - 1 if cell.line else 0
    return SpecError([Problem(path, place, 0, "", message, _HINT)])


def with_products(spec: Spec, declared: Mapping[str, Declared]) -> Spec:
    """The spec with what its sources declare.

    Raises:
        SpecError: two tasks have one product, or a product would overwrite a source.
    """
    tasks = tuple(_with_product(spec, task, declared[task.name]) for task in spec.tasks)
    sources = {task.source for task in tasks}
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for task in tasks:
        for path in task.products.values():
            what = None
            if path in sources:
                what = f"product {show(path)} is the source of a task"
            elif path in seen:
                what = f"product {show(path)} is already that of '{seen[path]}'"
            if what:
                hint = "give each product its own path"
                problems.append(Problem(task.source, 0, 0, "", what, hint))
            seen.setdefault(path, task.name)
    if problems:
        raise SpecError(problems)
    return msgspec.structs.replace(spec, tasks=tasks)


def _with_product(spec: Spec, task: Task, said: Declared) -> Task:
    if task.kind == "script" and (task.product or said.product) is not None:
        relations = {**task.relations, **said.relations}
        product = task.product if task.product is not None else said.product
        return msgspec.structs.replace(task, product=product, relations=relations)
    if task.kind != "notebook":
        at = task.at or Location(task.source)
        what = f"task '{task.name}': a {task.kind} cannot declare its product"
        if task.kind == "script":
            what = f"task '{task.name}': the script does not say its product"
        hint = "write 'extract_product: false', and 'product:' in each task"
        if task.kind == "script":
            hint = "write 'product:' in the task, or {% set product = File('path') %} in it"
        raise SpecError([Problem(at.file, at.line, at.column, "", what, hint)])
    beside = spec.meta.product_relative_to_source
    folder = source_folder(task.source, task.kind) if beside else ""
    product = said.product
    if isinstance(product, dict):
        product = {name: _path(folder, path) for name, path in product.items()}
    elif product is not None:
        product = _path(folder, product)
    return msgspec.structs.replace(task, product=product)


def _path(folder: str, text: str) -> str:
    text = text.replace("\\", "/") if os.sep == "\\" else text
    return posixpath.normpath(posixpath.join(folder, text))
