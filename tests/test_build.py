"""What a build runs, what it skips, and what it leaves behind."""

import asyncio
import json
import os
import shutil
import threading

import pytest

from nbpipe import BuildError, InlineExecutor, SpecError, StoreError, UsageError
from nbpipe.core.model import Failure
from nbpipe.run.eventlog import read_events
from nbpipe.store.records import RecordStore
from tests.projects import fake_work

ALL = ["fit", "get", "petal", "sepal"]


def test_the_first_build_runs_everything_in_order_and_the_second_nothing(diamond):
    assert diamond.build() == ALL
    order = [job.task for job in diamond.executor.jobs]
    assert (order[0], order[-1]) == ("get", "fit")
    assert diamond.read("out/fit.txt") == "onesepalonepetalone"
    assert diamond.build() == []


def test_status_tells_what_a_build_would_do_and_changes_nothing(diamond):
    def files():
        return {p: p.stat().st_mtime_ns for p in diamond.root.rglob("*") if p.is_file()}

    before = files()
    assert set(diamond.pipeline().status().states.values()) == {"new"}
    assert files() == before
    diamond.build()
    before = files()
    assert set(diamond.pipeline().status().states.values()) == {"fresh"}
    diamond.pipeline().plan()
    diamond.pipeline().why("fit")
    assert files() == before


def test_a_rerun_with_other_bytes_runs_its_consumers_as_far_as_they_change(diamond):
    diamond.build()
    diamond.edit("sepal.py", "constant = 'sepal'", "constant = 'SEPAL'")
    assert diamond.build() == ["fit", "sepal"]
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    assert diamond.build() == ALL


def test_force_runs_everything_that_is_looked_at(diamond):
    diamond.build()
    assert diamond.build(force=True) == ALL
    assert diamond.build("sepal", force=True) == ["get", "sepal"]
    assert diamond.build("sepal", force=True, upstream=False) == ["sepal"]


@pytest.mark.parametrize(
    ("names", "options", "ran"),
    [
        (["sepal"], {}, ["get", "sepal"]),
        (["*al"], {}, ["get", "petal", "sepal"]),
        ([], {"upstream_of": "fit"}, ["get", "petal", "sepal"]),
        (["get"], {"upstream": False}, ["get"]),
    ],
)
def test_a_part_of_the_pipeline_can_be_built(diamond, names, options, ran):
    assert diamond.build(*names, **options) == ran


def test_a_task_whose_upstream_was_never_built_fails_with_a_hint_when_run_alone(diamond):
    report = diamond.report("sepal", upstream=False)
    failure = report.tasks["sepal"].failure
    assert report.exit_code == 1
    assert "upstream 'get' has not been built" in failure.message
    assert "nbpipe build" in failure.message


def test_a_consumer_run_on_products_made_by_hand_records_what_it_read(diamond):
    diamond.build()
    diamond.write("out/get.txt", "by hand")
    assert diamond.build("sepal", upstream=False) == ["sepal"]
    assert diamond.read("out/sepal.txt") == "sepalby hand"
    assert diamond.build() == ["get", "sepal"]


def test_a_product_that_was_not_written_is_a_failure_that_names_it(diamond):
    diamond.edit("get.py", 'Path(product["data"]).write_text', "str")
    failure = diamond.report("get").tasks["get"].failure
    assert failure.error == "ProductMissing"
    assert "out/get.txt" in failure.message
    assert "product[" in failure.hint


def test_a_product_left_from_an_earlier_run_is_told(diamond):
    diamond.build()
    diamond.edit("get.py", 'Path(product["data"]).write_text', "str")
    report = diamond.report("get")
    assert any("out/get.txt was not written by this run" in w for w in report.warnings)


def test_a_source_edited_while_it_runs_stays_stale(diamond):
    def edited_meanwhile(job):
        fake_work(job)
        if job.task == "get" and "two" not in diamond.read("get.py"):
            diamond.edit("get.py", 'constant = "one"', 'constant = "two"')

    diamond.executor = InlineExecutor(edited_meanwhile)
    report = diamond.report()
    assert any("edited while it ran" in w for w in report.warnings)
    assert diamond.pipeline().status()["get"].state == "stale"
    assert diamond.build() == ALL
    assert diamond.build() == []


