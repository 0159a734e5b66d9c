"""Tasks on a Dask cluster: a scheduler and two workers, each a process of its own on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from nbpipe import plugins
from nbpipe.core import events as ev
from nbpipe.core.model import Failure, Job, Resources
from nbpipe.errors import UsageError
from nbpipe.executors import sentoff
from nbpipe.executors.dask import wanted
from nbpipe.jupyter import pipeline_commands
from nbpipe.jupyter.parsing import pipeline_parser
from tests import engines
from tests.cli import ENV, nbpipe

WORKERS = 2

FAST = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "6s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s",
}
"""A lost machine is noticed in seconds, where Dask would give it minutes."""


class Cluster:
    """A scheduler and its workers.

    Args:
        folder: for their files and logs.
        prefixes: words before the command of the scheduler, and of each worker.
        host: where the scheduler listens.
    """

    def __init__(
        self,
        folder: Path,
        prefixes: tuple[tuple[str, ...], ...] = ((),) * (1 + WORKERS),
        host: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self._prefixes = prefixes
        self._host = host
        self._file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        self.folder.mkdir(exist_ok=True)
        options = ["--host", self._host, "--port", "0", "--scheduler-file", str(self._file)]
        self._start(0, "scheduler", *options, "--dashboard-address", "127.0.0.1:0")
        engines.await_true(lambda: self._file.exists() and self._file.read_text(), self.log)
        for number in range(1, len(self._prefixes)):
            self.add_worker(number)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def add_worker(self, number: int) -> None:
        """Start a worker with two places, beside those that there are."""
        options = [self.address, "--name", f"w{number}", "--nthreads", "2", "--no-nanny"]
        options += ["--resources", "CPU=2 MEMORY=8e9", "--no-dashboard", "--death-timeout", "60"]
        local = self.folder / f"w{number}-{len(self.processes)}"
        self._start(number, "worker", *options, "--local-directory", str(local))

    def _start(self, number: int, *args: str) -> None:
        command = [*self._prefixes[number], sys.executable, "-m", "dask", *args]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, env={**ENV, **FAST}, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)

    @property
    def address(self) -> str:
        return str(msgspec.json.decode(self._file.read_bytes())["address"])

    def log(self) -> str:
        """What its parts have said."""
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for the tests that leave it as it was."""
    with Cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One that a test may break."""
    with Cluster(tmp_path / "dask") as cluster:
        yield cluster


def build(root: Path, cluster: Cluster, *args: str, code: int = 0) -> str:
    return nbpipe(*on(cluster), *args, cwd=root, code=code)


def on(cluster: Cluster) -> tuple[str, ...]:
    return ("build", "--executor", "dask", "--scheduler", cluster.address)


@contextlib.contextmanager
def going_on(root: Path, cluster: Cluster, *prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """A build whose slow task is in its cell."""
    command = [*prefix, sys.executable, "-m", "nbpipe", *on(cluster)]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=ENV, stdout=log, stderr=log)
    try:
        engines.await_true(lambda: engines.tries(root), lambda: (root / "log").read_text())
        yield process
    finally:
        process.kill()
        process.wait()


def worker_of(pid: int) -> psutil.Process:
    """The worker on which a process of a task runs."""
    return psutil.Process(engines.ancestors(pid, "dask worker")[0])


# -- without a cluster -------------------------------------------------------------------------

BIG = {"CPU": 8.0, "MEMORY": 16e9}


@pytest.mark.parametrize(
    ("resources", "workers", "asked", "short"),
    [
        (Resources(), [{}], {}, 0),
        (Resources(), [BIG], {"CPU": 1.0}, 0),
        (Resources(cpu=4, memory=10**9), [{"CPU": 2.0}, BIG], {"CPU": 4, "MEMORY": 10**9}, 0),
        (Resources(gpu=1), [BIG], {"CPU": 1.0}, 0),
        (Resources(gpu=1), [BIG, {"GPU": 2.0}], {"CPU": 1.0, "GPU": 1}, 0),
        (Resources(cpu=64, memory=10**12), [BIG], {"CPU": 8.0, "MEMORY": 16e9}, 2),
        (Resources(cpu=0), [BIG], {}, 0),
        (Resources(cpu=4), [], {}, 0),
    ],
)
def test_a_task_asks_for_what_some_worker_offers_and_for_no_more(resources, workers, asked, short):
    wishes, warnings = wanted(resources, workers)
    assert wishes == asked
    assert len(warnings) == short


def test_what_is_too_much_for_every_worker_is_told():
    assert wanted(Resources(cpu=64), [BIG])[1] == [
        "asks for 64 CPU, and no worker offers more than 8"
    ]


FAILURE = Failure(error="ValueError", message="no")
JOB = Job(task="fit", kind="notebook", source="fit.py", root="/p", folder="/p/r", stem="fit")


@pytest.mark.parametrize(
    ("ending", "error", "message"),
    [
        (sentoff.Ending(code=1, failure=FAILURE), "ValueError", "no"),
        (sentoff.Ending(code=0, early=True), "DAGBuildEarlyStop", "ended the build"),
        (sentoff.Ending(code=2, tail="pipeline.yaml:1: bad"), "SpecError", "pipeline.yaml:1: bad"),
        (sentoff.Ending(code=3), "LockedError", "another process holds"),
        (sentoff.Ending(code=4, tail="no room"), "StoreError", "no room"),
        (sentoff.Ending(code=1), "ProcessDied", "exited with status 1"),
        (sentoff.Ending(code=-9), "ProcessDied", "on node 1 was ended by signal 9, SIGKILL"),
        (sentoff.Ending(code=137), "ProcessDied", "signal 9, SIGKILL: possibly out of memory"),
    ],
)
def test_an_exit_code_elsewhere_is_told_as_a_failure_here(ending, error, message):
    failure = sentoff.outcome(JOB, ending, "node 1").failure
    assert failure is not None
    assert (failure.error, failure.file) in {(error, "fit.py"), (error, None)}
    assert message in failure.message


def test_a_task_that_ended_well_elsewhere_has_not_failed():
    assert sentoff.outcome(JOB, sentoff.Ending(code=0), "node 1").failure is None


def test_of_what_a_task_tells_the_builder_hears_what_it_does_not_know():
    told = sentoff.Told()
    events = [
        ev.RunStarted(run="r", tasks=("fit",)),
        ev.CellStarted(task="fit", index=1, total=2),
        ev.TaskFailed(task="fit", seconds=1.0, failure=FAILURE),
    ]
    heard = [told.take(msgspec.json.encode(event)) for event in events]
    assert heard == [None, events[1], None]
    assert told.take(b'{"event": "report"}') is None
    assert told.take(b"not JSON") is None
    assert told.ending(1, "").failure == FAILURE


@pytest.mark.parametrize("settings", [{"workers": "0"}, {"workers": "many"}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(UsageError, match="is not possible"):
        plugins.make(plugins.EXECUTORS, "dask", settings)


class Session:
    """A notebook's session, whose pipeline notes how it is started."""

    def load(self, call: bool = False) -> Session:
        return self

    def start(self, *names: str, **chosen: object) -> None:
        self.chosen = chosen


