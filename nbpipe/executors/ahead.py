"""Sends many cells to a kernel at once, which runs them as if they came one by one.

``ahead_in_kernel`` is the other half and tells how. Only ipykernel is known to have what it needs.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import marshal
import re
import sys
from collections.abc import Sequence
from typing import Any

from jupyter_client.session import Session

from nbpipe.executors.messages import execute_request

TAKEN = "nbpipe_next"
"""Key in a cell's reply: whether the kernel has started the next one."""

IMPLEMENTATION = "ipython"
"""What ipykernel calls itself when it is asked for its kernel_info."""

_RUN = "(lambda kernel: exec({}, {{'__name__': 'nbpipe', 'kernel': kernel}}))(get_ipython().kernel)"
_GIVEN = "bytes(kernel.get_parent('shell')['buffers'][0])"
_FROM_SOURCE = _RUN.format(f"compile({_GIVEN}, '<nbpipe>', 'exec')")
_FROM_BYTECODE = _RUN.format(f"__import__('marshal').loads({_GIVEN})")
"""What the request runs. It is short: ipykernel and IPython look at each character in Python."""

_ENDS = re.compile(r"\b(_exit|abort|ctypes|kill|raise_signal)\b")


def can_be_sent(implementation: str, sources: Sequence[str], is_linked: bool = False) -> bool:
    """Whether a notebook's cells may go to a kernel at once.

    On Linux only, where it can be told whether a kernel has read what subprocesses wrote. Through
    zmq, not where a cell may end the process at once (``os._exit``, ``os.kill``, ``ctypes``): the
    last outputs of the cell before it would still be on their way, and be lost with the process.
    """
    return (
        sys.platform == "linux"
        and implementation == IMPLEMENTATION
        and len(sources) > 1
        and (is_linked or not any(map(_ENDS.search, sources)))
    )


def batch(
    session: Session,
    cells: Sequence[tuple[dict[str, Any], bool]],
    halt: str,
    *,
    same_python: bool = False,
) -> dict[str, Any]:
    """One message with the requests for many cells.

    Its reply has the status "ok" when the kernel took the requests, of which the first then runs;
    after any other reply none does.

    Args:
        session: signs the messages.
        cells: the request of each, and whether the next ones run although it raised an error.
        halt: path of a file; once it exists, the kernel starts no other cell.
        same_python: whether the kernel runs on this very interpreter, and can take bytecode.
    """
    buffers = parts(session, cells, halt, same_python=same_python)
    request = execute_request(session, _FROM_BYTECODE if same_python else _FROM_SOURCE, silent=True)
    request["buffers"] = buffers
    return request


def parts(
    session: Session,
    cells: Sequence[tuple[dict[str, Any], bool]],
    halt: str,
    *,
    same_python: bool,
) -> list[bytes]:
    """The code that feeds cells to a kernel, what it is told, and the frames of the requests.

    Arguments are those of :func:`batch`.
    """
    told = {
        "cells": [(message["msg_id"], allows) for message, allows in cells],
        "halt": halt,
        "key": TAKEN,
    }
    found = [_bytecode() if same_python else _source(), json.dumps(told).encode()]
    for message, _ in cells:
        found += session.serialize(message, ident=session.bsession)
    return found


@functools.cache
def _source() -> bytes:
    file = importlib.resources.files(__package__).joinpath("ahead_in_kernel.py")
    return file.read_bytes() + b"\nfeed(kernel, globals().get('parts'))\n"


@functools.cache
def _bytecode() -> bytes:
    return marshal.dumps(compile(_source(), "<nbpipe>", "exec"))
