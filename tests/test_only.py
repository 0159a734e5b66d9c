"""One task in a process of its own: alone, several at once, with a store, sent off."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from nbpipe import InlineExecutor
from nbpipe.cli.app import run
from nbpipe.core import events as ev
from nbpipe.core.model import Failure, Job, Outcome
from nbpipe.errors import LockedError, StoreError
from nbpipe.executors.sentoff import command
from nbpipe.run import only
from nbpipe.run.eventlog import RUNS
from nbpipe.run.guard import BUILDER, one_task
from nbpipe.run.lock import build_lock, wait_until_free
from nbpipe.run.note import new_note, write_note
from nbpipe.store import remote as remotes
from nbpipe.store.records import RecordStore
from tests.cli import ENV
from tests.projects import Project, fake_work
from tests.stores import object_of, products


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Tries follow each other at once."""
    monkeypatch.setattr(remotes, "pause_before", lambda attempt: 0.0)
    monkeypatch.delenv("NBPIPE_STORE", raising=False)


def run_only(project: Project, task: str, url: str | None, **options):
    return project.pipeline().run_only(task, store=url, executor=project.executor, **options)


# -- one task on its own -----------------------------------------------------------------------


def test_a_pipeline_run_task_by_task_in_new_checkouts_gives_the_same_products(
    diamond, checkout, url
):
    diamond.build()
    for task in ("get", "petal", "sepal", "fit"):
        worker = checkout()
        assert run_only(worker, task, url).named("ran") == (task,)
        assert products(worker)[f"{task}.txt"] == diamond.read(f"out/{task}.txt")


def test_a_second_round_skips_every_task_and_fetches_nothing(diamond, checkout, url):
    diamond.build(store=url)
    for task in ("get", "petal", "sepal", "fit"):
        worker = checkout()
        report = run_only(worker, task, url)
        assert report.tasks[task].reasons == (f"up to date in {url}",)
        assert not (worker.root / "out").exists()


def test_only_the_products_of_direct_upstreams_are_fetched(diamond, checkout, url):
    diamond.build("sepal", "petal", store=url)
    worker = checkout()
    run_only(worker, "fit", url)
    assert set(products(worker)) == {"sepal.txt", "petal.txt", "fit.txt"}
    assert worker.pipeline().plan().named("run") == ("get",)


def test_an_upstream_product_that_is_here_is_not_fetched(diamond, checkout, url):
    diamond.build("sepal", "petal", store=url)
    shutil.rmtree(Path(url) / "objects")
    assert run_only(diamond, "fit", url).named("ran") == ("fit",)


def test_a_task_whose_upstream_was_never_built_fails_with_a_hint(diamond, checkout, url):
    report = run_only(checkout(), "fit", url)
    assert report.exit_code == 1
    assert "have not been built" in report.tasks["fit"].failure.message


def test_the_latest_result_of_an_upstream_is_taken_with_a_warning_where_none_fits(
    diamond, checkout, url
):
    diamond.build("get", store=url)
    worker = checkout()
    worker.edit("get.py", 'constant = "one"', 'constant = "two"')
    report = run_only(worker, "sepal", url)
    assert report.named("ran") == ("sepal",)
    assert report.warnings == (
        f"{url} has no result of upstream 'get' as it is now: its latest one is taken",
    )
    assert worker.read("out/sepal.txt") == "sepalone"
    assert worker.build(store=url) == ["fit", "get", "petal", "sepal"]


def test_the_newer_of_two_results_that_do_not_fit_is_taken(diamond, checkout, url):
    worker, other = checkout(), checkout()
    worker.build("get")
    other.edit("get.py", 'constant = "one"', 'constant = "two"')
    other.build("get", store=url)
    worker.edit("get.py", 'constant = "one"', 'constant = "three"')
    run_only(worker, "sepal", url)
    assert worker.read("out/sepal.txt") == "sepaltwo"


