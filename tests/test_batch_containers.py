"""The jobs of AWS Batch as containers: moto's server runs them on podman, the store is S3."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import batch_rig, engines, s3
from tests.cli import ENV, nbpipe
from tests.podman_rig import Podman, why_not

pytestmark = pytest.mark.process


class Site:
    """A queue whose jobs run in containers here, and a store that they and we see.

    Args:
        podman: runs the containers.
        address: of the emulator.
        store: address of the S3 server.
    """

    def __init__(self, podman: Podman, address: str, store: str) -> None:
        self.podman = podman
        self.address = address
        self.store_environ = {
            "AWS_ENDPOINT_URL": store,
            "AWS_ACCESS_KEY_ID": s3.KEY,
            "AWS_SECRET_ACCESS_KEY": s3.SECRET,
            "AWS_REGION": "us-east-1",
        }

    def command(self, image: str, store: str, *more: str) -> list[str]:
        """What submits a pipeline and follows it."""
        command = [sys.executable, "-m", "nbpipe", "submit", "aws-batch", "--wait"]
        command += ["--image", image, "--store", store, "--set", f"queue={batch_rig.QUEUE}"]
        for name, value in self.store_environ.items():
            command += ["--env", f"{name}={value}"]
        return [*command, *more]

    def submit(self, root: Path, image: str, store: str, code: int = 0) -> dict[str, Any]:
        """The states of the jobs by task, once all have ended."""
        done = subprocess.run(
            self.command(image, store, "--json"),
            cwd=root,
            env={**ENV, **batch_rig.environ(self.address)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return {job["task"]: job for job in json.loads(done.stdout)["jobs"]}

    def log(self, job: dict[str, Any]) -> str:
        """What a job has printed."""
        events = batch_rig.client(self.address, "logs").get_log_events(
            logGroupName="/aws/batch/job", logStreamName=job["log"]
        )["events"]
        return "\n".join(event["message"] for event in events)

    @contextlib.contextmanager
    def seen(self) -> Iterator[None]:
        """Our own commands find the store as the jobs do."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.store_environ.items():
                patch.setitem(ENV, name, value)
            yield


@contextlib.contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """All of it, with what the servers write in a folder."""
    for name in ("moto", "s3"):
        (folder / name).mkdir()
    with contextlib.ExitStack() as stack:
        podman = stack.enter_context(Podman())
        docker = stack.enter_context(podman.service())
        address = stack.enter_context(batch_rig.server(folder / "moto", docker))
        store = stack.enter_context(s3.server(folder / "s3"))
        yield Site(podman, address, store)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize("name", engines.PIPELINES)
def test_a_pipeline_gives_the_products_of_a_local_build_and_a_second_time_runs_nothing(
    name: str, site: Site, tmp_path: Path
) -> None:
    image, store = site.podman.image(name), f"s3://nbpipe-batch/{name}"
    root = engines.PIPELINES[name](tmp_path / name)
    jobs = site.submit(root, image, store)
    assert {job["status"] for job in jobs.values()} == {"SUCCEEDED"}
    with site.seen():
        assert "0 executed" in nbpipe("build", "--store", store, cwd=root)
    assert engines.digests(root) == engines.local_digests(name)
    again = site.submit(root, image, store)
    assert {job["status"] for job in again.values()} == {"SUCCEEDED"}
    assert len({job["job"] for job in [*jobs.values(), *again.values()]}) == 2 * len(jobs)
    for job in again.values():
        assert "nothing to do" in site.log(job)


def broken(site: Site, root: Path) -> str:
    """An image of two notebooks, of which the second fails."""
    engines.slow(root)
    (root / "go").touch()
    (root / "after.py").write_text(engines.AFTER + '\nraise ValueError("late")\n')
    site.podman.prepare(root)
    return site.podman.build(root, "nbpipe-broken:1")


def test_a_failing_task_fails_its_job_and_its_notebook_is_in_the_store(
    site: Site, tmp_path: Path
) -> None:
    import s3fs

    image = broken(site, tmp_path / "broken")
    store = "s3://nbpipe-batch/broken"
    jobs = site.submit(tmp_path / "broken", image, store, code=1)
    assert {name: job["status"] for name, job in jobs.items()} == {
        "slow": "SUCCEEDED",
        "after": "FAILED",
    }
    assert "ValueError: late" in site.log(jobs["after"])
    bucket = s3fs.S3FileSystem(
        key=s3.KEY, secret=s3.SECRET, endpoint_url=site.store_environ["AWS_ENDPOINT_URL"]
    )
    [notebook] = bucket.glob("nbpipe-batch/broken/runs/*/after.ipynb")
    assert "late" in bucket.read_text(notebook)


def test_an_interrupted_submission_leaves_no_job_and_no_container(
    site: Site, tmp_path: Path
) -> None:
    root = engines.slow(tmp_path / "endless")
    site.podman.prepare(root)
    image = site.podman.build(root, "nbpipe-endless:1")
    process = subprocess.Popen(
        site.command(image, "s3://nbpipe-batch/endless"),
        cwd=root,
        env={**ENV, **batch_rig.environ(site.address)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def running() -> str:
        return site.podman.call("ps", "--quiet")

    try:
        engines.await_true(running)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=180)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert running() == ""
    service = batch_rig.client(site.address)
    every = [{"name": "JOB_NAME", "values": ["endless-*"]}]
    jobs = service.list_jobs(jobQueue=batch_rig.QUEUE, filters=every)["jobSummaryList"]
    assert [job["status"] for job in jobs] == ["FAILED", "FAILED"]
