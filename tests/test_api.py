"""The Python API: tasks by name, specs from Python, hooks that are functions, values in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from nbpipe import BuildError, InlineExecutor, InMemoryPipeline, Pipeline, StoreError, UsageError
from nbpipe.errors import DAGBuildEarlyStop, SpecError
from tests.projects import Project, fake_work

process = pytest.mark.process


@pytest.fixture(autouse=True)
def _forget_modules() -> Any:
    """Modules of a project that a test imported are not those of the next one."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("steps", "tasks"):
            del sys.modules[name]


# -- tasks by name -----------------------------------------------------------------------------


def test_a_task_is_had_by_its_name_and_knows_its_neighbours(diamond: Project) -> None:
    dag = diamond.pipeline()
    assert list(dag) == ["get", "sepal", "petal", "fit"]
    assert len(dag) == 4
    assert "fit" in dag
    assert "nothing" not in dag
    fit = dag["fit"]
    assert list(fit.upstream) == ["sepal", "petal"]
    assert fit.upstream["sepal"].upstream["get"].name == "get"
    assert fit.product["data"] == str(diamond.root / "out/fit.txt")
    assert (fit.status.state, fit.params) == ("new", {})
    assert "upstream = ['sepal', 'petal']" in fit.source
    assert repr(fit) == "<task fit: fit.py>"
    with pytest.raises(UsageError, match="did you mean 'fit'"):
        dag["fitt"]


def test_a_task_is_built_alone_and_its_product_loaded(diamond: Project) -> None:
    dag = diamond.pipeline()
    with pytest.raises(StoreError, match="build the task that makes it"):
        dag["get"].load()
    report = dag["sepal"].build(executor=diamond.executor)
    assert sorted(report.named("ran")) == ["get", "sepal"]
    assert dag["sepal"].load() == dag["sepal"].load("data") == "sepalone"
    report = dag["sepal"].build(force=True, executor=diamond.executor)
    assert report.named("ran") == ("sepal",)
    with pytest.raises(UsageError, match="no product 'dta'"):
        dag["sepal"].load("dta")


def test_which_product_is_meant_has_to_be_said(project: Project) -> None:
    project.task("two")
    project.tasks[0]["product"] = {"nb": "a.ipynb", "data": "a.txt", "more": "b.txt"}
    project.save()
    with pytest.raises(UsageError, match="2 products"):
        project.pipeline()["two"].load()


def test_a_part_is_built_by_wildcard(diamond: Project) -> None:
    dag = diamond.pipeline()
    report = dag.build_partially("*pal", executor=diamond.executor)
    assert sorted(report.named("ran")) == ["get", "sepal"]
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    report = dag.render().build_partially("*pal", upstream=False, executor=diamond.executor)
    assert report.named("ran") == ()


def test_render_reads_the_files_again(diamond: Project) -> None:
    dag = diamond.pipeline()
    diamond.task("last", ["fit"])
    assert "last" not in dag
    assert "last" in dag.render()
    diamond.write("pipeline.yaml", "tasks: 3\n")
    with pytest.raises(SpecError):
        dag.render()


STEPS = """\
import json
from pathlib import Path


def load(product, rows):
    Path(product).write_text(json.dumps(list(range(rows))))


def total(product, upstream):
    Path(product).write_text(str(sum(json.loads(Path(upstream["load"]).read_text()))))


def broken(product):
    inner = 5
    raise ValueError(inner)
"""

SPEC: dict[str, Any] = {
    "tasks": [
        {"source": "steps.load", "product": "out/load.json", "params": {"rows": 4}},
        {"source": "steps.total", "product": "out/total.txt"},
    ]
}


def test_a_debugger_gets_the_frames_of_a_function(project: Project) -> None:
    project.write("steps.py", STEPS)
    dag = Pipeline.from_dict([{"source": "steps.broken", "product": "a.txt"}], project.root)
    seen: list[dict[str, Any]] = []
    error = dag["broken"].debug(lambda trace: seen.append(dict(trace.tb_frame.f_locals)))
    assert isinstance(error, ValueError)
    assert seen[0]["inner"] == 5
    assert dag.record("broken") is None


def test_what_cannot_be_called_and_what_exits_is_told_without_frames(project: Project) -> None:
    code = "import sys\n\n\ndef leave(product):\n    sys.exit(3)\n\n\ndef ask(rows):\n    pass\n"
    project.write("steps.py", code)
    entry = {"source": "steps.leave", "product": "a.txt"}
    dag = Pipeline.from_dict([entry, {"source": "steps.ask", "product": "b.txt"}], project.root)
    for name, said in (("leave", "sys.exit(3) was called"), ("ask", "requires 'rows'")):
        error = dag[name].debug(lambda trace: pytest.fail("there is nothing to look into"))
        assert isinstance(error, BuildError)
        assert said in str(error)


