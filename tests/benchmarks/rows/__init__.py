"""The rows of the goals table: each measures in a lab and gives figures."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks.lab import Lab
from tests.benchmarks.rows import builds, live, memory, noop, schedule, tasks
from tests.benchmarks.rows.result import Result

__all__ = ["ROWS", "Result"]

ROWS: dict[str, Callable[[Lab], Result]] = {
    "tiny": tasks.tiny,
    "stack": tasks.stack,
    "fan": builds.fan,
    "chain": builds.chain,
    "noop": noop.measure,
    "status": live.status,
    "load": live.load,
    "makespan": schedule.measure,
    "cells": tasks.cells,
    "memory": memory.measure,
}
"""By the name that ``--only`` takes, in the order of the table."""
