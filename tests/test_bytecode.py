"""Compiled modules that Python would take for today's sources are removed before they are used."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from nbpipe import Pipeline
from nbpipe.executors.function import FunctionExecutor
from nbpipe.store.bytecode import drop_racy, drop_racy_of

SECOND = 1_700_000_000


def at(path: Path, seconds: float) -> Path:
    """Date a file's last edit, in seconds since the epoch."""
    os.utime(path, ns=(int(seconds * 1e9),) * 2)
    return path


def compiled(module: Path, seconds: float, edited: float = SECOND) -> Path:
    """A module edited and compiled at these times."""
    at(module, edited)
    made = py_compile.compile(str(module), doraise=True)
    assert made == cache_from_source(str(module))
    return at(Path(made), seconds)


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "base.py"
    path.write_text("value = 1\n")
    return path


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [(SECOND - 5, False), (SECOND, False), (SECOND + 0.99, False), (SECOND + 1, True)],
    ids=["before the edit", "the same second", "at its end", "the next second"],
)
def test_what_was_compiled_in_the_second_of_an_edit_is_not_trusted(module, seconds, kept):
    made = compiled(module, seconds, edited=SECOND + 0.5)
    drop_racy([module])
    assert made.exists() is kept


def test_what_any_python_compiled_is_removed_and_nothing_of_other_modules(module):
    made = compiled(module, SECOND)
    mine = [made.with_name(f"base.cpython-{tag}.pyc") for tag in ("313", "312.opt-1")]
    others = [made.with_name(name) for name in ("base_2.cpython-311.pyc", "base.cpython-311.txt")]
    for path in (*mine, *others):
        path.write_bytes(made.read_bytes())
        at(path, SECOND)
    drop_racy([module, module.with_suffix(".ipynb"), module.with_name("missing.py")])
    assert [path.exists() for path in (made, *mine, *others)] == [False] * 3 + [True] * 2


def test_an_edit_of_the_same_size_in_the_same_second_is_what_python_imports(module):
    def imported() -> str:
        code = "import base; print(base.value)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=module.parent, capture_output=True, text=True
        )
        return done.stdout.strip()

    compiled(module, SECOND)
    module.write_text("value = 2\n")
    at(module, SECOND + 0.5)
    assert imported() == "1", "Python itself sees such an edit, so none of this is needed"
    drop_racy([module])
    assert imported() == "2"


def test_what_functions_import_is_followed_and_what_the_project_has_not_is_passed_over(tmp_path):
    files = {"steps.py": "import pkg.inner\n", "pkg/__init__.py": "", "pkg/inner.py": "x = 1\n"}
    for name, text in {**files, "other.py": "x = 1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    made = {name: compiled(tmp_path / name, SECOND) for name in (*files, "other.py")}
    drop_racy_of(tmp_path, ["steps.run", "json.dumps"])
    assert [name for name, path in made.items() if path.exists()] == ["other.py"]


@pytest.fixture
def writes(monkeypatch):
    """Python keeps what it compiles, whatever the machine asks for."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)


def edit_in_the_same_second(project, path: str, old: str, new: str) -> None:
    """Change a module in the second in which it was written and compiled, at the same size."""
    module = project.root / path
    made = Path(cache_from_source(str(module)))
    assert made.exists(), "Python has not kept what it compiled"
    second = int(module.stat().st_mtime)
    at(made, second + 0.2)
    project.edit(path, old, new)
    at(module, second + 0.7)


FUNCTIONS = {
    "base.py": "def text():\n    return 'x'\n",
    "steps.py": (
        "from pathlib import Path\nfrom base import text\n\n"
        "def run(product):\n    Path(product).write_text(text())\n\n"
        "def note():\n    Path('note.txt').write_text(text())\n\n"
        "def name():\n    return text()\n"
    ),
}


@pytest.fixture
def functions(project, writes):
    for path, text in FUNCTIONS.items():
        project.write(path, text)
    project.tasks = [{"source": "steps.run", "product": "out/run.txt"}]
    project.save()
    project.executor = FunctionExecutor()
    return project


@pytest.mark.process
def test_a_function_runs_with_the_module_as_it_was_edited_in_the_second_of_its_import(functions):
    assert functions.build() == ["run"]
    edit_in_the_same_second(functions, "base.py", "'x'", "'y'")
    assert functions.build() == ["run"]
    assert functions.read("out/run.txt") == "y"


@pytest.mark.process
def test_a_hook_runs_with_the_module_as_it_was_edited_in_the_second_of_its_import(functions):
    spec = "on_finish: steps.note\n" + functions.read("pipeline.yaml")
    functions.write("pipeline.yaml", spec)
    functions.build()
    assert functions.read("note.txt") == "x"
    edit_in_the_same_second(functions, "base.py", "'x'", "'y'")
    functions.build()
    assert functions.read("note.txt") == "y"


@pytest.mark.process
def test_a_param_is_what_the_module_gives_as_it_was_edited_in_the_second_of_its_import(functions):
    functions.tasks[0]["params"] = {"name": "steps::name"}
    functions.edit("steps.py", "def run(product)", "def run(product, name)")
    functions.edit("steps.py", "write_text(text())\n\ndef note", "write_text(name)\n\ndef note")
    functions.save()
    assert functions.build() == ["run"]
    edit_in_the_same_second(functions, "base.py", "'x'", "'y'")
    functions.build()
    assert functions.read("out/run.txt") == "y"


@pytest.mark.kernel
def test_a_notebook_runs_with_the_module_as_it_was_edited_in_the_second_of_its_import(
    project, writes
):
    project.write("base.py", FUNCTIONS["base.py"])
    project.task("get", code="import base\nconstant = base.text()")
    assert Pipeline.load(project.root).build().named("ran") == ("get",)
    edit_in_the_same_second(project, "base.py", "'x'", "'y'")
    assert Pipeline.load(project.root).build().named("ran") == ("get",)
    assert project.read("out/get.txt") == "y"
