"""The DAG file for Airflow, as text; tests/test_airflow_runs.py runs it in real Airflows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpipe import Pipeline
from nbpipe.errors import UsageError
from nbpipe.exporters import airflow_names as names
from nbpipe.exporters.airflow import AirflowExporter
from nbpipe.exporters.base import GraphDocument, TaskDocument, read_settings
from tests import goldens
from tests.engines import DEMO

CONTAINER = {"image": "team/iris:1", "store": "s3://team-bucket/iris"}


def task(name: str, *upstream: str, **more) -> TaskDocument:
    plain = {
        "name": name,
        "source": f"{name}.py",
        "kind": "notebook",
        "upstream": upstream,
        "products": {},
        "notebook": None,
        "params": {},
        "kernel": "python3",
        "resources": {"cpu": None, "gpu": None, "memory": None},
        "timeout": None,
        "retries": 0,
        "group": None,
    }
    return TaskDocument(**{**plain, **more})


def document(*tasks: TaskDocument, **more) -> GraphDocument:
    plain = {"version": 1, "name": "p", "spec": "pipeline.yaml", "store": None}
    return GraphDocument(**{**plain, "arguments": ("-e", "x.yaml"), "tasks": tasks, **more})


def exported(document: GraphDocument, **said) -> str:
    """The only file's text."""
    exporter = AirflowExporter()
    [text] = exporter.export(document, read_settings(exporter, said)).values()
    return text


def refusal(document: GraphDocument, **said) -> UsageError:
    with pytest.raises(UsageError) as caught:
        exported(document, **said)
    return caught.value


class Task(msgspec.Struct):
    """A task of a DAG file.

    Attributes:
        arguments: their values, or their source where they are no plain values.
        upstream: ids of the tasks that it waits for.
    """

    arguments: dict[str, object]
    upstream: list[str]


def read(text: str) -> dict[str, Task]:
    """The tasks of a DAG file, by id, from its syntax alone."""
    found: dict[str, Task] = {}
    [dag] = [node for node in ast.parse(text).body if isinstance(node, ast.With)]
    for statement in dag.body:
        match statement:
            case ast.Assign(value=ast.Call(func=ast.Name("NbpipeTask")) as call):
                arguments = {word.arg: _value(word.value) for word in call.keywords if word.arg}
                found[str(arguments["task_id"])] = Task(arguments, [])
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=entry), args=[ast.List(ups)])):
                found[_id(entry)].upstream = [_id(up) for up in ups]
    return found


