"""Waiting for processes and ending them, with all that they have started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

USUAL_CAUSES = {
    "SIGKILL": "possibly out of memory",
    "SIGSEGV": "a crash in compiled code",
    "SIGABRT": "a crash in compiled code",
    "SIGBUS": "a crash in compiled code, or the disk is full",
    "SIGILL": "compiled for another processor",
}
"""What usually sends these signals."""


def describe_exit(code: int) -> str:
    """How a process ended, such as ``signal 9, SIGKILL: possibly out of memory``.

    Args:
        code: as of ``subprocess.Popen.returncode``: negative for a signal.
    """
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    cause = USUAL_CAUSES.get(name)
    return f"signal {-code}, {name}" + (f": {cause}" if cause else "")


async def ended(pid: int, seconds: float | None = None) -> bool:
    """Wait until a process has ended; a child of ours is then still to be reaped.

    Args:
        pid: its id.
        seconds: give up after; None: never.

    Returns:
        Whether it has ended.
    """
    try:
        async with asyncio.timeout(seconds):
            if hasattr(os, "pidfd_open"):
                await _pidfd_ready(pid)
            else:
                while _alive(pid):
                    await asyncio.sleep(0.1)
    except TimeoutError:
        return False
    return True


async def _pidfd_ready(pid: int) -> None:
    """The kernel tells us, so nothing is polled."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def tree(pid: int) -> list[psutil.Process]:
    """A process with its descendants and every member of the session that it leads.

    A descendant that has lost its parent is found through the session; one that made a session
    of its own is found while its parent lives. So take this before killing anything.

    Raises:
        ValueError: ``pid`` is not that of a process; 0 would mean half of the system.
    """
    if pid <= 0:
        raise ValueError(f"{pid} is no process id")
    found: dict[int, psutil.Process] = {}
    members = _session(pid)
    # An id that leads no session any more may be another process's by now.
    if pid in members or not hasattr(os, "getsid"):
        with contextlib.suppress(psutil.Error):
            found = {p.pid: p for p in descendants(psutil.Process(pid))}
    for other in members:
        with contextlib.suppress(psutil.Error):
            found.setdefault(other, psutil.Process(other))
    return list(found.values())


def descendants(root: psutil.Process) -> list[psutil.Process]:
    """A process, its children, their children and so on.

    Linux lists the children of each thread. Elsewhere psutil looks at every process there is, which
    takes milliseconds.
    """
    found, todo = {root.pid: root}, [root.pid]
    while todo:
        for child in _children(todo.pop()):
            if child not in found:
                with contextlib.suppress(psutil.Error):
                    found[child] = psutil.Process(child)
                    todo.append(child)
    return list(found.values())


def _children(pid: int) -> list[int]:
    tasks = f"/proc/{pid}/task"
    try:
        lists = []
        for thread in os.listdir(tasks):
            with open(f"{tasks}/{thread}/children", "rb") as file:
                lists.append(file.read())
        return [int(child) for one in lists for child in one.split()]
    except OSError:  # another system, a thread that has just ended, or no such list
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []


def _session(leader: int) -> list[int]:
    if not hasattr(os, "getsid"):
        return []
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                members.append(pid)
    return members


async def end_tree(
    pid: int, known: Iterable[psutil.Process] = (), *, grace: float = 0.0, limit: float = 3.0
) -> None:
    """End a process and all that it started.

    Args:
        pid: leader of a session of its own.
        known: processes found by an earlier :func:`tree`, which may have lost their parent.
        grace: seconds between SIGTERM and SIGKILL; 0: SIGKILL at once.
        limit: seconds to wait until all are gone.
    """
    victims = {p.pid: p for p in [*known, *tree(pid)]}
    if grace > 0:
        _each(victims.values(), "terminate")
        await _gone(victims.values(), grace)
    # What was started since then, by the handlers of SIGTERM too.
    victims |= {p.pid: p for p in tree(pid)}
    _each(victims.values(), "kill")
    await _gone(victims.values(), limit)


def _each(processes: Iterable[psutil.Process], action: str) -> None:
    """psutil compares the start time first, so a reused id is never signalled."""
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            getattr(process, action)()


async def _gone(processes: Iterable[psutil.Process], seconds: float) -> None:
    end = time.monotonic() + seconds
    left = [p for p in processes if _running(p)]
    pause = 0.002
    while left and time.monotonic() < end:
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.05)
        left = [p for p in left if _running(p)]


def _running(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` to its end even when the caller is cancelled, again and again.

    Used for cleaning up, which must be bounded in time. The cancellation is raised afterwards.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except BaseException:
            break
    if cancelled is not None and (task.cancelled() or task.exception() is None):
        raise cancelled
    return task.result()
