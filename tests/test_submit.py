"""Jobs on AWS Batch: submitted in order, followed, and none left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from nbpipe.cli.app import run
from nbpipe.errors import InterruptedBuildError, NbpipeError, StoreError, UsageError
from nbpipe.exporters.aws_batch import BatchJob, Workload
from nbpipe.exporters.aws_batch_limits import batch_name
from nbpipe.run import batch, batch_service
from nbpipe.run.batch import JobState, NotFollowed, Submission
from tests import batch_rig
from tests.cli import ENV
from tests.fake_batch import AWAY, LOST, FakeBatch, refused


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeBatch:
    monkeypatch.setattr(batch, "PAUSE", 0.0)
    monkeypatch.setattr(batch, "POLL", 0.0)
    monkeypatch.setattr(batch, "LONGEST_POLL", 0.0)
    return FakeBatch()


def chain(*names: str) -> Workload:
    """Jobs that wait for each other, in this order."""
    jobs = [
        BatchJob(name=name, definition="d", task=name, after=names[max(0, n - 1) : n])
        for n, name in enumerate(names)
    ]
    return Workload(definitions={"d": {"jobDefinitionName": "d"}}, jobs=tuple(jobs))


def submission(aws: FakeBatch, tell: Callable[[JobState], None] = lambda state: None) -> Submission:
    return Submission(batch_service.Clients(aws, aws), "q", tell, f"mark-{id(aws)}")


# -- submitting --------------------------------------------------------------------------------


def test_jobs_are_submitted_in_order_with_the_ids_of_those_that_they_wait_for(aws) -> None:
    told: list[tuple[str, str]] = []
    one = submission(aws, lambda state: told.append((state.name, state.status)))
    one.run(chain("get", "fit"), wait=False)
    first, second = aws.called("submit_job")
    assert (first["jobName"], first["jobQueue"], first["dependsOn"]) == ("get", "q", [])
    assert (second["parameters"], second["dependsOn"]) == ({"task": "fit"}, [{"jobId": "id-0"}])
    assert told == [("get", "SUBMITTED"), ("fit", "SUBMITTED")]
    assert one.exit_code == 0
    assert not aws.called("describe_jobs")


def test_a_definition_that_is_there_is_not_registered_again(aws) -> None:
    for _ in range(2):
        submission(aws).run(chain("get"), wait=False)
    assert len(aws.called("register_job_definition")) == 1


def test_a_refusal_in_the_middle_ends_what_was_submitted_the_last_first(aws) -> None:
    aws.before["submit_job"] = [None, None, refused("AccessDeniedException", 403)]
    with pytest.raises(UsageError, match="said AWS"):
        submission(aws).run(chain("a", "b", "c"), wait=False)
    assert [call["jobId"] for call in aws.called("terminate_job")] == ["id-1", "id-0"]
    assert {job["status"] for job in aws.jobs.values()} == {"FAILED"}


def test_an_error_in_the_caller_ends_what_was_submitted_too(aws) -> None:
    def fail(state: JobState) -> None:
        if len(aws.jobs) == 2:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        submission(aws, fail).run(chain("a", "b", "c"), wait=False)
    assert [job["status"] for job in aws.jobs.values()] == ["FAILED", "FAILED"]
    assert aws.calls[-1][0] == "describe_jobs"  # until they have ended


def test_a_request_that_was_refused_for_now_is_made_again(aws) -> None:
    aws.before["submit_job"] = [refused("TooManyRequestsException", 429), refused("X", 503), AWAY]
    submission(aws).run(chain("get", "fit"), wait=False)
    assert [job["jobName"] for job in aws.jobs.values()] == ["get", "fit"]


def test_a_job_whose_answer_was_lost_is_not_submitted_twice(aws) -> None:
    other = submission(aws)
    other._mark = "of another submission"
    other.run(chain("get"), wait=False)
    aws.after["submit_job"] = [LOST]
    one = submission(aws)
    one.run(chain("get", "fit"), wait=False)
    assert [job["jobName"] for job in aws.jobs.values()] == ["get", "get", "fit"]
    assert aws.jobs["id-2"]["dependsOn"] == [{"jobId": "id-1"}]


def test_a_job_whose_answer_was_lost_for_good_is_ended_with_the_others(aws) -> None:
    aws.after["submit_job"] = [None, LOST]
    aws.before["list_jobs"] = [AWAY]
    with pytest.raises(StoreError, match="Could not connect"):
        submission(aws).run(chain("a", "b"), wait=False)
    assert [job["status"] for job in aws.jobs.values()] == ["FAILED", "FAILED"]


def test_a_service_that_stays_away_is_given_up(aws) -> None:
    aws.before["submit_job"] = [AWAY] * 99
    with pytest.raises(StoreError, match="Could not connect") as caught:
        submission(aws).run(chain("a"), wait=False)
    assert caught.value.exit_code == 4
    assert len(aws.called("submit_job")) == batch_service.TRIES


def test_jobs_that_cannot_be_ended_are_named(aws, monkeypatch) -> None:
    monkeypatch.setattr(batch, "ENDING", 0.0)
    aws.endless = True
    aws.before["submit_job"] = [None, refused("ClientException")]
    aws.before["terminate_job"] = [AWAY]
    with pytest.raises(UsageError) as caught:
        submission(aws).run(chain("a", "b"), wait=False)
    assert caught.value.hint == "these jobs may still run: id-0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_jobs_are_submitted_ends_them(aws, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    aws.on_submit = lambda name: os.kill(os.getpid(), number) if name == "b" else None
    with pytest.raises(InterruptedBuildError) as caught:
        submission(aws).run(chain("a", "b", "c"), wait=False)
    assert caught.value.exit_code == 128 + number
    assert [job["status"] for job in aws.jobs.values()] == ["FAILED", "FAILED"]
    assert signal.getsignal(number) is before


def test_a_signal_while_jobs_are_followed_ends_them(aws) -> None:
    aws.endless = True

    def tell(state: JobState) -> None:
        if (state.name, state.status) == ("b", "SUBMITTED"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedBuildError):
        submission(aws, tell).run(chain("a", "b"), wait=True)
    assert [job["status"] for job in aws.jobs.values()] == ["FAILED", "FAILED"]


def test_a_second_signal_gives_up_at_once(aws) -> None:
    aws.on_submit = lambda name: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        submission(aws).run(chain("a"), wait=False)


# -- following ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ({}, 0),
        ({"b": ("FAILED", 1, 1)}, 1),
        ({"b": ("FAILED", 137, 3)}, 1),
        ({"b": ("FAILED", None, 1)}, 1),
        ({"b": ("FAILED", 4, 1), "c": ("FAILED", 1, 1)}, 4),
        ({"a": ("FAILED", None, 0), "b": ("FAILED", 2, 1)}, 2),
        ({"b": ("FAILED", None, 0)}, 1),
    ],
)
def test_the_exit_code_is_that_of_the_first_task_that_failed_by_itself(aws, ends, code) -> None:
    aws.ends = ends
    one = submission(aws)
    one.run(chain("a", "b", "c"), wait=True)
    assert one.exit_code == code
    assert {state.status for state in one.states.values()} <= {"SUCCEEDED", "FAILED"}


def test_a_service_that_does_not_answer_for_a_while_is_waited_for(aws) -> None:
    aws.before["describe_jobs"] = [AWAY, refused("X", 500)]
    one = submission(aws)
    one.run(chain("a"), wait=True)
    assert one.states["a"].status == "SUCCEEDED"


def test_jobs_that_cannot_be_followed_any_more_go_on(aws, monkeypatch) -> None:
    monkeypatch.setattr(batch, "PATIENCE", -1.0)
    aws.before["describe_jobs"] = [refused("ExpiredTokenException", 403)]
    with pytest.raises(NotFollowed) as caught:
        submission(aws).run(chain("a"), wait=True)
    assert "the jobs go on" in str(caught.value)
    assert not aws.called("terminate_job")


def test_a_request_asks_about_a_hundred_jobs_at_most(aws) -> None:
    submission(aws).run(chain(*(f"t{n}" for n in range(250))), wait=True)
    assert [len(call["jobs"]) for call in aws.called("describe_jobs")] == [100, 100, 50]


# -- what is said ------------------------------------------------------------------------------


@pytest.fixture
def cli(aws, diamond, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(diamond.root)
    monkeypatch.setattr(batch_service, "connect", lambda region: batch_service.Clients(aws, aws))

    def call(*more: str) -> tuple[int, str, str]:
        options = ["--image", "me:1", "--store", "s3://b/x", "--set", "queue=q"]
        code = run(["submit", "aws-batch", *options, *more])
        return (code, *capsys.readouterr())

    return call


def test_the_ids_of_the_jobs_are_printed(cli) -> None:
    code, out, _ = cli("--task", "*al")
    assert (code, out) == (0, "sepal: job id-0\npetal: job id-1\n")


def test_what_failed_is_told_at_the_end(cli, aws, diamond) -> None:
    name = batch_name(diamond.root.name, room=64)
    aws.ends = {f"{name}-petal": ("FAILED", 1, 1), f"{name}-fit": ("FAILED", None, 0)}
    code, out, _ = cli("--wait")
    assert code == 1
    assert "petal: failed\n" in out
    assert "✗ petal: exit code 1: why (job id-2, log stream stream in /aws/batch/job)\n" in out
    assert out.endswith("2 of 4 jobs succeeded\n")


def test_the_states_are_one_document_for_programs(cli) -> None:
    code, out, _ = cli("--wait", "--json")
    jobs = json.loads(out)["jobs"]
    assert code == 0
    assert [(job["task"], job["status"]) for job in jobs][-1] == ("fit", "SUCCEEDED")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["aws-bacth"], "no engine 'aws-bacth'"),
        (["aws-batch"], "name it"),
        (["aws-batch", "--set", "queue=q"], "name an image"),
        (["aws-batch", "--set", "colour=red"], "no setting 'colour'"),
    ],
)
def test_a_submission_that_cannot_be_made_says_why(
    aws, diamond, monkeypatch, capsys, args, message
):
    monkeypatch.chdir(diamond.root)
    assert run(["submit", *args]) == 2
    assert message in capsys.readouterr().err
    assert not aws.calls


def test_without_the_library_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(UsageError) as caught:
        batch_service.connect(None)
    assert caught.value.hint == "install nbpipe-kit[aws]"


def test_a_region_has_to_be_known(monkeypatch, tmp_path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no AWS region is named"):
        batch_service.connect(None)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (NoCredentialsError(), UsageError, "Unable to locate credentials"),
        (refused("ClientException"), UsageError, "said AWS"),
        (refused("ServerException", 500), StoreError, "said AWS"),
        (EndpointConnectionError(endpoint_url="https://me:pass@host/"), StoreError, "//host/"),
    ],
)
def test_errors_of_the_library_become_ours(error: Exception, kind: type, said: str) -> None:
    found = batch_service.translated(error)
    assert isinstance(found, kind)
    assert said in str(found)
    assert "pass@" not in str(found)


# -- with an emulator --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """AWS Batch as an emulator has it, which runs nothing."""
    with batch_rig.server(tmp_path_factory.mktemp("moto")) as address:
        yield address


def submit(root: Path, address: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nbpipe", "submit", "aws-batch", "--image", "me:1"]
    command += ["--store", "s3://b/x", "--set", f"queue={batch_rig.QUEUE}", *more]
    environ = {**ENV, **batch_rig.environ(address)}
    return subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.process
def test_the_service_takes_what_is_submitted(address, diamond) -> None:
    done = submit(diamond.root, address, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    jobs = {job["task"]: job for job in json.loads(done.stdout)["jobs"]}
    assert {job["status"] for job in jobs.values()} == {"SUCCEEDED"}
    service = batch_rig.client(address)
    [fit] = service.describe_jobs(jobs=[jobs["fit"]["job"]])["jobs"]
    after = {jobs[name]["job"] for name in ("sepal", "petal")}
    assert {one["jobId"] for one in fit["dependsOn"]} == after
    assert fit["parameters"] == {"task": "fit"}
    again = submit(diamond.root, address)
    assert again.returncode == 0, again.stderr
    name = fit["jobDefinition"].partition("job-definition/")[2].partition(":")[0]
    known = service.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
    assert [one["revision"] for one in known] == [1]


@pytest.mark.process
def test_a_queue_that_is_not_there_is_told_without_the_credentials(address, diamond) -> None:
    done = submit(diamond.root, address, "--set", "queue=nowhere")
    assert done.returncode == 2
    assert "nowhere does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert batch_rig.SECRET not in done.stdout + done.stderr


def test_every_error_of_a_submission_is_one_of_ours() -> None:
    assert issubclass(NotFollowed, NbpipeError)
    assert NotFollowed.exit_code == 4
