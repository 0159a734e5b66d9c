"""The command line's process: ``nbpipe …`` and ``python -m nbpipe …``."""

from __future__ import annotations

import os
import sys

from nbpipe.cli.idle import answered

TYPE_CHECKING = False  # typing's own, without the price of importing typing
if TYPE_CHECKING:
    from typing import NoReturn

_AT_THE_END = ("_lsprof", "atexit", "profile", "threading", "weakref")
"""Whoever wants to do something when the process ends has imported one of them."""


def main() -> None:
    """Run the command line and exit with its code."""
    if answered(sys.argv[1:]):
        end()
    from nbpipe.cli.process import part, settle

    settle()
    import signal

    from nbpipe.cli.app import run

    code = run()
    # One more Ctrl-C while the interpreter ends would kill it with another code.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    part()
    sys.exit(code)


def end() -> NoReturn:
    """Exit with 0, at once if nobody has asked to be called at the end.

    Taking an interpreter apart takes a tenth of a build that finds nothing to do.
    """
    if sys.modules.keys().isdisjoint(_AT_THE_END):
        os._exit(0)
    sys.exit(0)


if __name__ == "__main__":
    main()
