"""Results shared through a store: a folder, or memory; a fake stands for the kernels."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from nbpipe.cli import idle
from nbpipe.cli.app import run
from nbpipe.core.model import Inputs, Meta
from nbpipe.errors import StoreError, UsageError
from nbpipe.run.sharing import choose_store
from nbpipe.store import remote as remotes
from nbpipe.store.products import digest_product
from nbpipe.store.remote import Patient, open_remote, shown_url
from nbpipe.store.remote_folder import FolderRemote
from nbpipe.store.remote_fsspec import FsspecRemote
from nbpipe.store.shared import SharedStore, record_key
from tests.projects import Project
from tests.stores import object_of, products


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Tries follow each other at once."""
    monkeypatch.setattr(remotes, "pause_before", lambda attempt: 0.0)
    monkeypatch.delenv("NBPIPE_STORE", raising=False)


# -- a place ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["{}", "file://{}", "memory://{}"])
def test_a_place_keeps_objects_under_their_keys(kind, tmp_path):
    place = open_remote(kind.format(tmp_path / "place"), tmp_path)
    target, source = tmp_path / "target", tmp_path / "source"
    source.write_bytes(b"new")
    assert place.size("a/b") is None
    assert place.read("a/b") is None
    assert not place.fetch("a/b", target)
    place.put("a/b", b"older")
    place.put("a/b", source)
    assert (place.size("a/b"), place.read("a/b")) == (3, b"new")
    assert place.fetch("a/b", target)
    assert target.read_bytes() == b"new"


