"""What the process of a task does that is neither a notebook nor a function."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbpipe.core.model import Job
from nbpipe.core.work import TEMPLATES
from nbpipe.executors import sql, templates
from nbpipe.executors.leash import PR_SET_PDEATHSIG

Find = Callable[[str], Callable[..., Any]]
"""Gives the function of a dotted name."""

PART = 1 << 20
"""Bytes of a download that are read at once."""

TIMEOUT = 60.0
"""Seconds in which a server must say something."""


class ScriptFailed(RuntimeError):
    """A script for bash ended with another status than 0."""


class WrongDigest(ValueError):
    """A download is not the file that was asked for."""


def run(job: Job, find: Find) -> None:
    """Do the work of a task.

    Args:
        job: the task.
        find: gives the project's functions.

    Raises:
        Exception: whatever goes wrong.
    """
    work = job.work
    assert work is not None
    text = templates.rendered(job) if work.tool in TEMPLATES else ""
    if work.tool == "shell":
        _bash(job, text)
    elif work.tool == "download":
        _download(job.source, Path(str(job.product)), work.sha256)
    elif work.tool not in ("link", "input"):
        sql.run(job, text, find)


def _bash(job: Job, text: str) -> None:
    """Run a script that stops at the first command that fails; its output goes to the log."""
    script = Path(job.folder) / f"{job.stem}.sh"
    script.write_text(text, encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    done = subprocess.run(
        ["bash", "-e", str(script)], check=False, preexec_fn=_leave_with(os.getpid())
    )
    if done.returncode:
        how = f"exited with status {done.returncode}"
        if done.returncode < 0:
            how = f"was ended by {signal.Signals(-done.returncode).name}"
        raise ScriptFailed(f"{job.source} {how}")
    script.unlink()


def _leave_with(parent: int) -> Callable[[], None] | None:
    """On Linux bash ends with the process that started it, however that ends."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def leave() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return leave


def _download(url: str, product: Path, sha256: str | None) -> None:
    """A file from a server; the old one stays until the new one is whole."""
    made = product.with_name(f".nbpipe-{product.name}.tmp")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, made.open("wb") as file:
            while part := answer.read(PART):
                digest.update(part)
                file.write(part)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise WrongDigest(f"{url} has the SHA-256 {digest.hexdigest()}, not {sha256}")
        os.replace(made, product)
    finally:
        made.unlink(missing_ok=True)
