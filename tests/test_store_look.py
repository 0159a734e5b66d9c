"""What plans and states say of a store; what a failed build leaves in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nbpipe.cli.app import run
from nbpipe.core.model import Failure
from nbpipe.errors import StoreError
from nbpipe.executors.inline import InlineExecutor
from nbpipe.store import remote as remotes
from nbpipe.store.remote_folder import FolderRemote
from tests.projects import Project, fake_work
from tests.stores import object_of

ALL = ["get", "sepal", "petal", "fit"]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(remotes, "pause_before", lambda attempt: 0.0)
    monkeypatch.delenv("NBPIPE_STORE", raising=False)


def actions(project: Project, url: str | None, **how) -> dict[str, str]:
    plan = project.pipeline().plan(store=url, **how)
    return {name: decision.action for name, decision in plan.decisions.items()}


# -- plans -------------------------------------------------------------------------------------


def test_what_a_build_would_take_from_the_store_is_no_work(diamond, checkout, url):
    diamond.build(store=url)
    other = checkout()
    plan = other.pipeline().plan(store=url)
    assert plan.idle
    for decision in plan.decisions.values():
        assert decision.state == "new"
        assert [note.text for note in decision.notes] == [f"in the store: {url} has it"]
    assert other.build(store=url) == []


def test_what_the_store_has_not_runs_with_what_may_follow(diamond, checkout, url):
    diamond.build(store=url)
    other = checkout()
    other.edit("sepal.py", "constant = 'sepal'", "constant = 'other'")
    found = actions(other, url)
    assert found == {"get": "skip", "sepal": "run", "petal": "skip", "fit": "run"}
    assert other.build(store=url) == ["fit", "sepal"]


def test_a_task_that_waits_for_one_in_the_store_is_fresh_when_its_bytes_are_the_same(
    diamond, checkout, url
):
    other = checkout()
    other.build()
    other.edit("get.py", "seen = ", "seen = [] or ")
    diamond.write("get.py", other.read("get.py"))
    diamond.build(store=url)
    assert actions(other, "") == {
        "get": "run",
        "sepal": "maybe",
        "petal": "maybe",
        "fit": "maybe",
    }
    assert set(actions(other, url).values()) == {"skip"}
    decisions = other.pipeline().plan(store=url).decisions
    assert decisions["get"].notes[0].code == "stored"
    assert decisions["sepal"].notes == ()
    assert other.build(store=url) == []


def test_a_record_whose_objects_are_gone_does_not_count(diamond, checkout, url):
    diamond.build(store=url)
    object_of(diamond, "out/sepal.txt", url).unlink()
    assert actions(checkout(), url)["sepal"] == "run"


def test_a_forced_plan_takes_nothing_from_the_store(diamond, checkout, url):
    diamond.build(store=url)
    assert set(actions(checkout(), url, force=True).values()) == {"run"}


def test_upstreams_outside_of_the_plan_are_taken_as_they_are(diamond, checkout, url):
    diamond.build(store=url)
    other = checkout()
    found = other.pipeline().plan("fit", upstream=False, store=url).decisions
    assert found["fit"].action == "run"
    other.build("petal", "sepal")
    found = other.pipeline().plan("fit", upstream=False, store=url).decisions
    assert found["fit"].action == "skip"


def test_what_is_fresh_here_is_not_asked_about(diamond, url, monkeypatch):
    diamond.build(store=url)
    asked: list[str] = []
    read = FolderRemote.read
    monkeypatch.setattr(
        FolderRemote, "read", lambda self, key: [asked.append(key), read(self, key)][1]
    )
    assert diamond.pipeline().plan(store=url).idle
    assert asked == []
    diamond.edit("petal.py", "'petal'", "'other'")
    assert actions(diamond, url) == {"get": "skip", "sepal": "skip", "petal": "run", "fit": "maybe"}
    assert len(asked) == 1


def test_plans_and_states_look_into_a_store_only_when_told(diamond, checkout, url, monkeypatch):
    """Views in a notebook ask often."""
    diamond.build(store=url)
    monkeypatch.setenv("NBPIPE_STORE", url)
    pipeline = checkout().pipeline()
    assert pipeline.plan().named("run") == tuple(ALL)
    assert pipeline.plan(store=None).idle
    assert pipeline.status()["get"].action == "run"
    assert pipeline.status(store=None)["get"].action == "skip"


def test_a_plan_changes_nothing_here(diamond, checkout, url):
    diamond.build(store=url)
    other = checkout()
    other.pipeline().plan(store=url)
    other.pipeline().status(store=url)
    assert not (other.root / "out").exists()
    assert not list((other.root / ".nbpipe").rglob("*.json"))


def test_a_store_that_cannot_be_read_is_asked_once(diamond, url, monkeypatch):
    tries: list[str] = []

    def fail(self, key):
        tries.append(key)
        raise ConnectionError("no network")

    monkeypatch.setattr(FolderRemote, "read", fail)
    with pytest.raises(StoreError, match="no network"):
        diamond.pipeline().plan(store=url)
    assert len(tries) == 1


# -- the commands ------------------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch, capsys) -> Callable[..., tuple[str, str]]:
    def call(project: Project, *words: str) -> tuple[str, str]:
        monkeypatch.chdir(project.root)
        assert run(list(words)) == 0
        said = capsys.readouterr()
        return said.out, said.err

    return call


@pytest.mark.parametrize("words", [["plan"], ["build", "--dry-run"]])
def test_a_plan_says_what_is_in_the_store(diamond, checkout, url, cli, words):
    diamond.build(store=url)
    out, err = cli(checkout(), *words, "--json", "--store", url)
    assert {task["action"] for task in json.loads(out)["decisions"].values()} == {"skip"}
    assert err == ""


def test_the_status_says_what_is_in_the_store(diamond, checkout, url, cli):
    diamond.build(store=url)
    out, err = cli(checkout(), "status", "--json", "--store", url)
    rows = json.loads(out)["tasks"]
    assert {(row["state"], row["action"]) for row in rows} == {("new", "skip")}
    assert {row["reason"] for row in rows} == {f"in the store: {url} has it"}
    assert err == ""


@pytest.mark.parametrize("words", [["plan"], ["build", "--dry-run"], ["status"]])
def test_the_store_of_the_spec_is_looked_into(diamond, checkout, url, cli, words):
    diamond.meta = {"store": f"../{Path(url).name}"}
    diamond.save()
    diamond.build()
    other = checkout()
    assert "in the store" in cli(other, *words)[0]
    assert "in the store" not in cli(other, *words, "--store", "")[0]


@pytest.mark.parametrize("words", [["plan"], ["status"]])
def test_without_the_store_the_view_is_that_from_here_with_a_warning(
    diamond, url, cli, words, monkeypatch
):
    def fail(self, key):
        raise ConnectionError("no network")

    monkeypatch.setattr(FolderRemote, "read", fail)
    out, err = cli(diamond, *words, "--store", url)
    assert "never run" in out
    assert err.startswith("warning: what is in the store is not known: ")
    assert "no network" in err


def test_a_mistake_is_not_taken_for_a_store_that_is_away(diamond, url, monkeypatch, capsys):
    monkeypatch.chdir(diamond.root)
    assert run(["plan", "gte", "--store", url]) == 2
    said = capsys.readouterr().err
    assert said.startswith("no task 'gte'")


# -- a build that fails ------------------------------------------------------------------------


def fail(job):
    Path(job.folder, f"{job.stem}.ipynb").write_text("failed here")
    Path(job.folder, f"{job.stem}.dump").write_text("variables")
    return Failure(error="ValueError", message="no")


def failing(project: Project) -> None:
    """Its task sepal fails; the others do what they do."""
    work = project.executor

    class Sometimes:
        async def run(self, job, emit):
            runs = InlineExecutor(fail) if job.task == "sepal" else work
            return await runs.run(job, emit)

        async def close(self):
            """Nothing is held."""

    project.executor = Sometimes()


def test_a_failed_build_keeps_its_notebooks_in_the_store(diamond, url):
    failing(diamond)
    told: list[str] = []
    report = diamond.report(
        store=url, on_event=lambda event: told.append(getattr(event, "message", ""))
    )
    assert report.exit_code == 1
    kept = Path(url) / "runs" / report.run
    assert (kept / "sepal.ipynb").read_text() == "failed here"
    assert not (kept / "sepal.dump").exists()  # they may hold what is for nobody else
    assert "run-finished" in (kept / "events.jsonl").read_text()
    where = f"the notebooks and the logs of this run are in {url}/runs/{report.run}"
    assert report.warnings[-1] == where
    assert where in told


def test_a_build_that_goes_well_leaves_no_run_in_the_store(diamond, url):
    diamond.build(store=url)
    assert not (Path(url) / "runs").exists()


def test_a_store_that_is_gone_does_not_hide_the_failure(diamond, url, monkeypatch):
    failing(diamond)
    diamond.build("get", store=url)
    shutil.rmtree(Path(url))

    def away(self, key, source):
        raise ConnectionError("no network")

    monkeypatch.setattr(FolderRemote, "put", away)
    monkeypatch.setattr(FolderRemote, "size", lambda self, key: 1)
    report = diamond.report("sepal", upstream=False, store=url)
    assert report.named("failed") == ("sepal",)
    assert "the notebooks of this run are only here" in report.warnings[-1]


# -- what is never in a store ------------------------------------------------------------------


def test_an_input_counts_as_new_whatever_the_store_has(project, url):
    project.write("given.txt", "1")
    project.tasks = [{"class": "Input", "name": "given", "product": "given.txt"}]
    project.task("use", ["given"])
    project.edit("use.py", 'Path(up["data"])', "Path(up)")
    project.executor = InlineExecutor({"given": lambda job: None}, fake_work)
    assert project.build(store=url) == ["given", "use"]
    assert actions(project, url) == {"given": "run", "use": "maybe"}
    assert project.build(store=url) == ["given", "use"]
