"""Results shared through a store: which store, what is taken from it and what is put into it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import Facts, Meta, Record, Task
from nbpipe.core.plan import Plan
from nbpipe.store.records import RecordStore
from nbpipe.store.remote import VARIABLE, local_folder
from nbpipe.store.shared import AT_ONCE, SharedStore


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
        if facts.problem is not None:
            return None
        found = self.store.find(task, msgspec.structs.replace(facts.inputs, upstream=dict(offers)))
        if found is not None and self.bring:
            found = self.store.bring(found)
            records.save(found)
        return found

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


def open_store(url: str | None, root: Path) -> SharedStore | None:
    """The store at an address.

    Raises:
        UsageError: there is no such kind of place, or a library is missing.
    """
    return None if url is None else SharedStore(url, root)
