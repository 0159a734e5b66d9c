"""Carries out a build: plan → executors → records → events.

The protocol of a task: ``started`` durable → run → products checked → inputs hashed again →
executed notebook moved into place → ``done`` durable. A good product is never deleted first.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from nbpipe.core import events as ev
from nbpipe.core import scheduler as sch
from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Failure, Job, Kind, Outcome, Record, Task
from nbpipe.core.plan import Plan, decide, make_plan, offer
from nbpipe.core.progress import Progress
from nbpipe.errors import NbpipeError, StoreError
from nbpipe.executors.base import Executor
from nbpipe.run import finish, prepare
from nbpipe.run.eventlog import EventLog, drop_old_runs, new_run_folder
from nbpipe.run.lock import build_lock
from nbpipe.run.lost import settle_lost_runs
from nbpipe.run.note import RunNote, Trouble, new_note, write_note
from nbpipe.store.facts import Gatherer, Taken
from nbpipe.store.records import RecordStore

Listener = Callable[[ev.Event], None]
Instructions = list[sch.Instruction]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to build.

    Attributes:
        tasks: the tasks to look at; None: all.
        force: tasks that run whatever the plan says.
        jobs: how many run at once, at least 1.
        keep_going: True: what does not depend on a failed task still runs.
    """

    tasks: frozenset[str] | None = None
    force: frozenset[str] = frozenset()
    jobs: int = 1
    keep_going: bool = False


