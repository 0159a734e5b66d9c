"""Modules of the project are followed wherever a source imports them, and nothing is run."""

import sys
from pathlib import Path

import pytest

from nbpipe.core.model import Cell
from nbpipe.store.imports import (
    ImportFollower,
    local_modules,
    module_digests,
    search_roots,
    third_party,
)

PROJECT = {
    "helper.py": "import deep\nraise SystemExit('never run')\n",
    "deep.py": "import helper\n",
    "alone.py": "x = 1\n",
    "pkg/__init__.py": "__all__ = ['shown', 'value']\nvalue = 1\n",
    "pkg/shown.py": "from . import sibling\n",
    "pkg/sibling.py": "from .sub.leaf import x\nfrom ..nowhere import y\n",
    "pkg/sub/__init__.py": "",
    "pkg/sub/leaf.py": "x = 1\n",
    "space/part.py": "x = 1\n",
    "broken.py": "import alone\nx = = 1\n",
    "latin.py": b"# \xe9\nimport alone\n",
    "json.py": "shadow = 1\n",
    "other/run_me.py": "import beside\n",
    "other/beside.py": "",
    "lib/inner.py": "",
    "book.ipynb": '{"nbformat": 4, "cells": [{"cell_type": "code", "source": "import alone"}]}',
    ".venv/lib/site-packages/installed.py": "",
    "src/editable.py": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "outside.py").write_text("x = 1")
    return tmp_path / "project"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import alone", ["alone.py"]),
        ("import alone as a, os", ["alone.py"]),
        ("import helper", ["deep.py", "helper.py"]),
        ("from alone import x", ["alone.py"]),
        ("import pkg", ["pkg/__init__.py"]),
        ("import pkg.sub.leaf as x", ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/leaf.py"]),
        ("from pkg.sub import leaf", ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/leaf.py"]),
        ("from pkg import value", ["pkg/__init__.py"]),
        ("import space.part", ["space/part.py"]),
        ("from space import part", ["space/part.py"]),
        ("import json", ["json.py"]),
        ("def f():\n    import alone", ["alone.py"]),
        ("try:\n    import alone\nexcept ImportError:\n    pass", ["alone.py"]),
        ("if TYPE_CHECKING:\n    from alone import x", ["alone.py"]),
        ("import importlib\nimportlib.import_module('alone')", ["alone.py"]),
        ("__import__('alone')", ["alone.py"]),
        ("importlib.import_module(name)", []),
        ("%matplotlib inline\nimport alone", ["alone.py"]),
        ("%%time\nimport alone", ["alone.py"]),
        ("%run alone", ["alone.py"]),
        ("%run -i ./alone.py --flag", ["alone.py"]),
        ("%run -m alone", ["alone.py"]),
        ("%load_ext alone", ["alone.py"]),
        ("%run book.ipynb", ["alone.py", "book.ipynb"]),
        ("%run other/run_me.py", ["other/beside.py", "other/run_me.py"]),
        ("%run ../outside.py", []),
        ("import sys\nsys.path.insert(0, 'lib')\nimport inner", ["lib/inner.py"]),
        ("import broken", ["broken.py"]),
        ("import latin", ["latin.py"]),
        ("import inner, installed, outside, numpy, nowhere", []),
        ("from . import alone", ["alone.py"]),
        ("x = = 1", []),
        ("# import alone\n'import alone'", []),
    ],
)
def test_an_import_leads_to_its_files(root: Path, code: str, expected: list[str]) -> None:
    cells = [Cell(kind="markdown", text="import deep"), Cell(kind="code", text=code)]
    found = local_modules(cells, root, "fit.py")
    assert list(found) == expected
    assert all(file == root / name for name, file in found.items())


def test_a_star_import_of_a_package_leads_to_what_it_exports(root: Path) -> None:
    assert list(local_modules("from pkg import *", root, "fit.py")) == [
        "pkg/__init__.py",
        "pkg/shown.py",
        "pkg/sibling.py",
        "pkg/sub/__init__.py",
        "pkg/sub/leaf.py",
    ]


def test_the_source_itself_is_no_module_of_its_own(root: Path) -> None:
    assert list(local_modules("import helper", root, "deep.py")) == ["helper.py"]


def test_folders_of_sys_path_count_when_they_lie_under_the_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = [root / "src", root / ".venv/lib/site-packages", root.parent, root / "missing"]
    monkeypatch.setattr(sys, "path", [str(folder) for folder in inside])
    assert search_roots(root) == (root, root / "src")
    assert list(local_modules("import editable, installed", root, "fit.py")) == ["src/editable.py"]


def test_further_folders_may_be_named(root: Path) -> None:
    assert list(local_modules("import inner", root, "fit.py", [Path("lib")])) == ["lib/inner.py"]


@pytest.mark.parametrize(
    ("name", "old", "new", "counts"),
    [
        ("alone.py", "x = 1", "x = 1  # a comment", False),
        ("alone.py", "x = 1", "x = 2", True),
        ("broken.py", "x = = 1", "x = = 2", True),
        ("latin.py", "import", "import  ", True),
        ("json.py", "shadow", "other", False),
    ],
)
def test_a_module_counts_by_its_code(
    root: Path, name: str, old: str, new: str, counts: bool
) -> None:
    code = "import alone, broken, latin"
    before = module_digests(code, root, "fit.py")
    file = root / name
    file.write_bytes(file.read_bytes().replace(old.encode(), new.encode()))
    after = module_digests(code, root, "fit.py")
    assert [n for n in before if before[n] != after[n]] == ([name] if counts else [])


def test_one_follower_reads_a_module_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    original = Path.read_bytes

    def counted(self: Path) -> bytes:
        reads.append(self)
        return original(self)

    monkeypatch.setattr(Path, "read_bytes", counted)
    follower = ImportFollower(root)
    for i in range(100):
        assert list(follower.digests("import helper", f"task{i}.py")) == ["deep.py", "helper.py"]
    assert len(reads) == 2


def test_what_comes_from_elsewhere_is_named_by_its_top_level(root: Path) -> None:
    (root / "helper.py").write_text("import sklearn.tree\nimport os\n")
    code = "import helper, sys, json\nfrom pandas.io import sql\n"
    assert third_party(code, root, "fit.py") == {"sklearn", "pandas"}


def test_odd_roots_and_loops_of_links_do_no_harm(root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")
    assert local_modules("import loop\n%run loop/x.py\n%run 'a\0b'", root, "fit.py") == {}
