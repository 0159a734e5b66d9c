"""The jobs of a pipeline on AWS Batch: submitted in order, followed, ended.

No job is left behind: a signal, or an error in the middle, ends all that was submitted. A request
that was lost on its way may have been carried out, so it is not simply made again: every job is
marked with the id of its submission, and is looked for first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from nbpipe.errors import InterruptedBuildError, NbpipeError, StoreError
from nbpipe.exporters.aws_batch import BatchJob, Workload
from nbpipe.run import batch_service as service

MARK = "NBPIPE_SUBMISSION"
"""Variable of every job: the id of its submission."""

POLL = 2.0
"""Seconds between two looks at the jobs, at first and while something happens."""

LONGEST_POLL = 30.0
"""Seconds between two looks when nothing has happened for a while."""

PATIENCE = 600.0
"""Seconds for which AWS Batch may not answer while jobs are followed."""

ENDING = 120.0
"""Seconds until a job that was told to end counts as one that cannot be ended."""

PAUSE = 1.0
"""Seconds before a request is made again; every further pause is twice as long."""

AT_ONCE = 100
"""Jobs that one request asks about at most."""

FINAL = ("SUCCEEDED", "FAILED")

OWN_CODES = (2, 3, 4)
"""Exit codes of a task's command that are not about the task's own code."""


class NotFollowed(StoreError):
    """AWS Batch has not answered for long; the jobs that it has go on."""


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job.

    Attributes:
        job: id that AWS Batch gave it.
        name: of the job.
        task: what it runs; None: it joins others.
        status: as AWS Batch calls it: ``SUBMITTED`` … ``RUNNING``, ``SUCCEEDED``, ``FAILED``.
        code: exit code of its last try; None: not known, or none.
        reason: why it ended, as AWS Batch says it; None: it says nothing.
        log: name of its stream in the log group ``/aws/batch/job``; None: it has none yet.
        ran: whether it ever had a machine.
    """

    job: str
    name: str
    task: str | None
    status: str
    code: int | None = None
    reason: str | None = None
    log: str | None = None
    ran: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in FINAL


