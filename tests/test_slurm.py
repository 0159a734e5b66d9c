"""Tasks as SLURM's jobs, on a real SLURM with one node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nbpipe.core import events as ev
from nbpipe.core.model import Failure, Job, Outcome, Resources
from nbpipe.errors import UsageError
from nbpipe.executors import slurm as slurm_executor
from nbpipe.executors import slurm_jobs as jobs
from nbpipe.executors.sentoff import Ending
from nbpipe.executors.slurm import SlurmExecutor
from tests import engines
from tests.cli import ENV, nbpipe
from tests.slurm_rig import Slurm, why_not

SITE = jobs.Site(python="python")


def job(task: str = "fit", **more) -> Job:
    given = {"kind": "function", "source": "work.fit", "root": "/p", "folder": "/p/r"}
    command = ("task", task, "--only", "-e", "pipeline.yaml")
    return Job(**{**given, "task": task, "stem": task, "command": command, **more})


def ready(task: str = "fit", after: tuple[str, ...] = (), **more) -> jobs.Ready:
    return jobs.Ready(job=job(task, **more), after=after)


# -- what SLURM is told ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ["--job-name=fit", "--output=/p/r/fit.log"]),
        ({"attempt": 2}, ["--output=/p/r/fit-2.log"]),
        ({"stem": "a%2Fb"}, ["--output=/p/r/a%%2Fb.log"]),
        ({"resources": Resources(cpu=1.5)}, ["--cpus-per-task=2"]),
        ({"resources": Resources(memory=3 * 2**20 + 1)}, ["--mem=4M"]),
        ({"resources": Resources(gpu=2)}, ["--gres=gpu:2"]),
        ({"timeout": 600.0}, ["--time=11"]),
        ({"after": ("7", "8_3")}, ["--dependency=afterok:7:8_3", "--kill-on-invalid-dep=yes"]),
    ],
)
def test_a_task_becomes_the_options_of_a_job(more, words):
    said = jobs.sbatch([ready(**more)], SITE)
    assert said[:3] == ["sbatch", "--parsable", "--chdir=/p"]
    assert set(words) <= set(said)


def test_a_task_that_asks_for_nothing_is_left_to_the_cluster():
    said = " ".join(jobs.sbatch([ready()], SITE))
    assert all(word not in said for word in ("--cpus", "--mem", "--gres", "--time", "--depend"))


def test_what_the_site_wants_comes_with_every_job_and_a_timeout_before_its_time():
    site = msgspec.structs.replace(
        SITE, partition="long", account="me", time="2:00:00", options=("--qos=low", "--nice")
    )
    said = jobs.sbatch([ready()], site)
    assert said[-5:] == [
        "--partition=long",
        "--account=me",
        "--time=2:00:00",
        "--qos=low",
        "--nice",
    ]
    assert "--time=2" in jobs.sbatch([ready(timeout=30.0)], site)


def test_jobs_that_differ_in_the_task_alone_become_one_array():
    grid = [ready(f"fit-{n}") for n in range(3)]
    other = [
        ready("big", resources=Resources(cpu=4)),
        ready("slow", timeout=5.0),
        ready("load", source="work.load"),
        ready("late", after=("7",)),
    ]
    groups = jobs.arrays([*grid, *other])
    assert groups == [grid, *([one] for one in other)]
    said = jobs.sbatch(grid, SITE)
    assert {"--array=0-2", "--job-name=work.fit", "--output=/p/r/slurm-%A_%a.log"} <= set(said)


def test_an_array_is_no_larger_than_slurm_takes():
    groups = jobs.arrays(ready(f"fit-{n}") for n in range(2 * jobs.MOST + 1))
    assert [len(group) for group in groups] == [jobs.MOST, jobs.MOST, 1]


def test_the_script_of_a_task_quotes_its_words_and_gives_way_to_it():
    name = "it's $(touch x)"
    text = jobs.script([ready(name, root="/a b", environ={"NBPIPE_BUILDER": "r"})], SITE)
    lines = text.splitlines()
    assert lines[:3] == ["#!/bin/sh", "cd '/a b' || exit 2", "export NBPIPE_BUILDER=r"]
    assert lines[3].startswith("exec python -P -m nbpipe task 'it'\"'\"'s $(touch x)' --only")
    done = subprocess.run(["sh", "-n"], input=text, text=True, check=False)
    assert done.returncode == 0


def test_the_script_of_an_array_chooses_by_number_after_the_setup():
    site = msgspec.structs.replace(SITE, setup="module load python")
    lines = jobs.script([ready("a"), ready("b")], site).splitlines()
    assert lines[2:4] == ["module load python", "case $SLURM_ARRAY_TASK_ID in"]
    assert lines[5].startswith("1) exec python -P -m nbpipe task b --only")
    assert lines[6] == "esac"


def test_the_address_of_a_store_is_not_written_into_the_script():
    environ = {"NBPIPE_STORE": "s3://key:secret@host/x", "NBPIPE_BUILDER": "r"}
    assert "secret" not in jobs.script([ready(environ=environ)], SITE)


def test_options_that_cannot_be_split_are_refused():
    with pytest.raises(UsageError, match="No closing quotation"):
        SlurmExecutor(options="--comment='x")


# -- what SLURM tells --------------------------------------------------------------------------

QUEUE = """3|PENDING|0|Dependency|
5_0|RUNNING|0|None|
5_1|COMPLETING|256|None|
6|COMPLETED|0|None|
7|FAILED|768|NonZeroExitCode|
8|CANCELLED|15|Priority|
"""


def test_the_states_of_jobs_are_read():
    states = jobs.read_states(QUEUE)
    assert list(states) == ["3", "5_0", "5_1", "6", "7", "8"]
    assert [n for n, state in states.items() if state.ended] == ["6", "7", "8"]
    assert [states[n].code for n in ("6", "7", "8")] == [0, 3, -15]
    assert states["3"].reason == "Dependency"


@pytest.mark.parametrize(
    ("name", "failure", "told"),
    [
        ("FAILED", None, None),
        ("COMPLETED", None, None),
        ("TIMEOUT", None, "SLURM's time limit was reached"),
        ("CANCELLED", None, "it was cancelled"),
        ("OUT_OF_MEMORY", None, "it took more memory than it had asked for"),
        ("TIMEOUT", Failure(error="ValueError", message="no"), None),
    ],
)
def test_an_end_that_is_not_the_tasks_own_is_told(name, failure, told):
    ending = Ending(code=1, failure=failure)
    assert jobs.not_by_itself(jobs.State(name, 0, ""), ending) == told


def test_a_machine_without_slurm_is_told(diamond, monkeypatch):
    monkeypatch.setenv("PATH", "")
    failure = diamond.pipeline().build(executor="slurm").tasks["get"].failure
    assert failure.error == "SlurmError"
    assert failure.message.startswith("sbatch: not found")


class Commands:
    """Stands for SLURM's commands: numbers what it is given, and says what it is told to.

    Args:
        queue: what ``squeue`` prints; None: it does not answer.
        refuses: an option that ``sbatch`` does not take.
    """

    def __init__(self, queue: str | None = "", refuses: str = "nothing") -> None:
        self.queue, self.refuses = queue, refuses
        self.calls: list[tuple[str, ...]] = []

    async def __call__(self, *words: str, text: str = "", environ=None) -> str:
        self.calls.append(words)
        failed = words[0] == "squeue" and self.queue is None
        if failed or any(word.startswith(self.refuses) for word in words):
            raise slurm_executor.SlurmError(f"{words[0]}: no")
        return f"{len(self.calls)}\n" if words[0] == "sbatch" else self.queue or ""


@pytest.fixture
def commands(monkeypatch) -> Commands:
    commands = Commands()
    monkeypatch.setattr(slurm_executor, "_call", commands)
    for name in ("POLL", "LONGEST_POLL", "SEEN", "PATIENCE", "ENDING"):
        monkeypatch.setattr(slurm_executor, name, 0.02)
    return commands


@pytest.mark.parametrize(
    ("state", "error"), [("done", None), ("failed", "ProcessDied"), (None, "JobLost")]
)
def test_of_a_job_that_slurm_has_forgotten_its_events_tell_the_end(
    commands, tmp_path, state, error
):
    one = job(folder=str(tmp_path))
    if state is not None:
        event = ev.RunFinished(state=state, seconds=1.0)
        jobs.events_of(one).write_bytes(msgspec.json.encode(event) + b"\n")
    failure = asyncio.run(SlurmExecutor().run(one, print)).failure
    assert (failure and failure.error) == error


def test_a_queue_that_does_not_answer_fails_the_task_in_the_end(commands, tmp_path):
    commands.queue = None
    failure = asyncio.run(SlurmExecutor().run(job(folder=str(tmp_path)), print)).failure
    assert (failure.error, failure.message) == ("SlurmError", "squeue: no")


def test_jobs_after_others_wait_for_their_numbers(commands):
    grid = [(job(f"part-{n}"), ()) for n in range(2)]
    ahead = [*grid, (job("one", source="work.one"), ("part-1",))]
    asyncio.run(SlurmExecutor().submit_ahead(ahead))
    array, one = commands.calls
    assert "--array=0-1" in array
    assert "--dependency=afterok:1_1" in one


def test_where_arrays_are_not_taken_their_parts_are_handed_over_one_by_one(commands):
    commands.refuses = "--array"
    ahead = [*((job(f"part-{n}"), ()) for n in range(2)), (job("all"), ("part-0", "part-1"))]
    asyncio.run(SlurmExecutor().submit_ahead(ahead))
    named = [[word for word in call if word.startswith("--job-name")] for call in commands.calls]
    assert named[1:] == [["--job-name=part-0"], ["--job-name=part-1"], ["--job-name=all"]]
    assert "--dependency=afterok:2:3" in commands.calls[3]


def test_what_is_handed_over_and_not_needed_any_more_is_cancelled_at_once(commands):
    async def submit_and_leave() -> None:
        executor = SlurmExecutor()
        await executor.submit_ahead([(job(f"part-{n}"), ()) for n in range(3)])
        await executor.close()

    commands.queue = "1_0|RUNNING|0|None|\n"
    asyncio.run(submit_and_leave())
    assert ("scancel", "1_0", "1_1", "1_2") in commands.calls


# -- what is handed over ahead -----------------------------------------------------------------


class Queue:
    """Takes jobs ahead, and runs none."""

    records_itself = True

    def __init__(self) -> None:
        self.ahead: dict[str, tuple[str, ...]] = {}

    async def submit_ahead(self, ahead):
        self.ahead = {job.task: tuple(ups) for job, ups in ahead}

    async def run(self, job, emit):
        return Outcome(failure=Failure(error="Nothing", message="runs here"))

    async def close(self):
        """Nothing is held."""


def handed_over(project, **how) -> dict[str, tuple[str, ...]]:
    queue = Queue()
    project.pipeline().build(executor=queue, **how)
    return queue.ahead


def test_all_that_runs_in_any_case_is_handed_over_with_what_it_waits_for(diamond):
    assert handed_over(diamond) == {
        "get": (),
        "sepal": ("get",),
        "petal": ("get",),
        "fit": ("sepal", "petal"),
    }


def test_what_may_turn_out_to_be_fresh_is_not_handed_over(diamond):
    diamond.build()
    diamond.edit("sepal.py", "'sepal'", "'other'")
    assert handed_over(diamond) == {"sepal": ()}
    diamond.edit("fit.py", '"one"', '"two"')
    assert handed_over(diamond) == {"sepal": (), "fit": ("sepal",)}
    diamond.edit("get.py", '"one"', '"two"')
    assert handed_over(diamond) == {"get": (), "sepal": ("get",)}


@pytest.mark.parametrize("how", [{"jobs": 2}, {"store": "store"}])
def test_nothing_is_handed_over_where_the_builder_decides_when_its_turn_comes(diamond, how):
    assert handed_over(diamond, **how) == {}


# -- with SLURM --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A cluster, and commands that find it."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("NBPIPE_REQUIRE_ENGINES"):
            pytest.fail(reason)
        pytest.skip(reason)
    with Slurm() as slurm, pytest.MonkeyPatch.context() as patch:
        for name, value in slurm.environ.items():
            patch.setitem(ENV, name, value)
        yield slurm


def build(root: Path, *args: str, code: int = 0) -> str:
    return nbpipe("build", "--executor", "slurm", *args, cwd=root, code=code)


def queue(slurm: Slurm, root: Path, field: str) -> dict[str, str]:
    """A field of every job of a project that SLURM remembers, by the job's name."""
    said = slurm.call("squeue", "-h", "-t", "all", "-r", "-O", f"WorkDir:|,Name:|,{field}:|")
    rows = (line.split("|") for line in said.splitlines())
    return {name: value for folder, name, value, _ in rows if folder == str(root)}


