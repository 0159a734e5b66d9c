"""Notes that stand for tables and views: written when a task has made them, gone when they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.model import Spec, Task
from nbpipe.core.options import Call
from nbpipe.core.work import Relation
from nbpipe.executors import sql
from nbpipe.run.prepare import compat_of
from nbpipe.run.values import call_all
from nbpipe.store.products import write_durably
from nbpipe.store.speccalls import call_key


def write_notes(root: Path, task: Task, run: str) -> None:
    """Say that a run has made the relations of a task anew. Other bytes each time: consumers run.

    Raises:
        StoreError: it cannot be written.
    """
    for path, relation in task.relations.items():
        note: dict[str, Any] = {"relation": relation.text, "kind": relation.kind, "run": run}
        write_durably(root / path, msgspec.json.encode({**note, "task": task.name}) + b"\n")


def forget_lost(root: Path, spec: Spec) -> None:
    """Remove the notes of relations that are no longer in their databases.

    Raises:
        SpecError: a client cannot be made, or its database not be reached.
        StoreError: a note cannot be removed.
    """
    noted = {
        path: relation
        for task in spec.tasks
        for path, relation in task.relations.items()
        if relation.client is not None and (root / path).exists()
    }
    if not noted:
        return
    for path, there in zip(noted, _present(list(noted.values()), root, spec), strict=True):
        if not there:
            (root / path).unlink(missing_ok=True)


def _present(relations: list[Relation], root: Path, spec: Spec) -> list[bool]:
    """Whether each relation is there, asked by a process that may run code of the project."""
    name = f"{sql.__name__}.{sql.present.__name__}"
    call = Call(name, {"relations": msgspec.to_builtins(relations)})
    found = call_all([call], root, spec.file, compat_of(spec.meta))[call_key(call)]
    return [bool(there) for there in found]
