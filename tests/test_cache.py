"""The cache of "nothing to do": it holds while nothing has changed, and never a moment longer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import types

import pytest

from nbpipe.cli.idle import answered
from nbpipe.core.plan import make_plan
from nbpipe.run.unchanged import unchanged
from nbpipe.store import signatures
from nbpipe.store.records import RecordStore


def cache(project):
    return project.root / ".nbpipe/cache"


def make_a_folder_of_a_product(project):
    path = project.root / "out/fit.txt"
    path.unlink()
    path.mkdir()


@pytest.fixture
def settled(diamond, monkeypatch):
    """The diamond, built and found fresh; all its files are older than any clock's tick."""
    monkeypatch.syspath_prepend(str(diamond.root / "later"))
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
        lambda p: cache(p).write_bytes(cache(p).read_bytes()[:-9]),
        lambda p: cache(p).write_bytes(cache(p).read_bytes().replace(b"-signatures-1", b"-s-2", 1)),
        make_a_folder_of_a_product,
        lambda p: (p.root / "later").mkdir(),
    ],
    ids=[
        *("spec", "source", "touched source", "module", "package", "a new module"),
        *("a shadowing module", "a module in a package", "product gone", "notebook changed"),
        *("product rewritten", "record gone", "cache damaged", "cache empty"),
        *("cache cut", "cache of another version", "product a folder", "PYTHONPATH"),
    ],
)
def test_whatever_a_plan_rests_on_voids_it_also_for_who_has_read_it_before(settled, change):
    before = unchanged(settled.root)
    assert unchanged(settled.root, before) is before
    change(settled)
    assert unchanged(settled.root, before) is None
    assert unchanged(settled.root) is None
    planned = settled.pipeline().plan()
    cache(settled).unlink()
    assert settled.pipeline().plan() == planned


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


def test_none_is_kept_where_a_store_may_lack_what_is_fresh_here(diamond, tmp_path):
    diamond.meta = {"store": (tmp_path / "store").as_uri()}
    diamond.save()
    diamond.build()
    time.sleep(0.05)
    assert diamond.build() == []
    assert unchanged(diamond.root) is None
    shutil.rmtree(tmp_path / "store")
    assert diamond.build() == []
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


# -- the quickest answer -----------------------------------------------------------------------


@pytest.fixture
def in_folder(settled, monkeypatch):
    monkeypatch.chdir(settled.root)
    return settled


NOTHING = "✓ nothing to do: 4 tasks up to date, 0 executed, 4 skipped\n"


def test_a_build_that_finds_nothing_to_do_is_answered_at_once(in_folder, capsys):
    for args in (
        ["build"],
        ["build", "-e", "."],
        ["build", "--entry-point", "out"],
        ["build", "-j", "2"],
    ):
        assert answered(args)
        assert capsys.readouterr().out == NOTHING


def test_whatever_else_is_asked_takes_the_long_way(in_folder, capsys):
    lines = ("", "status", "build fit", "build -f", "build --json", "build -e", "build -e no")
    for line in (*lines, "build -j 0", "build -j x", "build -j", "build -e . -e ."):
        assert not answered(line.split()), line
    assert capsys.readouterr().out == ""


def test_a_task_that_starts_a_build_is_not_answered_at_once_but_refused(in_folder, monkeypatch):
    monkeypatch.setenv("NBPIPE_TASK", "fit")
    assert not answered(["build"])


def python(*words, cwd):
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_the_process_that_answers_at_once_ends_at_once_unless_somebody_waits_for_its_end(settled):
    assert python("-m", "nbpipe", "build", cwd=settled.root) == (0, NOTHING)
    main = "import sys; sys.argv[1:] = ['build']; from nbpipe.__main__ import main; main()"
    handler = "import atexit; atexit.register(print, 'the end'); "
    assert python("-c", main, cwd=settled.root) == (0, NOTHING)
    assert python("-c", handler + main, cwd=settled.root) == (0, NOTHING + "the end\n")
    profiled = ("-m", "cProfile", "-o", "profile", "-m", "nbpipe", "build")
    assert python(*profiled, cwd=settled.root) == (0, NOTHING)
    assert (settled.root / "profile").exists()


def test_the_quick_answer_says_what_the_long_way_says(in_folder, capsys):
    from nbpipe.cli.app import run

    in_folder.edit("fit.py", "# %%\n", "# %%\n# a comment\n")
    time.sleep(0.05)
    in_folder.build()
    assert answered(["build"])
    quick = capsys.readouterr().out
    assert "fit: cosmetic edit" in quick
    assert run(["build"]) == 0
    assert capsys.readouterr().out == quick


