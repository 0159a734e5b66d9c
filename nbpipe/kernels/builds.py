"""The kernels of one build: how they start, and what is made ready for them."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nbpipe.core.model import KERNEL_STARTS, Job, KernelStart
from nbpipe.errors import UsageError, did_you_mean
from nbpipe.kernels import line
from nbpipe.kernels.builders_end import LinkedKernel
from nbpipe.kernels.forkserver import NoFork, Streams
from nbpipe.kernels.heads import head_imports
from nbpipe.kernels.launching import IN_MEMORY
from nbpipe.kernels.learning import sets_of
from nbpipe.kernels.pool import LAUNCHER, Pool
from nbpipe.kernels.starts import Starter, family, unsupported
from nbpipe.kernels.trunk import Launch, Start

VARIABLE = "NBPIPE_KERNELS"
"""Environment variable with a mode that overrides what the spec says."""

MOST_SOURCES = 200
"""Notebooks that are looked at to learn what to preload."""


_ASKS_FOR_ZMQ = re.compile(
    r"\b(zmq|ipykernel|ipyparallel|jupyter_client|connect_info|connection_file|qtconsole)\b"
    r"|get_ipython\(\)\s*\.\s*kernel|%subshell"
)
"""Code that may look at the kernel's sockets, which a line has none of."""


class Choice(NamedTuple):
    """A mode and where it comes from, as a clause; "": from nowhere, it is the best one here."""

    mode: KernelStart
    reason: str = ""


def choose(wish: KernelStart | None, environ: Mapping[str, str]) -> Choice:
    """How kernels start on this system.

    Args:
        wish: what the spec says; None: nothing.
        environ: variables of this process.

    Raises:
        UsageError: the variable has another value.
    """
    named = environ.get(VARIABLE)
    if named:
        mode = next((start for start in KERNEL_STARTS if start == named), None)
        if mode is None:
            hint = did_you_mean(named, KERNEL_STARTS) or f"one of {', '.join(KERNEL_STARTS)}"
            raise UsageError(f"{VARIABLE} is '{named}', which is no way to start a kernel", hint)
        choice = Choice(mode, f"{VARIABLE} says so")
    elif wish is not None:
        choice = Choice(wish, "the spec says so")
    else:
        choice = Choice("fork")
    if choice.mode == "fork" and (reason := unsupported()):
        return Choice("pool", reason)
    return choice


class BuildKernels:
    """Starts the kernels of one build, and keeps what was made ready for them.

    Args:
        choice: from :func:`choose`.
        preload: modules that every kernel finds imported; None: those that the notebooks
            themselves import first.
        root: folder of pipeline.yaml.
        environ: variables that all kernels of the build have in common.
        jobs: how many kernels run at once.
        kernels: how many there will be.
    """

    def __init__(
        self,
        choice: Choice,
        preload: Iterable[str] | None,
        root: str,
        environ: Mapping[str, str],
        *,
        jobs: int,
        kernels: int,
    ) -> None:
        self.choice = choice
        self._learns = preload is None
        self._root = root
        self._environ = dict(environ)
        self._starter = Starter(always=tuple(preload or ()))
        self._pool = Pool(jobs, kernels) if choice.mode != "cold" else None

    def warm_up(self) -> None:
        """Start the warm process of the usual kernel, or spare kernels; returns at once."""
        launch = usual_launch(self._root, self._environ)
        if self.choice.mode == "fork":
            self._starter.warm_up(launch)
        elif self._pool is not None:
            self._pool.fill(launch)

    def learn(self, notebooks: Iterable[Iterable[str]]) -> None:
        """Preload what several notebooks import.

        Args:
            notebooks: their code cells.
        """
        if self.choice.mode == "fork" and self._learns:
            heads = (head_imports(cells, self._root) for cells in notebooks)
            self._starter.add_sets(sets_of(heads))

    def provisioner(self, manager: Any, job: Job) -> Any:
        """What launches the kernel of a job, for jupyter_client's manager of it."""
        from nbpipe.kernels.provisioner import ForkProvisioner

        kernel_id = manager.kernel_id or str(uuid.uuid4())
        made = ForkProvisioner(kernel_id=kernel_id, kernel_spec=manager.kernel_spec, parent=manager)
        made.starter = self._starter
        made.refused = None if self.choice.mode == "fork" else self.choice.reason
        made.pool = self._pool
        made.imports = head_imports(_code(job), job.cwd or job.root)
        made.heartbeat = False  # the builder learns from the warm process that a kernel has ended
        return made

    async def link(
        self, job: Job, command: Sequence[str], environ: Mapping[str, str], log: int
    ) -> LinkedKernel | None:
        """A kernel that is spoken to without zmq; None: it must be started by other means.

        Args:
            job: for which the kernel runs.
            command: of the kernel, with its connection file, which need not exist.
            environ: of the kernel.
            log: descriptor for what bypasses the kernel's channels.
        """
        code = _code(job)
        if self.choice.mode != "fork" or any(map(_ASKS_FOR_ZMQ.search, code)):
            return None
        folder = job.cwd or job.root
        environ = {**environ, "JPY_PARENT_PID": str(os.getpid())}
        launch = Launch(
            with_python(command), os.path.abspath(folder), environ, head_imports(code, folder)
        )
        ours, theirs = line.pair()
        try:
            with theirs:
                streams = Streams(log, log, theirs.fileno())
                process, start = await self._starter.fork(launch, streams)
        except NoFork:
            ours.close()
            return None
        except BaseException:
            ours.close()
            raise
        return LinkedKernel(process, ours, start)

    def close(self) -> None:
        """End what was made ready. Calling it twice is harmless."""
        self._starter.close()
        if self._pool is not None:
            self._pool.close()


def outlook(choice: Choice, command: Sequence[str]) -> Start:
    """How a kernel will start, as far as its specification tells.

    Args:
        choice: from :func:`choose`.
        command: of the kernel, from its specification.
    """
    reason = choice.reason
    if choice.mode == "fork":
        try:
            family(with_python(command))
        except NoFork as error:
            reason = str(error)
        else:
            return Start("fork")
    pooled = choice.mode != "cold" and LAUNCHER in command
    return Start("pool" if pooled else "cold", reason)


def with_python(command: Sequence[str]) -> list[str]:
    """A kernel's command line, where a bare ``python`` means the one that runs here."""
    names = ("python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info))
    first = sys.executable if command[:1] and command[0] in names else command[0]
    return [first, *command[1:]]


def usual_launch(root: str, environ: Mapping[str, str]) -> Launch:
    """The launch of a kernel of this environment, as the builder's own clients ask for it."""
    command = [sys.executable, "-m", LAUNCHER, "-f", "", IN_MEMORY]
    return Launch(command, root, {**os.environ, **environ, "JPY_PARENT_PID": str(os.getpid())})


def _code(job: Job) -> list[str]:
    cells = (job.notebook or {}).get("cells", ())
    texts = (cell["source"] for cell in cells if cell["cell_type"] == "code")
    return [text if isinstance(text, str) else "".join(text) for text in texts]
