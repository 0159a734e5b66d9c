"""Decides how a kernel starts, and keeps the warm processes that it is forked from."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from nbpipe.kernels.forkserver import NoFork, Stale, Streams
from nbpipe.kernels.pool import LAUNCHER
from nbpipe.kernels.process import ForkedProcess
from nbpipe.kernels.trunk import Launch, Start, Trunk

MOST_SERVERS = 4
"""Warm processes that are kept for kernels of different folders or options."""


class Starter:
    """Forks kernels; one for a build, or one for all kernels of a process.

    Args:
        always: modules that every kernel finds imported.
    """

    def __init__(self, always: Sequence[str] = ()) -> None:
        self._sets: list[tuple[str, ...]] = []
        self._always = tuple(dict.fromkeys(always))
        self._trunks: dict[tuple[Family, str], Trunk] = {}
        self._retired: list[Trunk] = []
        self._lock = threading.Lock()

    def warm_up(self, launch: Launch) -> None:
        """Start the warm processes for kernels like this one; returns at once."""
        with contextlib.suppress(NoFork, OSError):
            self._trunk(launch)

    def add_sets(self, sets: Iterable[Sequence[str]]) -> None:
        """Preload sets of modules, each in a warm process of its own; returns at once.

        A kernel is forked from the one with the most modules, all of which its notebook imports
        at once.
        """
        new = [tuple(dict.fromkeys(one)) for one in sets]
        with self._lock:
            self._sets += new
            for trunk in self._trunks.values():
                with contextlib.suppress(NoFork):
                    trunk.add_sets(new)

    async def fork(self, launch: Launch, streams: Streams) -> tuple[ForkedProcess, Start]:
        """A kernel that can be spoken to, and how it was started.

        Raises:
            Unlinked: it was to have a line, and needs zmq.
            NoFork: it must be started cold.
        """
        trunk = self._trunk(launch)
        try:
            return await trunk.fork(launch, streams)
        except Stale:
            self._retire(launch, trunk)
            return await self._trunk(launch).fork(launch, streams)

    def _trunk(self, launch: Launch) -> Trunk:
        kind = family(launch.command)
        key = (kind, launch.folder)
        with self._lock:
            trunk = self._trunks.pop(key, None)
            if trunk is not None and not trunk.alive():
                trunk.close()
                trunk = None
            if trunk is None:
                trunk = Trunk(kind.python, kind.options, launch, self._sets, self._always)
            self._trunks[key] = trunk  # the latest used is the last
            while len(self._trunks) > MOST_SERVERS:
                self._set_aside(self._trunks.pop(next(iter(self._trunks))))
        return trunk

    def _retire(self, launch: Launch, trunk: Trunk) -> None:
        key = (family(launch.command), launch.folder)
        with self._lock:
            if self._trunks.get(key) is trunk:
                del self._trunks[key]
                self._set_aside(trunk)

    def _set_aside(self, trunk: Trunk) -> None:
        """Use it no more; it ends with the last of its kernels."""
        trunk.retire()
        for old in [old for old in self._retired if not old.alive()]:
            self._retired.remove(old)
            old.close()
        self._retired.append(trunk)

    def close(self) -> None:
        """End the warm processes, with their kernels. Calling it twice is harmless."""
        with self._lock:
            for trunk in (*self._trunks.values(), *self._retired):
                trunk.close()
            self._trunks.clear()
            self._retired.clear()


class Family(NamedTuple):
    """What kernels of one warm process have in common."""

    python: tuple[str, ...]
    options: tuple[str, ...]


def family(command: Sequence[str]) -> Family:
    """The interpreter and the options of a kernel that could be forked.

    Raises:
        NoFork: it cannot.
    """
    if reason := unsupported():
        raise NoFork(reason)
    at = command.index(LAUNCHER) if LAUNCHER in command else 0
    if at < 2 or command[at - 1] != "-m":
        raise NoFork("it is not an IPython kernel")
    if not is_ours(command[0]):
        raise NoFork(f"it runs {command[0]}, of another environment")
    options = list(command[at + 1 :])
    if "-f" not in options[:-1]:
        raise NoFork("its command line has no '-f'")
    file = options.index("-f")
    del options[file : file + 2]
    return Family(tuple(command[: at - 1]), tuple(options))


def unsupported() -> str | None:
    """Why kernels cannot be forked on this system; None: they can."""
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open"):
        return "forked kernels need Linux"
    return None


def is_ours(program: str) -> bool:
    """Whether a kernel's interpreter is the one that runs here, of the same environment."""
    here, there = os.path.abspath(sys.executable), os.path.abspath(program)
    same_place = os.path.dirname(here) == os.path.dirname(there)
    return same_place and os.path.realpath(here) == os.path.realpath(there)


@cache
def shared_starter(preload: tuple[str, ...]) -> Starter:
    """The starter of all kernels of this process that ask for the same modules."""
    starter = Starter(always=preload)
    atexit.register(starter.close)
    return starter
