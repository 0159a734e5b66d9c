"""New sources for the tasks of a spec. Nothing is ever overwritten."""

from __future__ import annotations

import ast
from pathlib import Path

from nbpipe.core.model import Task
from nbpipe.core.syntax import parse_python
from nbpipe.core.work import TEMPLATES
from nbpipe.errors import SpecError, StoreError
from nbpipe.store.functions import module_file
from nbpipe.store.sources import function_template, template
from nbpipe.store.specfile import read_spec


def new_sources(spec_file: Path) -> tuple[list[str], list[str]]:
    """Create the sources of a spec that are missing.

    Returns:
        Paths of the sources that were created, and of those that were there, relative to the
        folder of the spec.

    Raises:
        SpecError: the spec is wrong.
        StoreError: a file cannot be written.
    """
    spec = read_spec(spec_file, sources=False)
    created: list[str] = []
    kept: list[str] = []
    for task in spec.tasks:
        if task.work is not None and task.work.tool not in TEMPLATES:
            continue  # its source is no text that could be begun
        path = _source_path(spec_file.parent, task)
        target = spec_file.parent / path
        if not target.exists():
            write_new(target, _text(task))
            created.append(path)
        elif task.kind == "function" and not _defines(target, task):
            _append_function(target, task)
            if path not in created:
                created.append(f"{task.source.rpartition('.')[2]} in {path}")
        elif path not in created:
            kept.append(path)
    return created, kept


def _source_path(root: Path, task: Task) -> str:
    if task.kind != "function":
        return task.source
    try:
        return module_file(root, task.source)
    except SpecError:
        return task.source.rpartition(".")[0].replace(".", "/") + ".py"


def _defines(module: Path, task: Task) -> bool:
    """Whether a module defines a task's function; in doubt yes, so that nothing is spoilt."""
    try:
        tree = parse_python(module.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return True
    name = task.source.rpartition(".")[2]
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bound = {node.name for node in tree.body if isinstance(node, defined)}
    bound |= {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    bound |= {
        alias.asname or alias.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom)
        for alias in n.names
    }
    return name in bound


def _text(task: Task) -> str:
    if task.kind == "function":
        return function_template(task.source)
    if task.work is not None:
        return SCRIPTS["shell" if task.work.tool == "shell" else "sql"][bool(task.relations)]
    return template(task.name, suffix=Path(task.source).suffix, kernel=task.kernel)


SCRIPTS = {
    "shell": ("echo 'replace this line' > {{product}}\n",) * 2,
    "sql": (
        "SELECT 1 AS replaced\n",
        "DROP TABLE IF EXISTS {{product}};\n\nCREATE TABLE {{product}} AS\nSELECT 1 AS replaced\n",
    ),
}
"""The beginnings of scripts that make files, and of those that make relations."""


def _append_function(target: Path, task: Task) -> None:
    """A further function at the end of a module; what stands there is kept."""
    try:
        with target.open("a", encoding="utf-8") as file:
            file.write("\n\n" + function_template(task.source))
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from error


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        StoreError: it is, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
