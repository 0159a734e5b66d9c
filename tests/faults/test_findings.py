"""What the state machine, the faults at system calls and the fuzzing have found, as examples."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from nbpipe.core.syntax import parse_python
from nbpipe.errors import SpecError
from nbpipe.run import lock
from nbpipe.run.note import read_note
from nbpipe.store.leftovers import drop_temporaries
from nbpipe.store.records import RecordStore
from nbpipe.store.sources import parse_source

TEXT = "\n".join(f"def f{i}(a, b=[1, 2]):\n    return {{a: b, 'x': (1, [i])}}" for i in range(40))


def test_sources_can_be_parsed_in_several_threads():
    """CPython 3.11.7 fails when one thread parses while another one does (cpython#106905)."""
    errors: list[BaseException] = []

    def give_way(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    def parse() -> None:
        try:
            for _ in range(20):
                parse_python(TEXT)
        except BaseException as error:
            errors.append(error)

    before = gc.get_threshold()
    gc.callbacks.append(give_way)
    gc.set_threshold(50)
    try:
        threads = [threading.Thread(target=parse) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.callbacks.remove(give_way)
        gc.set_threshold(*before)
    assert not errors


def test_a_forced_run_after_a_cosmetic_edit_changes_nothing_below_a_bare_notebook(project):
    """What stands for a task without data is its code, not the text of its script."""
    project.task("get")
    project.tasks[0]["product"] = "out/get.ipynb"
    project.edit("get.py", 'Path(product["data"])', 'Path("other.txt")')
    project.task("fit")
    project.edit("fit.py", "upstream = None", "upstream = ['get']")
    project.edit("fit.py", 'Path(up["data"]).read_text()', "'x'")
    project.save()
    assert project.build() == ["fit", "get"]
    project.edit("get.py", 'constant = "one"', 'constant = "one"  # a comment')
    assert project.build("get", force=True) == ["get"]
    assert project.build() == []


def test_the_temporary_files_of_a_killed_build_are_removed(project):
    project.task("get")
    project.build()
    places = [".nbpipe", ".nbpipe/records", "out"]
    for place in places:
        (project.root / place / ".nbpipe-abc.tmp").touch()
        (project.root / place / "mine.tmp").touch()
    drop_temporaries(RecordStore(project.root), ["out/get.txt"])
    left = sorted(path.name for path in project.root.rglob("*.tmp"))
    assert left == ["mine.tmp"] * 3


def test_a_note_that_is_not_text_counts_as_absent(tmp_path):
    (tmp_path / "holder.json").write_bytes(b'{"pid":1,"host":"\x80","started":1.0,"run":"r"}')
    assert lock.holder(tmp_path) is None
    (tmp_path / "run.json").write_bytes(b'{"pid":1,"host":"\x80","started":1.0,"run":"r"}')
    assert read_note(tmp_path) is None


def test_the_note_of_another_host_counts_while_the_lock_is_held(tmp_path):
    with lock.build_lock(tmp_path, "run"):
        note = (tmp_path / "holder.json").read_text()
        other = note.replace(lock.holder(tmp_path).host, "alpha")
        (tmp_path / "holder.json").write_text(other)
        assert lock.holder(tmp_path).host == "alpha"
    (tmp_path / "holder.json").write_text(other)
    assert lock.holder(tmp_path) is None, "its host has died"


def test_a_control_character_in_a_tag_is_told_with_its_line():
    text = '# %% tags=["\x00parameters"]\nupstream = ["a"]\nproduct = None\n'
    with pytest.raises(SpecError, match=r"a\.py:1: the cell's tags cannot be read"):
        parse_source(text, "a.py")