def test_the_magic_takes_the_options_of_the_command():
    line = "--bg --executor dask --set workers=2 --set folder='/a b' --scheduler tcp://h:1"
    session = Session()
    pipeline_commands.build(session, pipeline_parser("build").parse_line(line))
    assert session.chosen["executor"] == "dask"
    assert session.chosen["settings"] == {
        "workers": "2",
        "folder": "/a b",
        "scheduler": "tcp://h:1",
    }


def test_a_setting_in_a_magic_that_has_no_value_is_told():
    with pytest.raises(UsageError, match="'workers' is not KEY=VALUE"):
        pipeline_parser("build").parse_line("--set workers")


# -- with one ----------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("name", engines.PIPELINES)
def test_a_pipeline_gives_the_products_of_a_local_build_and_a_second_build_runs_nothing(
    name, cluster, tmp_path
):
    root = engines.PIPELINES[name](tmp_path / name)
    build(root, cluster)
    assert engines.digests(root) == engines.local_digests(name)
    assert "0 executed" in build(root, cluster)
    assert "0 executed" in nbpipe("build", cwd=root)


@pytest.mark.process
def test_a_cluster_of_its_own_serves_where_none_is_named(tmp_path):
    root = engines.grid(tmp_path / "grid")
    nbpipe("build", "--executor", "dask", "--set", "workers=3", cwd=root)
    assert engines.digests(root) == engines.local_digests("grid")


