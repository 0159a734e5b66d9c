"""What a store changes of a plan: a build takes from it what somebody has made before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Facts, Reason, Record
from nbpipe.core.plan import Plan, decide, offer
from nbpipe.errors import StoreError, UsageError, harmless
from nbpipe.run.sharing import Share
from nbpipe.run.standing import generations
from nbpipe.store.shared import AT_ONCE

T = TypeVar("T")


def with_store(
    ask: Callable[[str | None], T], store: str | None, warn: Callable[[str], object]
) -> T:
    """What is asked, with what a store has; without it, and a warning, when it cannot be read.

    Args:
        ask: takes the address of a store; "": none.
        store: the address; None: that of the environment or of the spec.
        warn: takes the warning, one line.
    """
    try:
        return ask(store)
    except (StoreError, UsageError) as error:
        found = ask("")  # raises again what is not about the store
        warn(harmless(f"warning: what is in the store is not known: {error.message}"))
        return found


class StoredPlan:
    """Looks for what a plan would run. What is fresh here, or forced, is not asked about.

    A task whose upstreams will run is not asked about either: nobody knows yet what they give. So
    there is a request for each record that a build would look for now, some at a time; they cannot
    be one, since the name of a record follows from what the records above it say.

    Args:
        graph: the pipeline.
        plan: by what is here.
        facts: today's facts of every task of the graph.
        records: what is remembered here.
        share: the store.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        facts: Mapping[str, Facts],
        records: Mapping[str, Record],
        share: Share,
    ) -> None:
        self._graph = graph
        self._plan = plan
        self._facts = facts
        self._records = records
        self._share = share

    def look(self) -> Plan:
        """The plan with what the store has.

        Raises:
            StoreError: the store cannot be read.
        """
        offers = {
            name: self._offer(name)
            for name in self._graph.tasks
            if name not in self._plan.decisions
        }
        found: dict[str, Decision] = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for names in generations(self._graph, list(self._plan.decisions)):
                several = len(names)
                looked = pool.map(self._decide, names, [found] * several, [offers] * several)
                for name, (decision, offered) in zip(names, list(looked), strict=True):
                    found[name], offers[name] = decision, offered
        decisions = {name: found[name] for name in self._plan.decisions}
        return msgspec.structs.replace(self._plan, decisions=decisions)

    def _decide(
        self, name: str, above: Mapping[str, Decision], offered: Mapping[str, str | None]
    ) -> tuple[Decision, str | None]:
        """What to do with a task whose upstreams are decided, and what it then offers."""
        before = self._plan.decisions[name]
        if any(reason.code == "forced" for reason in before.reasons):
            return before, None
        task, facts, record = self._graph.tasks[name], self._facts[name], self._records.get(name)
        ups = self._graph.upstream[name]
        pending = [up for up in ups if up in above and above[up].action != "skip"]
        offers = {up: None if up in pending else offered[up] for up in ups}
        decision = decide(task, facts, record, offers, pending=pending)
        if decision.action == "skip":
            return decision, self._offer(name)
        stored = None if pending else self._share.find(task, facts, offers)
        if stored is None or stored.good is None:
            return decision, None
        note = Reason("stored", f"in the store: {self._share.store.shown} has it")
        taken = msgspec.structs.replace(decision, action="skip", reasons=(), notes=(note,))
        return taken, stored.good.output

    def _offer(self, name: str) -> str | None:
        return offer(self._graph.tasks[name], self._facts[name], self._records.get(name))
