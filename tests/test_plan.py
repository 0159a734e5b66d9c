"""Whether a task runs, and why: one difference, one reason."""

import msgspec
import pytest

from nbpipe.core.graph import Graph
from nbpipe.core.model import Declared, Facts, FileState, Good, Inputs, Record, Task
from nbpipe.core.plan import decide, make_plan, offer, output_of

TASK = Task(
    name="fit",
    source="fit.py",
    product={"nb": "out/fit.ipynb", "model": "out/model.pickle"},
    params={"depth": 3},
)
INPUTS = Inputs(
    source="fit.py",
    text="text-1",
    code="code-1",
    modules={"helpers.py": "module-1"},
    params={"depth": 3},
    product=TASK.product,
)
PRODUCTS = {"out/fit.ipynb": "nb-1", "out/model.pickle": "model-1"}
OFFERS = {"get": "get-1"}


def state(digest: str) -> FileState:
    return FileState(digest=digest, size=1, mtime_ns=1, ctime_ns=1, inode=1, seen_ns=1)


def record(**changes) -> Record:
    """The record of a good run; ``changes`` go to the inputs, or to the record itself."""
    own = {k: changes.pop(k) for k in ("state", "error") if k in changes}
    inputs = msgspec.structs.replace(INPUTS, upstream=dict(OFFERS), **changes)
    good = Good(
        inputs=inputs,
        products={path: state(digest) for path, digest in PRODUCTS.items()},
        output=output_of(TASK, inputs, PRODUCTS),
        text="",
        declared=Declared(),
        started=0.0,
        seconds=1.0,
        run="r",
    )
    return Record(task="fit", run="r", started=0.0, good=good, **{"state": "done", **own})


def facts(products=PRODUCTS, problem=None, **changes) -> Facts:
    return Facts(
        inputs=msgspec.structs.replace(INPUTS, **changes), products=dict(products), problem=problem
    )


def reasons(today=None, then=None, offers=OFFERS, **kw):
    decision = decide(TASK, today or facts(), then or record(), offers, **kw)
    return [reason.code for reason in decision.reasons]


def test_equal_inputs_and_products_are_fresh():
    decision = decide(TASK, facts(), record(), OFFERS)
    assert (decision.action, decision.state, decision.reasons) == ("skip", "fresh", ())


@pytest.mark.parametrize(
    ("today", "code", "text"),
    [
        (facts(text="text-2", code="code-2"), "source", "code of fit.py changed"),
        (facts(modules={"helpers.py": "module-2"}), "module", "module helpers.py changed"),
        (facts(modules={}), "module", "module helpers.py is no longer imported"),
        (
            facts(modules={"helpers.py": "module-1", "new.py": "x"}),
            "module",
            "module new.py is newly imported",
        ),
        (facts(params={"depth": 4}), "param", "param 'depth' changed from 3 to 4"),
        (facts(params={"depth": 3.0}), "param", "param 'depth' changed from 3 to 3.0"),
        (facts(params={}), "param", "param 'depth' is gone (was 3)"),
        (facts(params={"depth": 3, "a": [1]}), "param", "param 'a' is new ([1])"),
        (facts(product="out/other.ipynb"), "product", "declared products changed"),
        (facts(source="other.py"), "source", "the task has another source"),
        (facts(kernel="ir"), "kernel", "the kernel changed"),
        (
            facts(products={**PRODUCTS, "out/model.pickle": None}),
            "product-missing",
            "product out/model.pickle is missing",
        ),
        (
            facts(products={**PRODUCTS, "out/model.pickle": "x"}),
            "product-changed",
            "product out/model.pickle was changed since it was built",
        ),
        (
            facts(products={**PRODUCTS, "out/fit.ipynb": "x"}),
            "product-changed",
            "product out/fit.ipynb was changed since it was built",
        ),
        (facts(problem="fit.py: no such file"), "unreadable", "fit.py: no such file"),
    ],
)
def test_one_difference_gives_one_reason(today, code, text):
    decision = decide(TASK, today, record(), OFFERS)
    assert decision.action == "run"
    assert [(r.code, r.text) for r in decision.reasons] == [(code, text)]


def test_params_say_the_old_and_the_new_value():
    (reason,) = decide(TASK, facts(params={"depth": 4}), record(), OFFERS).reasons
    assert (reason.old, reason.new) == ("3", "4")


def test_the_order_of_params_and_of_named_products_does_not_matter():
    swapped = dict(reversed(list(TASK.products.items())))
    assert reasons(facts(product=swapped)) == []
    two = {"a": {"x": 1, "y": 2}, "b": 1}
    other = {"b": 1, "a": {"y": 2, "x": 1}}
    assert reasons(facts(params=two), record(params=other)) == []


