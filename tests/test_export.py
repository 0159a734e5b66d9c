"""The pipeline as a document, and in the form of other engines."""

from __future__ import annotations

import json

import msgspec
import pytest

from nbpipe.cli.app import run
from nbpipe.errors import UsageError
from nbpipe.exporters.base import (
    ExportSettings,
    GraphDocument,
    TaskDocument,
    read_settings,
    task_command,
)
from nbpipe.exporters.graph import GraphExporter


@pytest.fixture
def document(diamond) -> GraphDocument:
    diamond.task("all", ["*al"], group="last", timeout="2m", retries=3)
    diamond.tasks[0] |= {"resources": {"cpu": 2, "memory": "1Gi"}, "params": {"rows": [1, None]}}
    diamond.save()
    return diamond.pipeline().document()


@pytest.fixture
def cli(diamond, monkeypatch, capsys):
    monkeypatch.chdir(diamond.root)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(list(args))
        return (code, *capsys.readouterr())

    return call


def test_a_task_is_told_with_all_that_an_engine_may_want_to_know(document):
    tasks = {task.name: task for task in document.tasks}
    assert tasks["get"] == TaskDocument(
        name="get",
        source="get.py",
        kind="notebook",
        upstream=(),
        products={"nb": "out/get.ipynb", "data": "out/get.txt"},
        notebook="out/get.ipynb",
        params={"rows": [1, None]},
        kernel="python3",
        resources={"cpu": 2.0, "gpu": None, "memory": 2**30},
        timeout=None,
        retries=0,
        group=None,
    )
    last = tasks["all"]
    assert (last.group, last.timeout, last.retries) == ("last", 120.0, 3)


def test_wildcards_are_resolved_and_tasks_come_in_the_order_in_which_they_can_run(document):
    names = [task.name for task in document.tasks]
    last = document.tasks[names.index("all")]
    assert set(last.upstream) == {"sepal", "petal"}
    assert all(names.index(up) < names.index(t.name) for t in document.tasks for up in t.upstream)


def test_the_document_comes_back_from_its_json(document, cli):
    code, out, _ = cli("graph", "--json")
    assert code == 0
    assert msgspec.json.decode(out, type=GraphDocument, strict=False) == document
    assert json.loads(out)["version"] == 1


def test_the_graph_for_a_reader_has_a_line_for_each_task(cli):
    _, out, _ = cli("graph")
    assert out == "get\nsepal <- get\npetal <- get\nfit <- sepal, petal\n"


def test_a_part_waits_for_what_stands_above_the_tasks_that_are_left_out(document):
    part = document.only(("get", "fit"))
    assert {task.name: task.upstream for task in part.tasks} == {"get": (), "fit": ("get",)}
    assert document.only(()) == document
    with pytest.raises(UsageError, match="no task 'gte'"):
        document.only(("gte",))


def test_the_command_of_a_task_tries_once_and_names_the_store(document):
    plain = ["nbpipe", "task", "fit", "--only", "--no-retry", "-e", "pipeline.yaml"]
    assert task_command(document, "fit", ExportSettings()) == plain
    told = ExportSettings(store="s3://b", mode="force", program=("python", "-m", "nbpipe"))
    assert task_command(document, "fit", told) == [
        "python",
        "-m",
        *plain,
        "--store",
        "s3://b",
        "--force",
    ]


def test_values_in_the_place_of_env_yaml_are_in_the_command(project):
    project.task("get", params={"rows": "{{rows}}"})
    project.write("env.yaml", "rows: 3\n")
    from nbpipe import Pipeline

    document = Pipeline.load(project.root, env={"rows": "5"}).document()
    assert document.arguments == ("-e", "pipeline.yaml", "--env--rows", "5")


def test_a_setting_that_an_exporter_does_not_have_is_refused():
    with pytest.raises(UsageError, match="no setting 'imgae'") as caught:
        read_settings(GraphExporter(), {"imgae": "x"})
    assert caught.value.hint == "did you mean 'image'?"
    with pytest.raises(UsageError, match="a setting does not fit"):
        read_settings(GraphExporter(), {"mode": "sometimes"})


def test_an_export_writes_files_and_overwrites_none_unless_told(cli, diamond):
    assert cli("export", "json", "--to", "for-engine", "--env", "A=1", "--image", "me:1")[0] == 0
    (path,) = (diamond.root / "for-engine").iterdir()
    written = json.loads(path.read_text())
    assert (written["environ"], written["image"]) == ({"A": "1"}, "me:1")
    assert written["tasks"][3]["command"][:3] == ["nbpipe", "task", "fit"]
    path.write_text("mine")
    code, _, err = cli("export", "json", "--to", "for-engine")
    assert code == 2
    assert "is there already" in err
    assert path.read_text() == "mine"
    assert cli("export", "json", "--to", "for-engine", "--force")[0] == 0
    assert json.loads(path.read_text())["environ"] == {}


def test_an_export_without_a_folder_is_printed(cli):
    code, out, _ = cli("export", "json", "--task", "*al", "--store", "s3://b", "--mode", "force")
    assert code == 0
    tasks = json.loads(out)["tasks"]
    assert [task["name"] for task in tasks] == ["sepal", "petal"]
    assert tasks[0]["command"][-3:] == ["--store", "s3://b", "--force"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["jsno"], "no exporter 'jsno'"),
        (["json", "--set", "colour=red"], "no setting 'colour'"),
        (["json", "--set", "colour"], "'colour' is not KEY=VALUE"),
        (["json", "--task", "nothing*"], "no task 'nothing*'"),
    ],
)
def test_an_export_that_cannot_be_made_says_why(cli, args, message):
    code, _, err = cli("export", *args)
    assert code == 2
    assert message in err


def test_an_executor_that_is_not_installed_is_refused_before_anything_runs(cli, diamond):
    code, _, err = cli("build", "--executor", "nothing")
    assert code == 2
    assert "no executor 'nothing'" in err
    assert not (diamond.root / ".nbpipe" / "runs").exists()
