"""Looking at a stranger's pipeline runs none of its code; only a build does."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.cli import ENV
from tests.cli import nbpipe as shell
from tests.projects import Project

CANARY = """
import os
open(os.path.join({root!r}, "canaries", {name!r}), "w").close()
"""

MODULES = [
    "click",
    "yaml",
    "msgspec",
    "rich",
    "IPython",
    "ipykernel",
    "jupytext",
    "nbformat",
    "nbclient",
    "jupyter_client",
    "psutil",
    "networkx",
    "traitlets",
    "filelock",
    "pandas",
    "numpy",
    "json",
    "ast",
    "typing",
    "sitecustomize",
    "usercustomize",
    "conftest",
    "setup",
    "ipython_config",
    "jupyter_config",
    "jupyter_notebook_config",
    "__init__",
    "__main__",
    "asyncio",
    "encodings",
    "random",
    "logging",
]
"""Names that a stranger's file may have in the hope that somebody imports it."""


@pytest.fixture
def strange(project: Project) -> Project:
    """A pipeline whose every file that could be run leaves a mark; nothing of it was built."""
    (project.root / "canaries").mkdir()

    def mark(name: str) -> str:
        return CANARY.format(root=str(project.root), name=name.replace("/", "-"))

    project.task("get", code=mark("get.py"))
    project.task("fit", ["get"], mark("fit.py"))
    project.write("work.py", f"{mark('work.py')}\ndef run(product):\n    pass\n")
    project.tasks += [
        {"source": "work.run", "product": "out/run.txt"},
        {"source": "tools.deep.run", "name": "deep", "product": "out/deep.txt"},
        {"source": "page.md", "product": "out/page.ipynb"},
        {"source": "book.ipynb", "product": "out/book.ipynb"},
    ]
    project.save()
    project.write("page.md", f"# page\n\n```python\n{mark('page.md')}\n```\n")
    cell = {"cell_type": "code", "metadata": {}, "source": mark("book.ipynb"), "id": "a"}
    cell |= {"outputs": [], "execution_count": None}
    book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    project.write("book.ipynb", json.dumps(book))
    project.edit("fit.py", "from pathlib", "import helpers, tools.deep\nfrom pathlib")
    for name in ("helpers.py", "tools/__init__.py", "tools/deep.py"):
        project.write(name, f"{mark(name)}\ndef run(product):\n    pass\n")
    for name in MODULES:
        project.write(f"{name}.py", mark(f"{name}.py"))
    for name in (".jupytext.py", "jupytext_config.py", ".ipython/profile_default/startup/00.py"):
        project.write(name, mark(name))
    project.write("jupytext.toml", 'formats = "ipynb,py:percent"\n')
    return project


READING = [
    ["status"],
    ["status", "--json"],
    ["plan"],
    ["build", "--dry-run"],
    ["why", "get"],
    ["why", "run"],
    ["plot", "-o", "p.svg"],
    ["plot", "-o", "p.html"],
    ["plot", "-o", "p.png"],
    ["log"],
    ["task", "get", "--source"],
    ["clean", "--dry-run"],
    ["doctor"],
    ["watch"],
    ["cancel"],
]


PROGRAM = Path(sys.executable).with_name("nbpipe")


def program(project: Project, *args: str) -> subprocess.CompletedProcess[str]:
    """The installed command. With ``python -m`` Python itself puts the folder on its path first."""
    return subprocess.run(
        [PROGRAM, *args],
        cwd=project.root,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def canaries(project: Project) -> list[str]:
    return sorted(path.name for path in (project.root / "canaries").iterdir())


@pytest.mark.process
@pytest.mark.parametrize("args", READING, ids=" ".join)
def test_looking_at_a_strangers_pipeline_runs_none_of_its_code(strange, args):
    done = program(strange, *args)
    assert done.returncode in ((0, 1) if args == ["doctor"] else (0,)), done.stdout
    assert "Traceback" not in done.stdout
    assert canaries(strange) == []


@pytest.mark.process
def test_a_strangers_spec_with_tags_and_traps_runs_nothing(strange):
    call = f"!!python/object/apply:os.mkdir ['{strange.root}/canaries/tag']"
    for spec in (f"tasks: {call}", f"tasks:\n- source: get.py\n  params: {{a: {call}}}"):
        strange.write("pipeline.yaml", spec)
        for command in ("status", "plot", "plan"):
            assert program(strange, command).returncode == 2
    assert canaries(strange) == []


@pytest.mark.process
def test_magics_and_completion_in_a_strangers_folder_run_none_of_its_code(strange):
    """In a shell whose own path does not have that folder, as it is for IPython's terminal."""
    for name in MODULES:
        (strange.root / f"{name}.py").unlink()
    code = textwrap.dedent(
        """
        import os, sys
        from IPython.core.completer import provisionalcompleter
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell()
        shell.run_line_magic("load_ext", "nbpipe")
        sys.path.insert(0, "")
        for line in ("status", "plan", "why get", "log", "plot", "build --dry-run", ""):
            shell.run_cell("%pipeline " + line).raise_error()
        for line in ("%upstream get", "%upstream --task fit", "%upstream fit --quiet"):
            shell.run_cell(line).raise_error()
        with provisionalcompleter():
            for line in ("%pipeline why ", "%upstream ", "%%task new -u ", "x = %pipeline b"):
                assert list(shell.Completer.completions(line, len(line))), line
        """
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=strange.root,
        env=ENV | {"IPYTHONDIR": str(strange.root.parent / "ipython")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert canaries(strange) == []


@pytest.mark.process
def test_building_it_does_run_its_code(strange):
    """So that the tests above could fail."""
    for name in MODULES:
        (strange.root / f"{name}.py").unlink()
    shell("build", "run", cwd=strange.root, code=1)
    assert canaries(strange) == ["work.py"]
