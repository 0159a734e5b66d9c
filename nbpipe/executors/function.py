"""Calls a function of the project in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import msgspec

from nbpipe.core.model import Failure, Job, Outcome
from nbpipe.errors import StoreError
from nbpipe.executors import processes
from nbpipe.executors.base import Emit
from nbpipe.executors.failures import cut_middle
from nbpipe.executors.output import Clip, last_words

TIMEOUT_GRACE = 0.5
"""Seconds between SIGTERM and SIGKILL when a function has run out of time."""

LAST_LINES = 40
"""Lines of the log that tell of a process's death."""

LAST_OUTPUT = 1.0
"""Seconds to wait for the output of a process that has ended."""


class FunctionExecutor:
    """Runs ``module.function`` jobs, each in a fresh Python.

    The function gets, of ``product``, ``upstream`` and the params, what its signature names. What
    it prints goes to ``<folder>/<stem>.log``, of which a very long middle is left out.
    """

    starts_processes = True

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Call the function and wait for its process to end."""
        result = Path(job.folder) / f".{job.stem}.{job.attempt}.result"
        path = Path(job.folder) / f"{job.stem}.log"
        result.unlink(missing_ok=True)
        process = await _start(job, result)
        log = asyncio.ensure_future(_copy(process, path))
        try:
            async with asyncio.timeout(job.timeout) as limit:
                await _hand_over(process, job)
                await process.wait()
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"the task took longer than its timeout of {job.timeout:g} s"
            return Outcome(failure=Failure(error="Timeout", message=message))
        finally:
            await processes.to_the_end(_finish(process, log))
            outcome = _read(result)
        return _judge(outcome, process.returncode or 0, path)

    async def close(self) -> None:
        """Nothing is held between jobs."""


async def _start(job: Job, result: Path) -> Process:
    # -P: no file of the project can stand in for a module that nbpipe itself imports.
    command = [sys.executable, "-P", "-m", "nbpipe.executors.call", str(result), str(os.getpid())]
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=job.root,
        env=os.environ | job.environ | {"NBPIPE_TASK": job.task},
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )


async def _hand_over(process: Process, job: Job) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(msgspec.json.encode(job))
        await process.stdin.drain()
    process.stdin.close()


async def _finish(process: Process, log: asyncio.Future[None]) -> None:
    """End what the function left behind, and keep the output that is on its way."""
    grace = TIMEOUT_GRACE if process.returncode is None else 0.0
    await processes.end_tree(process.pid, grace=grace)
    await process.wait()
    await asyncio.wait({log}, timeout=LAST_OUTPUT)
    if not log.done():  # a descendant that escaped holds the pipe
        log.cancel()
        await asyncio.wait({log})
    if not log.cancelled():
        log.result()


async def _copy(process: Process, path: Path) -> None:
    """Write the output to the log as it comes, until there is too much: then only its end."""
    assert process.stdout is not None
    clip = Clip()
    try:
        with path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as log:
            try:
                while chunk := await process.stdout.read(1 << 16):
                    log.write(clip.add(chunk.decode("utf-8", "surrogateescape")))
                    log.flush()
            finally:
                log.write(clip.rest())
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written: {error.strerror}",
            hint="check the free space and the permissions of the folder",
        ) from error
    if path.stat().st_size == 0:
        path.unlink()


def _read(result: Path) -> Outcome | None:
    """What the function's process said of itself; None: it did not come to that."""
    try:
        return msgspec.json.decode(result.read_bytes(), type=Outcome)
    except (OSError, msgspec.DecodeError):
        return None
    finally:
        result.unlink(missing_ok=True)


def _judge(outcome: Outcome | None, code: int, log: Path) -> Outcome:
    """A result counts only if the process then ended well: a crash may have lost data."""
    if outcome is not None and (outcome.failure is not None or code == 0):
        return outcome
    how = processes.describe_exit(code)
    if outcome is not None:
        message = f"the process died after the function had returned ({how})"
    else:
        message = f"the process died in the function ({how}{', by os._exit?' * (code >= 0)})"
    trace = cut_middle(last_words(log).splitlines()[-LAST_LINES:])
    return Outcome(failure=Failure(error="ProcessDied", message=message, traceback=trace))
