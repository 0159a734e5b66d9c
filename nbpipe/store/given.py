"""What a notebook is given, with paths from the folder in which it runs."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import msgspec

from nbpipe.core.model import RESOURCES, Product, Task
from nbpipe.core.options import PLAIN, NotebookOptions


class Given(msgspec.Struct, frozen=True):
    """The values of the injected cell."""

    product: Product
    upstream: Mapping[str, Any] | None
    params: dict[str, Any]


def given_values(task: Task, upstream: Mapping[str, Any] | None) -> Given:
    """The values that a task's notebook is given.

    Args:
        task: the task.
        upstream: value of ``upstream``, paths relative to the root.
    """
    folder = posixpath.dirname(task.source) if task.options.beside_source else ""
    if not folder:
        return Given(task.given(), upstream, task.params)
    params = dict(task.params)
    if RESOURCES in params:
        params[RESOURCES] = _placed(params[RESOURCES], folder)
    product = task.given(lambda path: str(_placed(path, folder)))
    return Given(product, _placed(upstream, folder), params)


def _placed(value: Any, folder: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _placed(one, folder) for key, one in value.items()}
    if isinstance(value, str) and not posixpath.isabs(value):
        return posixpath.relpath(value, folder)
    return value


def shaping(task: Task) -> dict[str, Any]:
    """Those options that shape the products, so that another value makes the task stale."""
    if task.work is not None:
        return task.work.shaping
    if task.serializing:
        calls = zip(("serializer", "unserializer"), task.serializing.both, strict=True)
        return {key: msgspec.to_builtins(call) for key, call in calls if call is not None}
    return _of_notebook(task.options)


def _of_notebook(options: NotebookOptions) -> dict[str, Any]:
    if options is PLAIN or options == PLAIN:
        return {}
    found: dict[str, Any] = {
        "nb_product_key": list(options.keys) if options.keys != PLAIN.keys else None,
        "nbconvert_exporter_name": options.exporters or None,
        "nbconvert_export_kwargs": options.exporter_options or None,
        "local_execution": options.beside_source or None,
    }
    return {key: value for key, value in found.items() if value is not None}
