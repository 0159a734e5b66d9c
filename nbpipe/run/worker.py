"""One task of a build, from its start to its record.

The protocol: ``started`` durable → run → products checked → inputs hashed again → executed notebook
moved into place → ``done`` durable. A good product is never deleted first.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph
from nbpipe.core.model import Failure, Job, Kind, Outcome, Record, Task
from nbpipe.core.plan import offer
from nbpipe.errors import NbpipeError, StoreError
from nbpipe.executors.base import Executor, RecordsItself
from nbpipe.run import elsewhere, finish, prepare
from nbpipe.run.eventlog import EventLog
from nbpipe.run.hooks import RunHooks
from nbpipe.run.keeper import Keeper
from nbpipe.run.machine import Devices, environment
from nbpipe.run.settings import Settings
from nbpipe.run.sharing import Share
from nbpipe.store.bytecode import drop_racy
from nbpipe.store.facts import Gatherer, Taken
from nbpipe.store.records import RecordStore


class Worker:
    """Runs tasks of one build, several at once, and records what came of them.

    Args:
        graph: the pipeline.
        gatherer: reads sources and products.
        store: the records.
        executors: makes the executor of a kind of task when it is first needed.
        settings: how to build.
        share: results that other machines see; None: only those of this folder.

    Attributes:
        records: of every task that has one, as they are now.
        offers: what each settled task offers to its consumers, as a digest; None: nothing good.
        devices: the GPUs that tasks are given.
        hooks: what is called around a task.
        on_left: called with the name of a task when its code has run well and nothing of it runs
            any more.
    """

    hooks: RunHooks
    on_left: Callable[[str], None] = staticmethod(lambda task: None)

    def __init__(
        self,
        graph: Graph,
        gatherer: Gatherer,
        store: RecordStore,
        executors: Callable[[Kind], Executor],
        settings: Settings,
        share: Share | None,
    ) -> None:
        self.records: dict[str, Record] = {}
        self.offers: dict[str, str | None] = {}
        self.devices = Devices(())
        self._graph = graph
        self._gatherer = gatherer
        self._store = store
        self._settings = settings
        self._share = share
        self._keeper = Keeper(gatherer.root)
        self._make_executor = executors
        self._executors: dict[Kind, Executor] = {}
        self._folder: Path
        self._log: EventLog

    def begin(self, folder: Path, log: EventLog) -> None:
        """Take the run's folder and the log for its events."""
        self._folder, self._log = folder, log

    async def close(self, *, went_well: bool) -> None:
        """End all executors, and what a build that did not go well has left running."""
        for executor in self._executors.values():
            await executor.close()
        await asyncio.to_thread(self._keeper.close, self._folder.name, went_well=went_well)

    async def attempt(self, name: str, attempt: int, began: float) -> Failure | None:
        """Run a task once, and record it if that went well.

        Args:
            name: of the task; its upstreams are settled.
            attempt: 1 for the first.
            began: when it began, seconds since the epoch, UTC.
        """
        task = self._graph.tasks[name]
        executor = self.executor(task.kind)
        if isinstance(executor, RecordsItself):
            return await self._send_off(executor, task, attempt)
        clock = time.monotonic()
        devices = self.devices.give(name, task.resources.gpu or 0)
        environ = environment(task.resources, devices, os.environ)
        environ |= prepare.asked_of(self._gatherer.spec.meta, self._settings, self._folder, task)
        try:
            taken, job = await asyncio.to_thread(self._begin, task, attempt, began, environ)
        except StoreError:
            raise
        except NbpipeError as error:
            return Failure(error=type(error).__name__, message=str(error), file=task.source)
        outcome = await self._execute(job)
        if outcome.failure is not None:
            return outcome.failure
        if (bad := await self.hooks.after(task, outcome)) is not None:
            return finish.in_hook(bad, outcome, self._gatherer.root)
        timing = finish.Timing(started=began, seconds=time.monotonic() - clock)
        self.on_left(name)
        return await asyncio.to_thread(self._finish, task, taken, outcome, timing)

    def _begin(
        self, task: Task, attempt: int, began: float, environ: dict[str, str]
    ) -> tuple[Taken, Job]:
        """Read the source, make the promise durable, make the job."""
        record = self.records.get(task.name)
        offers = {up: self.offers[up] for up in self._graph.upstream[task.name]}
        prepare.check_offers(offers)
        taken = self._gatherer.take(task, record, offers)
        job = prepare.make_job(
            self._graph, self._gatherer, task, taken, self._folder, attempt, environ
        )
        self._save(prepare.started_record(task.name, record, self._folder.name, began))
        drop_racy(self._gatherer.code_files(task, taken))
        prepare.make_folders(self._gatherer.root, task)
        return taken, job

    async def _send_off(self, executor: RecordsItself, task: Task, attempt: int) -> Failure | None:
        """Let a task be run elsewhere, by a process that records it, and read its record."""
        offers = {up: self.offers[up] for up in self._graph.upstream[task.name]}
        sent, job = self.sent_off(task.name, offers, attempt)
        outcome = await self._run_job(executor, job)
        if outcome.failure is not None:
            return outcome.failure
        record = await asyncio.to_thread(
            elsewhere.read_record, self._gatherer, self._store, self._share, sent
        )
        if record is None:
            return elsewhere.not_recorded(task)
        self.take_in(record)
        return None

    def sent_off(
        self, name: str, offers: dict[str, str | None], attempt: int
    ) -> tuple[elsewhere.Sent, Job]:
        """A task as it is sent off to be run elsewhere, and the job that does it."""
        sent = elsewhere.Sent(
            task=self._graph.tasks[name],
            named=self._settings.sent_off or (),
            offers=offers,
            old=self.records.get(name),
            forced=name in self._settings.force,
        )
        return sent, elsewhere.make_job(
            self._graph, self._gatherer, sent, self._folder, attempt, self._share
        )

    async def _execute(self, job: Job) -> Outcome:
        return await self._run_job(self.executor(job.kind), job)

    async def _run_job(self, executor: Executor, job: Job) -> Outcome:
        self._keeper.watch(executor, self._folder.name)
        try:
            return await executor.run(job, self._log.emit)
        except (asyncio.CancelledError, StoreError):
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            return Outcome(failure=Failure(error="ExecutorError", message=message, file=job.source))

    def _finish(
        self, task: Task, taken: Taken, outcome: Outcome, timing: finish.Timing
    ) -> Failure | None:
        now = {
            up: self._offer_now(up) if offered is not None else None
            for up, offered in taken.facts.inputs.upstream.items()
        }
        run = self._folder.name
        result = finish.finish_task(self._gatherer, task, taken, outcome, now, run)
        for warning in result.warnings:
            self._log.emit(ev.Warned(task=task.name, message=warning))
        if result.failure is not None:
            return result.failure
        record = finish.done_record(
            task, taken, result, self.records[task.name], self._folder.name, timing
        )
        self._save(record)
        assert record.good is not None
        self.offers[task.name] = record.good.output
        if self._share is not None:
            self._share.store.publish(record, anew=task.name in self._settings.force)
        return None

    def _offer_now(self, name: str) -> str | None:
        """What an upstream offers at this moment: it may have been edited meanwhile."""
        task, record = self._graph.tasks[name], self.records.get(name)
        products = self._gatherer.products(task, record)
        return offer(task, self._gatherer.only_products(task, products), record)

    def _save(self, record: Record) -> None:
        self._store.save(record)
        self.records[record.task] = record

    def save_failed(self, name: str, began: float, failure: Failure) -> None:
        """Record that a task failed, unless whoever ran it elsewhere has."""
        if isinstance(self.executor(self._graph.tasks[name].kind), RecordsItself):
            return
        old = self.records.get(name)
        self._save(prepare.failed_record(name, old, self._folder.name, began, failure))

    def executor(self, kind: Kind) -> Executor:
        """The executor of a kind of task, made when it is first asked for."""
        if kind not in self._executors:
            self._executors[kind] = self._make_executor(kind)
        return self._executors[kind]

    def take_in(self, record: Record) -> None:
        """Go on with a record that another process has made, as its consumers will."""
        self.records[record.task] = record
        self.offers[record.task] = record.good.output if record.good is not None else None
