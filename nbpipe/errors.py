"""Every error that nbpipe raises on purpose.

    NbpipeError                     exit code
    ├── SpecError                   2   pipeline.yaml or a source that it names is wrong
    ├── UsageError                  2   the caller asked for something that is not there
    ├── BuildError                  1   a task failed
    ├── LockedError                 3   another build holds the pipeline
    ├── StoreError                  4   a record or a product cannot be read or written
    │   └── RecordVersionError      4   a record was written by a newer nbpipe
    └── InterruptedBuildError     130   SIGINT (143: SIGTERM)

An error names the object, the cause and, as its hint, the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


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
        return str(self).splitlines()


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


class LockedError(NbpipeError):
    """Another build holds the pipeline."""

    exit_code = 3


class StoreError(NbpipeError):
    """A record or a product cannot be read or written (disk full, read only, damaged)."""

    exit_code = 4


class RecordVersionError(StoreError):
    """A record was written by a newer nbpipe; it is left as it is."""


class InterruptedBuildError(NbpipeError):
    """A build was interrupted. ``exit_code`` is 130 for SIGINT and 143 for SIGTERM."""

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