class Breaking:
    """A place whose operations fail at first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def size(self, key: str) -> int | None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7

    def put(self, key: str, source: object) -> None:
        self.calls += 1


def test_an_operation_is_tried_again_after_longer_and_longer_pauses(monkeypatch):
    monkeypatch.setattr(remotes, "pause_before", lambda attempt: float(2**attempt))
    pauses: list[float] = []
    place = Breaking(ConnectionError("reset"), TimeoutError("slow"))
    assert Patient(place, "s3://b", sleep=pauses.append).size("key") == 7
    assert pauses == [2.0, 4.0]


def test_the_last_try_is_told_with_address_operation_key_and_cause():
    place = Patient(Breaking(*[ConnectionError("reset")] * 9), "s3://b", tries=3)
    with pytest.raises(StoreError) as caught:
        place.size("some/key")
    assert caught.value.message == "s3://b: cannot look at some/key: reset (tried 3 times)"
    assert caught.value.exit_code == 4


def test_what_another_try_does_not_mend_is_tried_once():
    for error in (PermissionError("Forbidden"), OSError(28, "No space left"), ValueError("bucket")):
        place = Breaking(error)
        with pytest.raises(StoreError):
            Patient(place, "s3://b").size("key")
        assert place.calls == 1


def test_a_write_that_leaves_less_than_was_written_is_tried_again():
    place = Breaking()
    with pytest.raises(StoreError, match="4 bytes were written, and 7 are there"):
        Patient(place, "s3://b", tries=2).put("key", b"1234")
    assert place.calls == 4


def test_a_write_that_breaks_leaves_the_old_object_and_nothing_else(tmp_path, monkeypatch):
    place = open_remote(str(tmp_path / "place"), tmp_path)
    place.put("a/b", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        place.put("a/b", b"newer")
    assert [path.name for path in (tmp_path / "place" / "a").iterdir()] == ["b"]
    assert place.read("a/b") == b"old"


def test_an_operation_that_does_not_end_is_given_up():
    import fsspec
    from fsspec.asyn import AsyncFileSystem

    class Hanging(AsyncFileSystem):
        protocol = "hanging"
        begun = 0

        async def _info(self, path, **options):
            Hanging.begun += 1
            await asyncio.sleep(60)

    fsspec.register_implementation("hanging", Hanging, clobber=True)
    place = Patient(FsspecRemote("hanging://place", reply=0.05), "hanging://place", tries=2)
    with pytest.raises(StoreError, match=r"no answer in time \(tried 2 times\)"):
        place.size("key")
    assert Hanging.begun == 2


def test_a_password_in_an_address_is_not_shown():
    assert shown_url("ftp://me:secret@host/folder") == "ftp://host/folder"
    assert shown_url("s3://bucket/a@b") == "s3://bucket/a@b"


def test_an_address_of_no_known_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no store at gopher://"):
        open_remote("gopher://host/x", tmp_path)


def test_a_missing_library_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UsageError) as caught:
        open_remote("gs://bucket/x", tmp_path)
    assert caught.value.hint == "install nbpipe-kit[gcs]"


def test_the_option_goes_before_the_environment_and_that_before_the_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    meta = Meta(store="shared")
    assert choose_store(None, {}, meta) == "shared"
    assert choose_store(None, {"NBPIPE_STORE": "s3://b"}, meta) == "s3://b"
    assert choose_store("here", {"NBPIPE_STORE": "s3://b"}, meta) == str(tmp_path / "here")
    assert choose_store("", {"NBPIPE_STORE": "s3://b"}, meta) is None
    assert choose_store(None, {"NBPIPE_STORE": ""}, meta) is None
    assert choose_store(None, {}, Meta()) is None


# -- records and products --------------------------------------------------------------------


def test_a_record_is_found_by_all_that_went_into_it_but_not_by_cosmetics():
    inputs = Inputs(source="a.py", text="t", code="c", params={"a": 1, "b": 2}, upstream={"x": "1"})
    change = msgspec.structs.replace
    key = record_key(inputs)
    assert record_key(change(inputs, text="other")) == key
    assert record_key(change(inputs, params={"b": 2, "a": 1})) == key
    others = [
        change(inputs, code="d"),
        change(inputs, params={"a": 1, "b": 3}),
        change(inputs, upstream={"x": "2"}),
        change(inputs, modules={"m.py": "1"}),
        change(inputs, product="p.txt"),
        change(inputs, kernel="ir"),
    ]
    assert len({key, *map(record_key, others)}) == 7


def test_inputs_that_nobody_knows_have_no_key():
    inputs = Inputs(source="a.py", text="t", code="c")
    assert record_key(msgspec.structs.replace(inputs, upstream={"x": None})) is None
    assert record_key(msgspec.structs.replace(inputs, modules={"m.py": None})) is None


@pytest.fixture
def folder_project(project: Project) -> Project:
    """One task, whose product is a folder with files, a folder in it, and an empty one."""
    code = """
        from pathlib import Path
        for name in ("a.txt", "deep/er/b.txt", "deep/same.txt"):
            path = Path(product["folder"], name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name[0])
        Path(product["folder"], "empty").mkdir(exist_ok=True)
    """
    product = {"nb": "out/all.ipynb", "data": "out/all.txt", "folder": "out/all"}
    project.task("all", None, code, product=product)
    return project


def test_a_folder_goes_through_the_store_with_all_that_is_in_it(folder_project, url):
    folder_project.build(store=url)
    before = digest_product(folder_project.root / "out/all")
    shutil.rmtree(folder_project.root / "out/all")
    (folder_project.root / "out/all").mkdir()
    (folder_project.root / "out/all/stray.txt").write_text("not of the task")
    assert folder_project.build(store=url) == []
    assert digest_product(folder_project.root / "out/all").digest == before.digest
    assert (folder_project.root / "out/all/empty").is_dir()
    assert sorted(p.name for p in (folder_project.root / "out").iterdir()) == [
        "all",
        "all.ipynb",
        "all.txt",
    ]


def test_a_folder_whose_list_leads_out_of_it_is_refused(folder_project, url):
    folder_project.build(store=url)
    listing = b"../../evil.txt\0" + b"0" * 64 + b"\0"
    digest = hashlib.sha256(listing).hexdigest()
    place = Path(url) / "trees" / digest[:2] / digest
    place.parent.mkdir(parents=True)
    place.write_bytes(listing)
    record = folder_project.pipeline().record("all")
    state = msgspec.structs.replace(record.good.products["out/all"], digest=digest)
    good = msgspec.structs.replace(record.good, products={"out/all": state})
    with pytest.raises(StoreError, match="refused"):
        SharedStore(url, folder_project.root).bring(msgspec.structs.replace(record, good=good))


def test_a_product_that_was_changed_since_it_was_built_is_not_shared(diamond, url):
    diamond.build()
    diamond.write("out/get.txt", "by hand")
    with pytest.raises(StoreError, match=r"out/get.txt was changed since it was built"):
        SharedStore(url, diamond.root).publish(diamond.pipeline().record("get"))
    assert not Path(url, "records").exists()


def test_a_record_is_not_there_before_all_that_it_names(diamond, url, monkeypatch):
    good = FolderRemote.put

    def put(self, key, source):
        if key.startswith("objects/") and source.suffix == ".txt":
            raise PermissionError(13, "Permission denied")
        good(self, key, source)

    monkeypatch.setattr(FolderRemote, "put", put)
    with pytest.raises(StoreError, match="Permission denied"):
        diamond.report("get", store=url)
    assert not any(Path(url, folder).exists() for folder in ("records", "latest"))


def test_a_damaged_record_counts_as_absent_and_is_replaced(diamond, checkout, url):
    diamond.build(store=url)
    for path in Path(url, "records").rglob("*.json"):
        path.write_text(path.read_text()[:-40])
    assert checkout().build(store=url) == ["fit", "get", "petal", "sepal"]
    assert checkout().build(store=url) == []


def test_a_record_by_a_newer_version_is_refused_and_left_as_it_is(diamond, checkout, url):
    diamond.build(store=url)
    (path,) = [p for p in Path(url, "records").rglob("*.json") if '"task":"get"' in p.read_text()]
    path.write_text(path.read_text().replace('{"schema":1', '{"schema":99', 1))
    with pytest.raises(StoreError, match="newer nbpipe"):
        checkout().report(store=url)
    assert '"schema":99' in path.read_text()


def test_a_record_whose_object_is_gone_does_not_count(diamond, checkout, url):
    diamond.build(store=url)
    object_of(diamond, "out/sepal.txt", url).unlink()
    assert checkout().build(store=url) == ["sepal"]
    assert object_of(diamond, "out/sepal.txt", url).exists()


def test_a_record_that_names_another_path_than_the_tasks_is_not_taken(diamond, url):
    diamond.build(store=url)
    record = diamond.pipeline().record("get")
    task = diamond.pipeline().graph.task("get")
    shared = SharedStore(url, diamond.root)
    assert shared.find(task, record.good.inputs) is not None
    states = {**record.good.products, "../outside.txt": record.good.products["out/get.txt"]}
    good = msgspec.structs.replace(record.good, products=states)
    diamond.write("../outside.txt", diamond.read("out/get.txt"))
    shared.publish(msgspec.structs.replace(record, good=good))
    assert shared.find(task, record.good.inputs) is None


# -- a build with a store ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["{}", "memory://{}"])
def test_a_build_elsewhere_takes_what_is_there_instead_of_running_it(diamond, checkout, url, kind):
    store = kind.format(url)
    diamond.build(store=store)
    other = checkout()
    report = other.report(store=store)
    assert set(report.named("skipped")) == {"get", "sepal", "petal", "fit"}
    assert report.tasks["fit"].reasons == (f"taken from {store}",)
    assert other.executor.jobs == []
    assert products(other) == products(diamond)
    assert other.build() == []


def test_only_what_differs_runs_and_what_is_below_it_again(diamond, checkout, url):
    diamond.build(store=url)
    other = checkout()
    other.edit("sepal.py", "constant = 'sepal'", "constant = 'other'")
    assert other.build(store=url) == ["fit", "sepal"]


def test_two_branches_never_take_each_others_results_and_keep_their_own(diamond, checkout, url):
    diamond.build(store=url)
    branch = checkout()
    branch.edit("get.py", 'constant = "one"', 'constant = "two"')
    assert branch.build(store=url) == ["fit", "get", "petal", "sepal"]
    again, branch_again = checkout(), checkout()
    branch_again.write("get.py", branch.read("get.py"))
    assert again.build(store=url) == []
    assert branch_again.build(store=url) == []
    assert (products(again), products(branch_again)) == (products(diamond), products(branch))
    assert products(diamond) != products(branch)


def test_a_renamed_task_is_taken_too(diamond, checkout, url):
    diamond.build(store=url)
    other = checkout()
    other.tasks = [
        {**entry, "name": "model"} if entry["source"] == "fit.py" else entry
        for entry in other.tasks
    ]
    other.save()
    assert other.build(store=url) == []


def test_what_is_fresh_already_is_put_into_a_store_that_lacks_it(diamond, checkout, url):
    diamond.build()
    assert diamond.build(store=url) == []
    assert checkout().build(store=url) == []


def test_the_spec_and_the_environment_can_name_the_store(diamond, checkout, url, monkeypatch):
    diamond.meta = {"store": f"../{Path(url).name}"}
    diamond.save()
    diamond.build()
    other = checkout()
    assert other.build(store="") == ["fit", "get", "petal", "sepal"]
    monkeypatch.setenv("NBPIPE_STORE", url)
    shutil.rmtree(other.root / ".nbpipe")
    shutil.rmtree(other.root / "out")
    assert other.build() == []


def test_a_forced_build_runs_and_puts_every_object_there_anew(diamond, url):
    diamond.build(store=url)
    damaged = object_of(diamond, "out/get.txt", url)
    good = damaged.read_bytes()
    damaged.write_bytes(b"x" * len(good))
    assert diamond.build(store=url) == []
    assert diamond.build("get", force=True, store=url) == ["get"]
    assert damaged.read_bytes() == good


def test_a_corrupted_object_ends_the_build_and_never_becomes_a_product(diamond, checkout, url):
    diamond.build(store=url)
    damaged = object_of(diamond, "out/get.txt", url)
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    other = checkout()
    with pytest.raises(StoreError, match=r"its bytes are not those of out/get\.txt") as caught:
        other.report(store=url)
    assert caught.value.exit_code == 4
    assert "--force" in caught.value.hint
    assert not (other.root / "out/get.txt").exists()
    assert not list(other.root.rglob(".nbpipe-*"))


def test_a_store_that_cannot_be_written_ends_the_build(diamond, url):
    Path(url).write_text("a file where a folder belongs")
    with pytest.raises(StoreError, match="cannot write"):
        diamond.report(store=url)
    Path(url).unlink()
    assert "get" not in diamond.build(store=url)
    assert object_of(diamond, "out/get.txt", url).exists()


def test_a_store_in_the_environment_is_looked_at_though_nothing_has_changed(
    diamond, url, monkeypatch
):
    diamond.build()
    words = ["build", "-e", str(diamond.root)]
    monkeypatch.setenv("NBPIPE_STORE", url)
    assert not idle.answered(words)
    assert run(words) == 0
    assert object_of(diamond, "out/get.txt", url).exists()


def test_a_background_build_is_told_of_the_store(diamond, url, monkeypatch):
    asked = []
    monkeypatch.setattr("nbpipe.run.launch.launch", lambda request, *_: asked.append(request))
    diamond.pipeline().start(store=url)
    assert asked[0].store == url


def test_a_build_without_a_store_imports_nothing_of_it(diamond, monkeypatch):
    for name in ("fsspec", "nbpipe.store.remote_fsspec", "nbpipe.store.remote_folder"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(diamond.build()) == 4
    assert diamond.build() == []
