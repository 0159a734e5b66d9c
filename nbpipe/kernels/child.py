"""What a forked process does to become a kernel like one that was started cold, and to end so."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import functools
import gc
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Container, Iterable
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

LIBC = ctypes.CDLL(None)
"""Loaded before the fork."""

CHANGED_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)
"""Those that the warm process handles in its own way, beside SIGINT."""


def detach(parent: int, changes: dict[str, str | None]) -> None:
    """Leave the warm process's session, signals and environment.

    Args:
        parent: the warm process, with which this one ends.
        changes: environment variables to set; None: to remove.
    """
    os.setsid()
    end_with(parent)
    signal.set_wakeup_fd(-1)
    for number in CHANGED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    time.tzset()


def end_with(parent: int) -> None:
    """Have the system kill this process when its parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended in the meantime
        os._exit(1)


def adopt_orphans() -> None:
    """Have the system give this process the orphans among its descendants, as their new parent."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)


def take_streams(fds: list[int]) -> None:
    """Make descriptors the standard streams, and close the originals."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)


def show_as(words: list[str]) -> None:
    """Have the system's list of processes show another command line: that of a cold kernel.

    Whoever looks for kernels, and for the connection file of one, finds them by it. The text is
    written over the one that the process was started with, if there is room for it.
    """
    start, end, _, _ = _words_at()
    data = b"".join(os.fsencode(word) + b"\0" for word in words)
    if start > 0 and len(data) <= end - start:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, data, len(data))


def show_variable(name: str, value: str) -> None:
    """Give an environment variable another value of the same length, for the system to show too."""
    _, _, start, end = _words_at()
    old = os.fsencode(f"{name}={os.environ[name]}") + b"\0"
    new = os.fsencode(f"{name}={value}") + b"\0"
    place = ctypes.string_at(start, end - start).find(old) if start > 0 else -1
    if place >= 0 and len(old) == len(new):
        ctypes.memmove(start + place, new, len(new))
    os.environ[name] = value


@functools.cache
def _words_at() -> tuple[int, int, int, int]:
    """Addresses at which the command line and the environment start and end, as proc(5) gives them.

    A fork has them from the process that it was forked from.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = [int(field) for field in file.read().rpartition(b")")[2].split()[45:49]]
    return fields[0], fields[1], fields[2], fields[3]


def own_randomness() -> None:
    """New seeds, where a library has drawn its own before the fork.

    ``random`` sees to itself; ``secrets`` and ``uuid4`` ask the system each time.
    """
    if "numpy.random.mtrand" in sys.modules:
        sys.modules["numpy.random.mtrand"].seed()
    if (generator := getattr(sys.modules.get("torch"), "default_generator", None)) is not None:
        generator.seed()  # drawn when torch is imported; those of other devices are made later


def names_of_ours() -> list[str]:
    """Our modules that are loaded. Asked before the fork: looking costs a child many pages."""
    return [name for name in sys.modules if name.partition(".")[0] == "nbpipe"]


def forget_names(ours: Iterable[str], changed: Container[str]) -> None:
    """Drop what would tell of the warm process: our modules, and another temporary folder.

    Args:
        ours: names of modules.
        changed: environment variables that are others here.
    """
    for name in ours:
        sys.modules.pop(name, None)
    moved = any(name in changed for name in ("TMPDIR", "TEMP", "TMP"))
    if moved and (tempfile := sys.modules.get("tempfile")) is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]


def watch_crashes() -> None:
    """A crash in compiled code leaves the Python frames in the log."""
    faulthandler.enable(getattr(sys.stderr, "_original_stdstream_copy", 2), all_threads=False)


def run_to_exit(work: Callable[[], object]) -> NoReturn:
    """Run, then leave as an interpreter does: threads, exit handlers, open files, exit code."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    try:
        _finish()
    finally:
        os._exit(code)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.__stderr__)
    return 1


def _finish() -> None:
    for step in (threading._shutdown, atexit._run_exitfuncs, _flush_files):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
    LIBC.fflush(None)


def _flush_files() -> None:
    """Write what open files hold back: objects are not destroyed one by one at our exit.

    What was there before the fork is frozen, and not among these objects.
    """
    for thing in gc.get_objects():
        if isinstance(thing, io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
            with contextlib.suppress(Exception):
                if not thing.closed:
                    thing.flush()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with contextlib.suppress(Exception):
                stream.flush()