def _value(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _id(node: ast.expr) -> str:
    assert isinstance(node, ast.Subscript)
    return str(ast.literal_eval(node.slice))


def common(text: str) -> dict[str, object]:
    """What all tasks have in common."""
    [node] = [
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMON"
    ]
    assert isinstance(node, ast.Dict)
    return {ast.literal_eval(k): _value(v) for k, v in zip(node.keys, node.values, strict=True)}


def dag_of(text: str) -> dict[str, object]:
    """The arguments of the DAG."""
    [dag] = [node for node in ast.parse(text).body if isinstance(node, ast.With)]
    call = dag.items[0].context_expr
    assert isinstance(call, ast.Call)
    return {word.arg or "": _value(word.value) for word in call.keywords}


# -- the whole file ----------------------------------------------------------------------------

PRESETS = {
    "bash": {
        "folder": "..",
        "environ": {"DAY": "{{ ds }}"},
        "pool": "notebooks",
        "retry_delay": "60",
        "schedule": "0 6 * * *",
    },
    "docker": {**CONTAINER, "folder": "/srv/iris", "volumes": "data:/data", "pass_env": "KEY"},
    "kubernetes": {**CONTAINER, "secrets": "keys", "options": "{namespace: team}"},
}


@pytest.fixture(scope="module")
def iris() -> GraphDocument:
    """The demo, with a task that asks for much and two in a group."""
    document = Pipeline.load(DEMO).document()
    tasks = {task.name: task for task in document.tasks}
    wish = {"cpu": 1.5, "gpu": 1, "memory": 2 * 2**30}
    more = {"fit": {"resources": wish, "timeout": 600.0, "retries": 2}}
    more |= {name: {"group": "features"} for name in tasks if name.startswith("feature")}
    changed = (msgspec.structs.replace(t, **more.get(t.name, {})) for t in document.tasks)
    return msgspec.structs.replace(document, name="iris", tasks=tuple(changed))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_file_of_the_demo_is_the_golden_one(iris, preset):
    text = exported(iris, preset=preset, **PRESETS[preset])
    goldens.check(f"airflow/{preset}_dag.py", text)


def test_the_file_is_formatted_and_has_no_unused_import(tmp_path, iris):
    for number, said in enumerate([*({"preset": p, **PRESETS[p]} for p in PRESETS), {}]):
        (tmp_path / f"{number}_dag.py").write_text(exported(iris, **said), encoding="utf-8")
    many = [f"long-{n}-{60 * 'x'}" for n in range(3)]
    odd = document(task('it\'s "ü"', group="g"), *map(task, many), task("b", *many))
    (tmp_path / "odd_dag.py").write_text(exported(odd), encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    alone = ["--isolated", "--no-cache", "--line-length=100", str(tmp_path)]
    for command in (["format", "--diff"], ["check", "--select=F,I,B,UP,SIM,RUF"]):
        done = subprocess.run([*ruff, *command, *alone], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_file_is_named_after_the_dag_and_nothing_of_nbpipe_is_imported(iris):
    exporter = AirflowExporter()
    texts = exporter.export(iris, read_settings(exporter, {"dag_id": "team.iris"}))
    assert list(texts) == ["team.iris_dag.py"]
    nodes = list(ast.walk(ast.parse(texts["team.iris_dag.py"])))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert not {module for module in modules if module and module.startswith("nbpipe")}


# -- what a task becomes -----------------------------------------------------------------------


def test_edges_retries_and_the_time_limit_are_airflows():
    text = exported(document(task("a"), task("b", "a", retries=3, timeout=90.5), task("c")))
    tasks = read(text)
    assert {name: one.upstream for name, one in tasks.items()} == {"a": [], "b": ["a"], "c": []}
    assert [one.arguments["retries"] for one in tasks.values()] == [0, 3, 0]
    assert tasks["b"].arguments["execution_timeout"] == "timedelta(seconds=390.5)"
    assert "execution_timeout" not in tasks["a"].arguments


def test_a_part_of_the_pipeline_waits_for_what_stands_above_the_tasks_that_are_left_out():
    whole = document(task("a"), task("b", "a"), task("c", "b"))
    assert read(exported(whole.only(("a", "c"))))["c"].upstream == ["a"]


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ({}, "nbpipe task 'it'\"'\"'s' --only --no-retry -e x.yaml"),
        ({"mode": "force"}, "-e x.yaml --force"),
        ({"store": "s3://b"}, "-e x.yaml --store s3://b"),
        ({"program": "/srv/my env/bin/nbpipe"}, "exec /srv/my env/bin/nbpipe task"),
        ({"program": "'/srv/my env/bin/nbpipe'"}, "exec '/srv/my env/bin/nbpipe' task"),
    ],
)
def test_a_shell_is_given_the_words_of_the_command(said, end):
    [one] = read(exported(document(task("it's")), **said)).values()
    assert end in str(one.arguments["bash_command"])


def test_a_pool_gives_a_slot_for_each_core():
    tasks = (task(f"t{n}", resources={"cpu": n, "gpu": None, "memory": None}) for n in (None, 2.5))
    text = exported(document(*tasks), pool="cores")
    assert [one.arguments["pool_slots"] for one in read(text).values()] == [1, 3]
    assert common(text)["pool"] == "cores"


@pytest.mark.parametrize(
    ("folder", "cwd"),
    [
        (None, "str(Path(__file__).resolve().parent)"),
        ("../iris", "str(Path(__file__).resolve().parent / '../iris')"),
        ("/srv/iris", "/srv/iris"),
    ],
)
def test_a_shell_runs_in_the_projects_folder_beside_the_file_unless_told(folder, cwd):
    said = {} if folder is None else {"folder": folder}
    assert common(exported(document(task("a")), **said))["cwd"] == cwd


def test_a_container_that_asks_for_nothing_gets_no_limits():
    for preset in ("docker", "kubernetes"):
        [one] = read(exported(document(task("a")), preset=preset, **CONTAINER)).values()
        assert not {"cpus", "mem_limit", "container_resources"} & set(one.arguments)


def test_a_pods_folder_is_entered_by_a_shell_since_kubernetes_operator_takes_none():
    said = {"preset": "kubernetes", "folder": "/srv/a b", **CONTAINER}
    [one] = read(exported(document(task("a")), **said)).values()
    words = [*one.arguments["cmds"], "printf", "%s", "x y"]
    assert words[3] == "/srv/a b"
    words[3] = str(Path(__file__).parent)
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "x y"


def test_the_dag_says_when_it_runs():
    plain = dag_of(exported(document(task("a"))))
    assert (plain["schedule"], plain["catchup"], plain["max_active_runs"]) == (None, False, 1)
    said = {"schedule": "@daily", "start_date": "2026-03-01", "catchup": "true", "tags": "a 'b c'"}
    told = dag_of(exported(document(task("a")), **said))
    assert (told["schedule"], told["catchup"], told["tags"]) == ("@daily", True, ["a", "b c"])
    assert told["start_date"] == "pendulum.datetime(2026, 3, 1, tz='UTC')"


# -- names and groups --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task_id"),
    [
        ("fit-0.5_b", "fit-0.5_b"),
        ("größe", "gr_xF6__xDF_e"),
        ("a b", "a_x20_b"),
        ("a_x20_b", "a_x5F_x20_b"),
        ("a_x20 b", "a_x5F_x20_x20_b"),
        ("size_x2", "size_x2"),
    ],
)
def test_a_name_that_airflow_does_not_take_is_written_in_its_letters(name, task_id):
    assert names.task_id(name) == task_id
    assert names.task_name(task_id) == name


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("_xXF20g. ü\U0001f600"), min_size=1, max_size=12))
def test_every_name_comes_back_from_its_id(name):
    assert names.is_id(names.task_id(name))
    assert names.task_name(names.task_id(name)) == name