@pytest.mark.process
def test_a_failed_cell_is_quoted_and_its_notebook_kept(cluster, tmp_path):
    root = engines.slow(tmp_path / "slow")
    (root / "go").touch()
    script = root / "slow.py"
    script.write_text(script.read_text().replace("child.kill()", 'raise ValueError("no luck")'))
    said = build(root, cluster, "--json", code=1)
    lines = [msgspec.json.decode(line) for line in said.splitlines() if line.startswith("{")]
    failed = next(line for line in lines if line["event"] == "task-failed")["failure"]
    assert (failed["error"], failed["message"], failed["file"]) == (
        "ValueError",
        "no luck",
        "slow.py",
    )
    assert "> " in failed["excerpt"]
    assert 'raise ValueError("no luck")' in failed["excerpt"]
    assert (root / failed["notebook"]).exists()
    assert any(line["event"] == "cell-started" for line in lines)
    assert not (root / "out" / "slow.ipynb").exists()


@pytest.mark.process
def test_workers_with_a_checkout_of_their_own_share_results_through_a_store(cluster, tmp_path):
    root, there = engines.grid(tmp_path / "here"), engines.grid(tmp_path / "there")
    options = ("--store", str(tmp_path / "store"), "--set", f"folder={there}")
    build(root, cluster, *options)
    assert engines.digests(there) == engines.local_digests("grid")
    assert engines.digests(root) == {}
    assert "0 executed, 13 skipped" in build(root, cluster, *options)
    nbpipe("build", *options[:2], cwd=root)
    assert engines.digests(root) == engines.local_digests("grid")


@pytest.mark.process
def test_a_folder_that_the_worker_does_not_have_is_told(cluster, tmp_path):
    root = engines.grid(tmp_path / "grid")
    said = build(root, cluster, "square-1", "--set", "folder=/nowhere", code=1)
    assert "there is no folder /nowhere" in said
    assert "it ran on worker tcp://127.0.0.1" in said


HOOKS = """
tasks:
  - source: work.good
    product: out/good.txt
    on_render: work.rendered
    on_finish: work.finished
  - source: work.bad
    product: out/bad.txt
    retries: 1
    on_render: work.rendered
    on_failure: work.failed
"""

HOOKS_WORK = """
from pathlib import Path


def good(product):
    Path(product).write_text("good")


def bad(product):
    raise ValueError("no")


def rendered(task):
    note("rendered", task)


def finished(task):
    note("finished", task)


def failed(task):
    note("failed", task)


def note(what, task):
    with open("called", "a") as called:
        called.write(f"{what} {task.name}\\n")
"""


@pytest.mark.process
def test_hooks_are_called_as_often_as_in_a_local_build(cluster, tmp_path):
    called = []
    for name, options in (("local", ()), ("dask", on(cluster)[1:])):
        root = tmp_path / name
        root.mkdir()
        (root / "pipeline.yaml").write_text(HOOKS)
        (root / "work.py").write_text(HOOKS_WORK)
        nbpipe("build", "--keep-going", *options, cwd=root, code=1)
        called.append(sorted((root / "called").read_text().splitlines()))
    assert called[0] == ["failed bad", "finished good", "rendered bad", "rendered good"]
    assert called[1] == called[0]


