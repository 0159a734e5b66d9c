"""New tasks on the disk: a script, and its entry in pipeline.yaml with the file's comments kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nbpipe.core.model import Spec
from nbpipe.errors import UsageError
from nbpipe.store.products import write_durably
from nbpipe.store.specfile import spec_text_with_task
from nbpipe.store.templates import template


def write_task(
    file: Path,
    spec: Spec,
    name: str,
    path: str,
    body: str,
    *,
    upstream: Sequence[str],
    product: Mapping[str, str],
    force: bool,
) -> str:
    """Write a script and add it to a spec file; nothing is written when either cannot be.

    Args:
        file: the spec file.
        spec: what it holds.
        name: of the task.
        path: of the script, relative to the folder of ``file``, or absolute in it.
        body: Python code, which becomes the script's last cell.
        upstream: tasks that it reads.
        product: what it makes, beside the executed notebook.
        force: True: overwrite a script and replace a task that are there.

    Returns:
        The script's path, relative and POSIX.

    Raises:
        UsageError: the script or the task is there, or the path leads elsewhere.
        SpecError: the entry does not fit into the file.
        StoreError: the disk is full or read-only.
    """
    source = _relative(file.parent, path)
    target = file.parent / source
    known = name in {task.name for task in spec.tasks}
    if target.exists() and not force:
        raise UsageError(f"{source}: is there already", "choose another path, or use --force")
    if known and not force:
        raise UsageError(f"{file.name} has a task '{name}'", "choose another name, or use --force")
    for other in spec.tasks:
        if other.source == source and other.name != name:
            raise UsageError(
                f"{source}: is the source of task '{other.name}'", "choose another path"
            )
    entry = _entry(spec, name, source, upstream, product)
    text = file.read_bytes().decode("utf-8")
    edited = spec_text_with_task(text, entry, replace=name if known else None, file=file.name)
    write_durably(target, _script(name, body, upstream).encode())
    write_durably(file, edited.encode())
    return source


def _relative(root: Path, path: str) -> str:
    full = os.path.normpath(os.path.join(os.path.abspath(root), path))
    inside = os.path.relpath(full, os.path.abspath(root))
    if inside.startswith(os.pardir) or os.path.isabs(inside):
        raise UsageError(f"{path}: lies outside of the pipeline's folder", "name a path in it")
    if PurePosixPath(inside).suffix != ".py":
        raise UsageError(f"{path}: only a .py script can be written", "such as scripts/clean.py")
    return Path(inside).as_posix()


def _entry(
    spec: Spec, name: str, source: str, upstream: Sequence[str], product: Mapping[str, str]
) -> dict[str, Any]:
    entry: dict[str, Any] = {"source": source}
    if PurePosixPath(source).stem != name:
        entry["name"] = name
    made = {"nb": f"output/{name}.ipynb", **product}
    if spec.meta.product_relative_to_source:
        folder = PurePosixPath(source).parent
        made = {key: os.path.relpath(value, folder) for key, value in made.items()}
    entry["product"] = made
    if not spec.meta.extract_upstream and upstream:
        entry["upstream"] = list(upstream)
    return entry


def _script(name: str, body: str, upstream: Sequence[str]) -> str:
    head = template(name, upstream=upstream).rpartition("# %%\n")[0]
    return f"{head}# %%\n{body.strip(chr(10))}\n"
