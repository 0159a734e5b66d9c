"""Imports ahead of the fork, and what makes a module unfit for it.

A module is fit when nobody can tell afterwards that the kernel did not import it itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import warnings
from pathlib import Path

INLINE = "module://matplotlib_inline.backend_inline"
"""What ipykernel sets MPLBACKEND to before anything of the notebook is imported."""


ENDING = 0.5
"""Seconds that threads have to end before a fork, once they were asked to."""


FORK_THREADS = frozenset({"jemalloc_bg_thd"})
"""Names of threads whose library has handlers for forks: jemalloc's, which pyarrow brings along."""


class Spoiled(Exception):
    """A module is unfit; the text says why, as the end of a sentence."""

    def __init__(self, module: str, why: str) -> None:
        super().__init__(why)
        self.module = module


def import_all(modules: list[str], root: str, log: int) -> None:
    """Import modules as a notebook's first cell would.

    Args:
        modules: as ``module``, or ``module:name`` for ``from module import name``.
        root: the working folder. Modules of the project must not be imported.
        log: where the standard streams of this process go.

    Raises:
        Spoiled: a module is unfit; this process must not serve any more.
    """
    os.environ.setdefault("MPLBACKEND", INLINE)
    for module in modules:
        _import(module, root, log)
    # It looks for a shell when imported, and draws into the one that it has found.
    if "matplotlib_inline" in sys.modules:
        raise Spoiled(modules[-1], "it imports matplotlib_inline")
    if extra := _lasting_threads():
        raise Spoiled(modules[-1], f"its threads ({extra}) would not survive a fork")


def _import(module: str, root: str, log: int) -> None:
    before, size = set(sys.modules), os.fstat(log).st_size
    name, _, attribute = module.partition(":")
    try:
        __import__(name, fromlist=[attribute] if attribute else [])
    except BaseException as error:
        raise Spoiled(module, f"its import fails with {type(error).__name__}: {error}") from error
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if os.fstat(log).st_size > size:
        raise Spoiled(module, "it prints when it is imported")
    if threading.active_count() > 1:
        raise Spoiled(module, "it starts a thread when it is imported")
    for new in set(sys.modules) - before:
        if _is_of_project(getattr(sys.modules.get(new), "__file__", None), root):
            raise Spoiled(module, f"it imports {new}, a module of the project")


def _is_of_project(file: object, root: str) -> bool:
    # Some modules, such as torch.ops, are made by others and call themselves any file.
    if not isinstance(file, str) or not os.path.exists(file):
        return False
    folder = os.path.dirname(os.path.realpath(file))
    inside = os.path.commonpath([folder, os.path.realpath(root)]) == os.path.realpath(root)
    installed = {"site-packages", "dist-packages"} & set(folder.split(os.sep))
    return inside and not installed and not folder.startswith(os.path.realpath(sys.base_prefix))


def _lasting_threads() -> int:
    """Threads that a fork does not end in an orderly way, as OpenBLAS ends its own."""
    if _threads() == 1:
        return 0
    pid = fork_quietly()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    end = time.monotonic() + ENDING
    while (left := _threads() - 1) and time.monotonic() < end:
        time.sleep(0.001)
    return left


def _threads() -> int:
    """How many threads there are but those that a library starts anew in the child."""
    names = [Path(f"/proc/self/task/{thread}/comm") for thread in os.listdir("/proc/self/task")]
    count = 0
    for name in names:
        with contextlib.suppress(OSError):  # it has just ended
            count += name.read_text().strip() not in FORK_THREADS
    return count


def fork_quietly() -> int:
    """Fork; Python 3.12 warns of threads, of which only those are left that can be forked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
