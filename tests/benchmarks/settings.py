"""Sizes, repetitions and limits of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        quick: whether this is the small run.
        rounds: repetitions of what takes seconds at most.
        slow_rounds: repetitions of what takes longer.
        seed: of the order of runs, and of random projects.
        limit: seconds that one command may take.
        tiny: small and large number of tiny tasks, for nbpipe and for bare scripts.
        stock: the same for what takes long for each task, such as stock nbclient.
        stack: the same for tasks that import the data stack, for nbpipe.
        fan: tasks below the one in the middle.
        chain: tasks one after the other.
        wide: tasks of the pipeline in which nothing is to do.
        cells: small and large number of cells.
        sleepers: tasks of the makespan, and the mean seconds that one waits.
        crowd: kernels that are alive while memory is measured.
        growth: numbers of tasks in the plots.
    """

    quick: bool
    rounds: int
    slow_rounds: int
    seed: int = 2026
    limit: float = 900.0
    tiny: tuple[int, int] = (20, 120)
    stock: tuple[int, int] = (4, 24)
    stack: tuple[int, int] = (4, 24)
    fan: int = 50
    chain: int = 10
    wide: int = 1000
    cells: tuple[int, int] = (20, 420)
    sleepers: tuple[int, float] = (60, 0.5)
    crowd: int = 4
    growth: tuple[int, ...] = (10, 30, 100, 300, 1000, 2000, 5000)


FULL = Settings(quick=False, rounds=7, slow_rounds=2)
QUICK = Settings(
    quick=True,
    rounds=3,
    slow_rounds=1,
    limit=240.0,
    tiny=(4, 44),
    stock=(2, 8),
    stack=(2, 18),
    fan=12,
    cells=(10, 310),
    sleepers=(50, 0.2),
    growth=(10, 30, 100, 300),
)

LESS_IN_QUICK = (
    f"a fan of 1 + {QUICK.fan} tasks instead of {FULL.fan}",
    f"{QUICK.rounds} rounds instead of {FULL.rounds}, "
    f"and {QUICK.slow_rounds} instead of {FULL.slow_rounds} of what is slow",
    "fewer tasks and cells from which the price of one more is told",
)
"""What the quick run does less of."""

PARTS = {
    "builds": "the table in which every tool builds every project",
    "scaling": "the plots against tasks, cells and cores, and of the builder's memory",
}
"""What is no row of the goals table, and is left out of the quick run unless it is asked for."""
