"""Digests of products: hashed only when they may have changed, and never trusted too long."""

import errno
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from nbpipe.store import products
from nbpipe.store.products import digest_product, publish


@pytest.fixture
def hashed(monkeypatch):
    """Counts how often a file's bytes are read."""
    calls = []
    original = products._digest
    monkeypatch.setattr(products, "_digest", lambda path: calls.append(path) or original(path))
    return calls


def settled(path):
    """The state of a product some seconds after it was written."""
    past = time.time_ns() - 10_000_000_123
    os.utime(path, ns=(past, past))
    state = digest_product(path)
    return msgspec.structs.replace(state, seen_ns=state.ctime_ns + 10**9)


def test_a_missing_product_has_no_state(tmp_path):
    assert digest_product(tmp_path / "x") is None
    (tmp_path / "file").touch()
    assert digest_product(tmp_path / "file" / "x") is None


def test_the_digest_is_the_sha256_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    state = digest_product(tmp_path / "x")
    assert state.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert state.size == 3


def test_an_untouched_product_is_not_read_again(tmp_path, hashed):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    known = settled(path)
    hashed.clear()
    assert digest_product(path, known) is known
    assert hashed == []


def test_a_touched_product_is_read_and_found_equal(tmp_path, hashed):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    known = settled(path)
    hashed.clear()
    os.utime(path)
    assert digest_product(path, known).digest == known.digest
    assert hashed == [path]


def test_a_change_behind_a_restored_mtime_is_noticed(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    known = settled(path)
    path.write_bytes(b"abd")
    os.utime(path, ns=(known.mtime_ns, known.mtime_ns))
    assert digest_product(path, known).digest != known.digest


def test_a_change_within_the_clocks_granularity_is_noticed(tmp_path, hashed):
    """The signature was taken right after the write: the same signature proves nothing."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    known = digest_product(path)
    racy = msgspec.structs.replace(known, seen_ns=known.ctime_ns + 1_000_000)
    hashed.clear()
    digest_product(path, racy)
    assert hashed == [path]


def test_times_in_the_future_only_cost_a_read(tmp_path, hashed):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    future = time.time_ns() + 2 * 86400 * 10**9
    os.utime(path, ns=(future, future))
    known = digest_product(path)
    hashed.clear()
    assert digest_product(path, known).digest == known.digest
    assert hashed == [path]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "sub" / "b").write_text("changed"),
        lambda folder: (folder / "c").write_text("new"),
        lambda folder: (folder / "a").unlink(),
        lambda folder: (folder / "a").rename(folder / "z"),
        lambda folder: (folder / "empty").rmdir(),
    ],
    ids=["content", "added", "removed", "renamed", "empty folder"],
)
def test_a_folder_changes_with_anything_in_it(tmp_path, change):
    folder = tmp_path / "f"
    (folder / "sub").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a").write_text("a")
    (folder / "sub" / "b").write_text("b")
    known = digest_product(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert digest_product(copy).digest == known.digest
    change(folder)
    assert digest_product(folder, known).digest != known.digest


def test_publishing_moves_a_file_over_the_old_one(tmp_path):
    made, product = tmp_path / "made", tmp_path / "out" / "nb.ipynb"
    for text in ("one", "two"):
        made.write_text(text)
        publish(made, product)
        assert product.read_text() == text
        assert not made.exists()
    assert [p.name for p in product.parent.iterdir()] == ["nb.ipynb"]


def elsewhere(monkeypatch, *, full=False):
    """The product lies on another file system, which may be full."""
    rename, copy = os.replace, shutil.copyfile

    def replace(source, target):
        if Path(source).name == "made":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    def copyfile(source, target):
        if full:
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(shutil, "copyfile", copyfile)


def test_a_product_on_another_file_system_is_published_too(tmp_path, monkeypatch):
    made, product = tmp_path / "made", tmp_path / "nb.ipynb"
    made.write_text("new")
    product.write_text("old")
    elsewhere(monkeypatch)
    publish(made, product)
    assert product.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["nb.ipynb"]
