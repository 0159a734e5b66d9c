"""Python functions as sources: where they live and what they declare, without importing them."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

from nbpipe.core.model import Declared, Location
from nbpipe.core.syntax import parse_python
from nbpipe.errors import Problem, SpecError


def module_file(root: Path, dotted: str) -> str:
    """Path, relative to the root and POSIX, of the module that defines ``module.function``.

    Raises:
        SpecError: there is no such module under the root.
    """
    base = dotted.rpartition(".")[0].replace(".", "/")
    for path in (f"{base}.py", f"{base}/__init__.py"):
        if (root / path).is_file():
            return path
    message = f"no module '{base}.py' for the function '{dotted}'"
    hint = "a function's module lies in the folder of pipeline.yaml"
    raise SpecError([Problem(f"{base}.py", 0, 0, "", message, hint)])


def function_declared(text: str, dotted: str, path: str) -> Declared:
    """What a function declares: the names that it reads as ``upstream['name']``.

    Args:
        text: of its module.
        dotted: ``module.function``.
        path: of the module, for messages.
    """
    try:
        uses = _uses_by_function(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 0
        return Declared(problem=f"{path}:{line}: {getattr(error, 'msg', None) or error}")
    found: dict[str, Location] = {}
    for key, line, column in uses.get(dotted.rpartition(".")[2], ()):
        found.setdefault(key, Location(path, line, column))
    return Declared(upstream=tuple(found), at=tuple(found.values()))


@lru_cache(maxsize=4)  # the functions of a pipeline mostly share a module
def _uses_by_function(text: str) -> dict[str, list[tuple[str, int, int]]]:
    """The names that each function reads, with their lines and columns from 1."""
    uses: dict[str, list[tuple[str, int, int]]] = {}
    for node in parse_python(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found = [(key, at.lineno, at.col_offset + 1) for key, at in upstream_uses(node)]
            uses.setdefault(node.name, []).extend(found)
    return uses


def upstream_uses(tree: ast.AST) -> list[tuple[str, ast.expr]]:
    """Every ``upstream['name']`` in the order of the text."""
    uses = [
        (node.slice.value, node.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "upstream"
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]
    return sorted(uses, key=lambda use: (use[1].lineno, use[1].col_offset))
