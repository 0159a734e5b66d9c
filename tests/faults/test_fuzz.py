"""The readers on whatever a disk, an editor or a stranger may hand them: only our own errors.

CI tries the same inputs every time; ``make fuzz`` tries others, as many as are asked for.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbpipe.errors import RecordVersionError, SpecError
from nbpipe.run.eventlog import read_events
from nbpipe.run.lock import holder
from nbpipe.run.note import read_note
from nbpipe.run.unchanged import unchanged
from nbpipe.store.records import RecordStore
from nbpipe.store.sources import declared, parse_source, to_notebook
from nbpipe.store.specfile import parse_spec

EXAMPLES = int(os.environ.get("NBPIPE_FUZZ_EXAMPLES", "0"))
"""So many inputs for each reader, at random; 0: those of CI."""

DEADLINE = 5000
"""Milliseconds for one input: no reader may hang."""

MEMORY = 400 << 20
"""Bytes by which the largest size of this process may grow while one reader is tried."""


def fuzz(function: Callable[..., None]) -> Callable[..., None]:
    """Settings of every test here."""
    chosen = settings(
        max_examples=EXAMPLES or 40,
        derandomize=not EXAMPLES,
        deadline=DEADLINE,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    return chosen(function)


@pytest.fixture(autouse=True)
def _bounded_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MEMORY, f"memory grew by {grown >> 10} MB"


def mutations(valid: list[bytes]) -> st.SearchStrategy[bytes]:
    """Valid files, cut, spliced, repeated, and with bytes of other kinds in them."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(valid))
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(data)))
            end = draw(st.integers(at, min(len(data), at + 40)))
            other = draw(st.sampled_from(valid))
            start = draw(st.integers(0, len(other)))
            piece = draw(
                st.one_of(
                    st.just(b""),
                    st.binary(max_size=8),
                    st.just(other[start : start + 30]),
                    st.sampled_from(TOKENS),
                    st.sampled_from(TOKENS).map(lambda token: token * 2000),
                )
            )
            data = data[:at] + piece + data[end:]
        return data

    return mutate()


TOKENS = [
    *(b"{", b"[", b"]", b"}", b'"', b":", b"- ", b"\n", b"\t", b"&a ", b"*a", b"!!", b"? ", b"|"),
    *(b"# %%", b"%%", b"---", b"```", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r"),
    *(b"-1", b"1e999", b"99999999999999999999", b"null", b"true", b".nan", b"<<", b"'", b"\\u0000"),
]


def says_something(error: SpecError) -> None:
    """An error that can be read."""
    assert error.problems
    assert all(problem.message for problem in error.problems)


# ---------------------------------------------------------------------------------- the spec

SPECS = [
    b"tasks:\n  - source: a.py\n    name: a\n    product: {nb: out/a.ipynb, data: out/a.csv}\n"
    b"    params: {rows: 10, list: [1, 2.5, null, true, '1.10']}\n    timeout: 5 min\n",
    b"meta:\n  extract_upstream: false\ntasks:\n  - source: lib.fit\n    upstream: [a, 'b*']\n"
    b"    product: x\n    retries: 2\n    resources: {cpu: 2, memory: 4 GB}\n    group: g\n",
    b"defaults: &d\n  kernel: python3\ntasks:\n  - <<: *d\n    source: s.R\n    product: s.html\n",
    b"- source: a.py\n  product: a.ipynb\n- source: b.md\n  product: b.ipynb\n",
]


@fuzz
@given(st.one_of(mutations(SPECS), st.binary(max_size=200)))
def test_the_spec_reader_raises_nothing_but_spec_errors(data):
    try:
        parse_spec(data, "pipeline.yaml")
    except SpecError as error:
        says_something(error)


# ---------------------------------------------------------------------------------- sources

CELL = '# %% tags=["parameters"]\nupstream = ["a", "b*"]\nproduct = None\nx = 1\n\n# %%\nx + 1\n'
NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["upstream = None"]},
        {"cell_type": "markdown", "metadata": {}, "source": "# Title"},
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
SOURCES = {
    "a.py": [CELL, "# + tags=['parameters']\nupstream = None\n# -\nx = 1\n", "%%bash\nls\n", "!ls"],
    "a.md": ["```python tags=['parameters']\nupstream = {'a'}\n```\n\n# T\n\n```python\nx\n```\n"],
    "a.Rmd": ["```{r, tags=c('parameters')}\nupstream = list('a')\n```\n"],
    "a.R": ["# %% tags=['parameters']\nupstream <- c('a')\nproduct <- NULL\n"],
    "a.ipynb": [json.dumps(NOTEBOOK), json.dumps({"worksheets": [], "nbformat": 3})],
}


@pytest.mark.process
@pytest.mark.parametrize("name", SOURCES)
@fuzz
@given(data=st.data())
def test_the_source_reader_raises_nothing_but_spec_errors(name, data):
    drawn = data.draw(mutations([text.encode() for text in SOURCES[name]]))
    text = drawn.decode("utf-8", "surrogateescape")
    try:
        declared(text, name)
        source = parse_source(text, name)
        to_notebook(
            source,
            upstream={"a": "x.csv"},
            product="out.ipynb",
            params={"x": 1},
            kernel="python3",
            provenance={"task": "a", "source": name},
        )
    except SpecError as error:
        says_something(error)


# ---------------------------------------------------------------------------------- our own files


@pytest.fixture
def built(project):
    """A project of one task, built, whose cache has been written too."""
    project.task("get")
    project.build()
    time.sleep(0.05)
    project.build()
    return project


def tried(file: Path, check: Callable[[], None]) -> None:
    """Put mutations of a file in its place, and read them."""
    valid = file.read_bytes()

    @fuzz
    @given(mutations([valid]))
    def run(data: bytes) -> None:
        file.write_bytes(data)
        check()

    run()


def test_a_record_is_right_or_counts_as_absent(built):
    store = RecordStore(built.root)
    good = store.load("get")

    def check() -> None:
        try:
            assert store.load("get") in (None, good)
            store.others([])
            store.set_damaged_aside()
        except RecordVersionError:
            return

    tried(store.path("get"), check)


def test_events_that_are_damaged_are_left_out(built):
    log = next((built.root / ".nbpipe/runs").iterdir()) / "events.jsonl"

    def check() -> None:
        assert all(msgspec.json.encode(event) for event in read_events(log))
        built.pipeline().history()

    tried(log, check)


def test_notes_of_runs_and_holders_that_are_damaged_count_as_absent(built):
    run = next((built.root / ".nbpipe/runs").iterdir())
    tried(run / "run.json", lambda: _ignored(read_note(run)))
    home = built.root / ".nbpipe"
    note = msgspec.json.encode({"pid": 1, "host": "alpha", "started": 1.5e9, "run": run.name})
    (home / "holder.json").write_bytes(note)
    tried(home / "holder.json", lambda: _ignored(holder(home)))


def _ignored(found: object) -> None:
    """Whatever was read, it was read without an error."""
    assert found is None or isinstance(found, msgspec.Struct)


def test_a_cache_that_is_damaged_says_nothing(built):
    valid = unchanged(built.root)
    assert valid is not None

    def check() -> None:
        found = unchanged(built.root)
        assert found is None or (found.plan, found.status().rows) == (
            valid.plan,
            valid.status().rows,
        )

    tried(built.root / ".nbpipe/cache", check)