class Runner:
    """One build of one pipeline; used once.

    Args:
        graph: the pipeline.
        gatherer: reads sources and products.
        store: the records.
        executors: makes the executor of a kind of task when it is first needed.
        settings: how to build.
        listeners: called with each event.
    """

    def __init__(
        self,
        graph: Graph,
        gatherer: Gatherer,
        store: RecordStore,
        executors: Callable[[Kind], Executor],
        settings: Settings,
        listeners: list[Listener] | None = None,
    ) -> None:
        self.graph = graph
        self.gatherer = gatherer
        self.store = store
        self.settings = settings
        self.progress = Progress()
        self.interrupted = False
        self._exit_code = 130
        self._make_executor = executors
        self._executors: dict[Kind, Executor] = {}
        self._listeners = list(listeners or [])
        self._records: dict[str, Record] = {}
        self._offers: dict[str, str | None] = {}
        self._reasons: dict[str, tuple[str, ...]] = {}
        self._active: dict[asyncio.Task[Instructions], str | None] = {}
        self._scheduler: sch.Scheduler | None = None

    async def run(self) -> Progress:
        """Build; returns what happened.

        Raises:
            LockedError: another build holds the pipeline.
            StoreError: a record, an event or a notebook cannot be written.
            SpecError: a kernel is not installed, or a source cannot be read; nothing has run.
        """
        self.store.prepare()
        run, self._folder = new_run_folder(self.store.home)
        try:
            with build_lock(self.store.home, run):
                await asyncio.to_thread(settle_lost_runs, self.store.home, self.gatherer.root)
                drop_old_runs(self.store.home)
                await self._locked(run)
        finally:
            prepare.drop_if_empty(self._folder)
        return self.progress

    def stop(self, number: int = signal.SIGINT) -> None:
        """End early: nothing new starts, what runs is ended. Safe to call more than once.

        Args:
            number: of the signal that asks for it; tells the exit code.
        """
        self.interrupted = True
        self._exit_code = 128 + number
        if self._scheduler is not None:
            self._perform(self._scheduler.stop())
        for running, task in self._active.items():
            if task is not None:
                running.cancel()

    async def _locked(self, run: str) -> None:
        began = time.monotonic()
        with EventLog(
            self._folder / "events.jsonl", [self.progress.apply, *self._listeners]
        ) as self._log:
            for warning in self.store.set_damaged_aside():
                self._log.emit(ev.Warned(message=warning))
            plan = await asyncio.to_thread(self._plan)
            note = self._start_run(run, plan)
            try:
                try:
                    await self._loop(plan)
                finally:
                    await asyncio.shield(self._close())
            except BaseException as error:
                with contextlib.suppress(StoreError):
                    self._end_run(note, began, error)
                raise
            self._end_run(note, began)

    def _plan(self) -> Plan:
        """Adopt renamed records, decide all tasks, and check what must hold before any starts."""
        self._records = self.gatherer.records(self.store, self.graph.tasks.values())
        prepare.save_adopted(self.store, self.graph.tasks, self._records)
        facts = self.gatherer.all_facts(self.graph.tasks.values(), self._records)
        chosen = self.settings.tasks
        plan = make_plan(self.graph, facts, self._records, tasks=chosen, force=self.settings.force)
        outside = self.graph.tasks.keys() - plan.decisions.keys()
        for name in outside:
            self._offers[name] = offer(self.graph.tasks[name], facts[name], self._records.get(name))
        tasks = [self.graph.tasks[n] for n, d in plan.decisions.items() if d.action != "skip"]
        prepare.check_folders(self.gatherer.root, tasks)
        if tasks:
            prepare.check_kernels(self.gatherer, tasks, self._executor)
        return plan

    def _start_run(self, run: str, plan: Plan) -> RunNote:
        note = new_note(run, self.settings.jobs, self.settings.tasks)
        write_note(self._folder, note)
        tasks = tuple(plan.decisions)
        expected = {name: plan.expected[name] for name in tasks if name in plan.expected}
        self._log.emit(
            ev.RunStarted(run=run, tasks=tasks, expected=expected, jobs=self.settings.jobs)
        )
        return note

    def _end_run(self, note: RunNote, began: float, error: BaseException | None = None) -> None:
        """Note how the run ended, and then say so: who hears it may read the note at once."""
        failed = error is not None or self.progress.counts()["failed"] > 0
        forced = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
        state: ev.EndState = "failed" if failed else "done"
        state = "interrupted" if self.interrupted or forced else state
        code = {"done": 0, "failed": 1}.get(state, self._exit_code)
        trouble = None if error is None or forced else Trouble.of(error)
        with contextlib.suppress(StoreError):
            write_note(self._folder, msgspec.structs.replace(note, exit_code=code, error=trouble))
        self._log.emit(ev.RunFinished(state=state, seconds=time.monotonic() - began))

    async def _loop(self, plan: Plan) -> None:
        chosen = plan.decisions
        self._scheduler = sch.Scheduler(
            {name: [up for up in self.graph.upstream[name] if up in chosen] for name in chosen},
            jobs=self.settings.jobs,
            expected=plan.expected,
            retries={name: self.graph.tasks[name].retries for name in chosen},
            keep_going=self.settings.keep_going,
        )
        self._perform(self._scheduler.stop() if self.interrupted else self._scheduler.begin())
        try:
            while self._active:
                done, _ = await asyncio.wait(self._active, return_when=asyncio.FIRST_COMPLETED)
                for finished in done:
                    del self._active[finished]
                for finished in done:
                    self._perform(finished.result())
        except BaseException:
            await self._abandon()
            raise

    async def _abandon(self) -> None:
        """End whatever runs, because the build itself cannot go on."""
        for running in self._active:
            running.cancel()
        await asyncio.gather(*self._active, return_exceptions=True)
        self._active.clear()

    def _perform(self, instructions: Instructions) -> None:
        for instruction in instructions:
            match instruction:
                case sch.Check(task):
                    self._spawn(self._check(task), None)
                case sch.Start(task, attempt):
                    self._spawn(self._try(task, attempt), task)
                case sch.Block(task, by):
                    self._log.emit(ev.TaskBlocked(task=task, by=by))
                case sch.Cancel(task):
                    self._log.emit(ev.TaskCancelled(task=task))

    def _spawn(self, work: Coroutine[Any, Any, Instructions], task: str | None) -> None:
        self._active[asyncio.create_task(work)] = task

    async def _check(self, name: str) -> Instructions:
        """Decide a task whose upstreams are all settled."""
        assert self._scheduler is not None
        task, record = self.graph.tasks[name], self._records.get(name)
        facts = await asyncio.to_thread(self.gatherer.facts, task, record)
        offers = {up: self._offers[up] for up in self.graph.upstream[name]}
        decision = decide(task, facts, record, offers, forced=name in self.settings.force)
        self._reasons[name] = tuple(reason.text for reason in decision.reasons)
        if self._scheduler.phases[name] == "cancelled":
            return []
        if decision.action == "skip":
            self._offers[name] = offer(task, facts, record)
            self._skipped(decision)
            return self._scheduler.decided(name, run=False)
        self._log.emit(ev.TaskQueued(task=name, reasons=self._reasons[name]))
        return self._scheduler.decided(name, run=True)

    def _skipped(self, decision: Decision) -> None:
        notes = "; ".join(note.text for note in decision.notes)
        self._log.emit(ev.TaskSkipped(task=decision.task, reason=notes or "up to date"))

    async def _try(self, name: str, attempt: int) -> Instructions:
        """Run a task once, and record what came of it."""
        assert self._scheduler is not None
        began, clock = time.time(), time.monotonic()
        self._log.emit(ev.TaskStarted(task=name, attempt=attempt))
        try:
            failure = await self._attempt(name, attempt, began)
        except asyncio.CancelledError:
            self._log.emit(ev.TaskCancelled(task=name))
            return self._scheduler.interrupted(name)
        seconds = time.monotonic() - clock
        if failure is None:
            self._log.emit(ev.TaskDone(task=name, seconds=seconds))
            return self._scheduler.succeeded(name)
        final = self.interrupted or not self._scheduler.retries_left(name)
        await asyncio.to_thread(self._save_failed, name, began, failure)
        self._log.emit(
            ev.TaskFailed(task=name, seconds=seconds, failure=failure, attempt=attempt, final=final)
        )
        return self._scheduler.failed(name)

    async def _attempt(self, name: str, attempt: int, began: float) -> Failure | None:
        task, record = self.graph.tasks[name], self._records.get(name)
        clock = time.monotonic()
        try:
            taken, job = await asyncio.to_thread(self._begin, task, record, attempt, began)
        except StoreError:
            raise
        except NbpipeError as error:
            return Failure(error=type(error).__name__, message=str(error), file=task.source)
        outcome = await self._execute(job)
        if outcome.failure is not None:
            return outcome.failure
        timing = finish.Timing(started=began, seconds=time.monotonic() - clock)
        return await asyncio.to_thread(self._finish, task, taken, outcome, timing)

    def _begin(
        self, task: Task, record: Record | None, attempt: int, began: float
    ) -> tuple[Taken, Job]:
        """Read the source, make the promise durable, make the job."""
        offers = {up: self._offers[up] for up in self.graph.upstream[task.name]}
        prepare.check_offers(offers)
        taken = self.gatherer.take(task, record, offers)
        job = prepare.make_job(self.graph, self.gatherer, task, taken, self._folder, attempt)
        self._save(prepare.started_record(task.name, record, self._folder.name, began))
        prepare.make_folders(self.gatherer.root, task)
        return taken, job

    async def _execute(self, job: Job) -> Outcome:
        try:
            return await self._executor(job.kind).run(job, self._log.emit)
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
        result = finish.finish_task(self.gatherer, task, taken, outcome, now)
        for warning in result.warnings:
            self._log.emit(ev.Warned(task=task.name, message=warning))
        if result.failure is not None:
            return result.failure
        record = finish.done_record(
            task, taken, result, self._records[task.name], self._folder.name, timing
        )
        self._save(record)
        assert record.good is not None
        self._offers[task.name] = record.good.output
        return None

    def _offer_now(self, name: str) -> str | None:
        """What an upstream offers at this moment: it may have been edited meanwhile."""
        task, record = self.graph.tasks[name], self._records.get(name)
        products = self.gatherer.products(task, record)
        return offer(task, self.gatherer.only_products(task, products), record)

    def _save(self, record: Record) -> None:
        self.store.save(record)
        self._records[record.task] = record

    def _save_failed(self, name: str, began: float, failure: Failure) -> None:
        old = self._records.get(name)
        self._save(prepare.failed_record(name, old, self._folder.name, began, failure))

    def _executor(self, kind: Kind) -> Executor:
        if kind not in self._executors:
            self._executors[kind] = self._make_executor(kind)
        return self._executors[kind]

    async def _close(self) -> None:
        for executor in self._executors.values():
            await executor.close()
