"""Whether the sources that a spec names are there. Nothing is imported or run."""

from __future__ import annotations

import ast
import contextlib
import difflib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from nbpipe.core.model import Kind, Location, Spec
from nbpipe.core.syntax import parse_python
from nbpipe.errors import Problem, did_you_mean
from nbpipe.store.yamlnodes import join_key, show

SourceFault = Callable[[str, Kind], tuple[str, str | None] | None]
"""Message and hint when a source is not there; None: it is."""

MOST_HINTS = 100
"""So many missing sources are compared with what is there; a reader needs no more."""


def check_sources(spec: Spec, root: Path) -> list[Problem]:
    """What is wrong with the sources of a spec.

    Args:
        spec: the pipeline.
        root: folder that holds its file.
    """
    look = SourceLook(root)
    problems = []
    for i, task in enumerate(spec.tasks):
        if fault := look(task.source, task.kind):
            place = task.at or Location(spec.file)
            key = join_key(join_key("tasks", i), "source")
            problems.append(Problem(place.file, place.line, place.column, key, *fault))
    return problems


class SourceLook:
    """Looks for sources below a root: for each once, and reads every module once."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._modules: dict[str, frozenset[str] | None] = {}
        self._known: dict[tuple[str, Kind], tuple[str, str | None] | None] = {}
        self._hints = 0

    def __call__(self, source: str, kind: Kind) -> tuple[str, str | None] | None:
        """Message and hint when the source is not there; None: it is."""
        if (source, kind) not in self._known:
            found = self._function(source) if kind == "function" else self._script(source)
            self._known[source, kind] = found
        return self._known[source, kind]

    def _script(self, source: str) -> tuple[str, str | None] | None:
        path = os.path.join(self._root, source)
        if os.path.isfile(path):
            return None
        if os.path.exists(path):
            return f"{show(source)} is a folder, not a file", "name a script in it"
        return f"no file {show(source)}", self._near(source)

    def _near(self, source: str) -> str:
        pure = PurePosixPath(source)
        names = []
        self._hints += 1
        if self._hints <= MOST_HINTS:
            with contextlib.suppress(OSError, ValueError):
                names = sorted(os.listdir(os.path.join(self._root, pure.parent)))
        near = difflib.get_close_matches(pure.name, names, n=1, cutoff=0.75)
        if near:
            return f"did you mean '{pure.parent / near[0]}'?"
        return "check the path; 'nbpipe scaffold' creates the missing sources"

    def _function(self, source: str) -> tuple[str, str | None] | None:
        module, _, function = source.rpartition(".")
        stem = module.replace(".", "/")
        files = [f"{stem}.py", f"{stem}/__init__.py"]
        file = next((f for f in files if os.path.isfile(os.path.join(self._root, f))), None)
        if file is None:
            return f"no module {show(module)}", f"create '{files[0]}' beside the spec"
        if file not in self._modules:
            self._modules[file] = top_level_names(os.path.join(self._root, file))
        names = self._modules[file]
        if names is None or function in names or "*" in names:
            return None
        self._hints += 1
        near = did_you_mean(function, sorted(names)) if self._hints <= MOST_HINTS else None
        hint = near or f"define it there: 'def {function}(…):'"
        return f"'{file}' has no function {show(function)}", hint


def top_level_names(path: str) -> frozenset[str] | None:
    """Names that a module defines outside of its functions; ``*`` for a star import.

    Returns:
        None: it cannot be parsed. That is not the spec's fault: its tasks will fail alone.
    """
    try:
        with open(path, "rb") as file:
            body = parse_python(file.read()).body
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    names: set[str] = set()
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            todo.extend(ast.iter_child_nodes(node))
    return frozenset(names)
