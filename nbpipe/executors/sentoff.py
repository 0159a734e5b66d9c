"""A task that is sent off whole: the command that runs it, what that says, what came of it.

The command is ``nbpipe task NAME --only …``, which records the task itself and tells what happens
as one JSON object a line. The executors of clusters have this in common.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Sequence

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.model import Failure, Job, Outcome
from nbpipe.errors import EARLY_STOP
from nbpipe.executors.processes import describe_exit

WAIT = "--wait"
"""The one that had the task before may be dying still: wait until it has let go."""

LONGEST_TAIL = 4_000
"""Characters kept of what the command wrote beside its events."""

RELAYED = (ev.KernelStarted, ev.CellStarted, ev.CellFinished, ev.Warned)
"""What the builder does not know by itself."""

CODES = {
    2: ("SpecError", "the pipeline cannot be read there"),
    3: ("LockedError", "another process holds the task or the pipeline"),
    4: ("StoreError", "the store or the disk failed"),
}
"""Exit codes of ``nbpipe`` that are not about the task's own code."""

_decoder = msgspec.json.Decoder(ev.Event)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How the command ended.

    Attributes:
        code: exit code, negative for a signal.
        failure: of the task, as the command told it; None: it told none.
        early: True: the task asked for the end of the build.
        tail: the end of what it wrote beside its events.
    """

    code: int
    failure: Failure | None = None
    early: bool = False
    tail: str = ""


class Told:
    """What the command tells, line by line.

    Attributes:
        failure: of the task; None: it has told none.
        early: whether the task asked for the end of the build.
        state: how the command says that it ended; None: not yet.
    """

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.early = False
        self.state: ev.EndState | None = None

    def take(self, line: str | bytes) -> ev.Event | None:
        """Take one line in; returns the event that a builder wants to hear of, if it is one."""
        try:
            event = _decoder.decode(line)
        except msgspec.DecodeError:  # the report at the end, or a newer version's event
            return None
        if isinstance(event, ev.TaskFailed):
            self.failure = event.failure
        elif isinstance(event, ev.TaskCancelled):
            self.early = True
        elif isinstance(event, ev.RunFinished):
            self.state = event.state
        return event if isinstance(event, RELAYED) else None

    def ending(self, code: int, tail: str) -> Ending:
        """All of it, once the command has ended."""
        return Ending(code=code, failure=self.failure, early=self.early, tail=tail)


def command(job: Job, *options: str, python: str = sys.executable) -> list[str]:
    """What runs a job in a clean process, whatever the modules in its folder are called.

    Args:
        job: with the words for ``nbpipe``.
        options: added to them.
        python: an interpreter that has nbpipe.
    """
    return [python, "-P", "-m", "nbpipe", *job.command, WAIT, *options]


def outcome(job: Job, ending: Ending, where: str) -> Outcome:
    """What came of a job.

    Args:
        job: that ran.
        ending: how its command ended.
        where: for a reader, such as ``worker tcp://10.0.0.2:4711``.
    """
    if ending.code == 0:
        if not ending.early:
            return Outcome()
        return failed(job, EARLY_STOP, "the task ended the build")
    if ending.code == 1 and ending.failure is not None:
        return Outcome(failure=ending.failure)
    said = last_lines(ending.tail.splitlines())
    if ending.code in CODES:
        error, meaning = CODES[ending.code]
        return failed(job, error, said or f"{meaning}: {where}", f"it ran on {where}")
    message = f"its process on {where} {ended(ending.code)}"
    return failed(job, "ProcessDied", f"{message}\n{said}" if said else message)


def failed(job: Job, error: str, message: str, hint: str | None = None) -> Outcome:
    """A failure that is not in the task's own code."""
    return Outcome(failure=Failure(error=error, message=message, file=job.source, hint=hint))


def ended(code: int) -> str:
    """How a process ended; a shell or a batch system tells a signal by adding 128."""
    by_shell = code > 128 and code - 128 in set(signal.Signals)
    said = describe_exit(128 - code if by_shell else code)
    return said if said.startswith("exited") else f"was ended by {said}"


def last_lines(lines: Sequence[str] | Iterable[str], limit: int = LONGEST_TAIL) -> str:
    """The end of a text, in whole lines unless one alone is too long."""
    text = "\n".join(line.rstrip() for line in lines).strip()
    if len(text) <= limit:
        return text
    end = text[-limit:]
    return end.partition("\n")[2] or end