def test_a_failed_task_keeps_its_notebook_in_the_store(diamond, checkout, url):
    diamond.build("get", store=url)
    worker = checkout()
    worker.edit("sepal.py", "constant = 'sepal'", "raise ValueError('no')")

    def fail(job):
        Path(job.folder, f"{job.stem}.ipynb").write_text("failed here")
        return Failure(error="ValueError", message="no")

    worker.executor = InlineExecutor({"sepal": fail})
    report = run_only(worker, "sepal", url)
    assert report.exit_code == 1
    kept = Path(url) / "runs" / report.run
    assert (kept / "sepal.ipynb").read_text() == "failed here"
    assert (kept / "events.jsonl").exists()
    assert f"{url}/runs/{report.run}" in report.warnings[0]
    assert not list(Path(url, "latest").glob("sepal*"))


def test_a_corrupted_upstream_is_refused_until_its_task_is_forced(diamond, checkout, url):
    diamond.build("get", store=url)
    damaged = object_of(diamond, "out/get.txt", url)
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    worker = checkout()
    with pytest.raises(StoreError) as caught:
        run_only(worker, "sepal", url)
    assert caught.value.exit_code == 4
    assert not (worker.root / "out" / "get.txt").exists()
    assert run_only(checkout(), "get", url, force=True).named("ran") == ("get",)
    assert run_only(worker, "sepal", url).named("ran") == ("sepal",)


def test_a_task_that_the_caller_tries_again_is_tried_once(project):
    tries: list[int] = []

    def fail(job):
        tries.append(job.attempt)
        raise ValueError("no")

    project.task("get", retries=2)
    project.executor = InlineExecutor(fail)
    assert run_only(project, "get", None, retry=False).exit_code == 1
    assert tries == [1]
    assert run_only(project, "get", None).exit_code == 1
    assert tries == [1, 1, 2, 3]


def test_trying_once_is_for_a_task_alone(project, capsys):
    project.task("get")
    assert run(["task", "get", "--no-retry", "-e", str(project.root)]) == 2
    assert "--no-retry goes with --only" in capsys.readouterr().err


def test_without_a_store_the_folder_itself_is_shared(diamond):
    for task in ("get", "petal", "sepal", "fit"):
        assert run_only(diamond, task, None).named("ran") == (task,)
    assert run_only(diamond, "fit", None).named("skipped") == ("fit",)
    assert diamond.build() == []


def test_folders_of_runs_that_went_well_are_dropped_and_failed_ones_kept(project, monkeypatch):
    monkeypatch.setattr(only, "KEPT", 1)
    monkeypatch.setattr(only.drop_done_runs, "__defaults__", (1,))
    project.task("get")
    bad = Project(project.root)
    bad.executor = InlineExecutor(lambda job: Failure(error="ValueError", message="no"))
    failed = run_only(bad, "get", None).run
    runs = [run_only(project, "get", None, force=True).run for _ in range(3)]
    left = sorted(path.name for path in (project.root / ".nbpipe" / RUNS).iterdir())
    assert left == [failed, runs[-1]]


# -- several at once ---------------------------------------------------------------------------


class Held:
    """Runs a task in a thread, which stays in it until it is let go."""

    def __init__(self, project: Project, task: str) -> None:
        self.inside, self.go = threading.Event(), threading.Event()
        self.report = None
        self._project, self._task = project, task
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        async def work(job):
            self.inside.set()
            await asyncio.to_thread(self.go.wait, 30)
            fake_work(job)

        executor = InlineExecutor(work)
        self.report = self._project.pipeline().run_only(self._task, executor=executor)

    def __enter__(self) -> Held:
        self._thread.start()
        while not self.inside.wait(0.05):
            assert self._thread.is_alive()
        return self

    def __exit__(self, *error: object) -> None:
        self.go.set()
        self._thread.join(30)


@pytest.fixture
def impatient(monkeypatch):
    """Locks are refused at once, where they would wait for a holder that may be dying."""
    for module in ("tasklocks", "guard", "lock"):
        monkeypatch.setattr(f"nbpipe.run.{module}.DYING", 0.0)


def test_different_tasks_run_in_one_folder_at_the_same_time(diamond):
    diamond.build("get")
    with Held(diamond, "sepal") as sepal:
        assert run_only(diamond, "petal", None).named("ran") == ("petal",)
    assert sepal.report.named("ran") == ("sepal",)
    assert diamond.build() == ["fit"]


