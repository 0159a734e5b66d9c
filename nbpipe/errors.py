"""Every error that nbpipe raises on purpose.

    NbpipeError                     exit code
    ├── SpecError                   2   pipeline.yaml or a source that it names is wrong
    ├── UsageError                  2   the caller asked for something that is not there
    ├── BuildError                  1   a task failed
    ├── DAGBuildEarlyStop           0   a task or a hook ends the build, and that is no failure
    ├── LockedError                 3   another build holds the pipeline
    ├── StoreError                  4   a record or a product cannot be read or written
    │   └── RecordVersionError      4   a record was written by a newer nbpipe
    └── InterruptedBuildError     130   SIGINT (129: SIGHUP, 143: SIGTERM)

An error names the object, the cause and, as its hint, the next step.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def harmless(text: str) -> str:
    """The text without what steers a terminal or turns the direction of writing.

    A name, a param or an error message may hold such characters. Line ends and tabs stay.
    """
    return text if text.isprintable() else _STEERING.sub("\ufffd", text)


class NbpipeError(Exception):
    """Base of all errors that nbpipe raises on purpose.

    Args:
        message: one line: the object and the cause.
        hint: one line: what to do about it; None when there is nothing to add.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback: the message and the hint."""
        return harmless(str(self)).splitlines()


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in pipeline.yaml or in a source.

    Attributes:
        file: path as a reader would type it, relative to the root where possible.
        line: 1-based; 0 when the whole file is meant.
        column: 1-based; 0 when the whole line is meant.
        key: path of the key, such as ``tasks[2].product``; "" when none applies.
        message: what is wrong.
        hint: what to do; None when there is nothing to add.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join([self.file] + [str(n) for n in (self.line, self.column) if n])
        parts = [place, self.key, self.message] if self.key else [place, self.message]
        text = ": ".join(parts)
        return text if self.hint is None else f"{text}\n  hint: {self.hint}"


class SpecError(NbpipeError):
    """The spec, or a source that it names, is wrong. Carries all problems at once."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(str(p) for p in self.problems))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Problem, ...]]]:
        return (type(self), (self.problems,))


class UsageError(NbpipeError):
    """The caller asked for something that is not there: a task, a file, an option."""

    exit_code = 2


class BuildError(NbpipeError):
    """One task or more failed."""

    exit_code = 1


class DAGBuildEarlyStop(NbpipeError):
    """Raised by a task or a hook: the build ends here, and that is no failure (exit code 0).

    The task runs again with the next build; what is already running is awaited.
    """

    exit_code = 0


EARLY_STOP = DAGBuildEarlyStop.__name__
"""What a task's failure is called when it asks for an early stop."""


class LockedError(NbpipeError):
    """Another build holds the pipeline."""

    exit_code = 3


class StoreError(NbpipeError):
    """A record or a product cannot be read or written (disk full, read only, damaged)."""

    exit_code = 4


def cannot_write(path: object, error: OSError) -> StoreError:
    """The error to raise when the system refuses to write ``path``."""
    return StoreError(
        f"{path}: cannot be written: {error.strerror or error}",
        "free some space or mend the permissions, then build again",
    )


class RecordVersionError(StoreError):
    """A record was written by a newer nbpipe; it is left as it is."""


class InterruptedBuildError(NbpipeError):
    """A build was interrupted. ``exit_code`` is 128 and the signal's number: 130 for SIGINT."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word nearest to ``word``, or lists a few when none is near."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    if not names:
        return None
    listed = ", ".join(f"'{n}'" for n in names[:8])
    return f"known: {listed}{' …' if len(names) > 8 else ''}"