@pytest.mark.process
def test_no_scheduler_at_the_address_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(ENV, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    root = engines.grid(tmp_path / "grid")
    args = ("build", "square-1", "--executor", "dask", "--scheduler", "tcp://127.0.0.1:9")
    said = nbpipe(*args, cwd=root, code=1)
    assert "NoScheduler: no Dask scheduler" in said


@pytest.mark.process
def test_an_interrupted_build_leaves_nothing_running_on_the_workers(cluster, tmp_path):
    root = engines.slow(tmp_path / "slow")
    with going_on(root, cluster) as process:
        [pids] = engines.tries(root)
        mine = engines.ancestors(pids[0], "nbpipe task slow")
        assert mine
        process.send_signal(signal.SIGINT)
        assert process.wait(engines.PATIENCE) == 130
    assert engines.alive([*pids, *mine]) == []
    (root / "go").touch()
    build(root, cluster)
    assert (root / "out" / "after.txt").read_text() == "slow and after"


@pytest.mark.process
def test_when_the_builder_is_killed_a_running_task_records_what_it_made(cluster, tmp_path):
    root = engines.slow(tmp_path / "slow")
    with going_on(root, cluster) as process:
        process.kill()
        process.wait()
    assert "task 'slow' is being run by" in nbpipe("build", cwd=root, code=3)
    (root / "go").touch()
    assert "1 executed, 1 skipped" in nbpipe("build", "--wait", cwd=root)
    assert len(engines.tries(root)) == 1


@pytest.mark.process
def test_a_task_whose_worker_is_killed_runs_on_another_one(own_cluster, tmp_path):
    root = engines.slow(tmp_path / "slow")
    with going_on(root, own_cluster) as process:
        [first] = engines.tries(root)
        worker_of(first[0]).kill()
        engines.await_true(lambda: len(engines.tries(root)) == 2, own_cluster.log)
        assert engines.alive(first) == []
        (root / "go").touch()
        assert process.wait(engines.PATIENCE) == 0
    assert (root / "out" / "after.txt").read_text() == "slow and after"
    assert len(engines.tries(root)) == 2


@pytest.mark.process
def test_when_the_scheduler_is_lost_the_build_fails_and_nothing_goes_on(own_cluster, tmp_path):
    root = engines.slow(tmp_path / "slow")
    with going_on(root, own_cluster) as process:
        [pids] = engines.tries(root)
        own_cluster.processes[0].kill()
        assert process.wait(engines.PATIENCE) == 1
        engines.await_true(lambda: not engines.alive(pids), own_cluster.log)
    assert "✗ slow" in (root / "log").read_text()


# -- three machines ----------------------------------------------------------------------------


def why_no_network() -> str | None:
    """Why networks cannot be made here; None: they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    try:
        probe = f"nbpipe-probe-{os.getpid()}"
        done = subprocess.run(["ip", "netns", "add", probe], capture_output=True)
    except FileNotFoundError:
        return "network namespaces need iproute2"
    if done.returncode:
        return f"network namespaces cannot be made: {done.stderr.decode().strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None


class Network:
    """Machines of their own on one bridge, as far as the network is concerned."""

    def __init__(self, count: int) -> None:
        mark = f"{os.getpid() % 100_000:05d}"
        self._bridge = f"nbb{mark}"
        self.names = [f"nbpipe-{mark}-{n}" for n in range(count)]
        self._outer = [f"nbv{mark}{n}" for n in range(count)]
        self._part = f"10.{os.getpid() % 200 + 20}.77"

    def __enter__(self) -> Network:
        # The bridge lives with the first machine, so that the host's own network is left alone.
        first = self.names[0]
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", first, "link", "add", self._bridge, "type", "bridge")
        ip("-n", first, "addr", "add", f"{self.address(0)}/24", "dev", self._bridge)
        ip("-n", first, "link", "set", self._bridge, "up")
        for n, name in enumerate(self.names[1:], 1):
            outer = self._outer[n]
            ip("-n", first, "link", "add", outer, "type", "veth", "peer", "eth0", "netns", name)
            ip("-n", first, "link", "set", outer, "master", self._bridge, "up")
            ip("-n", name, "addr", "add", f"{self.address(n)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *error: object) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def address(self, number: int) -> str:
        return f"{self._part}.{number + 1}"

    def inside(self, number: int) -> tuple[str, ...]:
        """Words before a command that runs there."""
        return ("ip", "netns", "exec", self.names[number])

    def cut(self, number: int) -> None:
        """Pull a machine's plug: nothing that it sends arrives, and nobody is told."""
        ip("-n", self.names[0], "link", "set", self._outer[number], "down")


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[Network]:
    """The builder and the scheduler on one machine, two workers on two others."""
    reason = why_no_network()
    if reason is not None:
        if os.environ.get("NBPIPE_REQUIRE_ENGINES") and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    with Network(3) as network:
        yield network


@pytest.mark.process
def test_a_machine_that_is_cut_off_gives_its_task_up_and_another_runs_it(network, tmp_path):
    root = engines.slow(tmp_path / "slow")
    prefixes = tuple(network.inside(n) for n in range(3))
    with (
        Cluster(tmp_path / "dask", prefixes, network.address(0)) as cluster,
        going_on(root, cluster, *network.inside(0)) as process,
    ):
        [first] = engines.tries(root)
        command = worker_of(first[0]).cmdline()
        network.cut(1 if "w1" in command else 2)
        engines.await_true(lambda: len(engines.tries(root)) == 2, cluster.log)
        assert engines.alive(first) == []
        (root / "go").touch()
        assert process.wait(engines.PATIENCE) == 0
        assert "w1" in command or "w2" in command
    assert (root / "out" / "after.txt").read_text() == "slow and after"
