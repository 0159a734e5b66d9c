"""Rows 21 to 29: what runs again, what does not, and the reason that is given."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import time
from collections.abc import Callable

import pytest

from nbpipe import InlineExecutor
from tests.faults.rig import files
from tests.projects import Project, fake_work

ALL = ["fit", "get", "petal", "sepal"]
IDLE = "✓ nothing to do: 4 tasks up to date, 0 executed, 4 skipped\n"


@pytest.fixture
def build(diamond: Project, cli) -> Callable[..., list[str]]:
    """``nbpipe build``: the tasks that ran, sorted; then everything is fresh."""

    def call(*args: str) -> list[str]:
        before = len(diamond.executor.jobs)
        said = cli("build", *args)
        ran = sorted(job.task for job in diamond.executor.jobs[before:])
        assert f"{len(ran)} executed, " in said
        return ran

    return call


@pytest.fixture
def built(diamond: Project, build) -> Project:
    """The diamond after its first build."""
    assert build() == ALL
    return diamond


def told(cli, task: str) -> str:
    """What ``nbpipe why`` says of a task; it changes nothing."""
    return cli("why", task)


def test_21_touching_sources_and_products_runs_nothing(built, build, cli):
    for path in ("get.py", "fit.py", "out/get.txt", "out/fit.ipynb", "pipeline.yaml"):
        os.utime(built.root / path)
    assert cli("status").count("✓ fresh") == 4
    assert build() == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('constant = "one"', 'constant = "one"  # a comment'),
        ('constant = "one"', "constant = 'one'"),
        ('constant = "one"', '\n\nconstant   =   ("one")'),
        ("# %%\n", "# %% [markdown]\n# # A heading\n\n# %%\n"),
    ],
    ids=["comment", "quotes", "blank lines and brackets", "markdown"],
)
def test_22_an_edit_that_is_no_code_runs_nothing_and_why_says_so(built, build, cli, old, new):
    built.edit("get.py", old, new)
    said = told(cli, "get")
    assert said.startswith("get is up to date")
    assert "cosmetic edit of get.py: comments, formatting or markdown only" in said
    assert re.search(r"^\+", said, re.M), "the difference is shown"
    assert "get: cosmetic edit of get.py" in cli("build")
    assert build() == []


def test_22_a_build_that_runs_others_notes_it_too(built, cli):
    built.edit("get.py", 'constant = "one"', 'constant = "one"  # a comment')
    built.edit("fit.py", 'constant = "one"', 'constant = "two"')
    assert "cosmetic" in built.report().tasks["get"].reasons[0]


@pytest.mark.parametrize("days", [2, -2, 9000])
def test_23_a_clock_that_is_days_off_neither_aborts_nor_loops(built, build, days):
    moment = time.time() + days * 86400
    for path in built.root.rglob("*"):
        os.utime(path, (moment, moment))
    assert build() == []
    assert build() == []


@pytest.mark.parametrize("days", [2, -2])
def test_23_a_project_built_under_a_wrong_clock_is_fresh_under_the_right_one(
    diamond, build, cli, monkeypatch, days
):
    now, now_ns = time.time, time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + days * 86400)
        patch.setattr(time, "time_ns", lambda: now_ns() + days * 86400 * 10**9)
        assert build() == ALL
    assert build() == []
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    assert build() == ALL
    assert build() == []
    runs = [run.started for run in diamond.pipeline().history()]
    assert len(runs) == 2
    assert cli("log").count("✓ done") == 2
    stamp = dt.datetime.fromtimestamp(now() + days * 86400, dt.UTC)
    assert any(abs(run - stamp.timestamp()) < 60 for run in runs), "the clock was off indeed"


def test_24_a_product_overwritten_by_hand_is_made_anew_and_consumers_are_skipped(built, build, cli):
    built.write("out/get.txt", "by hand")
    said = cli("plan")
    assert re.search(
        r"^get +▶ run +product out/get\.txt was changed since it was built", said, re.M
    )
    assert "1 task to run, 3 maybe, 0 to skip" in said
    assert build() == ["get"]
    assert built.read("out/get.txt") == "one"


@pytest.mark.parametrize("path", ["out/get.txt", "out/get.ipynb"])
def test_24_a_deleted_product_is_made_anew(built, build, cli, path):
    (built.root / path).unlink()
    assert f"product {path} is missing" in told(cli, "get")
    assert build() == ["get"]
    assert (built.root / path).exists()


def test_24_consumers_run_when_the_bytes_differ_from_what_they_read(built, build):
    built.edit("get.py", 'constant = "one"', "import random\nconstant = str(random.random())")
    assert build() == ALL
    (built.root / "out/get.txt").unlink()
    assert build() == ALL
    assert built.read("out/fit.txt").count(built.read("out/get.txt")) == 2


def test_25_a_rerun_with_identical_bytes_stops_there(built, build, cli):
    before = files(built.root / "out")
    built.edit("get.py", 'constant = "one"', 'constant = "o" + "ne"')
    assert "may run" in told(cli, "fit")
    assert build() == ["get"]
    after = files(built.root / "out")
    assert {name for name in before if before[name] != after[name]} <= {"get.ipynb"}
    assert cli("build") == IDLE


def test_26_an_edited_module_of_the_project_makes_its_importers_stale(diamond, build, cli):
    def without_import(job):
        for cell in job.notebook["cells"]:
            cell["source"] = "".join(cell["source"]).replace("import helpers", "")
        fake_work(job)

    diamond.write("helpers.py", "import deeper\n")
    diamond.write("deeper.py", "VALUE = 'sepal'\n")
    diamond.edit("sepal.py", "constant = 'sepal'", "import helpers\nconstant = 'sepal'")
    diamond.executor = InlineExecutor(without_import)
    build()
    diamond.write("deeper.py", "VALUE = 'sepal'  # a comment\n")
    assert build() == []
    for module in ("deeper.py", "helpers.py"):
        diamond.write(module, f"{diamond.read(module)}MORE = 1\n")
        assert told(cli, "sepal").startswith(f"sepal would run\n  - module {module} changed\n")
        assert build() == ["sepal"]


def test_27_changed_params_upstreams_and_product_paths_are_told_apart(built, build, cli):
    built.tasks[0]["params"] = {"rows": 10}
    built.save()
    assert "  - param 'rows' is new (10)" in told(cli, "get")
    assert build() == ["get"]
    built.tasks[0]["params"] = {"rows": 20}
    built.save()
    assert "  - param 'rows' changed from 10 to 20" in told(cli, "get")
    assert build() == ["get"]
    built.edit("fit.py", "['sepal', 'petal']", "['sepal']")
    said = told(cli, "fit")
    assert "  - code of fit.py changed" in said
    assert "  - the list of upstreams changed" in said
    assert build() == ["fit"]
    built.tasks[3]["product"] = {"nb": "out/fit.ipynb", "data": "out/moved.txt"}
    built.save()
    said = told(cli, "fit")
    assert "  - declared products changed" in said
    assert "  - product out/moved.txt is missing" in said
    assert build() == ["fit"]
    assert built.read("out/fit.txt") == "onesepalone", "the old product stays"


def test_28_a_failed_task_blocks_its_consumers_and_runs_again(built, build, cli):
    built.edit("get.py", 'constant = "one"', 'constant = "two"; raise ValueError("no")')
    before = files(built.root / "out")
    said = cli("build", code=1)
    assert re.search(r"^get +yes .*✗ ValueError", said, re.M)
    assert len(re.findall(r"⊘ blocked: 'get' failed", said)) == 3
    assert "0 executed, 0 skipped, 1 failed, 3 blocked" in said
    assert files(built.root / "out") == before
    assert re.search(r"^get +✗ failed +the last run failed: ValueError: no", cli("status"), re.M)
    built.edit("get.py", '; raise ValueError("no")', "")
    assert build() == ALL


def test_28_a_failed_run_whose_source_is_reverted_still_runs_again(built, build, cli):
    good, notebook = built.read("get.py"), built.read("out/get.ipynb")
    built.edit("get.py", 'constant = "one"', 'raise ValueError("no")')
    cli("build", code=1)
    assert built.read("out/get.ipynb") == notebook, "the last good notebook stays"
    built.write("get.py", good)
    assert build() == ["get"]


def test_28_consumers_stay_blocked_until_it_has_succeeded(built, build, cli):
    built.edit("get.py", 'constant = "one"', 'constant = "two"; raise ValueError("no")')
    for _ in range(2):
        assert "0 executed, 0 skipped, 1 failed, 3 blocked" in cli("build", "-k", code=1)
    cli("build", "fit", code=1)
    assert built.read("out/fit.txt") == "onesepalonepetalone"


@pytest.mark.parametrize("runs", [False, True], ids=["nothing runs", "something runs"])
def test_29_a_renamed_task_is_skipped_and_leaves_no_state_behind(built, build, cli, runs):
    built.tasks[3]["name"] = "train"
    built.save()
    assert re.search(r"^train +✓ fresh", cli("status"), re.M)
    assert build() == []
    if runs:
        built.edit("get.py", 'constant = "one"', 'constant = "two"')
        assert build() == ["get", "petal", "sepal", "train"]
    records = sorted(path.name for path in (built.root / ".nbpipe" / "records").iterdir())
    assert records == ["get.json", "petal.json", "sepal.json", "train.json"]


def test_29_a_task_that_was_renamed_while_the_cache_held_leaves_no_state_behind(built, build, cli):
    time.sleep(0.05)
    assert cli("build") == cli("build") == IDLE
    built.tasks[3]["name"] = "train"
    built.save()
    assert build() == []
    records = sorted(path.name for path in (built.root / ".nbpipe" / "records").iterdir())
    assert records == ["get.json", "petal.json", "sepal.json", "train.json"]


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move], ids=["copied", "moved"])
def test_29_a_moved_or_copied_project_is_skipped(built, tmp_path_factory, cli, monkeypatch, how):
    target = tmp_path_factory.mktemp("other") / "project"
    how(built.root, target)
    monkeypatch.chdir(target)
    assert cli("build") == IDLE
    assert cli("status").count("✓ fresh") == 4
