"""AWS Batch on loopback: moto's server, with a queue, a role and made-up credentials.

Its ``simple`` Batch takes every job and says that it has succeeded; its other one runs each job as
a container, through Docker's API. It does not check how many jobs a job waits for, does not try a
job again, and tells no exit code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUEUE = "nbpipe-tests"
SECRET = "a-secret-for-tests-only"


def environ(address: str) -> dict[str, str]:
    """The variables by which AWS's tools, and nbpipe, find the server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "nbpipe-tests",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def server(folder: Path, docker: str | None = None) -> Iterator[str]:
    """Run the server with a queue in it; gives its address.

    Args:
        folder: for its log.
        docker: value of ``DOCKER_HOST``: jobs are run; None: they are not.
    """
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    more = {} if docker is None else {"DOCKER_HOST": docker, "MOTO_DOCKER_NETWORK_MODE": "host"}
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, **environ(address), **more},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 60
        while not _answers(f"{address}/moto-api/"):
            assert process.poll() is None, (folder / "moto.log").read_text()
            assert time.monotonic() < end, (folder / "moto.log").read_text()
            time.sleep(0.1)
        if docker is None:
            _answers(f"{address}/moto-api/config", b'{"batch": {"use_docker": false}}')
        _make_queue(address)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def client(address: str, service: str = "batch") -> Any:
    """A client of one of the server's services."""
    from botocore.session import get_session

    said = environ(address)
    return get_session().create_client(
        service,
        endpoint_url=address,
        region_name=said["AWS_REGION"],
        aws_access_key_id=said["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=said["AWS_SECRET_ACCESS_KEY"],
    )


def _make_queue(address: str) -> None:
    role = client(address, "iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}")
    machines = client(address).create_compute_environment(
        computeEnvironmentName="machines",
        type="UNMANAGED",
        state="ENABLED",
        serviceRole=role["Role"]["Arn"],
    )
    client(address).create_job_queue(
        jobQueueName=QUEUE,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[
            {"order": 1, "computeEnvironment": machines["computeEnvironmentArn"]}
        ],
    )


def _answers(address: str, data: bytes | None = None) -> bool:
    try:
        with urllib.request.urlopen(address, data=data, timeout=10):
            return True
    except OSError:
        return False
