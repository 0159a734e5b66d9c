"""``Run``: a build seen from anywhere, through its log: followed, waited for, stopped.

It may be a build in the background, in a terminal or in another notebook. Whoever attaches reads
the same events; the runner knows nothing of its watchers.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from nbpipe.core import events as ev
from nbpipe.core.progress import Progress
from nbpipe.errors import BuildError, UsageError, did_you_mean
from nbpipe.executors import processes
from nbpipe.run import lost
from nbpipe.run.eventlog import RUNS, Tail, run_folders
from nbpipe.run.lock import holder
from nbpipe.run.note import read_note
from nbpipe.run.report import BuildReport
from nbpipe.run.tasklocks import running_tasks

RunStatus = Literal["running", "done", "failed", "interrupted", "lost"]
"""``lost``: its process died before the run had ended."""

LOG = "runner.log"
"""What a background runner prints, in the run's folder. No other kind of run has such a file."""

POLL = 0.1
"""Seconds between two looks at a run that goes on."""

LAST_WORDS = 2.0
"""Seconds that a process has to end after its run has."""


@dataclass(frozen=True, repr=False)
class Run:
    """One run of a pipeline. Two that stand for the same run are equal.

    Attributes:
        id: of the run; "" when there was nothing to do, so that no run was made.
        folder: where its events and logs are.
        pid: process id of the runner on ``host``; 0: there is none.
        host: name of the machine.
        created: when it began, seconds since the epoch, UTC.
        ended: its report, where there is no log to read it from; None: read the log.
    """

    id: str
    folder: Path
    pid: int = field(compare=False)
    host: str = field(compare=False)
    created: float = field(compare=False)
    ended: BuildReport | None = field(default=None, compare=False)
    _fold: _Fold = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fold", _Fold(self.folder))

    @property
    def progress(self) -> Progress:
        """How far it is. Reads what is new in the log; the value is shared, do not change it."""
        return self.ended.progress if self.ended is not None else self._fold.read()

    @property
    def status(self) -> RunStatus:
        """``running``, ``done``, ``failed``, ``interrupted``, or ``lost``."""
        state = self.progress.state
        if state != "running" or self._holds():
            return state
        # It may have ended between the two looks.
        state = self.progress.state
        return "lost" if state == "running" else state

    def events(self, follow: bool = False, timeout: float | None = None) -> Iterator[ev.Event]:
        """The events from the first one on.

        Args:
            follow: True: wait for more until the run has ended; False: those of this moment.
            timeout: stop following after so many seconds; None: follow to the end.
        """
        end = None if timeout is None else time.monotonic() + timeout
        tail = Tail(self.folder / "events.jsonl")
        while True:
            # Looked at before reading, so that nothing is missed.
            is_last = not follow or not self._holds() or _past(end)
            for event in tail.read():
                yield event
                is_last = is_last or isinstance(event, ev.RunFinished)
            if is_last:
                return
            time.sleep(POLL)

    def wait(self, timeout: float | None = None) -> BuildReport:
        """Wait for the end.

        Args:
            timeout: seconds; None: without limit.

        Returns:
            What ``build`` would have returned. Of a lost run: how far it came, ``interrupted``.

        Raises:
            TimeoutError: it goes on; it is not stopped.
            NbpipeError: what ended the build before its time, such as a full disk (StoreError).
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.status == "running":
            if _past(end):
                raise TimeoutError(f"run {self.id} has not ended within {timeout:g} s")
            time.sleep(POLL)
        self._await_end(LAST_WORDS)
        note = read_note(self.folder)
        if note is not None and note.error is not None:
            raise note.error.error()
        return self.report()

    def report(self) -> BuildReport:
        """How it ended, as ``build`` would have returned it.

        Raises:
            UsageError: it has not.
        """
        if self.ended is not None:
            return self.ended
        status = self.status
        if status == "running":
            raise UsageError(f"run {self.id} has not ended", "wait() waits for it")
        progress, note = self.progress, read_note(self.folder)
        code = {"done": 0, "failed": 1}.get(status, 130)
        died = (f"the process of this run (pid {self.pid} on {self.host}) died before its end",)
        return BuildReport(
            run=self.id,
            state="interrupted" if status == "lost" else progress.state,
            seconds=progress.seconds,
            tasks=progress.tasks,
            warnings=tuple(progress.warnings) + (died if status == "lost" else ()),
            exit_code=note.exit_code if note is not None and note.exit_code is not None else code,
        )

    def cancel(self, timeout: float = 5.0) -> bool:
        """Stop it, with every process that it started. Calling it again is harmless.

        The runner is asked to end in order: it ends its kernels, keeps what is finished and
        writes its last event. A background runner that has not done so when most of the time is
        over is killed. Of another kind of process only what it started for the build is.

        Args:
            timeout: seconds for all of it.

        Returns:
            Whether it was running.

        Raises:
            UsageError: it runs on another host.
            BuildError: it may not be signalled, or goes on although its tasks were killed.
        """
        end = time.monotonic() + timeout
        running = self._holds()
        if running:
            self._require_here()
            known = self._descendants()
            if not self._ask_to_end(0.75 * timeout):
                self._force(known, end)
        # What a task of a good run left behind on purpose is not ours to end.
        broken = running or self.status in ("lost", "interrupted")
        if broken and self.host == socket.gethostname():
            lost.end_processes({self.id}, self._home.parent, limit=max(0.5, end - time.monotonic()))
        if self.status == "lost":
            lost.settle_if_free(self._home, self._home.parent)
        return running

    @property
    def _home(self) -> Path:
        return self.folder.parent.parent

    @property
    def _is_background(self) -> bool:
        return (self.folder / LOG).exists()

    def _holds(self) -> bool:
        """Whether it goes on: it holds the pipeline, and its process lives as far as we can see."""
        if self.ended is not None:
            return False
        found = holder(self._home)
        if found is not None and found.run == self.id:
            return True
        return any(task.run == self.id for task in running_tasks(self._home))

    def _process(self) -> psutil.Process | None:
        """The runner's process; None: it has ended. A process that is younger is another one."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if lost.lives(process) and process.create_time() <= self.created + 1:
                return process
        return None

    def _require_here(self) -> None:
        if self.host != socket.gethostname():
            raise UsageError(
                f"run {self.id} runs on {self.host}, not on this machine",
                f"log in there, then: nbpipe cancel {self.id}",
            )

    def _descendants(self) -> list[psutil.Process]:
        """What a background runner has started, with the sessions of its kernels.

        What another kind of process has started may have nothing to do with the build.
        """
        runner = self._process() if self._is_background else None
        if runner is None:
            return []
        with contextlib.suppress(psutil.Error):
            children = runner.children(recursive=True)
            return list({p for child in children for p in (child, *processes.tree(child.pid))})
        return []

    def _ask_to_end(self, seconds: float) -> bool:
        """Signal the runner and wait; returns whether it has ended."""
        note, process = read_note(self.folder), self._process()
        if process is None:
            return True
        # SIGTERM would end a notebook's kernel; SIGINT interrupts the cell that builds.
        is_thread = note is not None and note.threaded
        try:
            process.send_signal(signal.SIGINT if is_thread else signal.SIGTERM)
        except psutil.NoSuchProcess:
            return True
        except psutil.Error as error:
            text = f"run {self.id}: pid {self.pid} cannot be signalled: {error}"
            raise BuildError(text) from None
        return self._await_end(seconds)

    def _await_end(self, seconds: float) -> bool:
        """Wait until it holds nothing; a background runner's process must be gone as well."""
        end = time.monotonic() + seconds
        while self._holds() or (self._is_background and self._process() is not None):
            if _past(end):
                return False
            time.sleep(0.02)
        return True

    def _force(self, known: list[psutil.Process], end: float) -> None:
        """Kill the runner first, lest it starts anew what dies under it; then what it started."""
        known = [*known, *self._descendants()]
        runner = self._process()
        if self._is_background and runner is not None:
            with contextlib.suppress(psutil.Error):
                runner.kill()
        limit = max(0.5, end - time.monotonic())
        lost.end_processes({self.id}, self._home.parent, known, limit)
        if not self._await_end(max(0.5, end - time.monotonic())):
            text = f"run {self.id}: its tasks were killed, but pid {self.pid} goes on"
            raise BuildError(text, "it is a terminal or a notebook: end it there")

    def __repr__(self) -> str:
        """One line: id, status, how many tasks have ended, and the process."""
        if not self.id:
            return "<Run: nothing to do>"
        progress = self.progress
        tasks = f"{progress.settled()}/{len(progress.tasks)} tasks"
        return f"<Run {self.id}: {self.status}, {tasks}, pid {self.pid} on {self.host}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from nbpipe.views.status import REPORT_HEAD, html_table, plain_table, report_cells

        cells, head = report_cells(self.progress), repr(self)
        return {
            "text/plain": f"{head}\n{plain_table(REPORT_HEAD, cells)}",
            "text/html": html_table(REPORT_HEAD, cells, head.strip("<>")),
        }