def test_a_task_that_runs_is_not_run_a_second_time_at_once(diamond, impatient):
    with (
        Held(diamond, "get"),
        pytest.raises(LockedError, match=rf"task 'get' is being run by pid {os.getpid()}"),
    ):
        run_only(diamond, "get", None)
    assert run_only(diamond, "get", None).named("skipped") == ("get",)


def test_a_build_is_refused_while_a_task_runs_on_its_own(diamond, impatient):
    with Held(diamond, "get"), pytest.raises(LockedError, match="task 'get' is being run by"):
        diamond.report()
    assert diamond.build() == ["fit", "petal", "sepal"]


@pytest.mark.parametrize("what", ["task", "build"])
def test_whoever_is_told_to_wait_goes_on_when_the_task_has_ended(diamond, what):
    with Held(diamond, "get") as held:
        threading.Timer(0.1, held.go.set).start()
        if what == "task":
            assert run_only(diamond, "get", None, wait=30.0).named("skipped") == ("get",)
        else:
            assert diamond.build(wait=30.0) == ["fit", "petal", "sepal"]


def test_a_task_is_refused_while_a_build_holds_the_pipeline(diamond, impatient):
    diamond.pipeline().store.prepare()
    with (
        build_lock(diamond.root / ".nbpipe", "some-run"),
        pytest.raises(LockedError, match="another build holds this pipeline"),
    ):
        run_only(diamond, "get", None)


def test_what_a_builder_has_sent_off_is_let_in(diamond, monkeypatch):
    diamond.pipeline().store.prepare()
    with build_lock(diamond.root / ".nbpipe", "some-run"):
        monkeypatch.setenv(BUILDER, "some-run")
        assert run_only(diamond, "get", None).named("ran") == ("get",)


def test_a_build_does_not_begin_while_something_that_was_sent_off_goes_on(
    diamond, monkeypatch, impatient
):
    home = diamond.root / ".nbpipe"
    diamond.pipeline().store.prepare()
    monkeypatch.setenv(BUILDER, "a-builder-that-died")
    with one_task(home, "get", 0.0):
        monkeypatch.delenv(BUILDER)
        with pytest.raises(LockedError, match="task 'get' is being run by"):
            diamond.report()
        assert not wait_until_free(home, 0.0)
    assert wait_until_free(home, 0.0)


def test_a_running_task_counts_as_a_run_that_goes_on(diamond):
    with Held(diamond, "get"):
        assert diamond.pipeline().attach("last").status == "running"
    assert diamond.pipeline().attach("last").status == "done"


def test_what_a_dead_process_left_of_the_same_task_is_settled(diamond):
    diamond.pipeline().store.prepare()
    folder = diamond.root / ".nbpipe" / RUNS / "20200101-000000-000000"
    folder.mkdir(parents=True)
    line = msgspec.json.encode(ev.RunStarted(run=folder.name, tasks=("get",)))
    (folder / "events.jsonl").write_bytes(line + b"\n")
    for task, settled in (("sepal", False), ("get", True)):
        write_note(folder, new_note(folder.name, 1, frozenset({"get"})))
        run_only(diamond, task, None)
        assert ("run-finished" in (folder / "events.jsonl").read_text()) is settled


# -- tasks that are sent off -------------------------------------------------------------------


class Cluster:
    """Sends tasks off: each is run by another thread, as a process on another host would."""

    records_itself = True

    def __init__(self, place: Project) -> None:
        self.place = place
        self.jobs = []

    async def run(self, job, emit):
        self.jobs.append(job)
        report = await asyncio.to_thread(self._run, job)
        failure = report.tasks[job.task].failure
        return Outcome(failure=failure)

    def _run(self, job):
        assert job.command[:3] == ("task", job.task, "--only")
        return self.place.pipeline().run_only(
            job.task,
            force="--force" in job.command,
            retry="--no-retry" not in job.command,
            executor=self.place.executor,
        )

    async def close(self):
        """Nothing is held."""


@pytest.fixture
def sent_off(monkeypatch):
    """The environment of a process that a builder has sent off."""
    monkeypatch.setenv(BUILDER, "the-builder")


