"""Tasks that live in a notebook's cells: scripts under ``.nbpipe/cells``, beside the spec's own.

Each notebook has a folder there, with a script for each of its cell tasks and ``tasks.json``, which
lists them. A pipeline that is loaded with that file has the cell tasks as if the spec named them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from nbpipe.core.model import Location, Spec, Task
from nbpipe.errors import Problem, SpecError, StoreError
from nbpipe.store.products import write_durably
from nbpipe.store.records import FOLDER

CELLS = f"{FOLDER}/cells"
"""Where the scripts of cell tasks lie, relative to the root."""

TASKS = "tasks.json"


def read_overlay(file: Path) -> tuple[Task, ...]:
    """The cell tasks that a file lists; none when it is not there.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[Task, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{file}: cannot be read: {error}", "run the %%task cells again"
        ) from error


def write_overlay(file: Path, tasks: Iterable[Task]) -> None:
    """List cell tasks in a file.

    Raises:
        StoreError: it cannot be written.
    """
    write_durably(file, msgspec.json.encode(tuple(tasks)))


def with_cells(spec: Spec, cells: Iterable[Task]) -> Spec:
    """The spec with cell tasks at its end.

    Raises:
        SpecError: a cell task has the name, or a product, of another task; all of them at once.
    """
    problems: list[Problem] = []
    names = {task.name for task in spec.tasks}
    products = {path: task.name for task in spec.tasks for path in task.products.values()}
    added: list[Task] = []
    for cell in cells:
        if cell.name in names:
            message = f"%%task {cell.name}: pipeline.yaml has a task of that name"
            problems.append(_problem(cell, message, "choose another name"))
        for path in cell.products.values():
            if path in products:
                message = f"%%task {cell.name}: product {path} belongs to '{products[path]}'"
                problems.append(_problem(cell, message, "choose another path"))
            products[path] = cell.name
        names.add(cell.name)
        added.append(cell)
    if problems:
        raise SpecError(problems)
    return msgspec.structs.replace(spec, tasks=(*spec.tasks, *added))


def _problem(cell: Task, message: str, hint: str) -> Problem:
    at = cell.at or Location(cell.source)
    return Problem(at.file, at.line, at.column, "", message, hint)
