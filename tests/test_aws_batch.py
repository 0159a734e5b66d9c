"""AWS Batch: the files of the exporter, and what it refuses."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from nbpipe.errors import UsageError
from nbpipe.exporters.aws_batch import BatchExporter, Workload, workload
from nbpipe.exporters.aws_batch_limits import FARGATE, MOST_UPSTREAM
from nbpipe.exporters.base import GraphDocument, TaskDocument, read_settings

GOLDEN = Path(__file__).parent / "golden" / "aws-batch"
IMAGE, STORE = "team/iris:1", "s3://team/iris"
ROLE = "arn:aws:iam::123456789012:role/pull"
GIB = 2**30


def task(name: str, *upstream: str, **more: Any) -> TaskDocument:
    asks = {"cpu": None, "gpu": None, "memory": None, **more.pop("resources", {})}
    plain: dict[str, Any] = {
        "source": f"{name}.py",
        "kind": "notebook",
        "products": {"nb": f"out/{name}.ipynb"},
        "notebook": f"out/{name}.ipynb",
        "params": {},
        "kernel": "python3",
        "timeout": None,
        "retries": 0,
        "group": None,
    }
    return TaskDocument(name=name, upstream=upstream, resources=asks, **{**plain, **more})


def document(*tasks: TaskDocument, name: str = "iris") -> GraphDocument:
    return GraphDocument(
        version=1,
        name=name,
        spec="pipeline.yaml",
        arguments=("-e", "pipeline.yaml"),
        store=None,
        tasks=tasks,
    )


def told(**said: Any):
    return read_settings(BatchExporter(), {"image": IMAGE, "store": STORE, **said})


def made(*tasks: TaskDocument, **said: Any) -> Workload:
    return workload(document(*tasks), told(**said))


def container(found: Workload) -> dict[str, Any]:
    """The container of the only definition."""
    (definition,) = found.definitions.values()
    return definition["containerProperties"]


def reserved(*tasks: TaskDocument, **said: Any) -> dict[str, str]:
    asked = container(made(*tasks, **said))["resourceRequirements"]
    return {one["type"]: one["value"] for one in asked}


IRIS = (
    task("get", timeout=90.5),
    task("sepal", "get", retries=2),
    task("petal", "get", retries=2),
    task("fit", "sepal", "petal", resources={"cpu": 3.5, "memory": 5 * GIB}),
)


# -- golden files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ec2", {"queue": "q", "environ": {"B": "2", "A": "1"}, "job_role": ROLE}),
        ("fargate", {"platform": "FARGATE", "execution_role": ROLE, "mode": "force"}),
    ],
)
def test_the_files_of_a_pipeline_are_as_they_were(name: str, said: dict[str, Any]) -> None:
    """Files of ``golden``; NBPIPE_UPDATE_GOLDEN=1 writes them anew."""
    texts = BatchExporter().export(document(*IRIS), told(**said))
    folder = GOLDEN / name
    if os.environ.get("NBPIPE_UPDATE_GOLDEN") == "1":
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    there = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*.json")}
    assert texts == {path: file.read_text(encoding="utf-8") for path, file in there.items()}


def test_files_are_what_the_service_takes() -> None:
    """Checked against the model of the service that AWS's own library has."""
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    model = get_session().get_service_model("batch")
    said = {"platform": "FARGATE", "execution_role": ROLE, "job_role": ROLE, "environ": {"A": "1"}}
    for body in made(*IRIS, **said, container="{privileged: false}").definitions.values():
        shape = model.operation_model("RegisterJobDefinition").input_shape
        report = ParamValidator().validate(body, shape)
        assert not report.has_errors(), report.generate_report()
        known = shape.members["containerProperties"].members
        assert set(body) <= set(shape.members)
        assert set(body["containerProperties"]) <= set(known)


# -- definitions -------------------------------------------------------------------------------


def test_tasks_that_need_the_same_share_a_definition() -> None:
    found = made(*IRIS)
    names = {job.task: job.definition for job in found.jobs}
    assert names["sepal"] == names["petal"]
    assert len(set(names.values())) == len(found.definitions) == 3


def test_a_definition_is_named_by_its_content() -> None:
    before, same, other = made(task("a")), made(task("b")), made(task("a"), image="team/iris:2")
    assert set(before.definitions) == set(same.definitions)
    assert set(before.definitions) != set(other.definitions)


def test_the_command_is_that_of_every_engine_with_the_task_as_a_parameter() -> None:
    found = made(task("a b;c"))
    assert container(found)["command"] == [
        *("nbpipe", "task", "Ref::task", "--only", "--no-retry"),
        *("-e", "pipeline.yaml", "--store", STORE),
    ]
    assert found.jobs[0].parameters == {"task": "a b;c"}


