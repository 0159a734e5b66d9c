"""What the tests of faults share: folders compared, processes started, watched and looked for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from tests.cli import ENV

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds until a test gives up waiting for what must happen at once."""


def files(root: Path) -> dict[str, bytes]:
    """Every file and link below a folder with its bytes, and every folder with none."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        found[name] = path.read_bytes() if path.is_file() else b""
    return found


def until(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Wait until something holds; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def start(folder: Path, *args: str, **options: object) -> subprocess.Popen[str]:
    """``nbpipe ARGS`` as a process that goes on, both streams in one."""
    return subprocess.Popen(
        [sys.executable, "-m", "nbpipe", *args],
        cwd=folder,
        env=ENV | dict(options.pop("environ", {})),  # type: ignore[call-overload]
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def wait_for(build: subprocess.Popen[str], line: str) -> None:
    """Read what a build prints up to a line that begins so."""
    said = []
    for text in build.stdout:
        said.append(text)
        if text.startswith(line):
            return
    raise AssertionError(f"the build ended without saying {line!r}:\n{''.join(said)}")


def lives(pid: int) -> bool:
    """Whether a process is there; one that only waits to be reaped is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def pids_in(path: Path) -> list[int]:
    """The process ids that a task has noted in a file."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (FileNotFoundError, ValueError):
        return []


def peak_megabytes(pid: int) -> float:
    """The most memory that a process has held at once (its resident set)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the process has no memory")


def may_mount() -> bool:
    """Whether this user may mount file systems, in a namespace of their own."""
    if sys.platform != "linux":
        return False
    command = ["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def in_mount_namespace(script: str, timeout: float = 180.0) -> tuple[int, str]:
    """Run a shell script that may mount what it likes; nobody else sees it.

    Returns:
        The exit code, and what it printed.
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script],
        env=ENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
    return done.returncode, done.stdout


def without_ours(environ: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without what tells a process that it belongs to a build."""
    given = os.environ if environ is None else environ
    return {key: value for key, value in given.items() if not key.startswith("NBPIPE_")}
