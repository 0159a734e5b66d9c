"""Results shared through object storage: a real S3 server, connections that break, bad objects."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbpipe.errors import StoreError
from nbpipe.store import remote as remotes
from nbpipe.store.remote import open_remote
from tests import s3
from tests.cli import ENV

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="the S3 server is installed on Linux only"),
]

PIPELINE = """
meta:
  extract_upstream: false
tasks:
  - {source: work.get, product: out/get.bin, upstream: []}
  - {source: work.half, product: out/half, upstream: [get]}
  - {source: work.fit, product: out/fit.txt, upstream: [half, get]}
"""

WORK = """
from pathlib import Path


def get(product):
    Path(product).write_bytes(bytes(range(256)) * 40_000)


def half(product, upstream):
    data = Path(upstream["get"]).read_bytes()
    Path(product, "deep").mkdir(parents=True, exist_ok=True)
    Path(product, "first").write_bytes(data[: len(data) // 2])
    Path(product, "deep", "second").write_bytes(data[len(data) // 2 :])


def fit(product, upstream):
    parts = Path(upstream["half"], "first"), Path(upstream["half"], "deep", "second")
    whole = b"".join(part.read_bytes() for part in parts)
    Path(product).write_text(str(whole == Path(upstream["get"]).read_bytes()))
"""

ORDER = ("get", "half", "fit")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3.server(tmp_path_factory.mktemp("weed")) as address:
        yield address


@pytest.fixture
def cutter(server: str) -> Iterator[s3.Cutter]:
    proxy = s3.Cutter(server)
    yield proxy
    proxy.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"s3://nbpipe-store/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]}/iris"


class Worker:
    """A checkout that nobody has worked in, and the command line in it."""

    def __init__(self, root: Path, address: str, url: str) -> None:
        root.mkdir()
        self.root, self.url = root, url
        (root / "pipeline.yaml").write_text(PIPELINE)
        (root / "work.py").write_text(WORK)
        self.environ = {
            **ENV,
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": s3.KEY,
            "AWS_SECRET_ACCESS_KEY": s3.SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "nbpipe", *args],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def nbpipe(self, *args: str, code: int = 0) -> str:
        process = self.start(*args)
        said, _ = process.communicate(timeout=180)
        assert process.returncode == code, f"exit code {process.returncode}:\n{said}"
        return said

    def only(self, task: str, *args: str, code: int = 0) -> str:
        return self.nbpipe("task", task, "--only", "--store", self.url, *args, code=code)

    def digest(self, path: str) -> str:
        return hashlib.sha256((self.root / path).read_bytes()).hexdigest()


@pytest.fixture
def worker(tmp_path: Path, server: str, url: str):
    """Makes workers; the first argument is the address of the server, if it is another one."""
    count = iter(range(100))
    return lambda address=server: Worker(tmp_path / f"worker-{next(count)}", address, url)


@pytest.fixture
def bucket(server: str, url: str, monkeypatch):
    """The place itself, as the tests look into it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    fs = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    root = url.removeprefix("s3://")
    return lambda key: (fs, f"{root}/{key}")


def object_key(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"


def test_workers_that_share_nothing_but_a_bucket_build_what_one_machine_builds(worker):
    local = worker()
    local.nbpipe("build")
    for task in ORDER:
        host = worker()
        assert "1 executed" in host.only(task)
    assert (host.root / "out/fit.txt").read_text() == "True"
    assert host.digest("out/half/deep/second") == local.digest("out/half/deep/second")
    for task in ORDER:
        host = worker()
        assert f"up to date in {host.url}" in host.only(task)
        assert not (host.root / "out").exists()
    assert "0 executed, 3 skipped" in host.nbpipe("build", "--store", host.url)
    assert host.digest("out/get.bin") == local.digest("out/get.bin")


def test_tasks_run_at_the_same_time_on_one_folder_and_one_bucket(worker):
    host = worker()
    spec = [f"  - {{source: work.get, name: g{i}, product: out/g{i}.bin}}" for i in range(4)]
    (host.root / "pipeline.yaml").write_text("tasks:\n" + "\n".join(spec))
    names = [f"g{i}" for i in range(4)]
    running = [host.start("task", name, "--only", "--store", host.url) for name in names]
    said = [process.communicate(timeout=180)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert "4 skipped" in host.nbpipe("build", "--store", host.url)


def test_a_failed_task_ends_with_1_and_its_log_is_in_the_bucket(worker, bucket):
    host = worker()
    work = (host.root / "work.py").read_text()
    (host.root / "work.py").write_text(work.replace("def get(product):", "def get(product, no):"))
    said = host.only("get", code=1)
    fs, runs = bucket("runs")
    (run,) = fs.ls(runs)
    assert f"{host.url}/runs/{run.rpartition('/')[2]}" in "".join(said.split())
    assert {path.rpartition("/")[2] for path in fs.ls(run)} >= {"events.jsonl", "run.json"}


def test_an_upload_that_is_cut_is_tried_again_and_arrives_whole(worker, cutter, bucket):
    host = worker(cutter.address)
    cutter.after, cutter.cuts = 3_000_000, 2
    host.only("get")
    assert cutter.made == 2
    fs, path = bucket(object_key(host.digest("out/get.bin")))
    assert fs.info(path)["size"] == (host.root / "out/get.bin").stat().st_size
    other = worker()
    other.only("half")
    assert other.digest("out/get.bin") == host.digest("out/get.bin")


def test_an_upload_that_is_always_cut_ends_with_4_and_leaves_nothing_to_see(
    tmp_path, url, cutter, bucket, monkeypatch
):
    bucket("")
    monkeypatch.setattr(remotes, "pause_before", lambda attempt: 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cutter.address)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(1 << 20) * 120)  # s3fs sends more than 100 MB in parts
    place = open_remote(url, tmp_path)
    place._tries = 1
    cutter.after, cutter.cuts = 20_000_000, 10**6
    with pytest.raises(StoreError) as caught:
        place.put("objects/large", large)
    assert caught.value.exit_code == 4
    assert cutter.made > 0
    cutter.cuts = 0
    assert place.size("objects/large") is None
    place.put("objects/large", large)
    assert place.fetch("objects/large", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()


def test_an_object_that_was_changed_behind_our_back_is_refused(worker, bucket):
    host = worker()
    host.only("get")
    size = (host.root / "out/get.bin").stat().st_size
    fs, path = bucket(object_key(host.digest("out/get.bin")))
    fs.pipe_file(path, b"x" * size)
    other = worker()
    said = other.only("half", code=4)
    assert "its bytes are not those of out/get.bin" in " ".join(said.split())
    assert not list((other.root / "out").glob("*"))
    assert "up to date" in other.only("get")
    assert "1 executed" in other.only("get", "--force")
    assert "1 executed" in worker().only("half")


def test_a_refused_key_ends_with_4_at_once_and_shows_no_secret(worker):
    host = worker()
    host.environ["AWS_SECRET_ACCESS_KEY"] = "another-secret"
    began = time.monotonic()
    said = host.only("get", code=4)
    assert time.monotonic() - began < 60
    assert "Forbidden" in said
    assert "secret" not in said.lower()
    assert not (host.root / "out").exists()


def test_a_server_that_is_not_there_ends_with_4(worker):
    host = worker("http://127.0.0.1:9")
    host.environ["AWS_MAX_ATTEMPTS"] = "1"
    said = host.only("get", code=4)
    assert "(tried 5 times)" in said
