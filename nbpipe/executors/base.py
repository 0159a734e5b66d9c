"""The port through which the runner runs a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from nbpipe.core.events import Event
from nbpipe.core.model import Job, KernelStart, Outcome

Emit = Callable[[Event], None]
"""Takes an event without blocking."""


Take = Callable[[list[bytes]], None]
"""Takes the frames of a message."""


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
class RecordsItself(Executor, Protocol):
    """An executor that sends whole tasks off: to a cluster, with ``Job.command``.

    That command, run with the same Python or another one that has nbpipe, in a folder where the
    project is, does all that a build does for one task: it plans, runs, checks the products and
    writes the record. So the builder neither writes records for such a task nor looks at its
    products: it reads the record when ``run`` has returned without a failure.

    ``run`` starts the command with ``Job.environ`` added to its environment, asks the cluster for
    ``Job.resources``, waits for the end and turns the exit code into an :class:`Outcome`. It does
    not try again: the builder does. When it is cancelled it ends the task wherever it runs.
    """

    records_itself: Literal[True]


@runtime_checkable
class TakesAhead(RecordsItself, Protocol):
    """One that sends whole tasks off into a queue, in which they can wait for each other."""

    async def submit_ahead(self, ahead: Sequence[tuple[Job, Sequence[str]]]) -> None:
        """Take jobs that will run in any case; ``run`` is called for each when its turn comes.

        Args:
            ahead: each job, in an order in which they can run, with the tasks in ``ahead`` that
                it needs.
        """
        ...


class Started(Protocol):
    """How a kernel was started.

    Attributes:
        how: forked, taken from a pool, or cold.
        reason: why no better way was possible, as a clause; "": there is none better.
        preloaded: modules that it found imported.
    """

    @property
    def how(self) -> KernelStart: ...
    @property
    def reason(self) -> str: ...
    @property
    def preloaded(self) -> tuple[str, ...]: ...


class Linked(Protocol):
    """A Python kernel that runs, and that is spoken to without zmq; in an event loop.

    Messages are the frames that Jupyter's protocol has on a socket, unsigned.

    Attributes:
        pid: process id of the kernel, which leads a session of its own.
        info: what it would reply to ``kernel_info_request``.
        start: how it was started.
    """

    pid: int
    info: dict[str, Any]
    start: Started

    @property
    def left(self) -> bool:
        """Whether it may have left processes behind when it ended."""
        ...

    def listen(self, output: Take, reply: Take, children: Take) -> None:
        """Have messages taken as they come: what the kernel publishes, and what it replies; and,
        without frames, that it has children and waits to be asked once more to end.
        """
        ...

    def send(self, what: Literal["request", "batch", "quit"], frames: Sequence[bytes] = ()) -> None:
        """Send, without waiting: a request; marshalled code with what it is told; or to end."""
        ...

    async def ended(self) -> int:
        """Wait until it has ended and all of its messages are taken; its exit code."""
        ...

    def close(self) -> None:
        """Listen no more. Calling it twice is harmless."""
        ...


class KernelStarter(Protocol):
    """Starts kernels in a way of its own."""

    async def link(
        self, job: Job, command: Sequence[str], environ: Mapping[str, str], log: int
    ) -> Linked | None:
        """A kernel that is spoken to without zmq; None: it must be started by other means.

        Args:
            job: for which the kernel runs.
            command: of the kernel, with its connection file, which need not exist.
            environ: of the kernel.
            log: descriptor for what bypasses the kernel's channels.
        """
        ...

    def provisioner(self, manager: Any, job: Job) -> Any:
        """What launches the kernel of a job, through jupyter_client's port for that.

        Args:
            manager: jupyter_client's, which has not started the kernel yet.
            job: for which the kernel runs.

        Returns:
            A ``KernelProvisionerBase``. Its attribute ``start`` tells after the launch ``how`` the
            kernel was started (``fork``, ``pool`` or ``cold``), for what ``reason``, and which
            modules were ``preloaded``.
        """
        ...


@runtime_checkable
class StartsKernels(Protocol):
    """An executor whose kernels another part of nbpipe can start.

    Attributes:
        starter: starts them; None: they start cold.
    """

    starter: KernelStarter | None


@runtime_checkable
class ChecksKernels(Protocol):
    """An executor that can tell ahead whether a kernel is there."""

    def check_kernel(self, name: str) -> None:
        """See that a kernel is installed.

        Raises:
            UsageError: it is not; the hint names the nearest.
        """
        ...
