"""Tasks are joined by what they declare; wildcards, unknown names and cycles."""

import pytest

from nbpipe.core.graph import build_graph
from nbpipe.core.model import Declared, Location, Spec, Task
from nbpipe.errors import UsageError


def graph_of(edges: dict[str, list[str]]):
    """A graph from ``{task: its upstreams}``, each declared on line 3 of its script."""
    tasks = tuple(
        Task(name=name, source=f"{name}.py", at=Location("pipeline.yaml", 2 + i, 5))
        for i, name in enumerate(edges)
    )
    declared = {
        name: Declared(upstream=tuple(ups), at=tuple(Location(f"{name}.py", 3, 13) for _ in ups))
        for name, ups in edges.items()
    }
    return build_graph(Spec(tasks=tasks), declared)


IRIS = {
    "fit": ["get", "feature-sepal", "feature-petal"],
    "feature-sepal": ["get"],
    "feature-petal": ["get"],
    "get": [],
}


def test_order_puts_every_upstream_first_and_ties_as_in_the_spec():
    assert graph_of(IRIS).order() == ("get", "feature-sepal", "feature-petal", "fit")


def test_downstream_is_the_reverse_of_upstream():
    assert graph_of(IRIS).downstream() == {
        "get": ("fit", "feature-sepal", "feature-petal"),
        "feature-sepal": ("fit",),
        "feature-petal": ("fit",),
        "fit": (),
    }


def test_ancestors_and_descendants_are_transitive_and_leave_the_task_out():
    chain = graph_of({"a": [], "b": ["a"], "c": ["b"]})
    assert chain.ancestors("c") == {"a", "b"}
    assert chain.descendants("a") == {"b", "c"}
    assert chain.ancestors("a") == frozenset()


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("feature-*", ("feature-sepal", "feature-petal")),
        ("*", ("feature-sepal", "feature-petal", "get")),
        ("?et", ("get",)),
        ("feature-[sp]epal", ("feature-sepal",)),
    ],
)
def test_a_wildcard_stands_for_every_other_task_that_it_matches(pattern, found):
    graph = graph_of({**IRIS, "fit": [pattern]})
    assert graph.upstream["fit"] == found
    assert graph.wildcards["fit"] == {pattern: found}


def test_a_name_that_a_wildcard_also_matches_counts_once():
    assert graph_of({**IRIS, "fit": ["get", "*"]}).upstream["fit"] == (
        "get",
        "feature-sepal",
        "feature-petal",
    )


def test_the_specs_own_upstream_wins_over_the_source():
    tasks = (Task(name="a", source="a.py"), Task(name="b", source="b.py", upstream=("a",)))
    graph = build_graph(Spec(tasks=tasks), {"b": Declared(upstream=("nobody",))})
    assert graph.upstream["b"] == ("a",)


def test_an_unknown_task_is_a_usage_error_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'get'"):
        graph_of(IRIS).task("gte")


def test_networkx_sees_the_same_tasks_and_edges():
    graph = graph_of(IRIS).to_networkx()
    assert list(graph.nodes) == list(IRIS)
    assert set(graph.edges) == {(up, name) for name, ups in IRIS.items() for up in ups}


def test_five_thousand_tasks_in_a_chain_need_no_recursion():
    edges = {f"t{i}": [f"t{i - 1}"] if i else [] for i in range(5000)}
    graph = graph_of(edges)
    assert graph.order() == tuple(edges)
    assert len(graph.ancestors("t4999")) == 4999
