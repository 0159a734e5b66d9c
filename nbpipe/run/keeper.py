"""The keeper: a process that outlives a builder which dies, and ends what that one has started.

An orderly end needs none: the builder ends its kernels and functions itself. One that is killed
cannot, and a kernel that holds the lock of its interpreter, or a process that made a session of its
own, does not notice. The keeper waits at the end of a pipe that the system closes with the builder.
Should the keeper be killed as well, the next build finds what is left (``lost``).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from nbpipe.executors.base import Executor
from nbpipe.run.lost import end_processes

WAIT = "import os, sys\nif not os.read(0, 1):\n    os.execv(sys.argv[1], sys.argv[1:])"
"""Run without any library, so that a build hardly pays for it: one byte means that all is well."""

PATIENCE = 1.0
"""Seconds to wait for the keeper itself to end."""

SWEEPS = 4
"""How often is looked: what was just being started does not yet bear the mark of its run."""

BETWEEN = 0.25
"""Seconds between two looks."""


class Keeper:
    """Starts when the first process of a run is about to be started.

    Args:
        root: of the pipeline.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, executor: Executor, run: str) -> None:
        """Be there, if this executor starts processes. Without a keeper a build goes on too."""
        needed = os.name == "posix" and getattr(executor, "starts_processes", False)
        if not needed or self._process is not None:
            return
        then = [sys.executable, "-P", "-m", "nbpipe.run.keeper", run, os.path.realpath(self._root)]
        with contextlib.suppress(OSError):
            # A session of its own: the signals of a terminal that is closed do not reach it.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", WAIT, *then],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    def close(self, run: str, *, went_well: bool) -> None:
        """The build has ended the processes that it knows of. Calling it twice is harmless.

        Args:
            run: id of the run.
            went_well: True: what a task left running on purpose, by making it nobody's child,
                stays. False: that ends too.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if not went_well:
            end_processes({run}, self._root)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            process.communicate(b".", timeout=PATIENCE)


def main() -> None:
    """End what is left of a run whose builder is gone: ``python -m nbpipe.run.keeper RUN ROOT``."""
    run, root = sys.argv[1:]
    for _ in range(SWEEPS):
        end_processes({run}, Path(root))
        time.sleep(BETWEEN)


if __name__ == "__main__":
    main()
