"""Names as Airflow takes them: ASCII letters, digits, dashes, underscores, and dots in tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from nbpipe.errors import UsageError
from nbpipe.exporters.base import TaskDocument

MOST = 250
"""Characters of the id of a task or a DAG, at most."""

MOST_OF_GROUP = 200
"""Characters of the id of a group, at most."""

_TASK = re.compile(r"[^A-Za-z0-9_.-]|_(?=x[0-9A-F]+[^A-Za-z0-9.-])")
_GROUP = re.compile(r"[^A-Za-z0-9_-]|_(?=x[0-9A-F]+[^A-Za-z0-9-])")
_CODED = re.compile(r"_x([0-9A-F]+)_")


def task_id(name: str) -> str:
    """The id of a task, or of a whole pipeline.

    A character that Airflow does not take becomes ``_xHH_`` with its number, and so does an
    underscore that would be read as the beginning of such a one; all else stays. So no two names
    share an id, and :func:`task_name` gives the name back.

    Raises:
        UsageError: it is too long for Airflow.
    """
    return _within(MOST, name, _TASK.sub(_code, name))


def task_name(task_id: str) -> str:
    """The name that :func:`task_id` was given."""
    return _CODED.sub(lambda found: chr(int(found[1], 16)), task_id)


def is_id(text: str) -> bool:
    """Whether Airflow takes the text for an id as it stands."""
    return 0 < len(text) <= MOST and re.fullmatch(r"[A-Za-z0-9_.-]+", text) is not None


def group_ids(tasks: Iterable[TaskDocument]) -> dict[str, str]:
    """The id of each group, by its label.

    None at all where groups wait for each other: Airflow orders the groups themselves, and cannot.

    Raises:
        UsageError: a group and a task would share an id.
    """
    tasks = tuple(tasks)
    above = {task.name: task.upstream for task in tasks}
    ids = {task.group: _group_id(task.group) for task in tasks if task.group is not None}
    taken = {task_id(name) for name in above}
    for label, group in ids.items():
        if group in taken:
            raise UsageError(
                f"Airflow cannot tell the group '{label}' from the task of that name",
                "rename one of them",
            )
    places = {task.name: (task.group or "", "" if task.group else task.name) for task in tasks}
    return ids if _ordered(above, places) else {}


def _ordered(above: Mapping[str, Iterable[str]], places: Mapping[str, tuple[str, str]]) -> bool:
    """Whether the groups can run one after the other."""
    graph: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for name, ups in above.items():
        waits = {places[up] for up in ups} - {places[name]}
        graph.setdefault(places[name], set()).update(waits)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return False
    return True


def _group_id(label: str) -> str:
    return _within(MOST_OF_GROUP, label, _GROUP.sub(_code, label))


def _code(found: re.Match[str]) -> str:
    return f"_x{ord(found[0]):X}_"


def _within(most: int, name: str, found: str) -> str:
    if len(found) > most:
        raise UsageError(f"'{name}' is too long for Airflow, as '{found}'", "shorten it")
    return found