@pytest.mark.parametrize(("timeout", "seconds"), [(1.0, 61), (90.5, 151), (7200.0, 7260)])
def test_batch_gives_a_task_a_minute_more_than_its_timeout(timeout: float, seconds: int) -> None:
    (definition,) = made(task("a", timeout=timeout)).definitions.values()
    assert definition["timeout"] == {"attemptDurationSeconds": seconds}


def test_retries_are_further_attempts_but_a_mistake_is_not_tried_again() -> None:
    (definition,) = made(task("a", retries=2)).definitions.values()
    assert definition["retryStrategy"] == {
        "attempts": 3,
        "evaluateOnExit": [{"onExitCode": "2", "action": "EXIT"}],
    }


def test_further_container_properties_are_taken_as_they_are() -> None:
    mounts = '{"mountPoints": [{"sourceVolume": "s", "containerPath": "/s"}]}'
    found = container(made(task("a"), container=mounts))
    assert found["mountPoints"] == [{"sourceVolume": "s", "containerPath": "/s"}]
    assert container(made(task("a"), store="/s", container=mounts))["image"] == IMAGE


# -- resources ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, {"VCPU": "1", "MEMORY": "2048"}),
        ({"cpu": 0.5}, {"VCPU": "1", "MEMORY": "2048"}),
        ({"cpu": 2.1, "memory": 3 * GIB + 1}, {"VCPU": "3", "MEMORY": "3073"}),
        ({"memory": 1, "gpu": 2}, {"VCPU": "1", "MEMORY": "4", "GPU": "2"}),
        ({"gpu": 0}, {"VCPU": "1", "MEMORY": "2048"}),
    ],
)
def test_on_ec2_a_task_reserves_whole_cores(asked: dict[str, Any], given: dict[str, str]) -> None:
    assert reserved(task("a", resources=asked)) == given


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, ("1", "2048")),
        ({"cpu": 0.1, "memory": 1}, ("0.25", "512")),
        ({"cpu": 0.25, "memory": 3 * GIB}, ("0.5", "3072")),
        ({"cpu": 1, "memory": GIB}, ("1", "2048")),
        ({"cpu": 4, "memory": 31 * GIB}, ("8", "32768")),
        ({"cpu": 3, "memory": GIB}, ("4", "8192")),
        ({"cpu": 1, "memory": 121 * GIB}, ("32", "249856")),
        ({"cpu": 32, "memory": 244 * GIB}, ("32", "249856")),
    ],
)
def test_on_fargate_a_task_gets_the_least_that_holds_its_wish(
    asked: dict[str, Any], given: tuple[str, str]
) -> None:
    said = {"platform": "FARGATE", "execution_role": ROLE}
    found = reserved(task("a", resources=asked), **said)
    assert (found["VCPU"], found["MEMORY"]) == given
    assert int(given[1]) in FARGATE[float(given[0])]


def test_resources_by_wildcard_go_before_the_tasks_and_later_ones_before_earlier() -> None:
    tasks = [task(f"fit-{n}", resources={"cpu": 2, "memory": GIB}) for n in "ab"] + [task("get")]
    rules = "{'*': {memory: 4 GiB}, fit-*: {cpu: 8}, fit-b: {memory: 16Gi, gpu: 1}}"
    found = made(*tasks, resources=rules, cpu="2", memory="512 MiB")
    asked = {job.task: found.definitions[job.definition] for job in found.jobs}
    values = {
        name: [one["value"] for one in body["containerProperties"]["resourceRequirements"]]
        for name, body in asked.items()
    }
    assert values == {
        "fit-a": ["8", "4096"],
        "fit-b": ["8", "16384", "1"],
        "get": ["2", "4096"],
    }
    assert made(task("get"), resources={"get": {"cpu": 3}}).definitions != found.definitions


# -- jobs --------------------------------------------------------------------------------------


def reaches(found: Workload, name: str) -> set[str]:
    """The tasks that a job waits for, through jobs that only join others."""
    jobs = {job.name: job for job in found.jobs}
    seen: set[str] = set()
    for up in jobs[name].after:
        seen |= {up} if jobs[up].task is not None else reaches(found, up)
    return seen


@pytest.mark.parametrize(
    ("count", "joins"), [(20, 0), (21, 1), (39, 1), (40, 2), (45, 2), (500, 26)]
)
def test_a_job_waits_for_twenty_others_at_most(count: int, joins: int) -> None:
    """AWS refuses more; the emulator takes any number."""
    parts = [task(f"part-{n}") for n in range(count)]
    found = made(*parts, task("all", *(part.name for part in parts)))
    assert max(len(job.after) for job in found.jobs) <= MOST_UPSTREAM
    assert reaches(found, "iris-all") == {f"iris-part-{n}" for n in range(count)}
    assert sum(job.task is None for job in found.jobs) == joins
    assert len({job.name for job in found.jobs}) == len(found.jobs) == count + joins + 1