def test_a_debugger_is_not_opened_on_a_task_that_goes_well(diamond: Project) -> None:
    """Its products are written; what it needs has to be there."""
    dag = diamond.pipeline()
    with pytest.raises(UsageError, match="upstream 'get' has not been built"):
        dag["sepal"].debug()
    dag["get"].build(executor=diamond.executor)
    assert dag["sepal"].debug() is None
    assert diamond.read("out/sepal.txt") == "sepalone"


# -- a spec from Python ------------------------------------------------------------------------


@process
def test_a_pipeline_that_python_describes_builds_and_is_remembered(project: Project) -> None:
    project.write("steps.py", STEPS)
    dag = Pipeline.from_dict(SPEC, project.root)
    assert sorted(dag.build().named("ran")) == ["load", "total"]
    assert dag["total"].load() == "6"
    again = Pipeline.from_dict(SPEC, project.root)
    assert again.build().named("ran") == ()
    changed = {"tasks": [{**SPEC["tasks"][0], "params": {"rows": 5}}, SPEC["tasks"][1]]}
    assert len(Pipeline.from_dict(changed, project.root).build().named("ran")) == 2


def test_its_records_are_apart_from_those_of_pipeline_yaml(diamond: Project) -> None:
    diamond.build()
    small = [{"source": "get.py", "product": {"nb": "o/get.ipynb", "data": "o/get.txt"}}]
    for name in ("one", "two"):
        dag = Pipeline.from_dict(small, diamond.root, name=name)
        assert dag.build(executor=diamond.executor).named("ran") == ("get",)
    assert diamond.build() == []


def test_placeholders_are_those_of_env_yaml(project: Project) -> None:
    project.write("env.yaml", "rows: 2\n")
    project.write("steps.py", STEPS)
    spec = [{**SPEC["tasks"][0], "params": {"rows": "{{rows}}"}}]
    assert Pipeline.from_dict(spec, project.root)["load"].params == {"rows": 2}
    assert Pipeline.from_dict(spec, project.root, env={"rows": 9})["load"].params == {"rows": 9}


def test_paths_may_be_path_objects(project: Project) -> None:
    project.task("get")
    spec = [{"source": Path("get.py"), "product": Path("o") / "get.ipynb"}]
    assert Pipeline.from_dict(spec, project.root)["get"].task.product == "o/get.ipynb"
    with pytest.raises(UsageError, match="a value of type object"):
        Pipeline.from_dict([{"source": object()}], project.root)


def test_what_is_wrong_in_it_is_told_without_a_line(project: Project) -> None:
    with pytest.raises(SpecError) as caught:
        Pipeline.from_dict({"tasks": [{"source": "no.py", "produkt": "x"}]}, project.root)
    assert "did you mean 'product'" in str(caught.value)
    assert ":1:" not in str(caught.value)


def test_what_needs_another_process_wants_a_file(diamond: Project) -> None:
    dag = Pipeline.from_dict([{"source": "get.py", "product": "o/get.ipynb"}], diamond.root)
    for ask in (dag.start, dag.document):
        with pytest.raises(UsageError, match="write it into a pipeline"):
            ask()


# -- hooks from Python -------------------------------------------------------------------------


