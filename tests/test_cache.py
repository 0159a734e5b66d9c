"""The cache of "nothing to do": it holds while nothing has changed, and never a moment longer."""

from __future__ import annotations

import os
import time

import pytest

from nbpipe.loaded import unchanged
from nbpipe.store.records import RecordStore


@pytest.fixture
def settled(diamond):
    """The diamond, built and found fresh; all its files are older than any clock's tick."""
    diamond.write("helpers.py", "VALUE = 1\n")
    diamond.write("pkg/__init__.py", "")
    imports = "if 0:\n    import helpers, json, missing_library, pkg.new\n"
    diamond.edit("sepal.py", "constant = 'sepal'", f"{imports}constant = 'sepal'")
    diamond.build()
    time.sleep(0.05)
    assert diamond.build() == []
    assert unchanged(diamond.root) is not None
    return diamond


def same_answers(project) -> None:
    """With the cache and without it the same is said."""
    known, loaded = unchanged(project.root), project.pipeline()
    assert known is not None
    assert known.plan == loaded.plan()
    assert known.status().rows == loaded.status().rows


def test_it_says_what_a_plan_would_say(settled):
    same_answers(settled)


def test_deleting_it_changes_nothing(settled):
    (settled.root / ".nbpipe/cache").unlink()
    assert unchanged(settled.root) is None
    assert settled.build() == []
    same_answers(settled)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.write("pipeline.yaml", p.read("pipeline.yaml") + "\n"),
        lambda p: p.edit("fit.py", "constant", "constant "),
        lambda p: os.utime(p.root / "fit.py"),
        lambda p: p.write("helpers.py", "VALUE = 2\n"),
        lambda p: p.write("pkg/__init__.py", "x = 1\n"),
        lambda p: p.write("missing_library.py", "x = 1\n"),
        lambda p: p.write("json.py", "x = 1\n"),
        lambda p: p.write("pkg/new.py", "x = 1\n"),
        lambda p: (p.root / "out/fit.txt").unlink(),
        lambda p: (p.root / "out/fit.ipynb").write_text("{}"),
        lambda p: p.write("out/get.txt", "one"),
        lambda p: RecordStore(p.root).remove("sepal"),
        lambda p: (p.root / ".nbpipe/cache").write_bytes(b"\x00"),
        lambda p: (p.root / ".nbpipe/cache").write_bytes(b""),
    ],
    ids=[
        *("spec", "source", "touched source", "module", "package", "a new module"),
        *("a shadowing module", "a module in a package", "product gone", "notebook changed"),
        *("product rewritten", "record gone", "cache damaged", "cache empty"),
    ],
)
def test_whatever_a_plan_rests_on_voids_it(settled, change):
    change(settled)
    assert unchanged(settled.root) is None


def test_a_restored_mtime_does_not_deceive_it(settled):
    path = settled.root / "out/fit.txt"
    info = path.stat()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert unchanged(settled.root) is None
    assert settled.build() == ["fit"]


def test_a_folder_as_product_counts_with_all_that_is_in_it(project):
    project.tasks.append({"source": "split.py", "product": {"parts": "out/parts"}})
    project.write(
        "split.py",
        'from pathlib import Path\nfolder = Path(product["parts"]) / "deep"\n'
        'folder.mkdir(exist_ok=True, parents=True)\n(folder / "a.txt").write_text("a")\n',
    )
    project.save()
    project.build()
    time.sleep(0.05)
    project.build()
    assert unchanged(project.root) is not None
    (project.root / "out/parts/deep/b.txt").write_text("by hand")
    assert unchanged(project.root) is None
    assert project.build() == ["split"]


def test_nothing_is_kept_while_a_file_is_too_young_to_be_trusted(diamond):
    diamond.build()
    future = time.time() + 3600
    os.utime(diamond.root / "fit.py", (future, future))
    assert diamond.build() == []
    assert unchanged(diamond.root) is None


def test_a_moved_project_has_none(settled, tmp_path_factory):
    target = tmp_path_factory.mktemp("other") / "project"
    settled.root.rename(target)
    assert unchanged(target) is None
    settled.root = target
    time.sleep(0.05)
    assert settled.build() == []
    same_answers(settled)


def test_only_a_build_writes_it(settled):
    (settled.root / ".nbpipe/cache").unlink()
    settled.pipeline().status()
    settled.pipeline().plan()
    assert not (settled.root / ".nbpipe/cache").exists()


def test_row_29_a_renamed_task_leaves_no_state_behind_even_when_nothing_runs(settled):
    settled.tasks[3]["name"] = "train"
    settled.save()
    assert settled.build() == []
    records = sorted(p.name for p in (settled.root / ".nbpipe/records").iterdir())
    assert records == ["get.json", "petal.json", "sepal.json", "train.json"]
