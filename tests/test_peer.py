"""The projects of tests/pipelines/compat with Ploomber itself: the same products, byte for byte.

``make peer`` makes its environment and runs this; ``NBPIPE_PEER`` says where it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nbpipe import Pipeline

COMPAT = Path(__file__).parent / "pipelines" / "compat"
PEER = os.environ.get("NBPIPE_PEER")
PROJECTS = sorted(path.name for path in COMPAT.iterdir() if (path / "pipeline.yaml").exists())

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not PEER, reason="Ploomber has an environment of its own: make peer"),
]

NOT_PRODUCTS = (".metadata", ".ipynb", ".html", ".db", ".pyc", ".tmp")
"""Notes of either tool; executed notebooks, which hold times; databases, whose pages hold counters
of changes (what is in them is dumped)."""


def test_there_are_twelve_projects() -> None:
    assert len(PROJECTS) >= 12


@pytest.mark.parametrize("name", PROJECTS)
def test_ploomber_makes_the_same_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    theirs, ours = tmp_path / "theirs" / name, tmp_path / "ours" / name
    shutil.copytree(COMPAT / name, theirs)
    shutil.copytree(COMPAT / name, ours)
    before = _files(ours)
    _build_with_ploomber(theirs)
    monkeypatch.chdir(ours)
    assert Pipeline.load(ours, call=True).build().ok
    made = {path: data for path, data in _files(ours).items() if path not in before}
    there = {path: data for path, data in _files(theirs).items() if path not in before}
    assert sorted(made) == sorted(there)
    assert [path for path in made if made[path] != there[path]] == []


def _build_with_ploomber(folder: Path) -> None:
    assert PEER is not None
    programs = Path(PEER) / "bin"
    environ = {**os.environ, "PLOOMBER_STATS_ENABLED": "false"}
    environ["PATH"] = f"{programs}{os.pathsep}{environ['PATH']}"
    command = [str(programs / "ploomber"), "build"]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _files(folder: Path) -> dict[str, bytes]:
    """Products of a project with their bytes, by path."""
    skipped = {".nbpipe", "backup", "__pycache__"}
    found = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        wanted = path.suffix not in NOT_PRODUCTS and skipped.isdisjoint(relative.parts)
        if path.is_file() and wanted:
            found[relative.as_posix()] = path.read_bytes()
    return found
