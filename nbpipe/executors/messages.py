"""Jupyter messages as they come from and go to a kernel.

The figures that made it worth reading them here are jupyter_client's: of its time for a small
message, nine tenths go into making datetimes of the header's dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hmac import compare_digest
from typing import Any

from jupyter_client.adapter import adapt
from jupyter_client.session import DELIM, Session

PARTS = 4
"""Parts of a message that are JSON: header, parent header, metadata, content."""


def decode(session: Session, frames: Sequence[bytes]) -> dict[str, Any]:
    """A message from its frames, as ``Session.deserialize`` gives it, but dates stay text.

    Raises:
        ValueError: it is not signed with our key, not complete or not JSON.
    """
    start = list(frames).index(DELIM) + 1
    signature, *parts = frames[start : start + 1 + PARTS]
    if len(parts) < PARTS:
        raise ValueError("a message without all of its parts")
    if session.auth is not None and not compare_digest(signature, session.sign(parts)):
        raise ValueError("a message with another signature")
    header, parent, metadata, content = map(session.unpack, parts)
    message: dict[str, Any] = {
        "header": header,
        "msg_id": header["msg_id"],
        "msg_type": header["msg_type"],
        "parent_header": parent,
        "metadata": metadata,
        "content": content,
        "buffers": [memoryview(b) for b in frames[start + 1 + PARTS :]],
    }
    adapted: dict[str, Any] = adapt(message)  # from kernels that speak an older protocol
    return adapted


def execute_request(session: Session, code: str, *, silent: bool = False) -> dict[str, Any]:
    """A request to run code, which shows its number in ``In[n]`` unless it is silent.

    An error does not make the kernel abort other requests: no other one is waiting there.
    """
    content = {
        "code": code,
        "silent": silent,
        # With history off every cell would be In[1], and no frame could be told from another.
        "store_history": not silent,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": False,
    }
    message: dict[str, Any] = session.msg("execute_request", content)
    return message


def seconds_between(first: dict[str, Any], last: dict[str, Any]) -> float | None:
    """By the clock of the kernel that sent both messages; None: it did not tell the time."""
    try:
        begun, ended = (datetime.fromisoformat(m["header"]["date"]) for m in (first, last))
        return max((ended - begun).total_seconds(), 0.0)
    except (KeyError, TypeError, ValueError):
        return None