class _Fold:
    """The progress of a run, brought up to date from its log; may be used by many threads."""

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder / "events.jsonl")
        self._progress = Progress()
        self._lock = threading.Lock()

    def read(self) -> Progress:
        with self._lock:
            for event in self._tail.read():
                self._progress.apply(event)
        return self._progress


def running(home: Path) -> Run | None:
    """The run that holds the pipeline now; None: none does."""
    found = holder(home)
    if found is None or not (home / RUNS / found.run).is_dir():
        return None
    return Run(found.run, home / RUNS / found.run, found.pid, found.host, found.started)


def past(home: Path, run: str = "last") -> Run:
    """A run that goes on or has ended.

    Args:
        home: the ``.nbpipe`` folder.
        run: its id; ``last``: the latest.

    Raises:
        UsageError: there is no such run.
    """
    for folder in reversed(run_folders(home)):
        note = read_note(folder) if run in ("last", folder.name) else None
        if note is not None:
            return Run(folder.name, folder, note.pid, note.host, note.started)
    known = [folder.name for folder in run_folders(home)]
    raise UsageError(f"no run '{run}'", did_you_mean(run, known))


def without_work(home: Path, report: BuildReport) -> Run:
    """The run that was not made, because there was nothing to do."""
    return Run("", home / RUNS, 0, socket.gethostname(), time.time(), report)


def _past(end: float | None) -> bool:
    return end is not None and time.monotonic() >= end
