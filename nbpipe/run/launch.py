"""Starts a build in a process of its own, which outlives whoever asked for it.

The caller starts ``python -m nbpipe.cli.runner REQUEST`` (by name: that module lies on a floor
above) and reads its answers from a pipe. The runner forks once, so that it is nobody's child, and
leads a session of its own, so that no signal to the caller's group reaches it. When the run has
begun it answers with the run's id and turns its output to the run's folder; the pipe then closes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from nbpipe.errors import BuildError, NbpipeError
from nbpipe.run.background import Run, past, without_work
from nbpipe.run.note import Trouble
from nbpipe.run.report import BuildReport

START_TIMEOUT = 60.0
"""Seconds for a run to begin. Planning may have to hash large products."""

MARK = "nbpipe-runner: "
"""Begins the lines that are answers, among whatever a crash prints."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to build: the arguments of ``Pipeline.build``.

    ``file`` and ``cells`` are absolute paths, of the spec and of a notebook's cell tasks; scripts
    without a spec have a ``pattern`` and a ``root``. ``overrides`` and ``cwd`` say what stands for
    placeholders.
    """

    file: str
    cells: str | None = None
    root: str = ""
    pattern: str = ""
    overrides: dict[str, str] = {}
    cwd: str = ""
    names: tuple[str, ...] = ()
    force: bool = False
    upstream: bool = True
    upstream_of: str | None = None
    jobs: int | None = None
    keep_going: bool = False
    executor: str | None = None
    settings: dict[str, str] = {}
    store: str | None = None
    debug_later: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the runner says: first its pid, then one of the others.

    Attributes:
        pid: of the runner.
        run: id of the run, which has begun.
        report: there was nothing to do.
        error: there is no run.
    """

    pid: int = 0
    run: str = ""
    report: BuildReport | None = None
    error: Trouble | None = None


def launch(request: Request, root: Path, home: Path) -> Run:
    """Start a build; returns when the run has begun, or there is nothing to do.

    Args:
        request: what to build.
        root: of the pipeline.
        home: its ``.nbpipe`` folder.

    Raises:
        NbpipeError: what ``Pipeline.build`` raises before a task runs, such as LockedError.
        BuildError: the runner died, or did not begin within :data:`START_TIMEOUT` seconds.
    """
    process = _spawn(request, root)
    said: queue.Queue[Answer | str] = queue.Queue()
    reader = threading.Thread(target=_hear, args=(process.stdout, said), daemon=True)
    reader.start()
    pid = 0
    try:
        end = time.monotonic() + START_TIMEOUT
        answer = _next(said, end)
        pid = answer.pid
        answer = _next(said, end)
    except BaseException:
        _kill(process, pid)
        raise
    finally:
        _forget(process)
    if answer.error is not None:
        raise answer.error.error()
    if answer.report is not None:
        return without_work(home, answer.report)
    return past(home, answer.run)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The runner's environment: the caller's, without what tells of the caller.

    A notebook's kernel has variables of its server, and makes matplotlib draw into its cells.
    """
    ours = ("NBPIPE_TASK", "NBPIPE_RUN", "NBPIPE_ROOT", "NBPIPE_GIVEN")
    kept = {k: v for k, v in environ.items() if not k.startswith("JPY_") and k not in ours}
    if "inline" in kept.get("MPLBACKEND", ""):
        del kept["MPLBACKEND"]
    return kept


def _spawn(request: Request, root: Path) -> subprocess.Popen[str]:
    # -P: no file of the project can stand in for a module that nbpipe itself imports.
    text = msgspec.json.encode(request).decode()
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        options = {"creationflags": flags}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "nbpipe.cli.runner", text],
            cwd=root,
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            **options,
        )
    except OSError as error:
        raise BuildError(f"the background runner cannot be started: {error}") from error


def _hear(stream: IO[str], said: queue.Queue[Answer | str]) -> None:
    """Hand on the answers; at the end, whatever else was printed."""
    words = []
    with stream:
        for line in stream:
            if line.startswith(MARK):
                said.put(msgspec.json.decode(line.removeprefix(MARK), type=Answer))
            else:
                words.append(line)
    said.put("".join(words))


def _next(said: queue.Queue[Answer | str], end: float) -> Answer:
    try:
        answer = said.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
        text = f"the background runner has not begun within {START_TIMEOUT:.0f} s; it was stopped"
        raise BuildError(text, "nbpipe build shows what it is doing") from None
    if isinstance(answer, Answer):
        return answer
    last = (answer.strip().splitlines() or ["it printed nothing"])[-1]
    raise BuildError(
        f"the background runner died before the run began: {last}", "try: nbpipe build"
    ) from NbpipeError(answer)


def _kill(process: subprocess.Popen[str], pid: int) -> None:
    """End a runner that has not answered; it has started nothing yet."""
    with contextlib.suppress(OSError):
        process.kill()
    if pid:
        import psutil

        with contextlib.suppress(psutil.Error):
            psutil.Process(pid).kill()


def _forget(process: subprocess.Popen[str]) -> None:
    """What we started has forked and ended; where there is no fork, it is the runner itself."""
    if sys.platform == "win32":
        process.returncode = 0  # else Python warns that it still runs
    else:
        process.wait()
