"""What an engine costs per task beside a local build: ``python -m tests.overhead``.

Builds twelve functions that do next to nothing, and one that adds up, on each engine in turn, and
prints the seconds of the build divided by the tasks. Engines that are not installed are left out.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests import engines
from tests.cli import ENV, nbpipe
from tests.slurm_rig import Slurm, why_not
from tests.test_dask import Cluster

ROUNDS = 3
TASKS = 13


@contextlib.contextmanager
def local(folder: Path) -> Iterator[list[str]]:
    yield []


@contextlib.contextmanager
def dask_here(folder: Path) -> Iterator[list[str]]:
    yield ["--executor", "dask"]


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[list[str]]:
    with Cluster(folder / "dask") as cluster:
        time.sleep(5)  # until its workers are there
        yield ["--executor", "dask", "--scheduler", cluster.address]


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[list[str]]:
    with Slurm() as cluster:
        ENV.update(cluster.environ)
        yield ["--executor", "slurm"]


ENGINES = {
    "local": local,
    "Dask, in the builder's process": dask_here,
    "Dask, a scheduler and two workers": dask,
    "SLURM, one node": slurm,
}


def seconds_per_task(folder: Path, options: list[str]) -> float:
    """The median over some builds, each in a new folder."""
    found = []
    for number in range(ROUNDS):
        root = engines.grid(folder / str(number))
        began = time.monotonic()
        nbpipe("build", *options, cwd=root)
        found.append((time.monotonic() - began) / TASKS)
    return statistics.median(found)


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as place:
        for number, (name, engine) in enumerate(ENGINES.items()):
            if engine is slurm and (reason := why_not()):
                print(f"{name}: left out: {reason}")
                continue
            folder = Path(place) / str(number)
            folder.mkdir()
            with engine(folder) as options:
                print(f"{name:<35} {seconds_per_task(folder, options):6.2f} s a task")


if __name__ == "__main__":
    main()
