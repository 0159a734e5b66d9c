"""One kernel: started in a private folder, watched, and ended with all that it started.

Imports jupyter_client only when a kernel is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbpipe.core.events import KernelStarted
from nbpipe.core.model import Job
from nbpipe.executors import inside, processes
from nbpipe.executors.base import KernelStarter
from nbpipe.executors.kernelspecs import (
    DEFAULT,
    KernelStartFailed,
    in_memory,
    is_ipykernel,
    kernel_specs,
)

if TYPE_CHECKING:
    from nbpipe.executors.cells import Cells
    from nbpipe.executors.client import CellClient

START_TIMEOUT = 60.0
"""Seconds until a kernel that does not answer counts as dead."""

SHUTDOWN_TIMEOUT = 5.0
"""Seconds that a kernel has for its exit handlers and unflushed files."""

PREAMBLE = """
import atexit, faulthandler, sys
faulthandler.enable(getattr(sys.stderr, "_original_stdstream_copy", 2), all_threads=False)
control = getattr(kernel.parent, "control_thread", None)
def stop_control():
    if control is not None and control.is_alive():
        control.stop()
        control.join(1)
atexit.register(stop_control)
outputs = getattr(kernel.parent, "iopub_thread", None)
if outputs is not None:
    import zmq
    outputs.schedule(lambda: outputs.socket.setsockopt(zmq.SNDHWM, 0))
children = getattr(kernel, "_process_children", None)
if children is not None:
    kernel._process_children = lambda: [
        p for p in children() if p.is_running() and p.status() != "zombie"
    ]
"""
"""Runs in a Python kernel before the first cell, outside of the user's namespace.

- A crash in compiled code leaves the Python frames in the log. Python's own switch for it writes
  to a descriptor that ipykernel takes later.
- ipykernel stops the thread that sends outputs before the control thread, which may just be
  waiting for it: one exit in twenty then takes 10 s. This handler runs after those of the cells
  and before ipykernel's.
- Where 1,000 outputs wait to be sent, zmq drops the next ones and tells nobody: no limit, then.
  A socket may be touched in its own thread only.
- ipykernel waits for its children to end, even for those that have, and that the notebook has not
  waited for: they stay for as long as it does, which is then killed before its exit handlers run.
"""

LONGEST_FOLDER = 80
"""Characters: a socket's path may have 107, and the names of the sockets come after."""


def shared_context() -> Any:
    """A zmq context for many kernels.

    Without a limit on what waits to be read: at the usual limit of 1,000 messages a kernel that
    prints faster than we read would drop outputs and tell nobody.
    """
    import zmq
    import zmq.asyncio

    context = zmq.asyncio.Context()
    context.setsockopt(zmq.RCVHWM, 0)
    return context


