"""Run scripts, each in an interpreter of its own, so many at once: ``run_scripts.py JOBS``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main(jobs: int) -> None:
    """Run what todo.json lists, in its order."""
    running: dict[int, str] = {}
    for script in json.loads(Path("todo.json").read_text()):
        if len(running) == jobs:
            reap(running)
        process = subprocess.Popen([sys.executable, script], stdout=subprocess.DEVNULL)
        process.returncode = 0  # waited for by reap
        running[process.pid] = script
    while running:
        reap(running)


def reap(running: dict[int, str]) -> None:
    """Wait until one has ended."""
    pid, status = os.wait()
    script = running.pop(pid)
    if status:
        sys.exit(f"{script}: {status}")


main(int(sys.argv[1]))