def test_a_function_is_called_after_a_task_with_absolute_paths(
    diamond: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    dag = diamond.pipeline()
    dag["get"].on_finish = lambda product, params, task: seen.append((product, params, str(task)))
    dag["get"].on_render = lambda: seen.append("before")
    monkeypatch.chdir("/")
    dag.build(executor=diamond.executor)
    assert seen[0] == "before"
    product, params, name = seen[1]
    assert product["data"].is_absolute()
    assert product["data"].read_text() == "one"
    assert (params["product"], name) == (product, "get")
    assert dag["get"].on_finish is not None
    assert dag.build(executor=diamond.executor).named("ran") == ()
    assert len(seen) == 2, "a build with nothing to do calls no hook"


def test_an_error_in_on_finish_fails_the_task(diamond: Project) -> None:
    told: list[str] = []

    def check(product: Any) -> None:
        raise AssertionError("too few rows")

    dag = diamond.pipeline()
    dag["get"].on_finish = check
    dag["get"].on_failure = lambda task: told.append(task.name)
    dag.on_failure = lambda traceback: told.append(traceback["build"])
    report = dag.build(executor=diamond.executor)
    assert report.named("failed") == ("get",)
    failure = report.tasks["get"].failure
    assert failure is not None
    assert failure.message == "on_finish of task 'get': too few rows"
    assert told[0] == "get"
    assert "AssertionError" in told[1]
    dag["get"].on_finish = None
    dag.on_failure = None
    assert dag.build(executor=diamond.executor).ok


def test_the_pipeline_s_own_functions_get_the_whole(diamond: Project) -> None:
    seen: list[Any] = []
    dag = diamond.pipeline()
    dag.on_render = lambda dag: seen.append(list(dag))
    dag.on_finish = lambda report: seen.append(report["Ran?"])
    dag.render().build(executor=diamond.executor)
    assert seen == [["get", "sepal", "petal", "fit"], [True] * 4]


def test_an_error_before_anything_runs_ends_the_build(diamond: Project) -> None:
    def refuse() -> None:
        raise RuntimeError("not today")

    dag = diamond.pipeline()
    dag.on_render = refuse
    with pytest.raises(BuildError, match="not today"):
        dag.build(executor=diamond.executor)
    assert not (diamond.root / "out/get.txt").exists()


def test_a_function_can_end_the_build_early(diamond: Project) -> None:
    def stop() -> None:
        raise DAGBuildEarlyStop("no new data")

    dag = diamond.pipeline()
    dag["get"].on_finish = stop
    report = dag.build(executor=diamond.executor)
    assert report.exit_code == 0
    assert report.named("ran") == ()


@process
def test_functions_come_after_the_hooks_of_pipeline_yaml(project: Project) -> None:
    project.write("steps.py", STEPS + "\n\ndef note(product):\n    Path('note').write_text('x')\n")
    entry = {"source": "steps.load", "product": "a.json", "params": {"rows": 1}}
    spec = {
        "on_finish": {"dotted_path": "steps.note", "product": "end"},
        "tasks": [{**entry, "on_finish": "steps.note"}],
    }
    dag = Pipeline.from_dict(spec, project.root)
    seen: list[bool] = []
    dag["load"].on_finish = lambda: seen.append((project.root / "note").exists())
    dag.on_finish = lambda report: seen.append((project.root / "note").exists())
    assert dag.build().ok
    assert seen == [True, True]


def test_functions_of_this_process_are_not_lost_elsewhere(diamond: Project) -> None:
    dag = diamond.pipeline()
    dag["get"].on_finish = print
    for ask in (dag.start, lambda: dag.run_only("get")):
        with pytest.raises(UsageError, match="functions of this process"):
            ask()
    with pytest.raises(UsageError, match="on_finish must be a function"):
        dag["get"].on_finish = "hooks.check"  # type: ignore[assignment]


# -- values in memory --------------------------------------------------------------------------


def load(rows: int = 3) -> list[int]:
    return list(range(rows))


def clean(load: list[int], least: int = 0) -> list[int]:
    return [row for row in load if row >= least]


def total(clean: list[int], scale: int) -> int:
    return sum(clean) * scale


def test_functions_pass_values_by_the_names_of_their_parameters() -> None:
    steps = InMemoryPipeline.from_functions(total, clean, load, params={"scale": 10})
    assert steps.tasks == ("load", "clean", "total")
    assert steps.terminals == ("total",)
    assert steps.run() == {"load": [0, 1, 2], "clean": [0, 1, 2], "total": 30}
    assert steps.run(params={"scale": 1, "rows": 5})["total"] == 10
    assert repr(steps) == "<InMemoryPipeline: load → clean → total>"


def test_a_value_stands_for_a_task_and_all_that_only_it_needs() -> None:
    def load() -> None:
        raise AssertionError("not needed")

    steps = InMemoryPipeline.from_functions(load, clean, total, params={"scale": 2})
    assert steps.run({"clean": [7]}) == {"clean": [7], "total": 14}
    assert steps.run({"load": [1, 2]}, params={"least": 2}, outputs=["clean"]) == {
        "load": [1, 2],
        "clean": [2],
    }


def test_async_functions_are_awaited_as_in_a_build() -> None:
    async def fetch() -> int:
        return 2

    async def double(fetch: int) -> int:
        return 2 * fetch

    assert InMemoryPipeline.from_functions(fetch, double).run()["double"] == 4


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda s: s.run({"laod": []}), "did you mean 'load'"),
        (lambda s: s.run(outputs=["totl"]), "did you mean 'total'"),
        (lambda s: s.run(), "task 'total' needs a value for 'scale'"),
        (lambda s: s.run(params={"scael": 1}), "did you mean 'scale'"),
        (lambda s: s.run(params={"scale": 1}, outputs=["load"]), "no function that runs"),
        (lambda s: s.then(load), "two functions are called 'load'"),
        (lambda s: s.from_functions(load, params={"x": 1}), "no function has a parameter 'x'"),
        (lambda s: s.from_functions(lambda: 1, named={"clean": clean, "load": _circle}), "circle"),
    ],
)
def test_wrong_use_is_told_before_anything_is_called(ask: Any, said: str) -> None:
    steps = InMemoryPipeline.from_functions(load, clean, total)
    with pytest.raises(UsageError) as caught:
        ask(steps)
    text = str(caught.value)
    assert said in text or (said == "circle" and "need each other: clean" in text)


