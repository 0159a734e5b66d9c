"""What a run needs before a task starts: folders, kernels, jobs, the first records."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import Failure, Job, Kind, Meta, Record, Task
from nbpipe.core.plan import Plan
from nbpipe.core.scheduler import Scheduler
from nbpipe.core.tokens import Amounts, demand
from nbpipe.errors import Problem, SpecError, StoreError, UsageError, cannot_write
from nbpipe.executors import inside
from nbpipe.executors.base import ChecksKernels, Executor
from nbpipe.run.settings import Settings
from nbpipe.store.facts import Gatherer, Taken
from nbpipe.store.overlay import CELLS
from nbpipe.store.records import RecordStore, file_stem


def check_folders(root: Path, tasks: Iterable[Task]) -> None:
    """Make sure that every product of ``tasks`` can be written, before any task runs.

    Raises:
        StoreError: a folder cannot be written; names the first such task.
    """
    seen: set[Path] = set()
    for task in tasks:
        for path in task.products.values():
            folder = _nearest(root / path)
            if folder in seen:
                continue
            seen.add(folder)
            if not (folder.is_dir() and os.access(folder, os.W_OK)):
                raise StoreError(
                    f"{folder}: cannot be written, and product {path} of task '{task.name}' "
                    "goes there",
                    "mend the folder's permissions, or change the product's path",
                )


def make_folders(root: Path, task: Task) -> None:
    """Make the folders of a task's products: a script expects them.

    Raises:
        StoreError: one cannot be made.
    """
    for path in task.products.values():
        folder = (root / path).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"{folder}: cannot be made: {reason}") from error


def check_kernels(
    gatherer: Gatherer, tasks: Iterable[Task], executor: Callable[[Kind], Executor]
) -> None:
    """Make sure that every kernel that may be needed is installed.

    Raises:
        SpecError: one is not, or a source cannot be read; all of them at once.
    """
    problems: list[Problem] = []
    found: dict[str, UsageError | None] = {}  # tasks mostly share a kernel, and a look takes long
    for task in tasks:
        runs = executor(task.kind) if task.kind == "notebook" else None
        if not isinstance(runs, ChecksKernels) or not task.options.checks_kernel:
            continue
        try:
            kernel = gatherer.kernel(task)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        if kernel not in found:
            found[kernel] = _no_kernel(runs, kernel)
        if (missing := found[kernel]) is not None:
            problems.append(_kernel_problem(task, missing))
    if problems:
        raise SpecError(problems)


def _no_kernel(runs: ChecksKernels, name: str) -> UsageError | None:
    """Why a kernel cannot be had; None: it is installed."""
    try:
        runs.check_kernel(name)
    except UsageError as error:
        return error
    return None


def _kernel_problem(task: Task, error: UsageError) -> Problem:
    at = task.at
    place = (at.file, at.line, at.column) if at else (task.source, 0, 0)
    return Problem(*place, "", f"task '{task.name}': {error.message}", error.hint)


def check_code(gatherer: Gatherer, tasks: Iterable[Task]) -> None:
    """Check the notebooks of those tasks that ask for a strict check.

    Raises:
        SpecError: all that is wrong, at once.
    """
    problems = [problem for task in tasks for problem in gatherer.strict_problems(task)]
    if problems:
        raise SpecError(problems)


def check_offers(offers: Mapping[str, str | None]) -> None:
    """Make sure that there is something to consume.

    Raises:
        UsageError: an upstream was never built, or lacks a product.
    """
    missing = [name for name, digest in offers.items() if digest is None]
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        names = ", ".join(f"'{name}'" for name in missing)
        raise UsageError(
            f"upstream {names} {verb} not been built",
            f"nbpipe build {' '.join(shlex.quote(name) for name in missing)}",
        )


def make_scheduler(
    graph: Graph, plan: Plan, limits: Amounts, jobs: int, keep_going: bool
) -> Scheduler:
    """What says which task of a plan goes next.

    Args:
        graph: the pipeline.
        plan: the tasks, and how long each took before.
        limits: what the machine has.
        jobs: how many tasks may run at once.
        keep_going: True: what does not depend on a failed task still runs.
    """
    chosen = {name: graph.tasks[name] for name in plan.decisions}
    return Scheduler(
        {name: [up for up in graph.upstream[name] if up in chosen] for name in chosen},
        jobs=jobs,
        expected=plan.expected,
        wishes={name: demand(task.resources) for name, task in chosen.items()},
        limits=limits,
        retries={name: task.retries for name, task in chosen.items()},
        keep_going=keep_going,
        clock=time.monotonic,
    )


def make_job(
    graph: Graph,
    gatherer: Gatherer,
    task: Task,
    taken: Taken,
    folder: Path,
    attempt: int,
    environ: Mapping[str, str],
) -> Job:
    """All that an executor needs to run ``task`` once, ``environ`` among its variables."""
    upstream = upstream_value(graph, task)
    notebook: dict[str, Any] | None = None
    lines: tuple[int, ...] = ()
    kernel = ""
    if task.kind == "notebook":
        notebook, lines, kernel = gatherer.notebook(task, taken, upstream)
    return Job(
        task=task.name,
        kind=task.kind,
        source=task.source,
        root=str(gatherer.root),
        folder=str(folder),
        stem=file_stem(task.name),
        product=task.given(),
        upstream=upstream,
        params=task.params,
        serializing=task.serializing,
        work=task.work,
        relations=tuple(task.relations.values()),
        text=taken.text if task.work is not None else "",
        notebook=notebook,
        lines=lines,
        kernel=kernel,
        result=task.notebook,
        results={path: task.options.exporters.get(key, "") for key, path in task.notebooks.items()},
        exporter_options=task.options.exporter_options,
        cwd=str((gatherer.root / task.source).parent) if task.options.beside_source else "",
        timeout=task.timeout,
        attempt=attempt,
        environ={
            **environ,
            "NBPIPE_RUN": folder.name,
            "NBPIPE_ROOT": str(gatherer.root),
            "NBPIPE_GIVEN": str(_write_given(folder, task, upstream)),
        },
    )


def asked_of(meta: Meta, settings: Settings, folder: Path, task: Task) -> dict[str, str]:
    """Variables that have the process of a task do something before the task."""
    found = compat_of(meta)
    if settings.dumps or task.options.debug_later:
        found[inside.DUMP] = str(folder / dump_name(task.name))
    return found


def compat_of(meta: Meta) -> dict[str, str]:
    """The variable that has a process answer the imports of another package, if that is asked."""
    return {inside.COMPAT: meta.compat} if meta.compat else {}


def dump_name(task: str) -> str:
    """Name of the file, in a run's folder, with the frames of a failed task."""
    return f"{file_stem(task)}.dump"