def test_other_text_with_the_same_code_is_a_note_and_not_a_reason():
    decision = decide(TASK, facts(text="text-2"), record(), OFFERS)
    assert decision.action == "skip"
    assert [note.code for note in decision.notes] == ["cosmetic"]
    assert "cosmetic edit" in decision.notes[0].text


@pytest.mark.parametrize(
    ("offers", "code"),
    [
        ({"get": "get-2"}, ["upstream"]),
        ({"get": None}, ["upstream"]),
        ({"get": "get-1", "clean": "c"}, ["upstream-list"]),
        ({}, ["upstream-list"]),
        ({"load": "get-1"}, ["upstream-list"]),
    ],
)
def test_what_upstreams_offer_and_which_they_are_counts(offers, code):
    assert reasons(offers=offers) == code


def test_a_pending_upstream_makes_a_maybe_that_names_it():
    decision = decide(TASK, facts(), record(), {"get": None}, pending=["get"])
    assert (decision.action, decision.state) == ("maybe", "stale")
    assert "'get'" in decision.reasons[0].text


def test_what_is_stale_of_itself_runs_whatever_its_upstreams_do():
    today = facts(text="t", code="c")
    assert decide(TASK, today, record(), {"get": None}, pending=["get"]).action == "run"


def test_a_task_that_never_ran_is_new():
    decision = decide(TASK, facts(), None, OFFERS)
    assert (decision.action, decision.state) == ("run", "new")


@pytest.mark.parametrize(("then", "code"), [("failed", "failed"), ("started", "interrupted")])
def test_a_run_that_did_not_end_well_runs_again(then, code):
    assert reasons(then=record(state=then, error="ValueError: x")) == [code]


def test_what_was_edited_while_the_task_ran_stays_stale():
    assert reasons(then=record(modules={"helpers.py": None})) == ["module"]
    edited = record()
    inputs = msgspec.structs.replace(edited.good.inputs, upstream={"get": None})
    good = msgspec.structs.replace(edited.good, inputs=inputs)
    assert reasons(then=msgspec.structs.replace(edited, good=good)) == ["upstream"]


def test_force_runs_what_is_fresh():
    assert reasons(forced=True) == ["forced"]


def test_the_executed_notebook_is_not_what_consumers_see():
    before = offer(TASK, facts(), record())
    assert offer(TASK, facts({**PRODUCTS, "out/fit.ipynb": "nb-2"}), record()) == before
    assert offer(TASK, facts({**PRODUCTS, "out/model.pickle": "model-2"}), record()) != before


def test_a_task_with_nothing_but_a_notebook_offers_the_digest_of_its_inputs():
    only = Task(name="fit", source="fit.py", product="out/fit.ipynb")
    one = output_of(only, INPUTS, {"out/fit.ipynb": "nb-1"})
    assert one == output_of(only, INPUTS, {"out/fit.ipynb": "nb-2"})
    assert one != output_of(only, msgspec.structs.replace(INPUTS, code="code-2"), {})


def test_a_missing_product_is_nothing_to_offer():
    assert offer(TASK, facts({**PRODUCTS, "out/model.pickle": None}), record()) is None


def test_a_plan_marks_everything_below_a_stale_task_as_maybe():
    tasks = {n: Task(name=n, source=f"{n}.py", product=f"{n}.csv") for n in ("a", "b", "c")}
    graph = Graph(tasks, {"a": (), "b": ("a",), "c": ("b",)})
    all_facts, records = {}, {}
    for name, ups in graph.upstream.items():
        inputs = Inputs(source=f"{name}.py", text="t", code="c", product=f"{name}.csv")
        all_facts[name] = Facts(inputs=inputs, products={f"{name}.csv": "d"})
        offers = {up: offer(tasks[up], all_facts[up], None) for up in ups}
        done = record()
        good = msgspec.structs.replace(
            done.good,
            inputs=msgspec.structs.replace(inputs, upstream=offers),
            products={f"{name}.csv": state("d")},
        )
        records[name] = msgspec.structs.replace(
            done, task=name, good=good, durations=(2.0, 9.0, 3.0)
        )
    assert make_plan(graph, all_facts, records).idle
    all_facts["a"] = msgspec.structs.replace(all_facts["a"], products={"a.csv": None})
    plan = make_plan(graph, all_facts, records)
    assert {n: d.action for n, d in plan.decisions.items()} == {
        "a": "run",
        "b": "maybe",
        "c": "maybe",
    }
    assert plan.expected == {"a": 3.0, "b": 3.0, "c": 3.0}
    assert make_plan(graph, all_facts, records, tasks={"c"}).named("skip") == ("c",)
