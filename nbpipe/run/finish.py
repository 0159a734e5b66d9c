"""What a run does after a task ended well: check its products, publish, remember."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import msgspec

import nbpipe
from nbpipe.core.model import Failure, FileState, Good, Inputs, Outcome, Record, Task
from nbpipe.core.plan import output_of
from nbpipe.errors import NbpipeError
from nbpipe.run.relations import write_notes
from nbpipe.store.facts import Gatherer, Taken
from nbpipe.store.products import digest_product, publish

KEPT_DURATIONS = 20


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """``started``: seconds since the epoch, UTC. ``seconds``: the duration."""

    started: float
    seconds: float


class Finished(msgspec.Struct, kw_only=True):
    """What :func:`finish_task` found.

    Attributes:
        inputs: what the run consumed; None where a part was edited meanwhile.
        products: state of every product by path.
        warnings: one sentence each.
        failure: why the run does not count as good; None: it does.
    """

    inputs: Inputs
    products: dict[str, FileState] = {}
    warnings: list[str] = []
    failure: Failure | None = None


def finish_task(
    gatherer: Gatherer,
    task: Task,
    taken: Taken,
    outcome: Outcome,
    offers: Mapping[str, str | None],
    run: str,
) -> Finished:
    """Check the products, hash the inputs again and move the executed notebook into place.

    Args:
        gatherer: reads sources and products.
        task: the task that ran.
        taken: what it was given.
        outcome: what the executor says.
        offers: what each upstream offers now, after the run.
        run: id of the run.
    """
    result = Finished(inputs=taken.facts.inputs)
    write_notes(gatherer.root, task, run)
    for path in task.data.values():
        state = digest_product(gatherer.root / path)
        if state is None:
            result.failure = _missing(task, path, outcome, gatherer.root)
            return result
        if not task.is_link and _untouched(state, taken.before.get(path)):
            result.warnings.append(f"product {path} was not written by this run: it is older")
        result.products[path] = state
    result.inputs = _inputs_after(gatherer, task, taken, offers, result.warnings)
    for path in task.notebooks.values():
        first = outcome.notebook if path == task.notebook else None
        if (source := outcome.notebooks.get(path, first)) is not None:
            publish(Path(source), gatherer.root / path)
            state = digest_product(gatherer.root / path)
            if state is not None:
                result.products[path] = state
    return result


def done_record(
    task: Task, taken: Taken, result: Finished, old: Record, run: str, timing: Timing
) -> Record:
    """What is remembered of a good run."""
    digests = {path: state.digest for path, state in result.products.items()}
    good = Good(
        inputs=result.inputs,
        products=result.products,
        output=output_of(task, result.inputs, digests, run),
        text=taken.text,
        declared=taken.declared,
        started=timing.started,
        seconds=timing.seconds,
        run=run,
        versions={"python": platform.python_version(), "nbpipe": nbpipe.__version__},
    )
    durations = (*old.durations, round(timing.seconds, 6))[-KEPT_DURATIONS:]
    return Record(
        task=task.name,
        state="done",
        run=run,
        started=timing.started,
        good=good,
        durations=durations,
    )


def _inputs_after(
    gatherer: Gatherer,
    task: Task,
    taken: Taken,
    offers: Mapping[str, str | None],
    warnings: list[str],
) -> Inputs:
    """The inputs as taken; what was edited meanwhile is None, so that the task stays stale."""
    before = taken.facts.inputs
    try:
        after = gatherer.facts(task, None).inputs
    except NbpipeError:
        after = msgspec.structs.replace(before, text="", modules={})
    if after.text != before.text:
        warnings.append(f"{task.source} was edited while it ran: the task stays stale")
    modules: dict[str, str | None] = {}
    for path, digest in before.modules.items():
        same = after.text != before.text or after.modules.get(path) == digest
        modules[path] = digest if same else None
    upstream: dict[str, str | None] = {}
    for name, digest in before.upstream.items():
        upstream[name] = digest if offers.get(name) == digest else None
    files = {
        path: digest if after.files.get(path) == digest else None
        for path, digest in before.files.items()
    }
    edited = [path for path, digest in {**modules, **files}.items() if digest is None]
    edited += [f"upstream '{n}'" for n, digest in upstream.items() if digest is None]
    warnings.extend(f"{what} was edited while it ran: the task stays stale" for what in edited)
    return msgspec.structs.replace(before, modules=modules, upstream=upstream, files=files)


def in_hook(failure: Failure, outcome: Outcome, root: Path) -> Failure:
    """The failure of a hook, with the notebook that was executed well before it."""
    if outcome.notebook is None:
        return failure
    notebook = Path(outcome.notebook).relative_to(root).as_posix()
    return msgspec.structs.replace(failure, notebook=notebook)


def _untouched(now: FileState, before: FileState | None) -> bool:
    return before is not None and (now.mtime_ns, now.ctime_ns, now.inode) == (
        before.mtime_ns,
        before.ctime_ns,
        before.inode,
    )


def _missing(task: Task, path: str, outcome: Outcome, root: Path) -> Failure:
    notebook = None
    if outcome.notebook is not None:
        notebook = Path(outcome.notebook).relative_to(root).as_posix()
    return Failure(
        error="ProductMissing",
        message=f"the task ended without an error, but did not write its product {path}",
        file=task.source,
        hint="write it in the script (product[…]), or change pipeline.yaml",
        notebook=notebook,
    )
