"""The projects that are built, the same for every tool: steps with code and what they must give."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

PANDAS = """\
import pandas as pd
from sklearn.linear_model import LinearRegression

frame = pd.DataFrame({"x": range(10)})
model = LinearRegression().fit(frame[["x"]], 2 * frame["x"])
"""
"""Imports the data stack and touches it."""

WORK = """\
import hashlib
from pathlib import Path

above = [Path(up["data"]).read_text() for _, up in sorted((upstream or {{}}).items())]
text = hashlib.sha256("".join(["{name}", *above]).encode()).hexdigest()
print(text)
written = Path(product["data"]).write_text(text)
"""

BURN = """\
import hashlib

digest = b"{name}"
for _ in range({rounds}):
    digest = hashlib.sha256(digest).digest()
"""


@dataclass(frozen=True)
class Step:
    """One task.

    Attributes:
        name: unique; the file of its data is named after it.
        upstream: the steps whose data it reads.
        cells: code of its cells, which use the variables ``upstream`` and ``product``.
        text: what its data must be; None: it differs from run to run.
        shown: what its cells print and show, in order.
    """

    name: str
    upstream: tuple[str, ...]
    cells: tuple[str, ...]
    text: str | None
    shown: str

    @property
    def data(self) -> str:
        """Path of its data."""
        return f"output/{self.name}.txt"

    @property
    def notebook(self) -> str:
        """Path of its executed notebook."""
        return f"output/{self.name}.ipynb"


@dataclass(frozen=True)
class Project:
    """Steps in an order in which they can run."""

    name: str
    steps: tuple[Step, ...]

    @cached_property
    def expected(self) -> dict[str, str]:
        """The data that every tool must make, by path."""
        return {step.data: step.text for step in self.steps if step.text is not None}


class _Builder:
    """Adds steps and works out what they must give."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def add(self, name: str, upstream: Sequence[str] = (), before: Sequence[str] = ()) -> str:
        above = [self.steps[up].text or "" for up in sorted(set(upstream))]
        text = hashlib.sha256("".join([name, *above]).encode()).hexdigest()
        cells = (*before, WORK.format(name=name))
        self.steps[name] = Step(name, tuple(sorted(set(upstream))), cells, text, f"{text}\n")
        return name

    def project(self, name: str) -> Project:
        return Project(name, tuple(self.steps.values()))


def many(count: int, before: Sequence[str] = (), name: str = "many") -> Project:
    """Tasks that do not depend on each other."""
    builder = _Builder()
    for index in range(count):
        builder.add(f"t{index:04}", before=before)
    return builder.project(f"{name}-{count}")


def stack(count: int) -> Project:
    """Independent tasks which import pandas and scikit-learn."""
    return many(count, (PANDAS,), "stack")


def burning(count: int, rounds: int) -> Project:
    """Independent tasks which keep a core busy with so many rounds of SHA-256."""
    return many(count, (BURN.format(name="burn", rounds=rounds),), "burning")


def fan(count: int) -> Project:
    """One task, and so many that read what it made."""
    builder = _Builder()
    root = builder.add("root")
    for index in range(count):
        builder.add(f"t{index:04}", [root])
    return builder.project(f"fan-{count}")


def chain(count: int) -> Project:
    """Each task reads what the one before it made."""
    builder = _Builder()
    last: list[str] = []
    for index in range(count):
        last = [builder.add(f"t{index:04}", last)]
    return builder.project(f"chain-{count}")


def web(count: int) -> Project:
    """Every task but the first reads one or two earlier ones; about log2(count) layers."""
    builder = _Builder()
    for index in range(count):
        builder.add(f"t{index:04}", [f"t{i:04}" for i in {index // 2, index // 3} if i < index])
    return builder.project(f"web-{count}")


def cells(count: int) -> Project:
    """One task of so many short cells, each of which shows a number."""
    total, shown = 0, []
    for index in range(count):
        total = (total * 31 + index) % 1_000_003
        shown.append(str(total))
    code = [f"total = (total * 31 + {index}) % 1_000_003\ntotal" for index in range(count)]
    last = 'from pathlib import Path\n\nwritten = Path(product["data"]).write_text(str(total))'
    step = Step("cells", (), ("total = 0", *code, last), str(total), "\n".join(shown))
    return Project(f"cells-{count}", (step,))


def sleepers(count: int, mean: float, seed: int) -> Project:
    """A DAG of tasks that wait: many short, a few long, as in real pipelines.

    Args:
        count: number of tasks.
        mean: seconds that a task waits on average.
        seed: of the shape and the durations.
    """
    chance = random.Random(seed)
    builder = _Builder()
    for index in range(count):
        ups = chance.sample(range(index), min(index, chance.choice((0, 1, 1, 2))))
        wait = round(mean * min(chance.lognormvariate(-0.32, 0.8), 6), 3)
        nap = f"import time\n\ntime.sleep({wait})"
        builder.add(f"t{index:04}", [f"t{up:04}" for up in ups], [nap])
    return builder.project(f"sleepers-{count}")


def crowd(count: int, code: str = "") -> Project:
    """Tasks that wait until all of them are alive, and write the memory that each of them has.

    Args:
        count: so many; they must be able to run all at once.
        code: of a cell that runs before.
    """
    steps = [
        Step(name, (), (code, MEET.format(name=name, count=count)), None, "")
        for name in (f"t{index:04}" for index in range(count))
    ]
    return Project(f"crowd-{count}", tuple(steps))


MEET = """\
import json
import os
import time
from pathlib import Path


def meet(stage):
    folder = Path("output", stage)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "{name}").touch()
    deadline = time.monotonic() + 120
    while len(list(folder.iterdir())) < {count}:
        assert time.monotonic() < deadline, "the others did not come"
        time.sleep(0.02)


def memory(pid):
    lines = Path(f"/proc/{{pid}}/smaps_rollup").read_text().splitlines()[1:]
    words = [line.split() for line in lines]
    return {{key.rstrip(":"): int(size) * 1024 for key, size, *_ in words}}


meet("here")
time.sleep(0.2)
found = {{"task": memory("self"), "parent": memory(os.getppid())}}
meet("done")
Path(product["data"]).write_text(json.dumps(found))
"""

MAKERS: dict[str, Callable[[int], Project]] = {
    "fan": fan,
    "chain": chain,
    "stack": stack,
    "cells": cells,
}
"""The projects of the table in which every tool builds everything."""
