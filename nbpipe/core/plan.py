"""Whether a task runs, and why: one decision that status, why, dry runs and builds share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from nbpipe.core.fingerprint import output_digest, value_digest
from nbpipe.core.graph import Graph
from nbpipe.core.model import Decision, Facts, Good, Inputs, Product, Reason, Record, State, Task


class Plan(msgspec.Struct, frozen=True):
    """What a build would do now.

    Attributes:
        decisions: by task, in topological order.
        expected: recorded seconds of each task (the median of its last runs); a task without
            history is left out.
    """

    decisions: dict[str, Decision]
    expected: dict[str, float] = {}

    def named(self, action: str) -> tuple[str, ...]:
        """The tasks whose action is ``run``, ``skip`` or ``maybe``."""
        return tuple(name for name, d in self.decisions.items() if d.action == action)

    @property
    def idle(self) -> bool:
        """Whether a build would run nothing."""
        return all(d.action == "skip" for d in self.decisions.values())

    @property
    def states(self) -> dict[str, State]:
        """What views show of each task."""
        return {name: d.state for name, d in self.decisions.items()}


def make_plan(
    graph: Graph,
    facts: Mapping[str, Facts],
    records: Mapping[str, Record],
    *,
    tasks: Collection[str] | None = None,
    force: Collection[str] = (),
) -> Plan:
    """Decide every task, without knowing yet what the running ones will produce.

    Args:
        graph: the pipeline.
        facts: today's facts of every task of the graph.
        records: what is remembered; a task that never ran is left out.
        tasks: those to decide; None: all. An upstream outside is taken as it stands.
        force: tasks that run whatever the comparison says.
    """
    decisions: dict[str, Decision] = {}
    for name in graph.order():
        if tasks is not None and name not in tasks:
            continue
        task, record = graph.tasks[name], records.get(name)
        pending = [
            up for up in graph.upstream[name] if up in decisions and decisions[up].action != "skip"
        ]
        offers = {
            up: None if up in pending else offer(graph.tasks[up], facts[up], records.get(up))
            for up in graph.upstream[name]
        }
        decisions[name] = decide(
            task, facts[name], record, offers, pending=pending, forced=name in force
        )
    return Plan(decisions, expected_seconds(records))


def expected_seconds(records: Mapping[str, Record]) -> dict[str, float]:
    """The median of each task's last five durations, seconds."""
    found = {}
    for name, record in records.items():
        last = sorted(record.durations[-5:])
        if last:
            found[name] = last[len(last) // 2]
    return found


def offer(task: Task, facts: Facts, record: Record | None) -> str | None:
    """The digest that consumers of a task see today; None: there is nothing to consume.

    The executed notebook does not count, since it holds times. A task that makes nothing else
    is represented by the digest of its last good run's inputs.
    """
    if not task.data or task.is_input:
        return record.good.output if record is not None and record.good is not None else None
    pairs = {key: (path, facts.products.get(path)) for key, path in task.data.items()}
    known = {key: (path, digest) for key, (path, digest) in pairs.items() if digest is not None}
    return output_digest(known) if len(known) == len(pairs) else None


def output_of(task: Task, inputs: Inputs, products: Mapping[str, str], run: str = "") -> str:
    """The digest that consumers see after a good run, to be recorded.

    An input counts as new in every run, whatever its bytes.
    """
    if task.is_input:
        return value_digest(["input", run, dict(products)])
    if not task.data:
        # Without the text: after an edit of comments alone a forced run changes nothing below it.
        code_alone = msgspec.structs.replace(inputs, text="")
        return value_digest(["inputs", msgspec.to_builtins(code_alone)])
    return output_digest({key: (path, products[path]) for key, path in task.data.items()})


def decide(
    task: Task,
    facts: Facts,
    record: Record | None,
    offers: Mapping[str, str | None],
    *,
    pending: Collection[str] = (),
    forced: bool = False,
) -> Decision:
    """Compare one task with its record.

    Args:
        task: the task.
        facts: what is true of it today.
        record: what is remembered of it.
        offers: for each of its upstreams the digest that it offers today; None: nothing yet.
        pending: those of its upstreams that will run, so that their offer is not known yet.
        forced: run it whatever the comparison says.
    """
    reasons = [Reason("forced", "forced")] if forced else []
    reasons.extend(_differences(task, facts, record, offers, pending))
    good = record.good if record is not None else None
    if reasons:
        return Decision(
            task=task.name,
            action="run",
            state=_state(record),
            reasons=tuple(reasons),
            notes=_notes(facts, good),
        )
    if pending:
        waits = tuple(
            Reason("upstream-runs", f"upstream '{up}' runs first; this runs if its products change")
            for up in pending
        )
        return Decision(
            task=task.name, action="maybe", state="stale", reasons=waits, notes=_notes(facts, good)
        )
    return Decision(task=task.name, action="skip", state="fresh", notes=_notes(facts, good))


def _state(record: Record | None) -> State:
    if record is None:
        return "new"
    return "failed" if record.state == "failed" else "stale"


def _differences(
    task: Task,
    facts: Facts,
    record: Record | None,
    offers: Mapping[str, str | None],
    pending: Collection[str],
) -> Iterator[Reason]:
    if facts.problem is not None:
        yield Reason("unreadable", facts.problem)
    if record is None:
        yield Reason("new", "never run")
        return
    if record.state == "failed":
        yield Reason("failed", f"the last run failed: {record.error or 'no message'}")
    elif record.state == "started":
        yield Reason("interrupted", "the last run did not end")
    good = record.good
    if task.is_input:
        yield Reason("input", "an input counts as new in every build")
    if good is None:
        if record.state == "done":
            yield Reason("new", "never run")
        return
    yield from _input_differences(facts.inputs, good.inputs)
    yield from _upstream_differences(offers, good.inputs, pending)
    yield from _product_differences(task, facts, good)


def _input_differences(now: Inputs, then: Inputs) -> Iterator[Reason]:
    if now.source != then.source:
        yield Reason("source", "the task has another source", then.source, now.source)
    elif now.text != then.text and now.code != then.code:
        yield Reason("source", f"code of {now.source} changed")
    if now.kernel != then.kernel:
        yield Reason("kernel", "the kernel changed", then.kernel, now.kernel)
    yield from _module_differences(now.modules, then.modules)
    for key in _keys(then.params, now.params):
        old, new = _shown(then.params, key), _shown(now.params, key)
        if old != new:
            yield Reason("param", f"param '{key}' {_verb(old, new)}", old, new)
    for path in _keys(then.files, now.files):
        if now.files.get(path) is None or now.files.get(path) != then.files.get(path):
            yield Reason("file", f"file {path} {_how(path, now.files, then.files)}")
    for key in _keys(then.options, now.options):
        old, new = _shown(then.options, key), _shown(now.options, key)
        if old != new:
            yield Reason("option", f"option '{key}' {_verb(old, new)}", old, new)
    if _named(now.product) != _named(then.product):
        yield Reason("product", "declared products changed", str(then.product), str(now.product))


def _how(path: str, now: Mapping[str, str | None], then: Mapping[str, str | None]) -> str:
    if path not in now:
        return "is no longer a resource"
    if path not in then:
        return "is a new resource"
    if then[path] is None:
        return "was edited while the task ran"
    return "is missing" if now[path] is None else "changed"


def _module_differences(
    now: Mapping[str, str | None], then: Mapping[str, str | None]
) -> Iterator[Reason]:
    for path in _keys(then, now):
        if path in then and then[path] is None:
            yield Reason("module", f"module {path} was edited while the task ran")
        elif now.get(path) != then.get(path) or (path in now) != (path in then):
            what, used = ("function", "called") if "::" in path else ("module", "imported")
            gone = f"is no longer {used}" if path not in now else None
            added = f"is newly {used}" if path not in then else None
            yield Reason(what, f"{what} {path} {gone or added or 'changed'}")


def _upstream_differences(
    offers: Mapping[str, str | None], then: Inputs, pending: Collection[str]
) -> Iterator[Reason]:
    if set(offers) != set(then.upstream):
        old, new = ", ".join(sorted(then.upstream)), ", ".join(sorted(offers))
        yield Reason("upstream-list", "the list of upstreams changed", old or "none", new or "none")
    for name, digest in offers.items():
        if name not in then.upstream or name in pending:
            continue
        if then.upstream[name] is None:
            yield Reason("upstream", f"upstream '{name}' was edited while the task ran")
        elif digest != then.upstream[name]:
            yield Reason("upstream", f"products of upstream '{name}' changed")


def _product_differences(task: Task, facts: Facts, good: Good) -> Iterator[Reason]:
    for path in task.products.values():
        recorded = good.products.get(path)
        digest = facts.products.get(path)
        if digest is None:
            yield Reason("product-missing", f"product {task.shown(path)} is missing")
        elif recorded is not None and digest != recorded.digest:
            yield Reason("product-changed", f"product {path} was changed since it was built")


def _notes(facts: Facts, good: Good | None) -> tuple[Reason, ...]:
    if good is None or facts.inputs.source != good.inputs.source:
        return ()
    if facts.inputs.text != good.inputs.text and facts.inputs.code == good.inputs.code:
        text = f"cosmetic edit of {facts.inputs.source}: comments, formatting or markdown only"
        return (Reason("cosmetic", text),)
    return ()


def _keys(then: Mapping[str, object], now: Mapping[str, object]) -> Iterable[str]:
    return dict.fromkeys([*then, *now])


def _named(product: Product) -> object:
    """Named products as a set of pairs: their order in the YAML does not matter."""
    return sorted(product.items()) if isinstance(product, dict) else product


def _shown(params: Mapping[str, object], key: str) -> str | None:
    """A param's value as JSON: 1, 1.0 and true differ; key order does not."""
    return msgspec.json.encode(params[key], order="sorted").decode() if key in params else None


def _verb(old: str | None, new: str | None) -> str:
    if old is None:
        return f"is new ({_short(new)})"
    if new is None:
        return f"is gone (was {_short(old)})"
    return f"changed from {_short(old)} to {_short(new)}"


def _short(value: str | None) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
