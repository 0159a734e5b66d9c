"""Runs a job's notebook in a fresh kernel, through nbclient.

What each part does: ``kernel`` starts and ends the process, ``channels`` connects to it, ``client``
runs cells and collects outputs, ``failures`` and ``hints`` explain an error, ``document`` saves,
``convert`` converts.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from nbpipe.core.events import CellFinished, CellStarted
from nbpipe.core.model import Failure, Job, Outcome
from nbpipe.errors import StoreError, UsageError
from nbpipe.executors import document, failures, processes
from nbpipe.executors.base import Emit, KernelStarter
from nbpipe.executors.convert import Conversion, convert
from nbpipe.executors.hints import Scene
from nbpipe.executors.kernel import Kernel, RunningKernel, private_folder, shared_context
from nbpipe.executors.kernelspecs import (
    DEFAULT,
    KernelStartFailed,
    check_kernel,
    kernel_names,
    kernel_python,
    kernel_spec,
)
from nbpipe.executors.output import last_words

if TYPE_CHECKING:
    from nbpipe.executors.cells import Cells

__all__ = ["NotebookExecutor", "check_kernel", "kernel_names"]

SAVE_EVERY = 1.0
"""Seconds between two saves of a notebook that runs."""

FIRST_SAVE = 0.2
"""Seconds until a notebook that runs is saved for the first time."""

SAVE_SHARE = 10
"""A save that took long is followed by a pause this many times as long."""

INTERRUPT_GRACE = 1.0
"""Seconds that a cell has after its timeout to show where it was."""

Watch = Callable[[str, dict[str, Any]], None]
"""Takes a task's name and an output message of Jupyter's protocol without blocking."""


class NotebookExecutor:
    """Runs notebook jobs, each in a kernel of its own.

    Jupyter's libraries are imported when the first job runs. Many jobs may run at once in one
    event loop. A disk that is full raises :class:`~nbpipe.errors.StoreError`: it is no failure of
    the task.

    Args:
        watch: called with the task's name and every output message of its kernel, as it comes, in
            the event loop's thread; None: nobody watches.
    """

    starts_processes = True

    def __init__(self, watch: Watch | None = None) -> None:
        self.starter: KernelStarter | None = None
        self._watch = watch
        self._place = _Place()

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Execute the cells in their order and stop at the first error."""
        return await _Run(job, emit, self._place, self._watch, self.starter).outcome()

    def check_kernel(self, name: str) -> None:
        """See that a kernel is installed.

        Raises:
            UsageError: it is not; the hint names the nearest.
        """
        check_kernel(name)

    async def close(self) -> None:
        """Free what kernels had in common."""
        self._place.close()


