"""Results shared through a store: which store, what is taken from it and what is put into it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from nbpipe.core import events as ev
from nbpipe.core.graph import Graph
from nbpipe.core.model import Facts, Meta, Record, Task
from nbpipe.core.plan import Plan
from nbpipe.errors import StoreError
from nbpipe.run.eventlog import RUNS
from nbpipe.run.report import BuildReport
from nbpipe.store.records import RecordStore
from nbpipe.store.remote import REPLY, TRIES, VARIABLE, local_folder, open_remote
from nbpipe.store.shared import AT_ONCE, SharedStore

BRIEF = 5.0
"""Seconds that a view waits for an answer."""


class Share:
    """A store as a build uses it.

    Args:
        store: where the results are.
        bring: True: what is taken is put into the project; False: it stays there, for a build
            whose tasks run elsewhere.
    """

    def __init__(self, store: SharedStore, *, bring: bool = True) -> None:
        self.store = store
        self.bring = bring

    def take(
        self,
        task: Task,
        facts: Facts,
        offers: Mapping[str, str | None],
        records: RecordStore,
    ) -> Record | None:
        """The record of a run that need not be made; None: there is none.

        Args:
            task: the task.
            facts: what is true of it today.
            offers: the digest that each upstream offers.
            records: of the project; keeps it once the products are in place.

        Raises:
            StoreError: the store cannot be read, or an object is damaged.
        """
        found = self.find(task, facts, offers)
        if found is not None and self.bring:
            found = self.store.bring(found)
            records.save(found)
        return found

    def find(self, task: Task, facts: Facts, offers: Mapping[str, str | None]) -> Record | None:
        """The same, and the products stay where they are.

        What another database holds is not here, and what a link names is others' to make.

        Raises:
            StoreError: the store cannot be read.
        """
        if facts.problem is not None or task.relations or task.is_link:
            return None
        return self.store.find(task, msgspec.structs.replace(facts.inputs, upstream=dict(offers)))

    def ensure(self, task: Task, record: Record | None) -> None:
        """See that the results of a fresh task are in the store.

        Raises:
            StoreError: the store cannot be read or written.
        """
        good = record.good if record is not None else None
        if record is not None and good is not None and self.store.find(task, good.inputs) is None:
            self.store.publish(record)

    def ensure_all(self, graph: Graph, plan: Plan, records: Mapping[str, Record]) -> None:
        """See that the results of a plan that has nothing to run are in the store.

        Raises:
            StoreError: the store cannot be read or written.
        """

        def ensure(name: str) -> None:
            self.ensure(graph.tasks[name], records.get(name))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(ensure, plan.decisions))


def choose_store(option: str | None, environ: Mapping[str, str], meta: Meta) -> str | None:
    """The address of the store; None: there is none.

    Args:
        option: what the caller asks for; "": none. It goes before the environment, which goes
            before the spec.
        environ: where :data:`~nbpipe.store.remote.VARIABLE` may be set.
        meta: of the spec; a relative path there starts from the root.
    """
    asked = option if option is not None else environ.get(VARIABLE)
    if asked is None:
        return meta.store
    if asked and local_folder(asked, Path()) is not None and "://" not in asked:
        return os.path.abspath(os.path.expanduser(asked))
    return asked or None


def open_store(url: str | None, root: Path, *, brief: bool = False) -> SharedStore | None:
    """The store at an address.

    Args:
        url: the address; None: there is no store.
        root: folder of pipeline.yaml.
        brief: True: for a view, which is not worth waiting for; an operation is tried once, and
            for :data:`BRIEF` seconds.

    Raises:
        UsageError: there is no such kind of place, or a library is missing.
    """
    if url is None:
        return None
    tries, reply = (1, BRIEF) if brief else (TRIES, REPLY)
    return SharedStore(url, root, open_remote(url, root, tries, reply))


def keep_failed(
    report: BuildReport, share: Share | None, home: Path, tell: Callable[[ev.Event], None] | None
) -> BuildReport:
    """Copy the notebooks and logs of a run in which a task failed into the store.

    Args:
        report: of the run.
        share: the store; None: there is none, and nothing is done.
        home: folder ``.nbpipe``.
        tell: hears where they are, or that the store cannot be reached.

    Returns:
        The report, which says the same.
    """
    if share is None or not report.named("failed"):
        return report
    try:
        place = share.store.keep_run(home / RUNS / report.run)
        message = f"the notebooks and the logs of this run are in {place}"
    except StoreError as error:
        message = f"the notebooks of this run are only here: {error.message}"
    if tell is not None:
        tell(ev.Warned(message=message, time=time.time()))
    return msgspec.structs.replace(report, warnings=(*report.warnings, message))