class RunningKernel(ABC):
    """A kernel of one job: its private folder, its process, and the end of both.

    Args:
        job: for which it runs; tells kernel, folder and environment.

    Attributes:
        name: of the kernel's specification.
        client: runs cells; None: it has not been started.
        info: what the kernel says of itself.
        exit_code: as of ``subprocess.Popen.returncode``; None: it has not ended.
        log: what bypasses the kernel's channels.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.name = job.kernel or DEFAULT
        self.client: Cells | None = None
        self.info: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.log = Path(job.folder) / f"{job.stem}.log"
        self._dead: asyncio.Future[Any] | None = None
        self._known: list[Any] = []

    @property
    @abstractmethod
    def _halt_file(self) -> Path:
        """Once it exists, the kernel starts no other cell that it has been sent."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Process id, which is that of its session too; None: not known (yet)."""

    @property
    @abstractmethod
    def started(self) -> KernelStarted:
        """How it was started, as an event."""

    @property
    def environ(self) -> dict[str, str]:
        """Its environment."""
        return os.environ | self.job.environ | {"NBPIPE_TASK": self.job.task}

    @abstractmethod
    async def interrupt(self) -> None:
        """SIGINT to the kernel alone, so that its traceback shows where it is."""

    @abstractmethod
    async def shutdown(self) -> None:
        """Ask it to end, and give it time for its exit handlers and unflushed files."""

    @abstractmethod
    async def _release(self) -> None:
        """Free what was needed to speak to it."""

    def _is_alone(self) -> bool:
        """Whether it has ended and is known to have left nobody behind."""
        return False

    def _tree(self) -> list[Any]:
        return [] if self.pid is None else processes.tree(self.pid)

    async def end(self) -> None:
        """End it with everything that it started, at once, and remove its files.

        Takes a few seconds at most. Must not be cancelled: see :func:`processes.to_the_end`.
        """
        try:
            if self.pid is not None and not self._is_alone():
                await processes.end_tree(self.pid, self._known)
            if self._dead is not None:
                await asyncio.wait({self._dead}, timeout=1.0)
            if self.client is not None:
                await self.client.drain()
        finally:
            await self._free()

    async def _free(self) -> None:
        if self._dead is not None:
            self._dead.cancel()
        with contextlib.suppress(Exception):
            await self._release()
        with contextlib.suppress(OSError):
            if self.log.stat().st_size == 0:
                self.log.unlink()


