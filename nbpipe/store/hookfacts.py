"""The code of functions that stand around a task: one that changed is a reason to run."""

from __future__ import annotations

from pathlib import Path

from nbpipe.core.fingerprint import function_digest, value_digest
from nbpipe.core.model import Task
from nbpipe.core.options import Call
from nbpipe.errors import SpecError
from nbpipe.store.functions import module_file
from nbpipe.store.imports import ImportFollower
from nbpipe.store.reading import read_text


def around_digests(root: Path, task: Task, follower: ImportFollower) -> dict[str, str | None]:
    """Digests of the functions that decide what a task makes, and of the modules they import.

    They are ``on_finish``, what gives the clients of its databases, its serializers, and what reads
    the file of an upload.

    Args:
        root: of the pipeline.
        task: the task.
        follower: remembers what it read.

    Returns:
        By path; a function itself as ``path::name``. Nothing for one that is installed.
    """
    found: dict[str, str | None] = {}
    for call in _calls(task):
        if call.function not in follower.functions:
            follower.functions[call.function] = _digests(root, call, follower)
        known = dict(follower.functions[call.function])
        name = next((path for path in known if "::" in path), None)
        if call.arguments and name is not None:
            known[name] = value_digest([known[name], call.arguments])
        found |= known
    return found


def _calls(task: Task) -> list[Call]:
    calls = [task.hooks.on_finish, *task.serializing.both]
    calls += [relation.client for relation in task.relations.values()]
    if task.work is not None:
        calls.append(task.work.client)
        if "." in (task.work.io_handler or ""):
            calls.append(Call(task.work.io_handler or ""))
    return [call for call in calls if call is not None]


def _digests(root: Path, call: Call, follower: ImportFollower) -> dict[str, str | None]:
    module, _, name = call.function.rpartition(".")
    try:
        path = module_file(root, call.function)
        text = read_text(root / path, path)
    except SpecError:
        return {}
    found: dict[str, str | None] = {
        **follower.digests(f"import {module}", ""),
        **follower.digests(text, path),
    }
    found.pop(path, None)
    return {f"{path}::{name}": function_digest(text, name), **found}
