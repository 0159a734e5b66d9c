"""A build under strace: where it changes the disk, and what happens when one such call goes wrong.

strace counts the calls of a name in a thread, so a build is traced once to learn the number of
each call that changes something below the project, and then run again with a fault at that number.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cli import ENV

CALLS = (
    "openat,creat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,chmod,fchmod,fchmodat"
)

FAULTS = {"kill": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
"""What happens in the place of a call."""

_LINE = re.compile(r"\d+ +(\w+)\((.*)")
_LIMIT = 60.0


@dataclass(frozen=True)
class Point:
    """A call that changes the disk.

    Attributes:
        call: its name.
        number: among the calls of that name in the process, from 1.
        shown: the call with its arguments.
    """

    call: str
    number: int
    shown: str

    def __str__(self) -> str:
        return f"{self.call} {self.number}: {self.shown[:120]}"


@dataclass(frozen=True)
class Traced:
    """A build that was traced.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        said: what it printed.
        lines: the calls, one text each.
    """

    code: int
    said: str
    lines: list[str]


def may_trace() -> str | None:
    """Why no process can be traced here; None: it can."""
    try:
        done = subprocess.run(
            ["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "strace is not installed"
    return None if done.returncode == 0 else f"strace may not trace: {done.stderr.strip()}"


def build_traced(root: Path, inject: str | None = None) -> Traced:
    """Build a project under strace, in one thread, by fake work.

    Args:
        root: of the project.
        inject: a fault, as strace's option takes it.
    """
    out = root.with_suffix(".trace")
    fault = ["-e", f"inject={inject}"] if inject else []
    command = ["strace", "-f", "-qq", "-y", "-s", "256", "-o", str(out), "-e", f"trace={CALLS}"]
    command += [*fault, sys.executable, "-m", "tests.faults.small_build", str(root)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env={**ENV, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    lines = out.read_text(encoding="utf-8", errors="replace").splitlines()
    out.unlink()
    return Traced(done.returncode, done.stdout, lines)


def points(traced: Traced, root: Path) -> list[Point]:
    """The calls of a build that change something below a folder, in their order."""
    counts: dict[str, int] = {}
    found = []
    for line in traced.lines:
        if match := _LINE.match(line):
            call = match[1]
            counts[call] = counts.get(call, 0) + 1
            if _changes(call, match[2], root):
                found.append(Point(call, counts[call], match[2]))
    return found


def hit(traced: Traced, point: Point, root: Path) -> bool:
    """Whether a fault befell the call that was meant, and not another one of that name."""
    calls = [m for line in traced.lines if (m := _LINE.match(line)) and m[1] == point.call]
    return len(calls) >= point.number and _changes(point.call, calls[point.number - 1][2], root)


def _changes(call: str, arguments: str, root: Path) -> bool:
    reads = call == "openat" and not re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", arguments)
    place = re.escape(os.path.realpath(root))
    return not reads and re.search(f"{place}[/>]", arguments) is not None
