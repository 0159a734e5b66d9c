"""Carries out a build: plan → tasks → events. What happens to one task is in :mod:`worker`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from nbpipe.core import events as ev
from nbpipe.core import scheduler as sch
from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Failure, Kind
from nbpipe.core.options import NO_HOOKS
from nbpipe.core.plan import Plan, decide, make_plan, offer
from nbpipe.core.progress import Progress
from nbpipe.errors import EARLY_STOP, StoreError
from nbpipe.executors.base import Executor, TakesAhead
from nbpipe.kernels.builds import BuildKernels
from nbpipe.run import elsewhere, kernels, prepare
from nbpipe.run.callbacks import Callbacks
from nbpipe.run.eventlog import EventLog, drop_old_runs, new_run_folder
from nbpipe.run.guard import BUILDER
from nbpipe.run.hooks import RunHooks, stopped
from nbpipe.run.lock import build_lock
from nbpipe.run.lost import settle_lost_runs
from nbpipe.run.machine import Devices, look, too_much
from nbpipe.run.note import RunNote, Trouble, new_note, write_note
from nbpipe.run.settings import Settings
from nbpipe.run.sharing import Share
from nbpipe.run.worker import Worker
from nbpipe.store.facts import Gatherer
from nbpipe.store.leftovers import drop_temporaries
from nbpipe.store.records import RecordStore

Listener = Callable[[ev.Event], None]
Instructions = list[sch.Instruction]


class Runner:
    """One build of one pipeline; used once.

    Args:
        graph: the pipeline.
        gatherer: reads sources and products.
        store: the records.
        executors: makes the executor of a kind of task when it is first needed.
        settings: how to build.
        listeners: called with each event.
        share: results that other machines see; None: only those of this folder.
        held: True: the caller holds the locks that the run needs, and keeps the runs in order.
        callbacks: functions of this process that are called around tasks; None: none.
    """

    def __init__(
        self,
        graph: Graph,
        gatherer: Gatherer,
        store: RecordStore,
        executors: Callable[[Kind], Executor],
        settings: Settings,
        listeners: list[Listener] | None = None,
        share: Share | None = None,
        held: bool = False,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.graph = graph
        self.gatherer = gatherer
        self.store = store
        self.settings = settings
        self.progress = Progress()
        self.interrupted = False
        self._exit_code = 130
        self._worker = Worker(graph, gatherer, store, executors, settings, share)
        self._worker.on_left = self._left
        self._left_at: dict[str, float] = {}
        self._abandoned = False
        self._share = share
        self._held = held
        self._callbacks = callbacks
        # The builder that has sent this off calls them: only it knows the first and the last try.
        self._calls_around = not (held and os.environ.get(BUILDER))
        self._listeners = list(listeners or [])
        self._reasons: dict[str, tuple[str, ...]] = {}
        self._active: dict[asyncio.Task[Instructions], str | None] = {}
        self._scheduler: sch.Scheduler | None = None
        self._early = False
        self._ahead: dict[str, Decision] = {}
        self._kernels: BuildKernels | None = None

    def check_kernels(self, plan: Plan) -> None:
        """Make sure, before anything is written, that every kernel that may be needed is there.

        Notebooks whose check is strict are checked too.

        Raises:
            SpecError: one is not installed, or a source cannot be read or is wrong.
        """
        tasks = [self.graph.tasks[n] for n, d in plan.decisions.items() if d.action != "skip"]
        prepare.check_kernels(self.gatherer, tasks, self._worker.executor)
        prepare.check_code(self.gatherer, tasks)

    async def run(self) -> Progress:
        """Build; returns what happened.

        Raises:
            LockedError: another build holds the pipeline.
            StoreError: a record, an event or a notebook cannot be written.
        """
        self.store.prepare()
        run, self._folder = new_run_folder(self.store.home)
        try:
            if self._held:
                await self._locked(run)
            else:
                with build_lock(self.store.home, run):
                    await asyncio.to_thread(self._clear_up)
                    await self._locked(run)
        finally:
            prepare.drop_if_empty(self._folder)
        return self.progress

    def _clear_up(self) -> None:
        """Remove what killed builds have left behind."""
        lost = settle_lost_runs(self.store.home, self.gatherer.root)
        tasks = self.graph.tasks.values() if lost else ()
        drop_temporaries(self.store, (path for task in tasks for path in task.products.values()))
        drop_old_runs(self.store.home)

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
            self._worker.begin(self._folder, self._log)
            for warning in self.store.set_damaged_aside():
                self._log.emit(ev.Warned(message=warning))
            plan = await asyncio.to_thread(self._plan)
            note = self._start_run(run, plan)
            try:
                try:
                    self._worker.hooks = self._make_hooks()
                    await self._before(plan)
                    await self._submit_ahead(plan)
                    await self._loop(plan)
                    if not (self.interrupted or self._early):
                        await self._worker.hooks.at_end(self.progress)
                finally:
                    await asyncio.shield(self._close())
            except BaseException as error:
                with contextlib.suppress(StoreError):
                    self._end_run(note, began, error)
                raise
            self._end_run(note, began)

    def _make_hooks(self) -> RunHooks:
        """The hooks of this run; a task that runs alone has no whole to speak of."""
        whole = NO_HOOKS if self._held else self.gatherer.spec.hooks
        root = self.gatherer.root
        environ = prepare.compat_of(self.gatherer.spec.meta)
        emit, own = self._log.emit, self._callbacks
        return RunHooks(self.graph, whole, root, self._folder, emit, own, environ)

    async def _before(self, plan: Plan) -> None:
        """Call what is to be called before anything runs."""
        may_run = [name for name, d in plan.decisions.items() if d.action != "skip"]
        may_run = may_run if self._calls_around else []
        stop = await self._worker.hooks.before(may_run) if may_run else None
        if stop is not None:
            self._stop_early(stop)

    def _stop_early(self, failure: Failure) -> Instructions:
        """Start nothing more; what runs is awaited."""
        self._early = True
        self._log.emit(ev.Warned(message=stopped(failure)))
        return [] if self._scheduler is None else self._scheduler.stop()

    def _plan(self) -> Plan:
        """Adopt renamed records, decide all tasks, and check what must hold before any starts."""
        self._worker.records = self.gatherer.records(self.store, self.graph.tasks.values())
        if not self._held:
            prepare.save_adopted(self.store, self.graph.tasks, self._worker.records)
        facts = self.gatherer.all_facts(self.graph.tasks.values(), self._worker.records)
        chosen = self.settings.tasks
        plan = make_plan(
            self.graph, facts, self._worker.records, tasks=chosen, force=self.settings.force
        )
        outside = self.graph.tasks.keys() - plan.decisions.keys()
        for name in outside:
            self._worker.offers[name] = offer(
                self.graph.tasks[name], facts[name], self._worker.records.get(name)
            )
        tasks = [self.graph.tasks[n] for n, d in plan.decisions.items() if d.action != "skip"]
        prepare.check_folders(self.gatherer.root, tasks)
        run, jobs = self._folder.name, self.settings.jobs
        self._kernels = kernels.begin(self.gatherer, tasks, self._worker.executor, run, jobs)
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
        tasks = [self.graph.tasks[name] for name in plan.decisions]
        machine = await asyncio.to_thread(look, self.settings.jobs, tasks)
        limits = machine.limits if self.settings.sent_off is None else {}
        self._worker.devices = Devices(machine.gpus)
        for name, message in too_much(machine, tasks):
            if plan.decisions[name].action != "skip" and limits:
                self._log.emit(ev.Warned(task=name, message=message))
        self._scheduler = prepare.make_scheduler(
            self.graph, plan, limits, self.settings.jobs, self.settings.keep_going
        )
        ends = self.interrupted or self._early
        self._perform(self._scheduler.stop() if ends else self._scheduler.begin())
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
        self._abandoned = True
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

    async def _submit_ahead(self, plan: Plan) -> None:
        """Hand over what runs in any case to a queue in which tasks can wait for each other.

        With a store, a task may turn out to be there; with fewer places than tasks, who goes first
        is decided here.
        """
        ends = self.interrupted or self._early
        if ends or self._share is not None or self.settings.jobs < len(plan.decisions):
            return
        surely = elsewhere.surely(self.graph, plan)
        executor = self._worker.executor("function") if self.settings.sent_off and surely else None
        if isinstance(executor, TakesAhead):
            jobs = [(self._worker.sent_off(name, {}, 1)[1], ups) for name, ups in surely.items()]
            self._ahead = {name: plan.decisions[name] for name in surely}
            await executor.submit_ahead(jobs)

    async def _check(self, name: str) -> Instructions:
        """Decide a task whose upstreams are all settled."""
        assert self._scheduler is not None
        if name in self._ahead:  # decided, and perhaps it has run already
            reasons = tuple(reason.text for reason in self._ahead[name].reasons)
            self._log.emit(ev.TaskQueued(task=name, reasons=reasons))
            return self._scheduler.decided(name, run=True)
        task, record = self.graph.tasks[name], self._worker.records.get(name)
        facts = await asyncio.to_thread(self.gatherer.facts, task, record)
        offers = {up: self._worker.offers[up] for up in self.graph.upstream[name]}
        decision = decide(task, facts, record, offers, forced=name in self.settings.force)
        self._reasons[name] = tuple(reason.text for reason in decision.reasons)
        fresh, taken = decision.action == "skip", None
        if self._share is not None and fresh:
            await asyncio.to_thread(self._share.ensure, task, record)
        elif self._share is not None and name not in self.settings.force:
            taken = await asyncio.to_thread(self._share.take, task, facts, offers, self.store)
        if self._scheduler.phases[name] == "cancelled":
            return []
        if fresh:
            self._worker.offers[name] = offer(task, facts, record)
            self._skipped(decision)
            return self._scheduler.decided(name, run=False)
        if taken is not None:
            self._worker.take_in(taken)
            reason = f"taken from {self._share.store.shown}" if self._share else ""
            self._log.emit(ev.TaskSkipped(task=name, reason=reason))
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
            failure = await self._worker.attempt(name, attempt, began)
        except asyncio.CancelledError:
            self._log.emit(ev.TaskCancelled(task=name))
            return self._scheduler.interrupted(name)
        finally:
            self._worker.devices.take_back(name)
        seconds = time.monotonic() - clock
        if failure is None:
            left = self._left_at.pop(name, None)
            ran = None if left is None else left - clock
            self._log.emit(ev.TaskDone(task=name, seconds=seconds, ran=ran))
            return self._scheduler.succeeded(name)
        if failure.error == EARLY_STOP:
            self._log.emit(ev.TaskCancelled(task=name))
            return [*self._scheduler.interrupted(name), *self._stop_early(failure)]
        final = self.interrupted or not self._scheduler.retries_left(name)
        await asyncio.to_thread(self._worker.save_failed, name, began, failure)
        if final and self._calls_around:
            await self._worker.hooks.failed(self.graph.tasks[name])
        self._log.emit(
            ev.TaskFailed(task=name, seconds=seconds, failure=failure, attempt=attempt, final=final)
        )
        return self._scheduler.failed(name)

    def _left(self, name: str) -> None:
        """Let others have what a task took of the machine, while its record is written."""
        assert self._scheduler is not None
        self._left_at[name] = time.monotonic()
        self._worker.devices.take_back(name)
        self._perform(self._scheduler.left(name))

    async def _close(self) -> None:
        failed = self._abandoned or self.interrupted or self.progress.counts()["failed"] > 0
        await self._worker.close(went_well=not failed)
        if self._kernels is not None:
            self._kernels.close()
