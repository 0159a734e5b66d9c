"""Every file that nbpipe keeps, cut at every byte and with every 50th bit turned over.

What is read from such a file is what was written, or nothing: then no decision can be wrong. That
is shown for every damage by reading alone, and with whole builds for damages spread over the file.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbpipe import NbpipeError
from nbpipe.core.progress import Progress
from nbpipe.errors import RecordVersionError
from nbpipe.run.eventlog import read_events
from nbpipe.run.history import read_run
from nbpipe.run.lock import build_lock, holder
from nbpipe.run.lost import settle_lost_runs
from nbpipe.run.note import read_note
from nbpipe.store.overlay import read_overlay, write_overlay
from nbpipe.store.records import decode_record
from nbpipe.store.signatures import decode, read_signed
from tests.projects import Project

EVERY = 50
"""A bit in so many is turned over."""


def cuts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file cut at every byte, the empty file included."""
    for end in range(len(data)):
        yield f"cut at {end}", data[:end]


def flips(data: bytes, every: int = EVERY) -> Iterator[tuple[str, bytes]]:
    """The file with one bit turned over, for every 50th bit."""
    turned = bytearray(data)
    for bit in range(0, len(data) * 8, every):
        turned[bit // 8] ^= 1 << (bit % 8)
        yield f"bit {bit}", bytes(turned)
        turned[bit // 8] ^= 1 << (bit % 8)


def damages(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield from cuts(data)
    yield from flips(data)


def some(data: bytes, count: int) -> list[tuple[str, bytes]]:
    """So many of all damages, the same ones each time."""
    return random.Random(7).sample(list(damages(data)), count)


@pytest.fixture
def built(project: Project) -> Project:
    """get → fit, built, found fresh, with a cache, a log, a note and cell tasks."""
    project.task("get")
    project.task("fit", ["get"])
    assert project.build() == ["fit", "get"]
    time.sleep(0.05)
    assert project.build() == []
    assert (project.root / ".nbpipe" / "cache").exists()
    return project


def run_folder(project: Project) -> Path:
    return sorted((project.root / ".nbpipe" / "runs").iterdir())[0]


def each(path: Path, read: Callable[[], object], allowed: Callable[[object], bool]) -> None:
    """Read the file in every damage, and leave it as it was."""
    whole, count = path.read_bytes(), 0
    for what, data in damages(whole):
        path.write_bytes(data)
        assert allowed(read()), what
        count += 1
    path.write_bytes(whole)
    assert count > len(whole)


def test_a_damaged_record_is_read_as_it_was_or_not_at_all(built):
    """The only other answer is that a newer nbpipe wrote it: a bit of its number was turned."""
    path = built.root / ".nbpipe" / "records" / "fit.json"
    whole = path.read_bytes()
    good = decode_record(whole, "fit")
    assert good is not None
    newer = 0
    for what, data in damages(whole):
        try:
            assert decode_record(data, "fit") in (None, good), what
        except RecordVersionError:
            newer += json.loads(data)["schema"] > 1
    assert newer < 8


def test_a_damaged_cache_is_no_cache(built):
    """Else it would watch other files than those that matter, or say what is not so."""
    path = built.root / ".nbpipe" / "cache"
    spec_file = str(built.root / "pipeline.yaml")
    assert read_signed(spec_file) is not None
    whole = path.read_bytes()
    assert [what for what, data in damages(whole) if decode(data) is not None] == []
    for what, data in some(whole, 10):
        path.write_bytes(data)
        assert read_signed(spec_file) is None, what


def test_a_damaged_log_gives_events_that_can_be_followed(built):
    """Of a log that was cut, all whole lines; whatever is read can be shown."""
    path = run_folder(built) / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], lines[-1]]))
    events, whole = read_events(path), path.read_bytes()
    for what, data in cuts(whole):
        path.write_bytes(data)
        assert read_events(path) == events[: data.count(b"\n")], what
    for what, data in flips(whole):
        path.write_bytes(data)
        progress = read_run(path.parent)
        assert isinstance(progress, Progress), what
        assert progress.settled() <= len(progress.tasks), what
    path.write_bytes(whole)


def test_a_damaged_note_of_a_run_is_a_note_or_none(built):
    folder = run_folder(built)
    good = read_note(folder)
    kinds = (type(None), type(good))
    each(folder / "run.json", lambda: read_note(folder), lambda found: type(found) in kinds)


def test_a_damaged_note_of_the_holder_is_a_note_or_none(built):
    home = built.root / ".nbpipe"
    with build_lock(home, "x") as good:
        path = home / "holder.json"
        kinds = (type(None), type(good))
        each(path, lambda: holder(home), lambda found: type(found) in kinds)


def test_a_damaged_list_of_cell_tasks_is_an_error_of_ours_or_a_list(built):
    path = built.root / ".nbpipe" / "cells" / "book" / "tasks.json"
    write_overlay(path, built.pipeline().spec.tasks[:1])

    def read() -> object:
        try:
            return read_overlay(path)
        except NbpipeError as error:
            return error

    each(path, read, lambda found: isinstance(found, tuple | NbpipeError))


@pytest.mark.parametrize("name", ["records/get.json", "records/fit.json", "cache"])
def test_a_build_after_a_damage_is_right_and_runs_only_what_it_must(built, name):
    """Whatever state was lost, no task is skipped wrongly, and the products are the same."""
    path = built.root / ".nbpipe" / name
    whole = path.read_bytes()
    for what, data in some(whole, 6):
        path.write_bytes(data)
        try:
            ran = set(built.build())
        except RecordVersionError:
            path.unlink()
            ran = set(built.build())
        assert ran <= {Path(name).stem}, what
        assert built.read("out/fit.txt") == "oneone", what
        assert built.build() == [], what


@pytest.mark.parametrize("name", ["records/get.json", "cache"])
def test_an_edit_is_never_hidden_by_a_damage(built, name):
    path = built.root / ".nbpipe" / name
    for number, (what, data) in enumerate(some(path.read_bytes(), 4)):
        path.write_bytes(data)
        built.write("get.py", built.text(None, f"constant = '{number}'"))
        try:
            ran = built.build()
        except RecordVersionError:
            path.unlink()
            ran = built.build()
        assert ran == ["fit", "get"], what
        assert built.read("out/fit.txt") == f"one{number}", what
        assert path.exists()


def test_every_command_works_with_damaged_logs_and_notes(built, cli):
    folder = run_folder(built)
    for path in (folder / "events.jsonl", folder / "run.json"):
        whole = path.read_bytes()
        for what, data in some(whole, 4):
            path.write_bytes(data)
            for args in (["log"], ["log", "get"], ["log", "--run", "last"], ["status"]):
                assert "Traceback (most" not in cli(*args, code=None), what
            assert built.pipeline().attach() is None, what
            built.pipeline().status()
        path.write_bytes(whole)


def test_a_damaged_log_of_a_dead_run_does_not_stop_the_next_build(built):
    """It is closed as far as it can be told what it says."""
    folder = run_folder(built)
    path, home = folder / "events.jsonl", built.root / ".nbpipe"
    lines = path.read_bytes().splitlines(keepends=True)
    begun = b"".join(lines[:-1])
    for what, data in [*some(begun, 6), ("noise", b"\xff\x00" * 100), ("none", b"\n")]:
        path.write_bytes(data)
        settle_lost_runs(home, built.root)
        assert settle_lost_runs(home, built.root) == [], what
        assert built.build("get", force=True) == ["get"], what
