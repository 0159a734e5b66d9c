"""Where the results of a task and of all above it are: here, in the store, or nowhere.

For one task on its own, in a process that may know nothing yet: what is fresh is told by records
alone, so nothing is fetched that nobody needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Record, Task
from nbpipe.core.plan import decide, offer
from nbpipe.store.facts import Gatherer
from nbpipe.store.shared import AT_ONCE, SharedStore


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a task's results.

    Attributes:
        decision: of the plan, by what is here.
        offer: the digest that consumers see; None: there is nothing to consume.
        stored: the record whose products the store has and the project has not; None: what is
            here counts, if anything is.
        warning: why consumers should be wary of it; None: it is what a build would give.
    """

    decision: Decision
    offer: str | None = None
    stored: Record | None = None
    warning: str | None = None

    @property
    def fresh(self) -> bool:
        """Whether the results are there, here or in the store, and need not be made."""
        return self.warning is None and (self.decision.action == "skip" or self.stored is not None)


class Survey:
    """Looks at a task and at all above it, upstreams first.

    Args:
        graph: the pipeline.
        gatherer: reads sources and products.
        records: what is remembered here.
        shared: the store.
        target: the task.
    """

    def __init__(
        self,
        graph: Graph,
        gatherer: Gatherer,
        records: Mapping[str, Record],
        shared: SharedStore,
        target: str,
    ) -> None:
        self._graph = graph
        self._records = records
        self._shared = shared
        self._target = target
        self._near = {target, *graph.upstream[target]}
        chosen = graph.ancestors(target) | {target}
        self._order = [name for name in graph.order() if name in chosen]
        tasks = [graph.tasks[name] for name in self._order]
        self._facts = gatherer.all_facts(tasks, records)

    def standings(self) -> dict[str, Standing]:
        """Of the task and of everything above it.

        Raises:
            StoreError: the store cannot be read.
        """
        found: dict[str, Standing] = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for names in generations(self._graph, self._order):
                looked = pool.map(self._standing, names, [found] * len(names))
                found |= dict(zip(names, looked, strict=True))
        return found

    def _standing(self, name: str, above: Mapping[str, Standing]) -> Standing:
        task, facts, record = self._graph.tasks[name], self._facts[name], self._records.get(name)
        offers = {up: above[up].offer for up in self._graph.upstream[name]}
        decision = decide(task, facts, record, offers)
        here = offer(task, facts, record)
        if decision.action == "skip":
            return Standing(decision=decision, offer=here)
        inputs = msgspec.structs.replace(facts.inputs, upstream=offers)
        whole = name in self._near
        stored = self._shared.find(task, inputs, whole=whole) if facts.problem is None else None
        if stored is not None and stored.good is not None:
            return Standing(decision=decision, offer=stored.good.output, stored=stored)
        if name == self._target:
            return Standing(decision=decision)
        return self._as_it_is(task, decision, here)

    def _as_it_is(self, task: Task, decision: Decision, here: str | None) -> Standing:
        """Of an upstream that is fresh nowhere: the latest results, wherever they are."""
        latest, record = self._shared.latest(task), self._records.get(task.name)
        ours = record.good if record is not None else None
        if latest is not None and latest.good is not None:
            is_newer = ours is not None and latest.good.started > ours.started
            if here is None or is_newer:
                text = (
                    f"{self._shared.shown} has no result of upstream '{task.name}' as it is now: "
                    "its latest one is taken"
                )
                found = latest.good.output
                return Standing(decision=decision, offer=found, stored=latest, warning=text)
        text = f"upstream '{task.name}' is stale; what is here is taken"
        return Standing(decision=decision, offer=here, warning=text if here else None)


def generations(graph: Graph, order: Sequence[str]) -> list[list[str]]:
    """Tasks by their distance from the top; none needs another of its own generation.

    Args:
        graph: the pipeline.
        order: the tasks, upstreams first; those of others are left out.
    """
    depth: dict[str, int] = {}
    for name in order:
        ups = (depth[up] for up in graph.upstream[name] if up in depth)
        depth[name] = 1 + max(ups, default=-1)
    count = max(depth.values(), default=-1) + 1
    return [[name for name in order if depth[name] == i] for i in range(count)]