def _circle(clean: Any) -> None:
    """Needs what needs it."""


MEMORY = """\
from pathlib import Path


def load(rows):
    return list(range(rows))


def double(upstream):
    return [2 * row for row in upstream["load"]]


def part(upstream, number):
    return upstream["double"][number]


def join(upstream):
    return [*upstream["part-*"].values(), upstream["double"][-1]]


def write(product, upstream):
    Path(product).write_text(str(upstream["join"]))
"""

TASKS: list[dict[str, Any]] = [
    {"source": "tasks.load", "product": "o/load.pkl", "params": {"rows": 3}},
    {"source": "tasks.double", "product": "o/double.pkl"},
    {"source": "tasks.part", "name": "part-", "product": "o/part.pkl", "grid": {"number": [0, 1]}},
    {"source": "tasks.join", "product": "o/join.pkl"},
    {"source": "tasks.write", "product": "o/write.txt"},
]


@pytest.fixture
def memory(project: Project) -> Pipeline:
    project.write("tasks.py", MEMORY)
    reads = {"unserializer": "nbpipe.io.unserializer_pickle"}
    writes = {"serializer": "nbpipe.io.serializer_pickle"}
    spec = [task | reads | (writes if task["source"] != "tasks.write" else {}) for task in TASKS]
    return Pipeline.from_dict(spec, project.root)


def test_the_functions_of_a_pipeline_run_on_values_and_leave_no_file(memory: Pipeline) -> None:
    """Wildcards are grouped as on disk; what writes its own file is left out."""
    online = memory.in_memory("join")
    assert online.run()["join"] == [0, 2, 4]
    assert online.run({"load": [5, 6]})["join"] == [10, 12, 12]
    assert online.run(params={"rows": 9})["join"] == [0, 2, 16]
    assert not (memory.root / "o").exists()
    assert not (memory.root / ".nbpipe").exists()


def test_a_task_that_works_with_files_is_an_input(memory: Pipeline) -> None:
    online = memory.in_memory()
    assert online.inputs == ("write",)
    with pytest.raises(UsageError, match="the value of 'write' must be given"):
        online.run()
    assert online.run(outputs=["double"])["double"] == [0, 2, 4]


def test_a_prediction_is_added_to_the_features(memory: Pipeline) -> None:
    def predict(double: list[int], model: int) -> int:
        return sum(double) * model

    online = memory.in_memory("double").then(predict)
    assert online.run({"load": [1, 2]}, params={"model": 10})["predict"] == 60
    assert memory.in_memory("double").then(lambda upstream: upstream, "all").run()["all"] == {
        "double": [0, 2, 4]
    }


@process
def test_what_the_build_pickled_is_loaded_by_its_unserializer(memory: Pipeline) -> None:
    assert memory.build().ok
    assert memory["join"].load() == [0, 2, 4]
    assert (memory.root / "o/write.txt").read_text() == "[0, 2, 4]"


def test_a_pipeline_of_notebooks_has_nothing_for_memory(diamond: Project) -> None:
    with pytest.raises(UsageError, match="no task of this pipeline is a function"):
        diamond.pipeline().in_memory()
    with pytest.raises(UsageError, match="none of these tasks"):
        diamond.pipeline().in_memory("get")


def test_the_inline_executor_takes_hooks_too(diamond: Project) -> None:
    """So that a test of a project can hang its checks without kernels."""
    ran: list[str] = []
    dag = diamond.pipeline()
    for name in dag:
        dag[name].on_finish = lambda task: ran.append(task.name)
    dag.build(executor=InlineExecutor(fake_work), jobs=1)
    assert sorted(ran) == sorted(dag)