def test_a_task_that_is_sent_off_is_recorded_once_by_whoever_ran_it(diamond, sent_off):
    cluster = Cluster(diamond)
    report = diamond.pipeline().build(executor=cluster)
    assert sorted(report.named("ran")) == ["fit", "get", "petal", "sepal"]
    assert {diamond.pipeline().record(n).run for n in report.tasks}.isdisjoint({report.run})
    assert cluster.jobs[0].environ == {BUILDER: report.run, "NBPIPE_STORE": ""}
    assert diamond.pipeline().build(executor=cluster).named("ran") == ()
    assert diamond.build() == []


def test_results_of_hosts_that_share_only_a_store_are_not_fetched_by_the_builder(
    diamond, checkout, url, sent_off, monkeypatch
):
    cluster = Cluster(checkout())
    monkeypatch.setenv("NBPIPE_STORE", url)
    assert len(diamond.pipeline().build(executor=cluster).named("ran")) == 4
    assert not (diamond.root / "out").exists()
    assert cluster.jobs[0].environ["NBPIPE_STORE"] == url
    assert diamond.pipeline().build(executor=cluster).named("ran") == ()
    assert len(cluster.jobs) == 4


def test_a_task_that_fails_elsewhere_fails_here_and_keeps_its_record(diamond, sent_off):
    diamond.edit("sepal.py", "constant = 'sepal'", "raise ValueError('no')")
    report = diamond.pipeline().build(executor=Cluster(diamond), keep_going=True)
    results = {n: t.result for n, t in report.tasks.items()}
    assert results == {"get": "ran", "sepal": "failed", "petal": "ran", "fit": "blocked"}
    assert diamond.pipeline().record("sepal").run != report.run


def test_a_record_that_can_be_seen_only_later_is_waited_for(diamond, sent_off):
    class Late(Cluster):
        async def run(self, job, emit):
            threading.Timer(0.2, self._run, [job]).start()
            return Outcome()

    diamond.build()
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    before = diamond.pipeline().record("get").run
    assert diamond.pipeline().build("get", executor=Late(diamond)).named("ran") == ("get",)
    assert diamond.pipeline().record("get").run != before
    assert diamond.read("out/get.txt") == "two"


def test_what_is_sent_off_is_not_limited_by_this_machine(project, sent_off):
    class Counting(Cluster):
        at_once = most = 0

        async def run(self, job, emit):
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0.05)
            self.at_once -= 1
            return await super().run(job, emit)

    for i in range(12):
        project.task(f"grid-{i}", resources={"cpu": 512, "gpu": 8})
    cluster = Counting(project)
    report = project.pipeline().build(executor=cluster)
    assert (len(report.named("ran")), report.warnings, cluster.most) == (12, (), 12)
    assert cluster.jobs[0].resources.cpu == 512


def test_a_forced_build_forces_what_it_sends_off(diamond, sent_off):
    diamond.build()
    cluster = Cluster(diamond)
    assert len(diamond.pipeline().build(executor=cluster, force=True).named("ran")) == 4
    assert all("--force" in job.command for job in cluster.jobs)


@pytest.mark.process
@pytest.mark.parametrize("leash", [[], ["-P", "-m", "nbpipe.executors.leash", str(os.getpid())]])
def test_a_module_of_the_project_does_not_take_the_place_of_ours(diamond, leash):
    for name in ("msgspec", "click", "yaml"):
        diamond.write(f"{name}.py", "raise SystemExit('not this one')")
    words = command(
        Job(
            task="get",
            kind="notebook",
            source="get.py",
            stem="get",
            root=str(diamond.root),
            folder=str(diamond.root),
            command=("task", "get", "--only"),
        )
    )
    if leash:
        words = [sys.executable, *leash, *words[words.index("nbpipe") + 1 :]]
    said = subprocess.run(
        words, cwd=diamond.root, env=ENV, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr


def test_a_task_that_left_no_record_anywhere_has_failed(diamond, monkeypatch):
    class Silent(Cluster):
        async def run(self, job, emit):
            return Outcome()

    monkeypatch.setattr("nbpipe.run.elsewhere.VISIBLE", 0.0)
    failure = diamond.pipeline().build(executor=Silent(diamond)).tasks["get"].failure
    assert failure.error == "NotRecorded"
    assert RecordStore(diamond.root).load("get") is None
