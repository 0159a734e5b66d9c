"""Pipelines that every engine must build as a local build does, and looks at what came of it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.cli import nbpipe

DEMO = Path(__file__).parents[1] / "demo"

GRID = """
tasks:
  - source: work.square
    name: square-[[n]]
    product: out/square-[[n]].txt
    grid:
      n: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
  - source: work.total
    product: out/total.txt
"""

GRID_WORK = """
from pathlib import Path


def square(product, n):
    Path(product).write_text(str(n * n))


def total(product, upstream):
    parts = upstream["square-*"].values()
    Path(product).write_text(str(sum(int(Path(part).read_text()) for part in parts)))
"""

SLOW = """
tasks:
  - source: slow.py
    product: {nb: out/slow.ipynb, data: out/slow.txt}
  - source: after.py
    product: {nb: out/after.ipynb, data: out/after.txt}
"""

SLOW_TASK = """
# %% tags=["parameters"]
upstream = None
product = None

# %%
import os, subprocess, time
from pathlib import Path

child = subprocess.Popen(["sleep", "600"])
with open("tries", "a") as tries:
    tries.write(f"{os.getpid()} {child.pid}\\n")

# %%
while not Path("go").exists():
    time.sleep(0.05)
child.kill()
child.wait()

# %%
Path(product["data"]).write_text("slow")
"""

AFTER = """
# %% tags=["parameters"]
upstream = ["slow"]
product = None

# %%
from pathlib import Path

text = Path(upstream["slow"]["data"]).read_text()
Path(product["data"]).write_text(text + " and after")
"""

PATIENCE = 60.0
"""Seconds until what a test waits for counts as lost; other work may go on beside it."""


def iris(folder: Path) -> Path:
    """The demo: six notebooks."""
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns(".nbpipe", "output", "examples"))
    return folder


def grid(folder: Path) -> Path:
    """Twelve functions that differ in a number, and one that adds up."""
    return _written(folder, {"pipeline.yaml": GRID, "work.py": GRID_WORK})


def slow(folder: Path) -> Path:
    """A notebook that notes its processes in ``tries`` and waits for ``go``, and one after it."""
    files = {"pipeline.yaml": SLOW, "slow.py": SLOW_TASK, "after.py": AFTER}
    return _written(folder, files)


PIPELINES: dict[str, Callable[[Path], Path]] = {"iris": iris, "grid": grid}


def _written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def digests(root: Path) -> dict[str, str]:
    """Of every product but the executed notebooks, which tell when and where they ran."""
    files = [f for part in ("out", "output") for f in (root / part).rglob("*") if f.is_file()]
    data = (file for file in files if file.suffix != ".ipynb")
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in data}


@functools.cache
def local_digests(name: str) -> dict[str, str]:
    """What a local build of a pipeline makes."""
    with tempfile.TemporaryDirectory() as folder:
        root = PIPELINES[name](Path(folder) / name)
        nbpipe("build", cwd=root)
        return digests(root)


def await_true(what: Callable[[], object], told: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, told()
        time.sleep(0.05)


def tries(root: Path) -> list[list[int]]:
    """The processes of each try of the slow task: its kernel, and what that has started."""
    with contextlib.suppress(FileNotFoundError):
        lines = (root / "tries").read_text().splitlines()
        return [[int(pid) for pid in line.split()] for line in lines]
    return []


def alive(pids: list[int]) -> list[int]:
    """Those that still run."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def ancestors(pid: int, word: str) -> list[int]:
    """Processes above one, in whose command line a word stands."""
    return [p.pid for p in psutil.Process(pid).parents() if word in " ".join(p.cmdline())]
