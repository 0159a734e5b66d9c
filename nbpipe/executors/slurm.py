"""Runs tasks on a SLURM cluster, through ``sbatch``, ``squeue`` and ``scancel``.

A task is a batch job that runs ``nbpipe task NAME --only``. All that will run in any case is handed
over at once, each job after those of its upstreams (``afterok``), so that the queue is waited for
once and not at every step. The project's folder is on a file system that the nodes see too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from nbpipe.core import events as ev
from nbpipe.core.model import Job, Outcome
from nbpipe.errors import UsageError
from nbpipe.executors import slurm_jobs as jobs
from nbpipe.executors.base import Emit
from nbpipe.executors.processes import to_the_end
from nbpipe.executors.sentoff import Told, failed, last_lines, outcome

POLL = 1.0
"""Seconds between two looks at the queue while something happens there."""

LONGEST_POLL = 15.0
"""Seconds between two looks when nothing has for a while; the queue belongs to many."""

PATIENCE = 600.0
"""Seconds for which the queue may not answer, as while its controller is restarted."""

ENDING = 60.0
"""Seconds until a cancelled job counts as one that cannot be ended (SLURM's KillWait is 30)."""

GATHER = 0.05
"""Seconds for which jobs to cancel are gathered."""

AT_ONCE = 500
"""Jobs that one call cancels at most."""

SEEN = 20.0
"""Seconds until what a node wrote can be read here."""


class _Handed:
    """A job that SLURM has.

    Args:
        number: its id; of a part of an array with the part's own number.
        job: what runs.
        log: where what it prints goes.
    """

    def __init__(self, number: str, job: Job, log: str) -> None:
        self.number = number
        self.job = job
        self.log = log
        self.state: jobs.State | None = None
        self.told = Told()
        self.ended = asyncio.Event()
        self._read = 0

    def hear(self) -> list[ev.Event]:
        """What the job has told since the last time."""
        try:
            with jobs.events_of(self.job).open("rb") as lines:
                lines.seek(self._read)
                whole, end, _ = lines.read().rpartition(b"\n")
        except OSError:
            return []
        self._read += len(whole) + len(end)
        return [event for line in whole.splitlines() if (event := self.told.take(line))]


class SlurmError(Exception):
    """SLURM refused something, or its commands are not here."""


class SlurmExecutor:
    """Sends whole tasks to a SLURM cluster.

    Args:
        partition: where jobs go; None: as the cluster, or ``SBATCH_PARTITION``, says.
        account: to which they are charged; None: as the cluster, or ``SBATCH_ACCOUNT``, says.
        time: limit of a task without a timeout, such as ``2:00:00``; None: as the cluster says.
        options: further options of ``sbatch``, as in a shell.
        setup: a line of shell before each task, such as ``module load python``.
        python: interpreter on the nodes; None: this one.

    Raises:
        UsageError: ``options`` cannot be split into words.
    """

    records_itself: Literal[True] = True

    def __init__(
        self,
        partition: str | None = None,
        account: str | None = None,
        time: str | None = None,
        options: str = "",
        setup: str = "",
        python: str | None = None,
    ) -> None:
        try:
            words = tuple(shlex.split(options))
        except ValueError as error:
            raise UsageError(f"executor 'slurm': options={options}: {error}") from error
        self._site = jobs.Site(
            partition=partition,
            account=account,
            time=time,
            options=words,
            setup=setup,
            python=python or sys.executable,
        )
        self._ahead: dict[str, _Handed] = {}
        self._all: dict[str, _Handed] = {}
        self._doomed: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def submit_ahead(self, ahead: Sequence[tuple[Job, Sequence[str]]]) -> None:
        """Hand over what will run, each job after those that it needs.

        What SLURM does not take is left to :meth:`run`, which tells why.

        Args:
            ahead: each job, in an order in which they can run, with the tasks in ``ahead`` that
                it needs.
        """
        waiting = list(ahead)
        while waiting:
            known = self._ahead
            ready = [
                jobs.Ready(job=job, after=tuple(known[up].number for up in ups))
                for job, ups in waiting
                if all(up in known for up in ups)
            ]
            waiting = [(job, ups) for job, ups in waiting if any(up not in known for up in ups)]
            for handed in await self._hand_over_all(ready):
                known[handed.job.task] = handed
            if not ready:
                return

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Wait for the end of a job, which SLURM may have already."""
        handed = self._ahead.pop(job.task, None)
        try:
            if handed is None:
                [handed] = await self._hand_over([jobs.Ready(job=job)])
            await self._follow(handed, emit)
            if handed.state is not None and handed.state.reason == jobs.UPSTREAM_FAILED:
                # It has been tried again since, and has ended well: else we were not asked.
                [handed] = await self._hand_over([jobs.Ready(job=job)])
                await self._follow(handed, emit)
        except asyncio.CancelledError:
            if handed is not None:
                await to_the_end(self._cancel([handed]))
            raise
        except SlurmError as error:
            return failed(job, "SlurmError", str(error))
        return await self._outcome(handed)

    async def close(self) -> None:
        """Cancel what SLURM still has, and look no more."""
        left = [handed for handed in self._all.values() if not handed.ended.is_set()]
        if left:
            await self._cancel(left)
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None

    # -- handing over --------------------------------------------------------------------------

    async def _hand_over_all(self, ready: Iterable[jobs.Ready]) -> list[_Handed]:
        """As arrays where that can be; what SLURM does not take is left out."""
        found = []
        for group in jobs.arrays(ready):
            try:
                found += await self._hand_over(group)
            except SlurmError:
                for one in group if len(group) > 1 else ():
                    with contextlib.suppress(SlurmError):
                        found += await self._hand_over([one])
        return found

    async def _hand_over(self, group: Sequence[jobs.Ready]) -> list[_Handed]:
        words, text = jobs.sbatch(group, self._site), jobs.script(group, self._site)
        said = await _call(*words, text=text, environ=group[0].job.environ)
        number = said.strip().splitlines()[-1].partition(";")[0]
        handed = [
            _Handed(f"{number}_{n}", one.job, f"{one.job.folder}/slurm-{number}_{n}.log")
            if len(group) > 1
            else _Handed(number, one.job, str(jobs.log_of(one.job)))
            for n, one in enumerate(group)
        ]
        self._all |= {one.number: one for one in handed}
        return handed

    # -- following -----------------------------------------------------------------------------

    async def _follow(self, handed: _Handed, emit: Emit) -> None:
        """Wait until a job has ended, and pass on what it tells."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        ended = asyncio.ensure_future(handed.ended.wait())
        try:
            while not ended.done():
                await asyncio.wait([ended, self._looking], timeout=POLL)
                before = handed.told.state
                for event in handed.hear():
                    emit(event)
                if handed.told.state != before:
                    self._news.set()
                if self._looking.done() and not handed.ended.is_set():
                    self._looking.result()
        finally:
            ended.cancel()

    async def _look(self) -> None:
        """Look at the queue until the executor is closed.

        Raises:
            SlurmError: it has not answered for long.
        """
        clock = asyncio.get_running_loop().time
        pause, answered = POLL, clock()
        while True:
            left = {n: one for n, one in self._all.items() if not one.ended.is_set()}
            try:
                changed = bool(left) and await self._update(left)
                answered = clock()
            except SlurmError:
                if clock() - answered > PATIENCE:
                    raise
                changed = False
            pause = POLL if changed or self._news.is_set() else min(1.2 * pause, LONGEST_POLL)
            self._news.clear()
            await asyncio.sleep(POLL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), pause - POLL)

    async def _update(self, left: dict[str, _Handed]) -> bool:
        """Take in what the queue says; returns whether anything has changed."""
        fields = ",".join(f"{name}:|" for name in jobs.FIELDS)
        states = jobs.read_states(
            await _call("squeue", "--me", "--noheader", "--array", "--states=all", "-O", fields)
        )
        changed = False
        for number, one in left.items():
            state = states.get(number)
            changed = changed or state != one.state
            # One that was there and is not has ended so long ago that SLURM has forgotten it.
            one.state = state
            if state is None or state.ended:
                one.ended.set()
        return changed

    async def _cancel(self, handed: Sequence[_Handed]) -> None:
        """End jobs, and wait until they have ended."""
        self._doomed |= {one.number for one in handed}
        await asyncio.sleep(GATHER)
        # The first one to come here cancels for all: a build may have hundreds.
        doomed, self._doomed = sorted(self._doomed), set()
        for first in range(0, len(doomed), AT_ONCE):
            with contextlib.suppress(SlurmError):
                await _call("scancel", *doomed[first : first + AT_ONCE])
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                await asyncio.gather(*(one.ended.wait() for one in handed))

    async def _outcome(self, handed: _Handed) -> Outcome:
        job, where = handed.job, f"SLURM (job {handed.number})"
        await _read_all(handed)
        _keep_log(handed)
        state = handed.state
        if state is None:
            code = {"done": 0, "failed": 1}.get(handed.told.state or "")
            if code is None:
                return failed(job, "JobLost", f"{where} is not known to squeue any more")
            state = jobs.State("", code << 8, "")
        ending = handed.told.ending(state.code, _tail(jobs.log_of(job)))
        why = jobs.not_by_itself(state, ending)
        if why is not None:
            hint = f"its log: {os.path.relpath(jobs.log_of(job), job.root)}"
            return failed(job, state.name, f"{where}: {why}", hint)
        return outcome(job, ending, where)


async def _read_all(handed: _Handed) -> None:
    """Hear the rest, which a network file system may show late."""
    handed.hear()
    end = asyncio.get_running_loop().time() + SEEN
    expects = handed.state is None or (handed.state.name == "FAILED" and handed.state.code == 1)
    while expects and handed.told.state is None and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.2)
        handed.hear()


def _keep_log(handed: _Handed) -> None:
    """Give the log of an array's part the name of its task."""
    with contextlib.suppress(OSError):
        os.replace(handed.log, jobs.log_of(handed.job))


def _tail(log: Path) -> str:
    try:
        return last_lines(log.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return ""


async def _call(*words: str, text: str = "", environ: Mapping[str, str] | None = None) -> str:
    """Call one of SLURM's commands; returns what it prints.

    Raises:
        SlurmError: it fails, or is not installed.
    """
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **(environ or {})}
        )
    except FileNotFoundError:
        raise SlurmError(f"{words[0]}: not found; is this a machine that SLURM knows?") from None
    said, wrong = await process.communicate(text.encode())
    if process.returncode:
        raise SlurmError(f"{words[0]}: {last_lines(wrong.decode(errors='replace').splitlines())}")
    return said.decode()
