"""What a Dask worker does with a task: runs ``nbpipe task NAME --only`` and watches over it.

The task is a process in a session of its own, so that all of it can be ended: Dask does not stop a
function that runs, whoever cancels it. Three things end the process: the builder sets the job's
``distributed.Event``; the worker closes, as it does when it has lost the scheduler; or the worker
dies, which the system tells the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec
from distributed import Event, Status, get_client, get_worker

from nbpipe.core.model import Job
from nbpipe.executors.processes import end_tree
from nbpipe.executors.sentoff import LONGEST_TAIL, WAIT, Ending, Told, last_lines

POLL = 0.5
"""Seconds between two looks at the event, and at the worker."""

GRACE = 10.0
"""Seconds that the process has to end its kernels and to note that it was stopped."""

BEGUN = "begun"
"""The first thing that is told of a job: a worker has it."""

OPEN = {Status.running, Status.paused, Status.init}
"""States of a worker that goes on."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is asked to do.

    Attributes:
        job: as JSON, so that nothing of it depends on pickle.
        topic: under which it tells what happens.
        name: of the job; its event is called so too.
        folder: the project there; None: where it is for the builder.
    """

    job: bytes
    topic: str
    name: str
    folder: str | None = None


def attend(order: Order) -> tuple[str, bytes]:
    """Run a task to its end.

    Returns:
        The worker's address, and an ``Ending`` as JSON.
    """
    worker = get_worker()
    event = Event(order.name, client=get_client())
    job = msgspec.json.decode(order.job, type=Job)
    folder = Path(order.folder or job.root)

    def tell(line: str) -> None:
        worker.log_event(order.topic, [order.name, line])

    def given_up() -> bool:
        if worker.status not in OPEN:
            return True
        try:
            return bool(event.is_set())
        except Exception:  # the scheduler is gone, and with it who would hear of the result
            return True

    tell(BEGUN)
    if given_up():
        ending = Ending(code=-15)
    elif not folder.is_dir():
        ending = Ending(code=2, tail=f"there is no folder {folder}")
    else:
        ending = run(job, folder, tell, given_up)
    return worker.address, msgspec.json.encode(ending)


def run(
    job: Job, folder: Path, tell: Callable[[str], None], given_up: Callable[[], bool]
) -> Ending:
    """Run the command of a job, telling what it tells.

    Args:
        job: the task.
        folder: where the project is.
        tell: takes each line that the builder wants to hear.
        given_up: whether nobody wants the result any more; asked every now and then.
    """
    told = Told()
    with tempfile.TemporaryFile() as errors, _started(job, folder, errors) as process:
        assert process.stdout is not None
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(process, ended, given_up), daemon=True)
        watch.start()
        for line in process.stdout:
            if told.take(line) is not None:
                tell(line.decode().strip())
        code = process.wait()
        ended.set()
        watch.join()
        return told.ending(code, _tail(errors))


@contextlib.contextmanager
def _started(job: Job, folder: Path, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    leash = [sys.executable, "-P", "-m", "nbpipe.executors.leash", str(os.getpid())]
    with subprocess.Popen(
        [*leash, *job.command, WAIT, "--json"],
        cwd=folder,
        env={**os.environ, **job.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    ) as process:
        yield process


def _watch(
    process: subprocess.Popen[bytes], ended: threading.Event, given_up: Callable[[], bool]
) -> None:
    """End the process, and all that it has started, once nobody wants its result.

    What outlives the process is ended too: it would hold the pipe open that is being read.
    """
    while not ended.wait(POLL):
        if process.poll() is not None or given_up():
            asyncio.run(end_tree(process.pid, grace=GRACE))
            return


def _tail(errors: IO[bytes]) -> str:
    """The end of what was written to a file."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - LONGEST_TAIL))
    return last_lines(errors.read().decode(errors="replace").splitlines())
