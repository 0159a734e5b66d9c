"""The port through which the runner runs a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from nbpipe.core.events import Event
from nbpipe.core.model import Job, Outcome

Emit = Callable[[Event], None]
"""Takes an event without blocking."""


class Executor(Protocol):
    """Runs one job at a time in a clean process; several runs may be awaited at once."""

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Run a job to its end.

        A failure of the task is an :class:`Outcome`, never an exception. When the awaiting
        asyncio task is cancelled, every process of the job is ended before this returns.
        """
        ...

    async def close(self) -> None:
        """Free what is held between jobs. Calling it twice is harmless."""
        ...


@runtime_checkable
class ChecksKernels(Protocol):
    """An executor that can tell ahead whether a kernel is there."""

    def check_kernel(self, name: str) -> None:
        """See that a kernel is installed.

        Raises:
            UsageError: it is not; the hint names the nearest.
        """
        ...