def test_a_name_that_is_written_otherwise_is_shown_as_it_is():
    text = exported(document(task("größe"), task("b", "größe"), name="mein dag"))
    tasks = read(text)
    assert tasks["gr_xF6__xDF_e"].arguments["task_display_name"] == "größe"
    assert tasks["b"].upstream == ["gr_xF6__xDF_e"]
    assert "task_display_name" not in tasks["b"].arguments
    assert (dag_of(text)["dag_id"], dag_of(text)["dag_display_name"]) == (
        "mein_x20_dag",
        "mein dag",
    )


def test_a_name_that_is_too_long_for_airflow_is_refused():
    assert "is too long for Airflow" in refusal(document(task(70 * "ü"))).message


def test_groups_become_airflows():
    text = exported(document(task("a", group="g 1.0"), task("b", group="g 1.0"), task("c")))
    groups = [one.arguments.get("task_group") for one in read(text).values()]
    assert groups == ["groups['g_x20_1_x2E_0']", "groups['g_x20_1_x2E_0']", None]
    assert "TaskGroup" not in exported(document(task("a")))


def test_groups_that_wait_for_each_other_are_left_out():
    crossed = document(task("a", group="g"), task("b", "a"), task("c", "b", group="g"))
    assert "task_group" not in exported(crossed)


def test_a_group_with_the_name_of_a_task_is_refused():
    message = refusal(document(task("a", group="b"), task("b"))).message
    assert message == "Airflow cannot tell the group 'b' from the task of that name"


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ({"presett": "docker"}, "no setting 'presett'", "did you mean 'preset'?"),
        ({"preset": "podman"}, "a setting does not fit: Invalid enum value 'podman'", None),
        ({"catchup": "perhaps"}, "a setting does not fit", None),
        ({"start_date": "soon"}, "a setting does not fit", None),
        ({"tags": "'a"}, "a setting does not fit: No closing quotation", None),
        ({"image": "i"}, "preset 'bash' has no use for 'image'", "say --set preset=docker"),
        ({"secrets": "s"}, "preset 'bash' has no use for 'secrets'", "--set preset=kubernetes"),
        ({"preset": "docker", "store": "s3://b"}, "needs an image", "say --image IMAGE"),
        ({"preset": "docker", "image": "i"}, "containers share no folder", "say --store URL"),
        ({"preset": "docker", **CONTAINER, "volumes": "data"}, "is not NAME:PATH", "such as"),
        ({"dag_id": "a b"}, "does not take 'a b' for a dag_id", "use letters"),
        ({"schedule": "@dayly"}, "no schedule '@dayly'", "did you mean '@daily'?"),
        ({"schedule": "6am"}, "'6am' is no schedule", "five fields of cron"),
        ({"options": "[queue]"}, "setting 'options' does not fit", "write a mapping"),
        ({"options": "{a b: 1}"}, "'a b' is no argument of an operator", None),
        ({"options": "{retries: 5}"}, "retries follows from the pipeline or a setting", None),
    ],
)
def test_what_airflow_or_a_preset_cannot_take_is_refused(said, message, hint):
    error = refusal(document(task("a")), **said)
    assert message in error.message
    assert hint is None or hint in (error.hint or "")
