"""What goes into the user's namespace, and which task a notebook is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbpipe.errors import UsageError, did_you_mean
from nbpipe.pipeline import Pipeline


class Named(dict[str, Any]):
    """A mapping whose missing keys are told with the valid ones."""

    def __missing__(self, key: object) -> Any:
        listed = ", ".join(repr(name) for name in self) or "nothing"
        near = did_you_mean(str(key), self) or ""
        hint = f"; {near}" if near.startswith("did") else ""
        raise NoSuchKeyError(f"there is no {key!r}, only {listed}{hint}")


class NoSuchKeyError(KeyError):
    """A key that a mapping of ours lacks; the message names those that it has."""

    def __str__(self) -> str:
        return str(self.args[0])


def named(value: Any) -> Any:
    """The same value with every mapping in it telling its keys."""
    if isinstance(value, Mapping):
        return Named({key: named(item) for key, item in value.items()})
    return value


def given() -> dict[str, Any] | None:
    """``upstream`` and ``product`` as the runner gave them; None outside a build."""
    path = os.environ.get("NBPIPE_GIVEN")
    if not path:
        return None
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found


def which_task(pipeline: Pipeline, user_ns: Mapping[str, Any], explicit: str | None) -> str:
    """The task that this notebook is.

    Asked in turn: the option ``--task``, the runner, VS Code, the server's session. A path counts
    only when it is the source of a task, since the session's can be stale after a rename.

    Raises:
        UsageError: none of them knows; the hint lists the tasks.
    """
    if explicit is not None:
        return pipeline.graph.task(explicit).name
    running = os.environ.get("NBPIPE_TASK")
    if running in pipeline.graph.tasks:
        return running
    for path in (user_ns.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        found = task_of_source(pipeline, path) if isinstance(path, str) else None
        if found is not None:
            return found
    listed = " ".join(pipeline.graph.tasks)
    raise UsageError(
        "this notebook is no task of the pipeline",
        f"name the tasks that you want: %upstream NAME, or --task T; there are: {listed}",
    )


def task_of_source(pipeline: Pipeline, path: str) -> str | None:
    """The first task whose source is ``path``: absolute, or relative to a folder above the root."""
    root = pipeline.root.resolve()
    candidate = Path(path)
    for task in pipeline.spec.tasks:
        source = (root / task.source).resolve()
        if candidate.is_absolute():
            if candidate.resolve() == source:
                return task.name
        elif candidate.parts and source.parts[-len(candidate.parts) :] == candidate.parts:
            return task.name
    return None