def test_an_upstream_product_edited_while_its_consumer_runs_leaves_it_stale(diamond):
    def tampering(job):
        if job.task == "sepal" and job.attempt == 1:
            diamond.write("out/get.txt", "tampered")
        fake_work(job)

    diamond.build("get")
    diamond.executor = InlineExecutor(tampering)
    diamond.report("sepal")
    diamond.executor = InlineExecutor(fake_work)
    assert diamond.build() == ALL
    assert diamond.read("out/sepal.txt") == "sepalone"


def test_tasks_run_side_by_side_but_no_more_than_jobs(project):
    running, most = 0, 0

    async def slow(job):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1

    for i in range(6):
        project.tasks.append({"source": f"t{i}.py"})
        project.write(f"t{i}.py", "x = 1\n")
    project.save()
    project.executor = InlineExecutor(slow)
    project.build(jobs=3)
    assert most == 3


def test_with_one_job_the_next_task_runs_while_the_record_of_the_one_before_is_written(
    project, monkeypatch
):
    """The record is held up until the next one runs: otherwise neither would ever go on."""
    has_begun, waited, save = threading.Event(), [], RecordStore.save

    def hold(store, record):
        if (record.task, record.state) == ("a", "done"):
            waited.append(has_begun.wait(30))
        save(store, record)

    def begin(job):
        has_begun.set()
        fake_work(job)

    monkeypatch.setattr(RecordStore, "save", hold)
    project.task("a")
    project.task("b")
    project.executor = InlineExecutor({"a": fake_work, "b": begin})
    assert project.build(jobs=1) == ["a", "b"]
    assert waited == [True]


def test_with_one_job_a_task_that_lacks_a_product_is_tried_again_after_the_next(project):
    """What it should have written is looked for when its place is given back."""
    project.task("a", retries=1)
    project.task("b")
    at_once, most, tries = 0, 0, []

    async def count(job):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        tries.append(job.task)
        if tries != ["a"]:
            fake_work(job)
        at_once -= 1

    project.executor = InlineExecutor(count)
    assert project.build(jobs=1) == ["a", "b"]
    assert (tries, most) == (["a", "b", "a"], 1)


def test_the_order_of_tasks_and_the_number_of_jobs_do_not_matter(diamond, tmp_path_factory):
    diamond.build(jobs=1)
    one = {p.name: p.read_bytes() for p in (diamond.root / "out").glob("*.txt")}
    diamond.tasks.reverse()
    diamond.save()
    assert diamond.build() == []
    shutil.rmtree(diamond.root / "out")
    diamond.build(jobs=4)
    assert {p.name: p.read_bytes() for p in (diamond.root / "out").glob("*.txt")} == one


def test_wildcard_upstreams_are_grouped_under_their_pattern(project):
    for name in ("train-0", "train-1"):
        project.task(name)
    project.task("best", ["train-*"], "seen = [u['data'] for u in upstream['train-*'].values()]")
    project.edit("best.py", "(upstream or {}).values()", "()")
    project.build()
    assert project.executor.jobs[-1].upstream == {
        "train-*": {
            "train-0": {"nb": "out/train-0.ipynb", "data": "out/train-0.txt"},
            "train-1": {"nb": "out/train-1.ipynb", "data": "out/train-1.txt"},
        }
    }


def test_a_task_may_have_no_product_at_all(project):
    project.tasks.append({"source": "note.py"})
    project.write("note.py", "x = 1\n")
    project.save()
    assert project.build() == ["note"]
    assert project.build() == []
    project.write("note.py", "x = 2\n")
    assert project.build() == ["note"]


def test_folders_are_products_too(project):
    project.tasks.append({"source": "split.py", "product": {"parts": "out/parts"}})
    project.write(
        "split.py",
        'from pathlib import Path\nfolder = Path(product["parts"])\nfolder.mkdir(exist_ok=True)\n'
        '(folder / "a.txt").write_text("a")\n',
    )
    project.save()
    assert project.build() == ["split"]
    assert project.build() == []
    (project.root / "out/parts/b.txt").write_text("by hand")
    assert project.build() == ["split"]


