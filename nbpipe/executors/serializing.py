"""Between a function and the disk: upstream products as objects, what it returns as a product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbpipe.core.graph import is_wildcard
from nbpipe.core.model import Job
from nbpipe.core.options import Call

Find = Callable[[str], Callable[..., Any]]
"""Gives the function of a dotted name."""


class NothingReturned(ValueError):
    """A function that should return its product returned None."""


def offered(job: Job, find: Find) -> dict[str, Any]:
    """What a task's function may ask for: upstream read for it, no product if that is written."""
    read, write = job.serializing.read, job.serializing.write
    upstream: Any = job.upstream
    if read is not None and job.upstream:
        upstream = _read_all(job.upstream, _bound(read, find))
    given = {"upstream": upstream, **job.params}
    return given if write is not None else {"product": job.product, **given}


def _read_all(upstream: Mapping[str, Any], read: Callable[[Any], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, product in upstream.items():
        if is_wildcard(name):
            found[name] = {task: read(one) for task, one in product.items()}
        else:
            found[name] = read(product)
    return found


def write(job: Job, result: Any, find: Find) -> None:
    """Write what a task's function returned, if that is asked for.

    Raises:
        NothingReturned: it returned None.
    """
    call = job.serializing.write
    if call is None:
        return
    if result is None:
        raise NothingReturned(f"{job.source}() returned nothing, and the serializer writes that")
    _bound(call, find)(result, job.product)


def _bound(call: Call, find: Find) -> Callable[..., Any]:
    function = find(call.function)
    return lambda *given: function(*given, **call.arguments)
