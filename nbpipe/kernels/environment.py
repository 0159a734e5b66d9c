"""Which environment variables a fork can still be given, and which come too late.

Pure functions over mappings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

OURS = ("NBPIPE_", "JPY_PARENT_PID", "JPY_SESSION_NAME")
"""Prefixes of what differs from kernel to kernel and is read by nobody at start."""

SHELL = frozenset({"PWD", "OLDPWD", "SHLVL", "_"})
"""What a shell counts and no library reads."""

AT_START = (
    *("PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_", "LANG", "LC_", "HOME", "USER", "LOGNAME"),
    *("XDG_", "IPYTHON", "IPY_", "JUPYTER", "JPY_", "PYDEVD_", "PYZMQ_", "ZMQ_", "EDITOR"),
)
"""Prefixes of what the system, Python, Jupyter or IPython read when they start or are imported."""

LISTED = 3
"""Names that a reason lists at most."""

Changes = Mapping[str, str | None]
"""Variables that are set, or removed (None)."""


class Obstacle(NamedTuple):
    """What stands against a fork with everything preloaded.

    Attributes:
        start: ``cold``: no fork at all; ``bare``: one that has preloaded nothing, since a library
            may read the variables when it is imported.
        reason: a clause.
    """

    start: Literal["cold", "bare"]
    reason: str


def differences(base: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    """What turns one environment into another."""
    changes: dict[str, str | None] = {
        name: value for name, value in wanted.items() if base.get(name) != value
    }
    return changes | dict.fromkeys(base.keys() - wanted.keys())


def obstacle(changes: Changes) -> Obstacle | None:
    """Whether a kernel with these changes of its environment may be forked; None: it may."""
    names = sorted(name for name in changes if not name.startswith(OURS) and name not in SHELL)
    if early := [name for name in names if name.startswith(AT_START)]:
        return Obstacle("cold", f"{_list(early)}: read when a kernel starts")
    if names:
        return Obstacle("bare", f"{_list(names)}: libraries may read it when imported")
    return None


def _list(names: Iterable[str]) -> str:
    """A few names, and that there are more."""
    known = list(names)
    return ", ".join(known[:LISTED]) + (", …" if len(known) > LISTED else "")
