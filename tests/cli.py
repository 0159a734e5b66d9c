"""The command line as its users start it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENV = {
    **os.environ,
    "COLUMNS": "80",
    "NO_COLOR": "1",
    "PLOOMBER_STATS_ENABLED": "false",
}


def nbpipe(*args: str, cwd: Path, code: int = 0, timeout: float = 180.0) -> str:
    """Run ``nbpipe ARGS`` in a folder; returns what it printed, both streams joined.

    Args:
        args: of the command line.
        cwd: the folder.
        code: the exit code that is expected.
        timeout: seconds.
    """
    done = subprocess.run(
        [sys.executable, "-m", "nbpipe", *args],
        cwd=cwd,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
        text=True,
    )
    assert done.returncode == code, f"exit code {done.returncode}:\n{done.stdout}"
    return done.stdout
