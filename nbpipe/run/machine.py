"""What this machine has for tasks, and how a task is told what of it is its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from nbpipe.core.model import Resources, Task
from nbpipe.core.tokens import demand, excess
from nbpipe.views.words import plural, size

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
"""Variables by which libraries that start threads or workers of their own are told how many."""

DEVICES = "CUDA_VISIBLE_DEVICES"
"""The variable that tells a process which GPUs it sees."""

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_ASKING = 10.0
"""Seconds that the driver has to list its devices."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What tasks may take in all.

    Attributes:
        cpu: cores.
        memory: bytes; None: not known, and not limited.
        gpus: the devices, as ``CUDA_VISIBLE_DEVICES`` names them.
    """

    cpu: int
    memory: int | None = None
    gpus: tuple[str, ...] = ()

    @property
    def limits(self) -> dict[str, float]:
        """The same as amounts."""
        known = {"cpu": float(self.cpu), "gpu": float(len(self.gpus))}
        return known if self.memory is None else {**known, "memory": float(self.memory)}


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def look(jobs: int, tasks: Iterable[Task]) -> Machine:
    """What this machine has of what ``tasks`` ask for; the rest is not looked at.

    Args:
        jobs: how many tasks may run at once; so many cores may be taken.
        tasks: of the build.
    """
    wishes = [task.resources for task in tasks]
    return Machine(
        cpu=jobs,
        memory=_memory() if any(wish.memory for wish in wishes) else None,
        gpus=devices(os.environ) if any(wish.gpu for wish in wishes) else (),
    )


def devices(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that this process may use: those it was given, else all that the driver lists."""
    if DEVICES in environ:
        names = (name.strip() for name in environ[DEVICES].split(","))
        return tuple(name for name in names if name not in ("", "-1", "NoDevFiles", "none"))
    asked = shutil.which("nvidia-smi")
    if asked is None:
        return ()
    query = [asked, "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_ASKING, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip().isdigit())


def too_much(machine: Machine, tasks: Iterable[Task]) -> Iterator[tuple[str, str]]:
    """The tasks that ask for more than there is, each with a sentence that says so."""
    for task in tasks:
        for name, amount in excess(demand(task.resources), machine.limits).items():
            if name != "cpu" or machine.cpu > 1:  # with one job at a time every task is alone
                yield task.name, f"asks for {_shown(name, amount)}, {_but(machine, name)}"


def environment(
    wish: Resources, given: tuple[str, ...], environ: Mapping[str, str]
) -> dict[str, str]:
    """The variables that tell a task what it may use.

    Args:
        wish: what it asks for. Nothing is said of what it does not ask for.
        given: the GPUs that are its own.
        environ: of the build. What the user has set there is left as it is, but for the GPUs,
            which are chosen from those named there.
    """
    told: dict[str, str] = {}
    if wish.cpu is not None:
        threads = str(max(1, int(wish.cpu)))
        told |= {name: threads for name in THREADS if name not in environ}
    if wish.gpu == 0 or given:
        told[DEVICES] = ",".join(given)
    return told


class Devices:
    """Hands out the GPUs; that there are enough is the scheduler's care.

    Args:
        names: of all of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._free = list(names)
        self._given: dict[str, tuple[str, ...]] = {}

    def give(self, task: str, count: int) -> tuple[str, ...]:
        """Devices of a task: fewer than it asks for where there are not so many."""
        if task not in self._given:
            self._given[task] = tuple(self._free[:count])
            del self._free[:count]
        return self._given[task]

    def take_back(self, task: str) -> None:
        """The task has ended."""
        self._free.extend(self._given.pop(task, ()))


def _memory() -> int | None:
    """Bytes of this machine, or of the container; None: not known."""
    import psutil

    found: list[int] = [psutil.virtual_memory().total]
    for path in _CGROUPS:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdigit() and int(text) > 0:
            found.append(int(text))
    return min(found)


def _shown(name: str, amount: float) -> str:
    if name == "memory":
        return f"{size(int(amount))} of memory"
    return plural(int(amount), "GPU") if name == "gpu" else f"{amount:g} cores"


def _but(machine: Machine, name: str) -> str:
    limit = machine.limits[name]
    if name == "cpu":
        return f"but {machine.cpu} may be used at once (--jobs): it runs alone"
    if not limit:
        return "but none was found: it runs without"
    return f"but this machine has {_shown(name, limit)}: it runs alone"
