"""On what a run was made: a machine in words, without its name or paths."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def describe(source: Path) -> dict[str, str]:
    """Processor, cores, memory, system, Python, make, the state of a checkout, and the load.

    The load is the average of the last minute, before anything was measured.
    """
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "make": (_said(["make", "--version"]).splitlines() or ["none"])[0],
        "commit": _commit(source),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _memory() -> str:
    kib = _field("/proc/meminfo", "MemTotal").split()
    return f"{int(kib[0]) / 2**20:.0f} GiB" if kib else "unknown"


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def _commit(source: Path) -> str:
    head = _said(["git", "-C", str(source), "rev-parse", "--short", "HEAD"]).strip()
    changed = _said(["git", "-C", str(source), "status", "--porcelain", "--", "nbpipe"])
    return f"{head or 'unknown'}{' with changes' if changed else ''}"


def _said(words: list[str]) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
