"""What the process of a task does before the task, where its environment asks for it.

Nothing here is loaded into a process that is asked for none of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbpipe.core.model import Job

COMPAT = "NBPIPE_COMPAT"
"""Environment variable: the package whose imports are answered by nbpipe; only ``ploomber``."""

DUMP = "NBPIPE_DUMP"
"""Environment variable: the file that takes the frames of an error, for a debugger later."""

IN_KERNEL = "import nbpipe.executors.inside as inside\ninside.prepare(shell)"
"""Runs in a Python kernel before the first cell, outside of the user's namespace."""


def asks(environ: dict[str, str]) -> bool:
    """Whether the process of a task with these variables has something to do here."""
    return bool(environ.get(COMPAT) or os.environ.get(COMPAT) or environ.get(DUMP))


def in_kernel() -> str:
    """What a kernel is sent before the first cell; one that lacks nbpipe goes without."""
    guarded = f"try:\n    exec({IN_KERNEL!r}, {{'shell': get_ipython()}})\nexcept ImportError: pass"
    return f"exec({guarded!r})"


def prepare(shell: Any = None) -> None:
    """Answer another package's imports, if that is asked; in a kernel, watch for errors.

    Args:
        shell: of a kernel; None: a function's process.
    """
    if package := os.environ.get(COMPAT):
        from nbpipe.executors.aliases import install

        install(package)
    path = os.environ.get(DUMP)
    if shell is None or not path:
        return

    def look(result: Any) -> None:
        if result.error_in_exec is not None:
            from nbpipe.executors.dump import write_dump

            write_dump(Path(path), os.environ.get("NBPIPE_TASK", ""), result.error_in_exec)

    shell.events.register("post_run_cell", look)


def keeper(job: Job) -> Callable[[BaseException], None] | None:
    """What keeps the frames of a function's error; None: nobody asks for them."""
    path = job.environ.get(DUMP)
    if not path:
        return None

    def keep(error: BaseException) -> None:
        from nbpipe.executors.dump import write_dump

        write_dump(Path(path), job.task, error)

    return keep
