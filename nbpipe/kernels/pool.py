"""Spare kernels, started ahead: for other environments, and for systems that cannot fork.

A spare saves the wait for a cold start, not its work.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nbpipe.kernels.environment import differences, obstacle
from nbpipe.kernels.trunk import Launch

LAUNCHER = "ipykernel_launcher"
"""The module that the command line of an IPython kernel runs."""

SPARE = str(Path(__file__).with_name("spare.py"))


class _Spare(NamedTuple):
    """A kernel that waits, and the environment that it was started with."""

    process: subprocess.Popen[str]
    environ: Mapping[str, str]


class Pool:
    """Spare IPython kernels of any environment.

    Args:
        size: how many wait at once, for each kind of kernel.
        needed: how many kernels there will be; no spare is started beyond that.
    """

    def __init__(self, size: int, needed: int) -> None:
        self._size = size
        self._needed = needed
        self._spares: dict[tuple[str, ...], list[_Spare]] = defaultdict(list)

    def fill(self, launch: Launch) -> None:
        """Start spares for kernels like this one; returns at once."""
        python = _python(launch)
        if python is None:
            return
        spares = self._spares[python]
        while len(spares) < self._size and sum(map(len, self._spares.values())) < self._needed:
            try:
                spares.append(_start(python, launch))
            except OSError:
                return

    def take(self, launch: Launch, log: str | None) -> subprocess.Popen[str] | None:
        """A spare that is now the kernel; None: there is none that could be.

        Args:
            launch: what is asked for.
            log: path of the file for what bypasses the kernel's channels.
        """
        self._needed -= 1
        python = _python(launch)
        if python is None or log is None:
            return None
        taken = None
        while taken is None and self._spares[python]:
            spare = self._spares[python].pop(0)
            if _become(spare, launch, log):
                taken = spare.process
            else:
                _end(spare)
        self.fill(launch)
        return taken

    def close(self) -> None:
        """End the spares. Calling it twice is harmless."""
        for spares in self._spares.values():
            while spares:
                _end(spares.pop())


def _python(launch: Launch) -> tuple[str, ...] | None:
    """The interpreter with its options; None: not an IPython kernel."""
    command = launch.command
    at = command.index(LAUNCHER) if LAUNCHER in command else 0
    return tuple(command[: at - 1]) if at > 1 and command[at - 1] == "-m" else None


def _start(python: tuple[str, ...], launch: Launch) -> _Spare:
    process = subprocess.Popen(
        [*python, SPARE],
        cwd=launch.folder,
        env=dict(launch.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    return _Spare(process, launch.environ)


def _become(spare: _Spare, launch: Launch, log: str) -> bool:
    """Tell a spare which kernel it is; False: it is none any more, or cannot be this one."""
    changes = differences(spare.environ, launch.environ)
    if obstacle(changes) is not None or spare.process.poll() is not None:
        return False
    told = {
        "arguments": launch.command[launch.command.index(LAUNCHER) + 1 :],
        "folder": launch.folder,
        "environ": changes,
        "log": log,
    }
    assert spare.process.stdin is not None
    try:
        spare.process.stdin.write(json.dumps(told) + "\n")
        spare.process.stdin.close()
    except OSError:
        return False
    return True


def _end(spare: _Spare) -> None:
    process = spare.process
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
