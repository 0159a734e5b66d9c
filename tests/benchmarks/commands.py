"""Commands with a clean environment, a time limit, and what they used."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 900.0
"""Seconds that a command may take."""

NOWHERE = "http://127.0.0.1:9"
"""A proxy that refuses: nothing that is timed talks to the network."""


LONGEST = 300
"""Characters of a reason."""

_FOLDERS = re.compile(r"(?:/[\w.+@-]+)+/(?=[\w.+@-])")


class CommandFailed(Exception):
    """A command ended badly, or too late; the message has the end of its output."""


@dataclass(frozen=True)
class Finished:
    """What a command that ended well has used.

    Attributes:
        seconds: from just before its start until it was gone.
        cpu: seconds of processor time, its children included as far as it waited for them.
        output: what it wrote on both streams.
    """

    seconds: float
    cpu: float
    output: str


def in_short(error: Exception) -> str:
    """An error as one line for a table: its end, and no folder of this machine."""
    return _FOLDERS.sub("", " ".join(str(error).split()))[-LONGEST:]


def environment_of(program_folder: Path, home: Path) -> dict[str, str]:
    """Variables for a command: those of a new login, and no reporting to anybody.

    Args:
        program_folder: the ``bin`` of a virtual environment, which comes first on the path.
        home: what the command takes for the user's folder.
    """
    return {
        "PATH": os.pathsep.join([str(program_folder), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "DO_NOT_TRACK": "1",
        "PLOOMBER_STATS_ENABLED": "false",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE),
        "no_proxy": "localhost,127.0.0.1",
    }


def run(
    command: Sequence[str | Path],
    folder: Path,
    environ: Mapping[str, str],
    *,
    limit: float = LIMIT,
) -> Finished:
    """Run a command to its end, in a session of its own.

    Args:
        command: program and arguments.
        folder: where it runs.
        environ: all of its variables.
        limit: seconds after which it is killed, with all that is left in its session's group.

    Raises:
        CommandFailed: its exit code is not 0, or it took too long.
    """
    log = folder / ".benchmark.log"
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        seconds = _await(process.pid, began, limit)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = 0  # waited for here, so Popen must not
    output = log.read_text(encoding="utf-8", errors="replace")
    if status:
        what = f"ended with {os.waitstatus_to_exitcode(status)} after {seconds:.1f} s"
        raise CommandFailed(f"{' '.join(map(str, command))}: {what}\n{output[-2000:]}")
    return Finished(seconds, usage.ru_utime + usage.ru_stime, output)


def _await(pid: int, began: float, limit: float) -> float:
    """Seconds until a process has ended; then what is left of its group is killed.

    It stays a zombie meanwhile, so that nobody else can have got its id.
    """
    timer = threading.Timer(limit, _kill, [pid])
    timer.start()
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return time.perf_counter() - began
    finally:
        timer.cancel()
        timer.join()
        _kill(pid)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