def states(slurm: Slurm, root: Path) -> dict[str, str]:
    return queue(slurm, root, "State")


@contextlib.contextmanager
def going_on(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A build whose slow task is in its cell."""
    command = [sys.executable, "-m", "nbpipe", "build", "--executor", "slurm"]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=ENV, stdout=log, stderr=log)
    try:
        engines.await_true(lambda: engines.tries(root), lambda: (root / "log").read_text())
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.process
@pytest.mark.parametrize("name", engines.PIPELINES)
def test_a_pipeline_gives_the_products_of_a_local_build_and_a_second_build_runs_nothing(
    name, slurm, tmp_path
):
    root = engines.PIPELINES[name](tmp_path / name)
    build(root)
    assert engines.digests(root) == engines.local_digests(name)
    assert "0 executed" in build(root)
    assert "0 executed" in nbpipe("build", cwd=root)
    logs = {path.stem for path in (root / ".nbpipe" / "runs").glob("*/*.log")}
    assert len(logs) == len(list((root / ".nbpipe" / "records").glob("*.json")))
    if name == "grid":
        assert {"square-0", "square-11", "total"} <= logs
        assert queue(slurm, root, "ArrayTaskID")["work.square"] != "N/A"


@pytest.mark.process
def test_with_a_store_the_results_are_shared_and_a_failed_notebook_is_kept_there(slurm, tmp_path):
    store = tmp_path / "store"
    root = engines.slow(tmp_path / "slow")
    (root / "go").touch()
    script = root / "after.py"
    script.write_text(script.read_text() + '\nraise ValueError("late")\n')
    build(root, "--store", str(store), code=1)
    assert list(store.glob("runs/*/after.ipynb"))
    script.write_text(script.read_text().replace("raise", "# raise"))
    build(root, "--store", str(store))
    assert len(engines.tries(root)) == 1
    other = engines.slow(tmp_path / "other")
    (other / "after.py").write_text(script.read_text())
    assert "0 executed" in nbpipe("build", "--store", str(store), cwd=other)
    assert (other / "out" / "after.txt").read_text() == "slow and after"


@pytest.mark.process
def test_what_a_task_asks_for_reaches_slurm(slurm, tmp_path):
    root = engines.grid(tmp_path / "asks")
    (root / "pipeline.yaml").write_text(
        "tasks:\n  - source: work.square\n    name: asks\n    product: out/x\n    params: {n: 3}\n"
        "    timeout: 300\n    resources: {cpu: 3, memory: 300 MiB}\n"
    )
    build(root, "--set", "partition=other", "--set", "options=--comment='a b' --nice=5")
    number = queue(slurm, root, "JobID")["asks"]
    said = slurm.call("scontrol", "show", "job", number)
    for word in ("Partition=other", "Comment=a b", "Nice=5", "TimeLimit=00:06:00"):
        assert word in said
    assert "NumCPUs=3" in said
    assert "MinMemoryNode=300M" in said


@pytest.mark.process
def test_a_failed_task_fails_its_job_and_those_after_it_and_its_notebook_is_kept(slurm, tmp_path):
    root = engines.slow(tmp_path / "slow")
    (root / "go").touch()
    script = root / "slow.py"
    script.write_text(script.read_text().replace("child.kill()", 'raise ValueError("no luck")'))
    said = build(root, "--json", code=1)
    lines = [msgspec.json.decode(line) for line in said.splitlines() if line.startswith("{")]
    failed = next(line for line in lines if line["event"] == "task-failed")["failure"]
    assert (failed["error"], failed["message"]) == ("ValueError", "no luck")
    assert 'raise ValueError("no luck")' in failed["excerpt"]
    assert (root / failed["notebook"]).exists()
    assert any(line["event"] == "cell-started" for line in lines)
    assert states(slurm, root)["slow"] == "FAILED"
    assert states(slurm, root)["after"] == "CANCELLED"
    [log] = (root / ".nbpipe" / "runs").glob("*/slow.log")
    assert "ValueError: no luck" in log.read_text()


@pytest.mark.process
def test_a_task_that_succeeds_at_the_second_try_is_followed_by_those_after_it(slurm, tmp_path):
    root = engines.slow(tmp_path / "slow")
    (root / "go").touch()
    script = root / "slow.py"
    fails = 'child.kill()\nassert len(Path("tries").read_text().splitlines()) > 1, "not yet"'
    script.write_text(script.read_text().replace("child.kill()", fails))
    spec = root / "pipeline.yaml"
    retries = "slow.txt}\n    retries: 1"
    spec.write_text(spec.read_text().replace("slow.txt}", retries))
    said = build(root)
    assert "trying again" in said
    assert len(engines.tries(root)) == 2
    assert (root / "out" / "after.txt").read_text() == "slow and after"


@pytest.mark.process
def test_an_interrupted_build_leaves_no_job_and_no_process(slurm, tmp_path):
    root = engines.slow(tmp_path / "slow")
    with going_on(root) as process:
        [pids] = engines.tries(root)
        mine = engines.ancestors(pids[0], "nbpipe task slow")
        assert mine
        assert (states(slurm, root)["slow"], states(slurm, root)["after"]) == ("RUNNING", "PENDING")
        process.send_signal(signal.SIGINT)
        assert process.wait(engines.PATIENCE) == 130
    assert engines.alive([*pids, *mine]) == []
    assert set(states(slurm, root).values()) == {"CANCELLED"}


@pytest.mark.process
def test_when_the_builder_is_killed_the_jobs_go_on_in_their_order(slurm, tmp_path):
    root = engines.slow(tmp_path / "slow")
    with going_on(root) as process:
        process.kill()
        process.wait()
    (root / "go").touch()
    engines.await_true(lambda: set(states(slurm, root).values()) == {"COMPLETED"})
    assert (root / "out" / "after.txt").read_text() == "slow and after"
    assert "0 executed" in nbpipe("build", cwd=root)


@pytest.mark.process
def test_a_job_that_somebody_cancels_is_a_failed_task(slurm, tmp_path):
    root = engines.slow(tmp_path / "slow")
    with going_on(root) as process:
        slurm.call("scancel", "--name=slow")
        assert process.wait(engines.PATIENCE) == 1
    said = (root / "log").read_text()
    assert "CANCELLED: SLURM (job " in said
    assert "it was cancelled" in said
    assert engines.alive(engines.tries(root)[0]) == []


# -- Dask's workers as jobs of SLURM -----------------------------------------------------------

WORKERS = """
import sys
from dask_jobqueue import SLURMCluster

with SLURMCluster(
    cores=2,
    memory="1 GB",
    walltime="00:10:00",
    worker_extra_args=["--resources", "CPU=2,MEMORY=1e9"],
    scheduler_options={"host": "127.0.0.1"},
    local_directory=sys.argv[1],
    log_directory=sys.argv[1],
) as cluster:
    cluster.scale(jobs=2)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@pytest.mark.process
def test_dask_workers_that_slurm_has_started_build_what_one_machine_builds(slurm, tmp_path):
    root = engines.grid(tmp_path / "grid")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WORKERS, str(tmp_path)],
        cwd=tmp_path,
        env=ENV,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as cluster:
        address = cluster.stdout.readline().strip()
        assert address.startswith("tcp://127.0.0.1:")
        on = ("build", "--executor", "dask", "--scheduler", address)
        nbpipe(*on, cwd=root)
        jobs = queue(slurm, tmp_path, "State")
        assert "0 executed" in nbpipe(*on, cwd=root)
        cluster.stdin.close()
    assert jobs == {"dask-worker": "RUNNING"}
    assert engines.digests(root) == engines.local_digests("grid")