class Stop:
    """Signals as something to be looked at; a second one raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._came = threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if os.name != "nt" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = [signal.signal(number, self._take) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def pause(self, seconds: float) -> None:
        """Wait, at most until a signal comes."""
        self._came.wait(seconds)

    def check(self) -> None:
        """Go on only if no signal has come.

        Raises:
            InterruptedBuildError: one has.
        """
        if self.number is not None:
            error = InterruptedBuildError("interrupted: the jobs were ended")
            error.exit_code = 128 + self.number
            raise error

    def _take(self, number: int, frame: object) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        self._came.set()


class Submission:
    """One pipeline on AWS Batch, from the first request to the last state.

    Args:
        clients: of AWS Batch.
        queue: name or ARN of the job queue.
        tell: called with a job's state when it is submitted and whenever its status changes.
        mark: an id that no other submission has.

    Attributes:
        states: of the jobs that were submitted, in that order, by name.
    """

    def __init__(
        self,
        clients: service.Clients,
        queue: str,
        tell: Callable[[JobState], None],
        mark: str,
    ) -> None:
        self.states: dict[str, JobState] = {}
        self._clients = clients
        self._queue = queue
        self._tell = tell
        self._mark = mark
        self._stop = Stop()
        self._unsure: BatchJob | None = None

    def run(self, workload: Workload, *, wait: bool) -> None:
        """Submit all jobs, and follow them to their end if that is wanted.

        Raises:
            UsageError: AWS refuses a request.
            StoreError: AWS Batch cannot be reached.
            NotFollowed: it cannot be reached any more; the jobs go on.
            InterruptedBuildError: a signal came.
            KeyboardInterrupt: a second one came while the jobs were ended.
        """
        with self._stop.watching():
            try:
                self._submit_all(workload)
                if wait:
                    self._follow()
            except BaseException as error:
                if isinstance(error, NotFollowed):
                    raise
                if not isinstance(error, NbpipeError):  # perhaps nobody listens any more
                    self._tell = lambda state: None
                left = self.end(f"nbpipe submit: {error or type(error).__name__}")
                if left and isinstance(error, NbpipeError):
                    error.hint = f"these jobs may still run: {' '.join(left)}"
                raise

    def end(self, reason: str) -> list[str]:
        """End all jobs, those that wait for others first; returns the ids of those that go on."""
        if self._unsure is not None:
            with contextlib.suppress(NbpipeError):
                if (found := self._find(self._unsure)) is not None:
                    self._add(self._unsure, found)
        for state in reversed(self._left()):
            with contextlib.suppress(NbpipeError):
                service.call(
                    self._clients.patient.terminate_job, jobId=state.job, reason=reason[:1000]
                )
        end = time.monotonic() + ENDING
        while self._left() and time.monotonic() < end:
            with contextlib.suppress(NbpipeError):
                self._look()
            if self._left():
                time.sleep(1.0)
        return [state.job for state in self._left()]

    @property
    def exit_code(self) -> int:
        """0: no job has failed; else that of the first that failed by itself, or 1."""
        failed = [state for state in self.states.values() if state.status == "FAILED"]
        own = [state for state in failed if state.ran] or failed
        if not own:
            return 0
        code = own[0].code
        return code if code in OWN_CODES else 1

    # -- submitting --------------------------------------------------------------------------------

    def _submit_all(self, workload: Workload) -> None:
        for name, definition in workload.definitions.items():
            self._stop.check()
            self._register(name, definition)
        for job in workload.jobs:
            self._stop.check()
            self._add(job, self._submit(job))
        self._stop.check()

    def _register(self, name: str, definition: dict[str, Any]) -> None:
        """A definition of this name has this content: one is enough for ever."""
        patient = self._clients.patient
        known = service.call(
            patient.describe_job_definitions, jobDefinitionName=name, status="ACTIVE"
        )
        if not known["jobDefinitions"]:
            service.call(patient.register_job_definition, **definition)

    def _submit(self, job: BatchJob) -> str:
        """The id of a new job."""
        request = {
            "jobName": job.name,
            "jobQueue": self._queue,
            "jobDefinition": job.definition,
            "parameters": job.parameters,
            "dependsOn": [{"jobId": self.states[name].job} for name in job.after],
            "containerOverrides": {"environment": [{"name": MARK, "value": self._mark}]},
        }
        self._unsure = job
        found = self._submitted(job, request)
        self._unsure = None
        return found

    def _submitted(self, job: BatchJob, request: dict[str, Any]) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        for attempt in range(service.TRIES):
            if attempt:
                self._stop.pause(PAUSE * 2.0 ** (attempt - 1))
                self._stop.check()
                if (found := self._find(job)) is not None:
                    return found
            try:
                return str(self._clients.once.submit_job(**request)["jobId"])
            except (BotoCoreError, ClientError) as error:
                last = error
                if not service.is_passing(error):
                    break
        raise service.translated(last) from last

    def _find(self, job: BatchJob) -> str | None:
        """The id of a job of this submission whose request was not answered."""
        by_name = [{"name": "JOB_NAME", "values": [job.name]}]
        listed = service.call(
            self._clients.patient.list_jobs, jobQueue=self._queue, filters=by_name
        )
        mark = {"name": MARK, "value": self._mark}
        for number in [found["jobId"] for found in listed["jobSummaryList"]][:AT_ONCE]:
            [told] = self._describe([number]) or [{}]
            if mark in told.get("container", {}).get("environment", []):
                return str(number)
        return None

    def _add(self, job: BatchJob, number: str) -> None:
        self._take(JobState(job=number, name=job.name, task=job.task, status="SUBMITTED"))

    # -- following ---------------------------------------------------------------------------------

    def _follow(self) -> None:
        pause, answered = POLL, time.monotonic()
        while self._left():
            self._stop.pause(pause)
            self._stop.check()
            try:
                changed = self._look()
                answered = time.monotonic()
            except NbpipeError as error:
                if time.monotonic() - answered > PATIENCE:
                    hint = "the jobs go on, and their results come into the store"
                    raise NotFollowed(error.message, hint) from error
                changed = False
            pause = POLL if changed else min(1.5 * pause, LONGEST_POLL)

    def _left(self) -> list[JobState]:
        return [state for state in self.states.values() if not state.ended]

    def _look(self) -> bool:
        """Ask for the states of the jobs that have not ended; returns whether one has changed."""
        left = {state.job: state for state in self._left()}
        changed = False
        for first in range(0, len(left), AT_ONCE):
            for told in self._describe(list(left)[first : first + AT_ONCE]):
                before = left[told["jobId"]]
                if told["status"] != before.status:
                    self._take(_state(before, told))
                    changed = True
        return changed

    def _describe(self, numbers: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = service.call(
            self._clients.patient.describe_jobs, jobs=numbers
        )["jobs"]
        return found

    def _take(self, state: JobState) -> None:
        self.states[state.name] = state
        self._tell(state)


def _state(before: JobState, told: dict[str, Any]) -> JobState:
    """What a description of a job tells."""
    tries = told.get("attempts", [])
    container = {**(tries[-1].get("container", {}) if tries else {}), **told.get("container", {})}
    return JobState(
        job=before.job,
        name=before.name,
        task=before.task,
        status=told["status"],
        code=container.get("exitCode"),
        reason=told.get("statusReason") or container.get("reason"),
        log=container.get("logStreamName"),
        ran=bool(tries),
    )
