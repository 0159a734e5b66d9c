"""Runs ``nbpipe`` on a leash: ``python -m nbpipe.executors.leash PARENT ARG…``.

On Linux the system sends SIGTERM when the process PARENT, which has started this one, is gone,
however it went; ``nbpipe`` then ends its kernels and leaves. A child must ask for that itself:
between a fork and an exec in a process with threads no Python may run. Elsewhere nothing happens.
"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, then become ``nbpipe``."""
    parent, args = int(sys.argv[1]), sys.argv[2:]
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has died in the meantime
            sys.exit(128 + signal.SIGTERM)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "nbpipe", *args])


if __name__ == "__main__":
    main()
