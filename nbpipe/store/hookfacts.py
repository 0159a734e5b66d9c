"""The code of hooks that decide whether a run is good: a changed check is a reason to run."""

from __future__ import annotations

from pathlib import Path

from nbpipe.core.fingerprint import function_digest, value_digest
from nbpipe.core.options import Call, Hooks
from nbpipe.errors import SpecError
from nbpipe.store.functions import module_file
from nbpipe.store.imports import ImportFollower
from nbpipe.store.reading import read_text


def hook_digests(root: Path, hooks: Hooks, follower: ImportFollower) -> dict[str, str | None]:
    """Digest of the function that ``on_finish`` calls, and of the project's modules it imports.

    Args:
        root: of the pipeline.
        hooks: of a task.
        follower: remembers what it read.

    Returns:
        By path; the function itself as ``path::name``. Nothing for one that is installed.
    """
    call = hooks.on_finish
    if call is None:
        return {}
    if call.function not in follower.functions:
        follower.functions[call.function] = _digests(root, call, follower)
    found = dict(follower.functions[call.function])
    name = next((path for path in found if "::" in path), None)
    if call.arguments and name is not None:
        found[name] = value_digest([found[name], call.arguments])
    return found


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