def _write_given(folder: Path, task: Task, upstream: dict[str, Any] | None) -> Path:
    """Keep what a task is given where ``%upstream`` in its kernel finds it."""
    path = folder / f"{file_stem(task.name)}.given.json"
    value = {"task": task.name, "upstream": upstream, "product": task.given()}
    try:
        path.write_bytes(msgspec.json.encode(value))
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def upstream_value(
    graph: Graph, task: Task, place: Callable[[str], str] = str
) -> dict[str, Any] | None:
    """What a source is given as ``upstream``; a wildcard's tasks are grouped under it.

    Args:
        graph: the pipeline.
        task: whose upstreams are meant.
        place: turns a path relative to the root into the path that is wanted.
    """
    groups = graph.wildcards.get(task.name, {})
    grouped = {name for names in groups.values() for name in names}
    value: dict[str, Any] = {
        name: graph.tasks[name].given(place)
        for name in graph.upstream[task.name]
        if name not in grouped
    }
    for pattern, names in groups.items():
        value[pattern] = {name: graph.tasks[name].given(place) for name in names}
    return value or None


def started_record(task: str, old: Record | None, run: str, began: float) -> Record:
    """The promise that is made durable before a task runs."""
    return Record(
        task=task,
        state="started",
        run=run,
        started=began,
        good=old.good if old else None,
        durations=old.durations if old else (),
    )


def failed_record(
    task: str, old: Record | None, run: str, began: float, failure: Failure
) -> Record:
    """What is remembered of a failure, beside the last good run."""
    started = started_record(task, old, run, began)
    place = f" (line {failure.line})" if failure.line else ""
    error = f"{failure.error}: {failure.message}".splitlines()[0][:300] + place
    return msgspec.structs.replace(started, state="failed", error=error)


def save_adopted(store: RecordStore, tasks: Collection[str], records: Mapping[str, Record]) -> None:
    """Write the records that renamed tasks took over, then forget those of no task."""
    for name, record in records.items():
        if not store.path(name).exists():
            store.save(record)
    for name, record in store.others(tasks).items():
        if not _lives_in_a_cell(store, record):
            store.remove(name)


def _lives_in_a_cell(store: RecordStore, record: Record) -> bool:
    """Whether a record belongs to a cell task of some notebook, which this build does not see."""
    source = record.good.inputs.source if record.good is not None else ""
    return source.startswith(f"{CELLS}/") and (store.home.parent / source).exists()


def drop_if_empty(folder: Path) -> None:
    """Remove a run's folder in which nothing was written: it was refused before it began."""
    with contextlib.suppress(OSError):
        if (folder / "events.jsonl").stat().st_size == 0:
            (folder / "events.jsonl").unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _nearest(path: Path) -> Path:
    """The nearest parent of ``path`` that exists."""
    for parent in path.parents:
        if parent.exists():
            return parent
    return path.parent