class _Place:
    """What kernels of one executor have in common; made when it is first needed."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self._context: Any = None
        self._folder: Path | None = None
        self._specs: dict[str, Any] = {}

    def zmq(self) -> Any:
        """The zmq context of all kernels that need one."""
        if self._context is None:
            self._context = shared_context()
        return self._context

    def folder(self, job: Job) -> Path:
        """A private folder, named after the run of the first job."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = private_folder(job.environ.get("NBPIPE_RUN", ""))
        return self._folder

    def spec(self, name: str) -> Any:
        """The specification of a kernel, read once; None: it cannot be read.

        Raises:
            UsageError: there is none; the hint names the nearest.
        """
        if name not in self._specs:
            check_kernel(name)
            try:
                self._specs[name] = kernel_spec(name)
            except KernelStartFailed:
                self._specs[name] = None
        return self._specs[name]

    def close(self) -> None:
        """End and remove it all. Calling it twice is harmless."""
        context, self._context = self._context, None
        if context is not None:
            context.destroy(linger=0)
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """One job on its way."""

    def __init__(
        self,
        job: Job,
        emit: Emit,
        place: _Place,
        watch: Watch | None,
        starter: KernelStarter | None,
    ) -> None:
        import nbformat

        if job.notebook is None:
            raise UsageError(f"task '{job.task}': a notebook job needs a notebook")
        self.job = job
        self.emit = emit
        self.watch = watch
        self.place = place
        self.starter = starter
        self.kernel: RunningKernel | None = None
        self.client: Cells | None = None
        self._is_saved = False
        self.versions: dict[str, str] = {}
        self.log = Path(job.folder) / f"{job.stem}.log"
        self.path = Path(job.folder) / f"{job.stem}.ipynb"
        self.notebook = nbformat.from_dict(job.notebook)  # a copy
        cells = self.notebook.cells
        self.code = [i for i, c in enumerate(cells) if c.cell_type == "code" and c.source.strip()]
        self.begun = time.time()
        self.notebook.metadata["nbpipe"] = {
            "task": job.task,
            "source": job.source,
            "started": datetime.fromtimestamp(self.begun, UTC).isoformat(timespec="seconds"),
        }

    async def outcome(self) -> Outcome:
        """Run, and leave nothing running, whatever happens."""
        failure: Failure | None
        try:
            async with asyncio.timeout(self.job.timeout) as limit:
                failure = await self._execute()
                if self.kernel is not None:
                    await self.kernel.shutdown()
                await processes.to_the_end(self._end())
                failure = failure or await self._convert()
        except TimeoutError:
            if not limit.expired():
                raise
            failure = await processes.to_the_end(self._timed_out())
        finally:
            await processes.to_the_end(self._end())
            if not self._is_saved:
                self._save()
        return self._outcome(failure)

    async def _end(self) -> None:
        """End the kernel, if there is one, and save what it has sent to the last."""
        if self.kernel is not None:
            try:
                await self.kernel.end()
            finally:
                self.kernel = None
                self._save()

    async def _execute(self) -> Failure | None:
        try:
            client = await self._start()
        except UsageError as error:
            return Failure(error="NoSuchKernel", message=error.message, hint=error.hint)
        except KernelStartFailed as error:
            words = failures.cut_middle(last_words(self.log).splitlines()[-40:])
            return Failure(error="KernelStartFailed", message=error.message, traceback=words)
        saver = asyncio.ensure_future(self._save_now_and_then())
        try:
            return await self._cells(client)
        finally:
            saver.cancel()

    async def _start(self) -> Cells:
        """A running kernel; the second try uses another transport."""
        self.client = await self._link()
        for transport in ("ipc", "tcp") if self.client is None else ():
            starter = self.starter if transport == "ipc" else None
            kernel = self.kernel = Kernel(self.job, self.place.zmq(), transport, starter)
            try:
                self.client = await kernel.start(self.notebook)
                break
            except KernelStartFailed:
                await processes.to_the_end(self._end())
                if transport == "tcp":
                    raise
        assert self.client is not None
        assert self.kernel is not None
        if self.watch is not None:
            self.client.watch = functools.partial(self.watch, self.job.task)
        self.emit(self.kernel.started)
        self._describe(self.kernel)
        return self.client

    async def _link(self) -> Cells | None:
        """A kernel that is spoken to without zmq; None: there is none for this job."""
        from nbpipe.executors.linked import LinkedKernel

        spec = self.place.spec(self.job.kernel or DEFAULT)
        if self.starter is None or spec is None:
            return None
        folder, number = self.place.folder(self.job), next(self.place.numbers)
        kernel = self.kernel = LinkedKernel(self.job, folder, number)
        client = await kernel.start(self.notebook, self.starter, spec)
        if client is None:
            await processes.to_the_end(self._end())
        return client

    def _describe(self, kernel: RunningKernel) -> None:
        self.notebook.metadata["language_info"] = kernel.info.get("language_info", {})
        name, version = (
            kernel.info.get(k, "") for k in ("implementation", "implementation_version")
        )
        self.versions = {"kernel": kernel.name, "implementation": f"{name} {version}".strip()}

    # -- cells ---------------------------------------------------------------------------

    async def _cells(self, client: Cells) -> Failure | None:
        total = len(self.code)
        assert self.kernel is not None
        implementation = self.kernel.info.get("implementation", "")
        sources = [self.notebook.cells[i].source for i in self.code]
        if client.can_send_ahead(implementation, sources):
            client.send_ahead(self.code)
        for number, index in enumerate(self.code, 1):
            await client.begin(index)
            begun = time.monotonic()
            line = self.job.lines[index] if index < len(self.job.lines) else 0
            self.emit(CellStarted(task=self.job.task, index=number, total=total, line=line))
            failure = await self._cell(client, index)
            seconds = client.seconds
            if seconds is None:
                seconds = time.monotonic() - begun
            self.emit(CellFinished(task=self.job.task, index=number, total=total, seconds=seconds))
            if failure is not None:
                return failure
        return None

    async def _cell(self, client: Cells, index: int) -> Failure | None:
        from nbpipe.executors.cells import KernelDied, OutputsMissing, allows_error

        try:
            reply = await client.finish()
        except KernelDied:
            return self._died(index)
        except OutputsMissing:
            message = "the kernel did not say that the cell's outputs were complete"
            return self._failure(index, "OutputsMissing", message)
        if any(p.get("source") == "ask_exit" for p in reply.get("payload") or ()):
            message = "exit() or quit() was called: the cells below did not run"
            return self._failure(index, "SystemExit", message)
        if reply["status"] == "ok" or allows_error(self.notebook.cells[index]):
            return None
        trace = "\n".join(reply.get("traceback", ()))
        error, message = reply.get("ename", "Aborted"), reply.get("evalue", "")
        if error == "SystemExit":
            message = f"sys.exit({message}) was called"
        return self._failure(index, error, message, trace)

    def _failure(self, index: int, error: str, message: str, trace: str = "") -> Failure:
        counts = {
            cell.execution_count: n
            for n, cell in enumerate(self.notebook.cells)
            if cell.cell_type == "code" and cell.get("execution_count")
        }
        scene = Scene(
            root=self.job.root,
            python=kernel_python(self.job.kernel or DEFAULT),
            upstream=None if self.job.upstream is None else tuple(self.job.upstream),
        )
        script = failures.script_of(self.job, counts)
        return failures.cell_failure(script, index, error, message, trace, scene)

    def _died(self, index: int) -> Failure:
        assert self.kernel is not None
        code = self.kernel.exit_code or 0
        how = processes.describe_exit(code) + (", by os._exit?" if code >= 0 else "")
        message = f"the kernel died in cell {index + 1} ({how})"
        return self._failure(index, "KernelDied", message, last_words(self.log))

    async def _timed_out(self) -> Failure:
        """Show where the cell is, if it can be interrupted; the kernel is killed in any case."""
        message = f"the task took longer than its timeout of {self.job.timeout:g} s"
        client = self.client
        if self.kernel is None or client is None or client.current is None:
            return Failure(error="Timeout", message=message, file=self.job.source)
        client.halt()
        await self.kernel.interrupt()
        await client.until_idle(INTERRUPT_GRACE)
        client.settle()
        index = client.current
        outputs = self.notebook.cells[index].outputs
        traces = [o.traceback for o in outputs if o.output_type == "error"]
        trace = "\n".join(traces[-1]) if traces else ""
        return self._failure(index, "Timeout", f"{message}, in cell {index + 1}", trace)

    # -- the notebook on the disk --------------------------------------------------------

    async def _save_now_and_then(self) -> None:
        """So that somebody can look at it while it runs."""
        pause = FIRST_SAVE
        while True:
            await asyncio.sleep(pause)
            if self.client is not None and self.client.dirty:
                begun = time.monotonic()
                with contextlib.suppress(StoreError):  # the last save tells
                    self._save()
                pause = max(SAVE_EVERY, SAVE_SHARE * (time.monotonic() - begun))

    def _save(self) -> None:
        if self.client is not None:
            self.client.settle()
            self.client.set_widgets_metadata()
        self.notebook.metadata["nbpipe"]["seconds"] = round(time.time() - self.begun, 3)
        document.write(self.path, document.as_json(self.notebook))
        self._is_saved = True

    async def _convert(self) -> Failure | None:
        for result, target in self._targets().items():
            exporter = self.job.results.get(result, "")
            if target != self.path:
                how = Conversion(self.job.task, exporter, self.job.exporter_options)
                failure = await convert(self.path, target, how)
                if failure is not None:
                    return failure
        return None

    def _targets(self) -> dict[str, Path]:
        """Where each result is made: the executed notebook itself, or one that is converted."""
        results = self.job.results or ({self.job.result: ""} if self.job.result else {})
        found: dict[str, Path] = {}
        for number, (result, exporter) in enumerate(results.items()):
            suffix = PurePosixPath(result).suffix
            target = self.path.with_name(f"{self.job.stem}{suffix}")
            if target in found.values() or (exporter and target == self.path):
                target = self.path.with_name(f"{self.job.stem}.{number}{suffix}")
            found[result] = target
        return found

    def _outcome(self, failure: Failure | None) -> Outcome:
        if failure is None:
            made = {result: str(path) for result, path in self._targets().items()}
            first = made.get(self.job.result or "", str(self.path))
            return Outcome(notebook=first, notebooks=made, versions=self.versions)
        with contextlib.suppress(ValueError):  # another drive has no relative path
            relative = Path(os.path.relpath(self.path, self.job.root)).as_posix()
            failure = msgspec.structs.replace(failure, notebook=relative)
        return Outcome(failure=failure, versions=self.versions)
