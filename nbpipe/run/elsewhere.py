"""Tasks that an executor sends off whole: the job, and the record that the other process wrote.

The process that runs such a task is ``nbpipe task NAME --only --no-retry``. It records the task
itself, in the folder that it shares with the builder, in the store, or in both. The builder holds
the pipeline meanwhile, and lets the process in by the variable :data:`~nbpipe.run.guard.BUILDER`.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import Failure, Job, Record, Task
from nbpipe.core.plan import Plan
from nbpipe.run.guard import BUILDER
from nbpipe.run.prepare import upstream_value
from nbpipe.run.sharing import Share
from nbpipe.store.facts import Gatherer
from nbpipe.store.records import RecordStore, file_stem
from nbpipe.store.remote import VARIABLE

VISIBLE = 60.0
"""Seconds until what another host wrote is seen here; network file systems remember what was."""

POLL = 0.1
"""Seconds between two looks, at first."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is sent off.

    Attributes:
        task: the task.
        named: words that name the pipeline to ``nbpipe`` in the root folder.
        offers: the digest that each upstream offers.
        old: what was remembered of it.
        forced: it runs whatever is known of it.
    """

    task: Task
    named: tuple[str, ...]
    offers: dict[str, str | None]
    old: Record | None
    forced: bool


def make_job(
    graph: Graph, gatherer: Gatherer, sent: Sent, folder: Path, attempt: int, share: Share | None
) -> Job:
    """All that an executor needs to send a task off.

    Args:
        graph: the pipeline.
        gatherer: knows the root.
        sent: the task.
        folder: of the builder's run.
        attempt: 1 for the first try.
        share: the store; None: the folder is all that is shared.
    """
    task = sent.task
    command = ("task", task.name, "--only", "--no-retry", *sent.named)
    return Job(
        task=task.name,
        kind=task.kind,
        source=task.source,
        root=str(gatherer.root),
        folder=str(folder),
        stem=file_stem(task.name),
        product=task.given(),
        upstream=upstream_value(graph, task),
        params=task.params,
        timeout=task.timeout,
        attempt=attempt,
        environ={BUILDER: folder.name, VARIABLE: share.store.url if share is not None else ""},
        resources=task.resources,
        command=(*command, "--force") if sent.forced else command,
    )


def surely(graph: Graph, plan: Plan) -> dict[str, tuple[str, ...]]:
    """The tasks that run whatever their upstreams give, with those upstreams that run too.

    Left out is what waits for a task that may turn out to be fresh.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, decision in plan.decisions.items():
        known = (up for up in graph.upstream[name] if up in plan.decisions)
        ups = [up for up in known if plan.decisions[up].action != "skip"]
        if decision.action == "run" and all(up in found for up in ups):
            found[name] = tuple(ups)
    return found


def read_record(
    gatherer: Gatherer, store: RecordStore, share: Share | None, sent: Sent
) -> Record | None:
    """The record of a task that was run elsewhere, once it can be seen; None: it cannot.

    Raises:
        StoreError: the store cannot be read.
    """
    end, pause = time.monotonic() + VISIBLE, POLL
    facts = gatherer.facts(sent.task, sent.old)
    before = sent.old.run if sent.old is not None else None
    while True:
        record = store.load(sent.task.name)
        if record is not None and record.state == "done" and record.run != before:
            return record
        found = None if share is None else share.take(sent.task, facts, sent.offers, store)
        if found is not None:
            return found
        if time.monotonic() >= end:
            return None
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def not_recorded(task: Task) -> Failure:
    """The process ended well, but no record of it is to be seen."""
    return Failure(
        error="NotRecorded",
        message="the task ended well elsewhere, but its record is neither here nor in the store",
        file=task.source,
        hint="share the project's folder with the other machine, or name a store (--store)",
    )