class Kernel(RunningKernel):
    """A kernel that speaks through zmq.

    Args:
        job: for which it runs; tells kernel, folder and environment.
        context: from :func:`shared_context`.
        transport: ``ipc``, or ``tcp`` on this host.
        starter: starts it in a way of its own; None: it starts cold.
    """

    def __init__(
        self,
        job: Job,
        context: Any,
        transport: str = "ipc",
        starter: KernelStarter | None = None,
    ) -> None:
        super().__init__(job)
        self._folder = private_folder(job.environ.get("NBPIPE_RUN", ""))
        self._starter = starter
        self._context = context
        try:
            self._manager = self._new_manager(transport)
        except Exception as error:  # whatever a broken kernel.json leads to
            shutil.rmtree(self._folder, ignore_errors=True)
            text = f"the specification of kernel '{self.name}' cannot be used: {error}"
            raise KernelStartFailed(text) from error
        self._channels: Any = None

    def _new_manager(self, transport: str) -> Any:
        """The one place that decides how a kernel is launched."""
        from jupyter_client.manager import AsyncKernelManager

        manager = AsyncKernelManager(
            kernel_name=self.name,
            context=self._context,
            connection_file=str(self._folder / "kernel.json"),
            kernel_spec_manager=kernel_specs(),
        )
        # Kernels of other languages need not know the transport.
        is_python = (manager.kernel_spec.language or "").lower() == "python"
        usable = is_python and os.name == "posix" and len(str(self._folder)) <= LONGEST_FOLDER
        manager.transport = transport if usable else "tcp"
        if self._starter is not None:
            manager.provisioner = self._starter.provisioner(manager, self.job)
        return manager

    @property
    def pid(self) -> int | None:
        """Process id, which is that of its session too; None: not known (yet)."""
        return getattr(self._manager.provisioner, "pid", None)

    async def start(self, notebook: Any) -> CellClient:
        """Launch it and wait until it answers.

        Raises:
            KernelStartFailed: it does not.
        """
        from nbpipe.executors.cells import KernelDied
        from nbpipe.executors.channels import Channels
        from nbpipe.executors.client import CellClient

        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._launch()
                self._dead = asyncio.ensure_future(self._watch())
                self._channels = Channels(self._manager)
                client = CellClient(
                    notebook, self._manager, self._channels, self._dead, self._halt_file
                )
                self.client = client
                client.is_forked = self.started.start == "fork"
                self.info = await self._answer(client)
                if is_ipykernel(self._manager.kernel_spec) and self.started.start != "fork":
                    code = f"exec({PREAMBLE!r}, {{'kernel': get_ipython().kernel}})"
                    self._channels.execute_silently(code)
                if is_ipykernel(self._manager.kernel_spec) and inside.asks(self.job.environ):
                    self._channels.execute_silently(inside.in_kernel())
        except KernelDied:
            how = processes.describe_exit(self.exit_code or 0)
            text = f"kernel '{self.name}' died before it answered ({how})"
            raise KernelStartFailed(text) from None
        except TimeoutError:
            text = f"kernel '{self.name}' did not answer within {START_TIMEOUT:.0f} s"
            raise KernelStartFailed(text) from None
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            text = f"kernel '{self.name}' could not be launched: {reason}"
            raise KernelStartFailed(text) from error
        return client

    async def _answer(self, client: CellClient) -> dict[str, Any]:
        """What the kernel says of itself, once its outputs arrive here as well.

        One that was forked has said it before it was connected to; then the first message, which
        welcomes us, is enough.
        """
        info: dict[str, Any] | None = getattr(self._manager.provisioner, "info", None)
        if not info:
            return await client.kernel_info()
        assert self._dead is not None
        heard = asyncio.ensure_future(client.heard.wait())
        await asyncio.wait({heard, self._dead}, return_when=asyncio.FIRST_COMPLETED)
        heard.cancel()
        return info if client.heard.is_set() else await client.kernel_info()

    @property
    def started(self) -> KernelStarted:
        """How it was started, as an event."""
        start = getattr(self._manager.provisioner, "start", None)
        if start is None:
            return KernelStarted(task=self.job.task, start="cold")
        return KernelStarted(
            task=self.job.task, start=start.how, reason=start.reason, preloaded=start.preloaded
        )

    async def _launch(self) -> None:
        with self.log.open("ab") as log:
            # What the manager's start_kernel does, which then sleeps for 10 ms.
            command, launch = await self._manager.pre_start_kernel(
                cwd=self.job.cwd or self.job.root,
                env=self.environ,
                extra_arguments=in_memory(self._manager.kernel_spec),
                stdout=log,
                stderr=log,
            )
            await self._manager._launch_kernel(command, **launch)
            await self._manager.post_start_kernel(**launch)

    async def _watch(self) -> None:
        """Ends when the kernel's process has, and notes how."""
        provisioner = self._manager.provisioner
        process: Any = getattr(provisioner, "process", None)
        if hasattr(process, "ended"):  # forked: who has forked it tells
            self.exit_code = await process.ended()
            return
        if self.pid is not None:
            await processes.ended(self.pid)
        while (code := await provisioner.poll()) is None:
            await asyncio.sleep(0.05)
        self.exit_code = code

    async def interrupt(self) -> None:
        """SIGINT to the kernel alone, so that its traceback shows where it is."""
        with contextlib.suppress(Exception):
            if self.pid is not None and self._manager.kernel_spec.interrupt_mode == "signal":
                os.kill(self.pid, signal.SIGINT)
            else:
                await self._manager.interrupt_kernel()

    @property
    def _halt_file(self) -> Path:
        return self._folder / "kernel.halt"

    async def shutdown(self) -> None:
        """Ask it to end, and give it time for its exit handlers and unflushed files."""
        if self._dead is not None and not self._dead.done():
            self._known = self._tree()
            await self._manager.request_shutdown()
            await asyncio.wait({self._dead}, timeout=SHUTDOWN_TIMEOUT)

    async def _release(self) -> None:
        try:
            await self._close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _close(self) -> None:
        if self._channels is not None:
            self._channels.close()
        if self._manager.has_kernel:
            await self._manager.provisioner.wait()
        await self._manager.cleanup_resources()


def private_folder(run: str) -> Path:
    """A new folder for connection files and sockets that only this user can open.

    It is named after the run, so that it is found when the builder was killed.
    """
    prefix = f"nbpipe-{run}-"
    folder = tempfile.mkdtemp(prefix=prefix)
    if len(folder) > LONGEST_FOLDER and os.path.isdir("/tmp"):
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    return Path(folder)