def test_a_record_that_cannot_be_written_ends_the_build_with_4(diamond, monkeypatch):
    from nbpipe.store.records import RecordStore

    original = RecordStore.save

    def full(self, record):
        if record.task == "sepal":
            raise StoreError("no space")
        original(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "save", full)
        with pytest.raises(StoreError, match="no space"):
            diamond.report()
    assert set(diamond.build()) - {"petal"} == {"fit", "sepal"}


def test_a_build_inside_a_build_is_refused(diamond, monkeypatch):
    monkeypatch.setenv("NBPIPE_TASK", "get")
    with pytest.raises(UsageError, match="nested build"):
        diamond.report()


def test_an_unknown_task_is_refused_with_the_nearest_name(diamond):
    with pytest.raises(UsageError, match="did you mean 'sepal'"):
        diamond.report("sepl")


def test_all_wrong_sources_are_told_at_once(diamond):
    for name in ("sepal", "petal"):
        diamond.edit(f"{name}.py", "['get']", "[load()]")
    with pytest.raises(SpecError) as error:
        diamond.pipeline()
    assert [p.file for p in error.value.problems] == ["sepal.py", "petal.py"]


def test_every_event_is_kept_in_order_and_reaches_the_listener(diamond):
    events = []
    report = diamond.report(jobs=1, on_event=events.append)
    log = diamond.root / ".nbpipe" / "runs" / report.run / "events.jsonl"
    assert read_events(log) == events
    names = [type(e).__name__ for e in events if getattr(e, "task", "get") == "get"]
    assert names == ["RunStarted", "TaskQueued", "TaskStarted", "TaskDone", "RunFinished"]
    note = json.loads((log.parent / "run.json").read_text())
    assert (note["pid"], note["run"]) == (os.getpid(), report.run)


def test_a_listener_that_raises_does_not_break_the_build(diamond):
    def broken(event):
        raise RuntimeError("a broken view")

    assert diamond.report(on_event=broken).ok


def test_an_executor_that_raises_is_a_failure_and_not_a_crash(diamond):
    diamond.executor = InlineExecutor({})
    failure = diamond.report("get").tasks["get"].failure
    assert isinstance(failure, Failure)
    assert "nothing stands for the task" in failure.message


def test_a_build_works_where_an_event_loop_runs(diamond):
    async def in_a_notebook():
        return diamond.build()

    assert asyncio.run(in_a_notebook()) == ALL


def test_history_keeps_runs_and_durations(diamond):
    first = diamond.report()
    diamond.edit("fit.py", 'constant = "one"', 'constant = "two"')
    second = diamond.report()
    pipeline = diamond.pipeline()
    assert [run.run for run in pipeline.history()] == [first.run, second.run]
    assert [run.run for run in pipeline.task_history("fit")] == [first.run, second.run]
    assert [run.run for run in pipeline.task_history("get")] == [first.run]
    assert set(pipeline.plan().expected) == set(ALL)


def test_a_report_raises_what_came_of_the_build(diamond):
    diamond.edit("sepal.py", "constant = 'sepal'", "raise ValueError('no')")
    with pytest.raises(BuildError, match="tasks failed: sepal"):
        diamond.report().raise_for_failure()
    diamond.edit("sepal.py", "raise ValueError('no')", "")
    report = diamond.report()
    assert report.raise_for_failure() is report


def test_wildcards_that_the_spec_declares_raise_no_doubt_about_the_source(project):
    project.meta = {"extract_upstream": False}
    project.task("train-0")
    project.task("best")
    project.tasks[1]["upstream"] = ["train-*"]
    project.save()
    project.edit("best.py", "(upstream or {})", "upstream['train-*']")
    assert project.pipeline().warnings == ()
    assert project.build() == ["best", "train-0"]


def test_clean_takes_what_is_ours_and_keeps_what_was_changed_by_hand(diamond):
    diamond.build()
    diamond.write("out/get.txt", "by hand")
    diamond.write("out/mine.txt", "mine")
    pipeline = diamond.pipeline()
    assert pipeline.remove(pipeline.removable()) == 1
    assert not (diamond.root / ".nbpipe" / "runs").exists()
    pipeline.remove(pipeline.removable(products=True))
    assert sorted(p.name for p in (diamond.root / "out").iterdir()) == ["get.txt", "mine.txt"]
    assert diamond.build() == ALL
