"""The process that calls functions which give params: ``python -m … RESULT < REQUEST``.

Reads a `Request` as JSON, and writes a `Reply` to the file RESULT.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.model import Failure, Job
from nbpipe.core.options import Call
from nbpipe.executors import call as calling
from nbpipe.executors import inside


class Request(msgspec.Struct, frozen=True):
    """``root``: absolute folder of the pipeline. ``calls``: what to call, in this order."""

    root: str
    calls: tuple[Call, ...]


class Reply(msgspec.Struct, frozen=True):
    """``values``: what the calls gave, up to one that failed. ``failure``: of that one."""

    values: tuple[Any, ...]
    failure: Failure | None = None


def main() -> None:
    """Call each function, and write what they gave."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    calling.leave_with_parent(int(sys.argv[2]))
    sys.path.insert(0, request.root)
    inside.prepare()
    values: list[Any] = []
    failure = None
    for one in request.calls:
        job = Job(
            task="params",
            kind="function",
            source=one.function,
            root=request.root,
            folder=request.root,
            stem="",
            params=one.arguments,
        )
        failure = calling.run(job, values.append)
        if failure is None:
            failure = _settled(values, one)
        if failure is not None:
            break
    Path(sys.argv[1]).write_bytes(msgspec.json.encode(Reply(tuple(values), failure)))
    sys.stdout.flush()
    os._exit(0)


def _settled(values: list[Any], call: Call) -> Failure | None:
    """Make the last value a JSON-like one."""
    try:
        values[-1] = plain(values[-1])
        json.dumps(values[-1], allow_nan=False)
    except (TypeError, ValueError) as error:
        values.pop()
        message = f"what it returns cannot be a param: {error}"
        hint = "return text, numbers, true, false, null, lists and mappings"
        return Failure(error="TypeError", message=message, hint=hint)
    return None


def plain(value: Any) -> Any:
    """A value in JSON's terms: arrays, ranges and sets are lists, paths and dates are text.

    Raises:
        TypeError: it has none.
    """
    if callable(describe := getattr(value, "as_dict", None)):  # a pipeline
        return plain(describe())
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(plain(one) for one in value)
    if isinstance(value, (list, tuple, range)):
        return [plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value


if __name__ == "__main__":
    main()