def test_every_job_comes_after_those_that_it_waits_for() -> None:
    parts = [task(f"part-{n}") for n in range(45)]
    every = [part.name for part in parts]
    found = made(*parts, task("all", *every), task("last", "all", *every))
    seen: set[str] = set()
    for job in found.jobs:
        assert set(job.after) <= seen
        seen.add(job.name)


def test_tasks_with_the_same_upstreams_share_what_joins_them() -> None:
    parts = [task(f"part-{n}") for n in range(45)]
    every = [part.name for part in parts]
    found = made(*parts, task("one", *every), task("two", *every))
    assert sum(job.task is None for job in found.jobs) == 2


def test_a_job_that_joins_others_only_needs_the_program() -> None:
    parts = [task(f"join-{n}") for n in range(1, 22)]
    found = made(*parts, task("all", *(part.name for part in parts)), program="python -m nbpipe")
    (join,) = [job for job in found.jobs if job.task is None]
    assert join.name == "iris-join-22"  # a task has the first number's name
    properties = found.definitions[join.definition]["containerProperties"]
    assert properties["command"] == ["python", "-m", "nbpipe", "--version"]
    assert join.parameters == {}


@pytest.mark.parametrize(
    ("pipeline", "name", "job"),
    [
        ("iris", "fit", "iris-fit"),
        ("my iris", "fit größe.1", "my-iris-fit-gr--e-1"),
        ("_-x", "_y", "x-_y"),
        ("ß", "🙂", "unnamed--"),
        ("p" * 200, "t" * 200, f"{'p' * 64}-{'t' * 63}"),
    ],
)
def test_names_are_such_as_batch_takes(pipeline: str, name: str, job: str) -> None:
    (found,) = workload(document(task(name), name=pipeline), told()).jobs
    assert found.name == job
    for text in (found.name, found.definition):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", text)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "said", "message"),
    [
        ([task("a.b"), task("a-b")], {}, "tasks 'a.b' and 'a-b' would both be the job 'iris-a-b'"),
        ([task("t" * 150), task("t" * 151)], {}, "would both be the job"),
        ([task("a", retries=10)], {}, "AWS Batch tries a job 10 times"),
        ([task("a")], {"image": None}, "name an image"),
        ([task("a")], {"image": "no image"}, "'no image': not a name"),
        ([task("a")], {"store": None}, "nothing is shared"),
        ([task("a")], {"store": "/mnt/store"}, "the folder /mnt/store is not seen"),
        ([task("a")], {"environ": {"AWS_BATCH_X": "1"}}, "reserves names with AWS_BATCH"),
        ([task("a")], {"environ": {"A": "x" * 25_000}}, "a job definition would have"),
        ([task("a")], {"platform": "FARGATE"}, "Fargate needs a role"),
        ([task("a")], {"platform": "MOON"}, "a setting does not fit"),
        ([task("a")], {"resources": "{b*: {cpu: 1}}"}, "no task 'b*'"),
        ([task("a")], {"resources": "{a: {cores: 1}}"}, "'resources' does not fit"),
        ([task("a")], {"resources": "{a: {memory: lots}}"}, "'lots' is no size"),
        ([task("a")], {"resources": "{a"}, "'resources' does not fit"),
        ([task("a")], {"memory": "lots"}, "'lots' is no size"),
        ([task("a")], {"container": "{image: x}"}, "image is not given here"),
    ],
)
def test_what_batch_does_not_take_is_refused(
    tasks: list[TaskDocument], said: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        made(*tasks, **said)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpu": 1}, "asks for a GPU: Fargate has none"),
        ({"cpu": 33}, "asks for 33 vCPUs"),
        ({"memory": 245 * GIB}, "250880 MiB: Fargate has no such"),
    ],
)
def test_what_fargate_does_not_have_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(task("a", resources=asked), platform="FARGATE", execution_role=ROLE)


def test_the_exporter_is_found_by_its_name(diamond, monkeypatch, capsys) -> None:
    from nbpipe.cli.app import run

    monkeypatch.chdir(diamond.root)
    args = ["export", "aws-batch", "--image", IMAGE, "--store", STORE, "--to", "batch"]
    assert run([*args, "--set", "queue=q", "--set", "resources={fit: {cpu: 2}}"]) == 0
    jobs = json.loads((diamond.root / "batch" / "jobs.json").read_text())
    assert [job["parameters"]["task"] for job in jobs] == ["get", "sepal", "petal", "fit"]
    assert {job["jobQueue"] for job in jobs} == {"q"}
    assert len(list((diamond.root / "batch" / "job-definitions").iterdir())) == 2
    assert "wrote batch/jobs.json" in capsys.readouterr().out
