"""The background runner's process: ``python -m nbpipe.cli.runner REQUEST``, for ``run.launch``.

It builds as the terminal does. What it prints goes to ``runner.log`` in the run's folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
from pathlib import Path

import msgspec

from nbpipe.cli.process import settle
from nbpipe.core import events as ev
from nbpipe.errors import NbpipeError
from nbpipe.pipeline import Pipeline
from nbpipe.run.background import LOG
from nbpipe.run.eventlog import RUNS
from nbpipe.run.launch import MARK, Answer, Request
from nbpipe.run.note import Trouble
from nbpipe.run.report import BuildReport
from nbpipe.store.env import Env
from nbpipe.store.specfile import Entry
from nbpipe.views.progress import PlainLines, failure_lines

LOCK_PATIENCE = 0.3
"""Seconds: a run that has just ended may still be letting go of the lock."""


def main() -> None:
    """Leave the caller, build, and exit with the build's code."""
    request = msgspec.json.decode(sys.argv[1], type=Request)
    detach()
    settle()
    # A shell's background job ignores SIGINT, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answer(Answer(pid=os.getpid()))
    sys.exit(build(request))


def detach() -> None:
    """Become nobody's child, in a session of our own. Windows needs none of this."""
    if sys.platform != "win32":
        if os.fork():
            os._exit(0)
        os.setsid()


def answer(said: Answer, stream: int = 1) -> None:
    """Tell the caller; one that is gone does not matter."""
    with contextlib.suppress(OSError), open(stream, "wb", closefd=False) as out:
        out.write(f"{MARK}{msgspec.json.encode(said).decode()}\n".encode())


class Reporter:
    """Answers when the run has begun, then writes its log.

    Args:
        home: the ``.nbpipe`` folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.begun = False
        self._lines = PlainLines(print)

    def __call__(self, event: ev.Event) -> None:
        """Take one event in."""
        if isinstance(event, ev.RunStarted):
            self.begun = True
            turn_output(self.home / RUNS / event.run / LOG, Answer(run=event.run))
        self._lines(event)


def turn_output(path: Path, last: Answer) -> None:
    """What is printed from now on goes to a file; give the last answer and let go of the pipe."""
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # the run's own error will tell
        log = os.open(os.devnull, os.O_WRONLY)
    pipe = os.dup(1)
    for stream in (1, 2):
        os.dup2(log, stream)
    answer(last, pipe)
    os.close(log)
    os.close(pipe)
    for text in (sys.stdout, sys.stderr):
        if isinstance(text, io.TextIOWrapper):
            text.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def build(request: Request) -> int:
    """Build what is asked for; returns the exit code."""
    reporter: Reporter | None = None
    try:
        file = Path(request.file)
        entry = Entry(file, Path(request.root or file.parent), request.pattern)
        env = Env(request.overrides, request.cwd)
        pipeline = Pipeline.load(entry, cells=request.cells, env=env, call=True)
        reporter = Reporter(pipeline.store.home)
        report = pipeline.build(
            *request.names,
            force=request.force,
            upstream=request.upstream,
            upstream_of=request.upstream_of,
            jobs=request.jobs,
            keep_going=request.keep_going,
            executor=request.executor,
            settings=request.settings,
            store=request.store,
            debug_later=request.debug_later,
            wait=LOCK_PATIENCE,
            on_event=reporter,
        )
    except NbpipeError as error:
        if reporter is None or not reporter.begun:
            answer(Answer(error=Trouble.of(error)))
        else:
            print(error)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return end(report)


def end(report: BuildReport) -> int:
    """Say how it ended, to the caller or to the log; returns the exit code."""
    if not report.run:
        answer(Answer(report=report))
        return 0
    for name, task in report.tasks.items():
        if task.failure is not None:
            print("", *failure_lines(name, task.failure, traceback=True), sep="\n")
    print(f"\n{report}")
    return report.exit_code


if __name__ == "__main__":
    main()
