"""Workflows of Argo: what is written, against Argo's own schema."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from nbpipe.errors import UsageError
from nbpipe.exporters.argo import ArgoExporter, dns_label
from nbpipe.exporters.argo_settings import ArgoSettings
from nbpipe.exporters.base import GraphDocument, TaskDocument
from tests import engines, goldens
from tests.argo_schema import faults
from tests.cli import ENV, nbpipe

IMAGE = "team/iris:1"
STORE = "s3://team-bucket/iris"


def task(name: str, *upstream: str, **more) -> TaskDocument:
    given = {"source": f"{name}.py", "kind": "notebook", "upstream": upstream, "products": {}}
    given |= {"notebook": None, "params": {}, "kernel": "python3", "timeout": None, "retries": 0}
    given |= {"resources": {"cpu": None, "gpu": None, "memory": None}, "group": None}
    return TaskDocument(**{**given, "name": name, **more})


def document(*tasks: TaskDocument, **more) -> GraphDocument:
    given = {"version": 1, "name": "iris", "spec": "pipeline.yaml", "store": None}
    given |= {"arguments": ("-e", "pipeline.yaml"), "tasks": tasks or (task("fit"),)}
    return GraphDocument(**{**given, **more})


def settings(**said) -> ArgoSettings:
    return ArgoSettings(**{"image": IMAGE, "store": STORE, **said})


def resources(about: GraphDocument, **said) -> dict[str, dict[str, Any]]:
    """What is exported, by kind."""
    texts = ArgoExporter().export(about, settings(**said)).values()
    return {found["kind"]: found for found in map(yaml.safe_load, texts)}


def spec(*tasks: TaskDocument, **said) -> dict[str, Any]:
    return resources(document(*tasks), **said)["WorkflowTemplate"]["spec"]


def template(name: str, *tasks: TaskDocument, **said) -> dict[str, Any]:
    (found,) = (part for part in spec(*tasks, **said)["templates"] if part["name"] == name)
    return found


WISHES = {"cpu": 1.5, "gpu": 2, "memory": 3 * 2**29}

EVERYTHING = document(
    task("get"),
    task("Fit_model", "get", retries=3, timeout=90.5, resources=WISHES),
    name="Iris & co",
    arguments=("-e", "pipeline.yaml", "--env--rows", "5"),
    store="s3://from-the-spec",
)

ALL_SAID = {
    "store": None,
    "environ": {"OMP_NUM_THREADS": "1"},
    "mode": "force",
    "namespace": "science",
    "folder": "/srv/iris",
    "schedule": "0 6 * * 1-5",
    "timezone": "Europe/Berlin",
    "volumes": ("data.raw:/data", "scratch:/scratch"),
    "secrets": ("bucket-key",),
    "spec": "{serviceAccountName: workflow, ttlStrategy: {secondsAfterCompletion: 3600}}",
}


# -- as a whole --------------------------------------------------------------------------------


def test_the_workflow_of_the_demo_is_the_golden_one(tmp_path):
    root = engines.iris(tmp_path / "iris")
    out = nbpipe("export", "argo", "--image", IMAGE, "--store", STORE, cwd=root)
    goldens.check("argo/iris.yaml", out)


def test_what_every_setting_does_is_the_golden_one():
    texts = ArgoExporter().export(EVERYTHING, settings(**ALL_SAID))
    assert list(texts) == ["iris-co-workflow-template.yaml", "iris-co-cron-workflow.yaml"]
    whole = "".join(texts.values())
    goldens.check("argo/everything.yaml", whole)
    kinds = [found["kind"] for found in yaml.safe_load_all(whole)]
    assert kinds == ["WorkflowTemplate", "CronWorkflow"]


def grid_document(tmp_path) -> GraphDocument:
    from nbpipe import Pipeline

    return Pipeline.load(engines.grid(tmp_path / "grid")).document()


def test_argos_own_schema_knows_every_field(tmp_path):
    iris = yaml.safe_load((goldens.FOLDER / "argo" / "iris.yaml").read_text())
    assert faults(iris) == []
    for about, said in ((EVERYTHING, ALL_SAID), (grid_document(tmp_path), {})):
        found = resources(about, **said)
        assert faults(found["WorkflowTemplate"]) == []
        if cron := found.get("CronWorkflow"):
            inner = {**found["WorkflowTemplate"], "spec": cron["spec"]["workflowSpec"]}
            assert faults(inner) == []


PLACES = [
    ["spec"],
    ["spec", "arguments", "parameters", 0],
    ["spec", "volumes", 0, "persistentVolumeClaim"],
    ["spec", "templates", 0, "dag"],
    ["spec", "templates", 0, "dag", "tasks", 1],
    ["spec", "templates", 2],
    ["spec", "templates", 2, "retryStrategy"],
    ["spec", "templates", 2, "container"],
    ["spec", "templates", 2, "container", "env", 0],
    ["spec", "templates", 2, "container", "resources"],
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_misspelt_field_would_be_found_wherever_it_stands(place):
    found = copy.deepcopy(resources(EVERYTHING, **ALL_SAID)["WorkflowTemplate"])
    part = found
    for key in place:
        part = part[key]
    key, value = next(iter(part.items()))
    part[f"{key}z"] = value
    assert len(faults(found)) == 1
    assert f"'{key}z' was unexpected" in faults(found)[0]


def test_a_value_of_another_type_would_be_found():
    found = copy.deepcopy(resources(EVERYTHING, **ALL_SAID)["WorkflowTemplate"])
    found["spec"]["templates"][2]["retryStrategy"]["limit"] = [3]
    found["spec"]["arguments"]["parameters"][1]["value"] = True
    assert len(faults(found)) == 2


@pytest.mark.process
def test_argos_own_library_reads_it_and_writes_the_same():
    from hera.workflows import CronWorkflow, WorkflowTemplate

    found = resources(EVERYTHING, **ALL_SAID)
    for kind in (WorkflowTemplate, CronWorkflow):
        text = yaml.safe_dump(found[kind.__name__])
        assert yaml.safe_load(kind.from_yaml(text).to_yaml()) == found[kind.__name__]


# -- tasks -------------------------------------------------------------------------------------


def test_a_task_is_one_container_that_runs_after_its_upstreams():
    tasks = (task("get"), task("clean", "get"), task("fit", "get", "clean"))
    dag = template("pipeline", *tasks)["dag"]["tasks"]
    assert dag == [
        {"name": "get", "template": "get"},
        {"name": "clean", "template": "clean", "dependencies": ["get"]},
        {"name": "fit", "template": "fit", "dependencies": ["get", "clean"]},
    ]
    container = template("fit", *tasks)["container"]
    assert container["image"] == IMAGE
    words = ["nbpipe", "task", "fit", "--only", "--no-retry", "-e", "pipeline.yaml"]
    assert container["command"] == words


def test_store_and_force_are_parameters_that_reach_every_task():
    found = spec(task("get"), task("fit", "get"), mode="force")
    values = {p["name"]: p["value"] for p in found["arguments"]["parameters"]}
    assert values == {"store": STORE, "force": "true"}
    for part in found["templates"][1:]:
        assert part["container"]["env"] == [
            {"name": "NBPIPE_STORE", "value": "{{workflow.parameters.store}}"},
            {"name": "NBPIPE_FORCE", "value": "{{workflow.parameters.force}}"},
        ]
        assert STORE not in part["container"]["command"]
        assert "--force" not in part["container"]["command"]


@pytest.mark.process
@pytest.mark.parametrize(("force", "runs"), [("false", 0), ("", 0), ("true", 1)])
def test_what_the_parameter_force_says_is_what_a_task_does(tmp_path, monkeypatch, force, runs):
    root = engines.grid(tmp_path / "grid")
    command = ("task", "square-1", "--only")
    assert "1 executed" in nbpipe(*command, cwd=root)
    monkeypatch.setitem(ENV, "NBPIPE_FORCE", force)
    assert f"{runs} executed" in nbpipe(*command, cwd=root)


@pytest.mark.parametrize(
    ("wish", "requests", "limits"),
    [
        ({"cpu": 2.0}, {"cpu": "2"}, None),
        ({"cpu": 0.25}, {"cpu": "250m"}, None),
        ({"cpu": 1 / 3}, {"cpu": "334m"}, None),
        ({"gpu": 1}, None, {"nvidia.com/gpu": "1"}),
        ({"memory": 2**33}, {"memory": "8Gi"}, {"memory": "8Gi"}),
        ({"memory": 10**9}, {"memory": "1000000000"}, {"memory": "1000000000"}),
        ({"memory": 3 * 2**20}, {"memory": "3Mi"}, {"memory": "3Mi"}),
    ],
)
def test_what_a_task_asks_for_is_asked_of_kubernetes(wish, requests, limits):
    found = template("fit", task("fit", resources=wish))["container"]["resources"]
    assert (found.get("requests"), found.get("limits")) == (requests, limits)


def test_a_task_without_wishes_is_left_to_the_cluster():
    found = template("fit")
    assert set(found) == {"name", "container"}
    assert set(found["container"]) == {"image", "command", "env"}


def test_a_task_ends_itself_before_argo_ends_it():
    assert template("fit", task("fit", timeout=90.5))["activeDeadlineSeconds"] == 391
    found = template("fit", task("fit", timeout=60.0), grace=0)
    assert found["activeDeadlineSeconds"] == 60


def test_argo_tries_again_also_when_the_node_was_lost():
    found = template("fit", task("fit", retries=2))
    assert found["retryStrategy"] == {"limit": 2, "retryPolicy": "Always"}


def test_a_claim_is_mounted_in_every_task_and_open_to_its_user():
    found = spec(volumes=("data.raw:/data",), store=None)
    claim = {"claimName": "data.raw"}
    assert found["volumes"] == [{"name": "data-raw", "persistentVolumeClaim": claim}]
    assert found["securityContext"] == {"fsGroup": 1000}
    mounts = found["templates"][1]["container"]["volumeMounts"]
    assert mounts == [{"name": "data-raw", "mountPath": "/data"}]
    assert "securityContext" not in spec(volumes=("data:/data",), group=None)


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("fit", "fit"),
        ("Fit_model.v2", "fit-model-v2"),
        ("-fit-", "fit"),
        ("2-fit", "t-2-fit"),
        ("größe", "gruf6udfe"),
        ("モデル", "u30e2u30c7u30eb"),
        ("!", "t"),
        ("f" * 63, "f" * 63),
    ],
)
def test_a_name_becomes_one_that_kubernetes_takes(name, label):
    assert dns_label(name) == label


def test_a_task_keeps_its_own_name_in_its_command():
    assert template("fit-model", task("Fit_model"))["container"]["command"][2] == "Fit_model"


def test_a_task_may_have_the_name_of_the_dag():
    found = spec(task("pipeline"))
    assert found["entrypoint"] == "pipeline-dag"
    assert [part["name"] for part in found["templates"]] == ["pipeline-dag", "pipeline"]


@pytest.mark.parametrize(
    ("about", "said", "message"),
    [
        (document(task("a_b"), task("a.b")), {}, "the tasks 'a_b' and 'a.b' apart: both .* 'a-b'"),
        (document(task("f" * 64)), {}, "more than 63 characters"),
        (document(name="f" * 53), {"schedule": "0 6 * * *"}, "more than 52 characters"),
        (document(), {"volumes": ("a.b:/x", "a-b:/y")}, "the claims 'a.b' and 'a-b' apart"),
        (document(), {"image": None}, "Argo needs an image"),
        (document(), {"store": None}, "products would be lost"),
        (document(), {"environ": {"NBPIPE_STORE": "x"}}, "a parameter of the workflow"),
        (document(), {"environ": {"A": "{{x}}"}}, "Argo would fill in"),
        (document(), {"volumes": ("data",)}, "not NAME:PATH"),
        (document(), {"schedule": "daily"}, "is no schedule"),
        (document(), {"timezone": "Europe/Berlin"}, "of use to a schedule only"),
        (document(), {"spec": "{templates: []}"}, "templates is not given here"),
        (document(), {"spec": "[a]"}, "'spec' does not fit"),
        (document(), {"spec": "{a"}, "'spec' does not fit"),
    ],
)
def test_what_argo_could_not_do_is_refused(about, said, message):
    with pytest.raises(UsageError, match=message):
        ArgoExporter().export(about, settings(**said))
