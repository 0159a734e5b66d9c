"""One JSON record a task: crash-safe, checksummed, damaged ones set aside."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpipe.core.model import Declared, FileState, Good, Inputs, Record
from nbpipe.errors import RecordVersionError, StoreError
from nbpipe.store.records import RecordStore, file_stem


def record(task="get", **changes) -> Record:
    good = Good(
        inputs=Inputs(source="get.py", text="t", code="c", params={"a": [1, None, "é"]}),
        products={
            "out/get.csv": FileState(
                digest="d", size=3, mtime_ns=2**62, ctime_ns=5, inode=2**63, seen_ns=7
            )
        },
        output="o",
        text="x = 1\n",
        declared=Declared(upstream=("a", "b")),
        started=1.5,
        seconds=0.25,
        run="20261123-184802-9f3c",
    )
    return Record(
        **{"task": task, "state": "done", "run": "r", "started": 1.0, "good": good, **changes}
    )


@pytest.fixture
def store(tmp_path):
    store = RecordStore(tmp_path)
    store.prepare()
    return store


def test_a_record_comes_back_as_it_was_saved(store):
    store.save(record())
    assert store.load("get") == record()


def test_a_task_without_a_record_has_none(store):
    assert store.load("get") is None


def test_our_folder_keeps_itself_out_of_version_control(store):
    assert (store.home / ".gitignore").read_text().splitlines()[-1] == "*"


@pytest.mark.parametrize(
    "name",
    ["a b", "naïve", "📈", "it's", 'q"q', "a;b", "$(rm)", ".hidden", "..", "x" * 200, "é" * 90],
)
def test_odd_names_have_files_of_their_own(store, name):
    store.save(record(name))
    assert store.load(name) == record(name)
    assert [p.parent for p in store.home.rglob("*.json")] == [store.folder]


@given(st.lists(st.text(min_size=1, max_size=60), unique=True, min_size=2, max_size=20))
def test_two_names_never_share_a_file_and_none_leaves_the_folder(names):
    names = [n for n in names if n.isprintable()]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == len(names)
    assert all("/" not in stem and not stem.startswith(".") and len(stem) < 200 for stem in stems)


def test_a_record_cut_at_any_byte_counts_as_absent(store):
    store.save(record())
    path = store.path("get")
    data = path.read_bytes()
    for end in range(len(data) - 1):
        path.write_bytes(data[:end])
        assert store.load("get") is None, end


def test_a_flipped_bit_is_noticed_wherever_it_is(store):
    """A flip may leave the same meaning (in white space), but never another record."""
    store.save(record())
    path = store.path("get")
    data = bytearray(path.read_bytes())
    for bit in range(0, len(data) * 8, 7):
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        try:
            assert store.load("get") in (None, record()), bit
        except RecordVersionError:
            assert b'"schema":1,' not in data
        data[bit // 8] ^= 1 << (bit % 8)


def test_a_damaged_record_is_moved_aside_with_one_warning(store):
    store.save(record("good"))
    store.path("get").write_text("{")
    (warning,) = store.set_damaged_aside()
    assert "get.json" in warning
    assert (store.folder / "damaged" / "get.json").read_text() == "{"
    assert store.load("good") == record("good")
    assert store.set_damaged_aside() == []


def test_records_of_no_task_are_found(store):
    for name in ("get", "gone"):
        store.save(record(name))
    assert list(store.others(["get"])) == ["gone"]


def test_a_full_disk_leaves_the_old_record_and_no_temporary_file(store, monkeypatch):
    store.save(record())

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            store.save(record(state="failed"))
    assert store.load("get") == record()
    assert [p.name for p in store.folder.iterdir()] == ["get.json"]
    store.save(record(state="failed"))
    assert store.load("get").state == "failed"
