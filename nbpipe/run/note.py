"""``run.json``: who runs a build, and how it ended, for those who attach to it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from pathlib import Path

import msgspec

from nbpipe import errors
from nbpipe.errors import NbpipeError, Problem, SpecError, cannot_write

FILE = "run.json"


class Trouble(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error in plain values, to be raised again in another process.

    Attributes:
        kind: name of its class.
        message: one line: the object and the cause.
        hint: what to do about it; None when there is nothing to add.
        problems: what is wrong in the spec; empty unless it is a SpecError.
    """

    kind: str
    message: str
    hint: str | None = None
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, error: BaseException) -> Trouble:
        """What ``error`` says."""
        if not isinstance(error, NbpipeError):
            return cls(kind="BuildError", message=f"{type(error).__name__}: {error}")
        problems = error.problems if isinstance(error, SpecError) else ()
        kind, message = type(error).__name__, error.message
        return cls(kind=kind, message=message, hint=error.hint, problems=problems)

    def error(self) -> NbpipeError:
        """The same error again, of its own class when that is one of ours."""
        if self.problems:
            return SpecError(self.problems)
        known = getattr(errors, self.kind, None)
        ours = isinstance(known, type) and issubclass(known, NbpipeError)
        made: NbpipeError = (known if ours else errors.BuildError)(self.message, self.hint)  # type: ignore[misc]
        return made


class RunNote(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs a build, and how it ended.

    Attributes:
        run: id of the run.
        pid: process id on ``host``.
        host: name of the machine.
        started: seconds since the epoch, UTC.
        python: version of the process.
        jobs: how many tasks may run at once.
        tasks: the tasks that were asked for, sorted; None: all.
        threaded: the build has only a thread of the process, which does other things too (a
            notebook's kernel): it must not be ended for the build's sake.
        exit_code: as the command line's; None: not ended, or its process died.
        error: what ended the build before its time; None: nothing did.
    """

    run: str
    pid: int
    host: str
    started: float
    python: str = ""
    jobs: int = 1
    tasks: tuple[str, ...] | None = None
    threaded: bool = False
    exit_code: int | None = None
    error: Trouble | None = None


def new_note(run: str, jobs: int, tasks: frozenset[str] | None) -> RunNote:
    """The note of a build that begins in this thread."""
    return RunNote(
        run=run,
        pid=os.getpid(),
        host=socket.gethostname(),
        started=time.time(),
        python=sys.version.split()[0],
        jobs=jobs,
        tasks=None if tasks is None else tuple(sorted(tasks)),
        threaded=threading.current_thread() is not threading.main_thread(),
    )


def write_note(folder: Path, note: RunNote) -> None:
    """Write a run's note into its folder, in one step.

    Raises:
        StoreError: it cannot be written.
    """
    made = folder / f".{FILE}.new"
    try:
        made.write_bytes(msgspec.json.encode(note))
        made.replace(folder / FILE)
    except OSError as error:
        with contextlib.suppress(OSError):
            made.unlink()
        raise cannot_write(folder, error) from error


def read_note(folder: Path) -> RunNote | None:
    """The note in a run's folder; None: there is none (yet), or it is damaged."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=RunNote)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