def test_a_build_that_finds_everything_fresh_plans_once(settled, monkeypatch):
    cache(settled).unlink()
    planned = []
    monkeypatch.setattr(
        "nbpipe.loaded.make_plan", lambda *a, **k: (planned.append(1), make_plan(*a, **k))[1]
    )
    assert settled.build() == []
    assert planned == [1]
    assert cache(settled).exists()


@pytest.mark.parametrize("path", ["helpers.py", "out/fit.txt"])
def test_nothing_is_kept_when_a_file_goes_after_it_was_read(settled, monkeypatch, path):
    cache(settled).unlink()

    def plan_then_lose(*args, **options):
        plan = make_plan(*args, **options)
        (settled.root / path).unlink()
        return plan

    monkeypatch.setattr("nbpipe.loaded.make_plan", plan_then_lose)
    assert settled.build() == []
    assert not cache(settled).exists()


def test_a_file_of_signatures_comes_back_as_it_was_written():
    odd = "odd\udcff\nname"
    numbers = [1, -5, 2**62, 3, -1, -1, -1, -1]
    made = signatures.Signed("here", "said ✓", ["a", odd], numbers, 1, b"x")
    read = signatures.decode(made.encode())
    assert read is not None
    assert (read.made_by, read.said, read.trees, read.extra) == ("here", "said ✓", 1, b"x")
    assert read.paths == ["a", odd]
    assert read.numbers == numbers


def rename_out(root):
    (root / "out").rename(root / "elsewhere")


def replace_out(root):
    rename_out(root)
    (root / "out").write_text("")


def link_out(root):
    rename_out(root)
    (root / "out").symlink_to("elsewhere")


@pytest.fixture
def signed(tmp_path):
    """The signatures of a hundred files, every other of which is not there."""
    (tmp_path / "out").mkdir()
    names = [f"out/{i:02}" for i in range(100)]
    for name in names[::2]:
        (tmp_path / name).write_text("x")
    numbers = [n for name in names for n in signatures.file_signature(str(tmp_path / name))]
    place = signatures.made_by(str(tmp_path / "pipeline.yaml"))
    return signatures.Signed(place, "", names, numbers, 0, b"")


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (lambda root: None, True),
        (lambda root: (root / "out/98").write_text("y"), False),
        (lambda root: (root / "out/00").unlink(), False),
        (lambda root: (root / "out/99").write_text(""), False),
        (lambda root: (root / "out/more").write_text(""), True),
        (lambda root: os.utime(root / "out/50"), False),
        (rename_out, False),
        (replace_out, False),
        (link_out, True),
    ],
    ids=[
        *("nothing", "content", "gone", "there at last", "a file nobody asked for", "touched"),
        *("folder gone", "folder a file", "folder linked"),
    ],
)
def test_each_of_many_files_is_looked_at(signed, tmp_path, change, holds):
    change(tmp_path)
    assert signed.holds(str(tmp_path / "pipeline.yaml")) is holds


@pytest.mark.parametrize("gone", ["out/00", "out/98"])
def test_where_stat_takes_no_opened_folder_the_same_is_said(signed, tmp_path, monkeypatch, gone):
    monkeypatch.setattr(os, "supports_dir_fd", frozenset())
    assert signed.holds(str(tmp_path / "pipeline.yaml"))
    (tmp_path / gone).unlink()
    assert not signed.holds(str(tmp_path / "pipeline.yaml"))


@pytest.mark.parametrize("part", range(4))
def test_each_number_of_a_signature_counts(signed, tmp_path, part):
    signed.numbers[4 * 50 + part] += 1
    assert not signed.holds(str(tmp_path / "pipeline.yaml"))


def test_an_inode_that_fits_into_no_signature_is_compared_so_far_as_it_does(
    signed, tmp_path, monkeypatch
):
    plain = os.stat

    def far(path, **options):
        info = plain(path, **options)
        return types.SimpleNamespace(
            st_size=info.st_size,
            st_mtime_ns=info.st_mtime_ns,
            st_ctime_ns=info.st_ctime_ns,
            st_ino=info.st_ino + (1 << 63),
        )

    monkeypatch.setattr(signatures.os, "supports_dir_fd", {far})
    monkeypatch.setattr(signatures.os, "stat", far)
    assert signatures._all_hold(str(tmp_path), signed.paths, signed.numbers)
