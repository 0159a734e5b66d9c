"""A build that is killed, or whose disk fails, at any call that changes the disk, loses nothing.

``make syscalls`` tries all calls. CI tries some, of as many kinds as can be, which a seed chooses
for each scene and each fault: NBPIPE_SYSCALLS_SEED=… chooses others.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nbpipe import Pipeline
from tests.faults.syscalls import FAULTS, Point, Traced, build_traced, hit, may_trace, points
from tests.projects import Project

pytestmark = pytest.mark.process

ALL = bool(os.environ.get("NBPIPE_SYSCALLS_ALL"))
"""Whether all calls are tried."""

SEED = os.environ.get("NBPIPE_SYSCALLS_SEED", "2026")

TRIED = 6
"""Calls that are tried in a scene with a fault, unless it is all of them."""

OFFSETS = (0, 1, -1, 2, -2, 3, -3)

SCENES = ("first build", "edited", "renamed", "damaged")


@pytest.fixture(scope="module", autouse=True)
def _tracing() -> None:
    """Without strace nothing is proved: where it is required, that is a failure."""
    reason = may_trace()
    if reason is not None and os.environ.get("NBPIPE_REQUIRE_STRACE"):
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(f"{reason} (NBPIPE_REQUIRE_STRACE=1 makes this a failure)")


def scene(root: Path, name: str) -> Project:
    """Two tasks, in a state in which a build has something to do."""
    project = Project(root)
    project.task("get")
    project.task("fit", ["get"])
    if name != "first build":
        project.build()
        project.edit("get.py", '"one"', '"two"')
    if name == "renamed":
        project.tasks[1]["name"] = "train"
        project.save()
    if name == "damaged":
        record = project.root / ".nbpipe/records/fit.json"
        record.write_bytes(record.read_bytes()[:-20])
    return project


def products(root: Path) -> dict[str, bytes]:
    """What consumers read."""
    return {path.name: path.read_bytes() for path in sorted((root / "out").glob("*.txt"))}


def sample(found: list[Point], name: str, fault: str) -> list[Point]:
    """Some of the calls, each of another kind for as long as there are more kinds."""
    if ALL:
        return found
    shuffled = random.Random(f"{SEED} {name} {fault}").sample(found, len(found))
    turns: Counter[str] = Counter()
    ranked: list[tuple[int, Point]] = []
    for point in shuffled:
        ranked.append((turns[point.call], point))
        turns[point.call] += 1
    return [point for _, point in sorted(ranked, key=lambda pair: pair[0])[:TRIED]]


def recovers(project: Project, expected: dict[str, bytes]) -> None:
    """Nothing has to be done by hand: status works, and a build makes what a clean one makes."""
    pipeline = project.pipeline()
    assert len(pipeline.status().rows) == 2
    project.build()
    assert products(project.root) == expected
    again = Pipeline.load(project.root)
    assert again.plan().idle
    records = again.store.load_all(again.graph.tasks)
    assert {record.state for record in records.values()} == {"done"}
    assert set(again.store.others(again.graph.tasks)) == set(), "a record of no task stays"
    left = [str(p.relative_to(project.root)) for p in project.root.rglob(".nbpipe-*.tmp")]
    assert not left, f"temporary files stay: {left}"


def fault_at(point: Point, fault: str, folder: Path, name: str) -> tuple[Project, Traced]:
    """A build with a fault at one of its calls.

    Whether a young file is hashed again depends on the clock, so the number of calls that only
    read is not always the same. A fault that hit one of them says nothing: it is tried beside it.
    """
    for offset in OFFSETS:
        project = scene(folder / str(offset), name)
        number = max(1, point.number + offset)
        traced = build_traced(project.root, f"{point.call}:{fault}:when={number}")
        if hit(traced, replace(point, number=number), project.root):
            return project, traced
        shutil.rmtree(project.root)
    raise AssertionError("the fault missed the project")


def was_killed(traced: Traced) -> None:
    assert traced.code in (-9, 137), traced.said


def told_the_truth(traced: Traced) -> None:
    """What cannot be written is told; what does not matter is overcome."""
    assert traced.code in (0, 1, 4), traced.said
    assert "Traceback" not in traced.said
    if traced.code == 4:
        assert "StoreError" in traced.said


CHECKS: dict[str, Callable[[Traced], None]] = {
    "kill": was_killed,
    "ENOSPC": told_the_truth,
    "EIO": told_the_truth,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENES)
def test_after_a_fault_at_any_call_the_next_build_is_as_a_clean_one(tmp_path, name, fault):
    clean = scene(tmp_path / "clean", name)
    whole = build_traced(clean.root)
    assert whole.code == 0, whole.said
    expected, found = products(clean.root), points(whole, clean.root)
    assert len(found) > 50, "the calls of the build were not seen"
    tried, broken = sample(found, name, fault), []
    for i, point in enumerate(tried):
        try:
            project, traced = fault_at(point, FAULTS[fault], tmp_path / str(i), name)
            CHECKS[fault](traced)
            recovers(project, expected)
        except Exception as error:
            broken.append(f"{point}\n    {type(error).__name__}: {error}")
        shutil.rmtree(tmp_path / str(i))
    print(f"{name}, {fault}: points {len(found)}, tried {len(tried)}, broken {len(broken)}")
    assert not broken, f"{len(broken)} of {len(tried)} points:\n" + "\n".join(broken)
