"""Python functions as tasks: a clean process, upstream from the body, staleness by reach."""

from __future__ import annotations

import builtins

import pytest

from nbpipe.executors.function import FunctionExecutor

pytestmark = pytest.mark.process

MODULE = """
from pathlib import Path

SIZE = 3

def helper(text):
    return text * SIZE

def make(product, letter="a"):
    print("making")
    Path(product).write_text(helper(letter))

def use(product, upstream):
    Path(product["data"]).write_text(Path(upstream["make"]).read_text().upper())
"""


@pytest.fixture
def functions(project):
    """Two functions of one module, the second reads what the first makes."""
    project.write("tools.py", MODULE)
    project.tasks = [
        {"source": "tools.make", "product": "out/make.txt", "params": {"letter": "b"}},
        {"source": "tools.use", "product": {"data": "out/use.txt"}},
    ]
    project.save()
    project.executor = FunctionExecutor()
    return project


def test_functions_run_in_order_and_are_given_product_upstream_and_params(functions):
    assert functions.pipeline().graph.upstream == {"make": (), "use": ("make",)}
    assert functions.build() == ["make", "use"]
    assert functions.read("out/use.txt") == "BBB"
    assert functions.build() == []


@pytest.mark.parametrize(
    ("old", "new", "ran"),
    [
        ("SIZE = 3", "SIZE = 3  # three", []),
        ("SIZE = 3", "SIZE = 2", ["make", "use"]),
        ("return text * SIZE", "return SIZE * text", ["make"]),
        (".upper()", ".title()", ["use"]),
        ("def use(", "def unrelated():\n    pass\n\ndef use(", []),
    ],
    ids=["comment", "constant", "helper, same bytes", "the other function", "a new function"],
)
def test_a_function_is_stale_when_code_that_it_can_reach_changed(functions, old, new, ran):
    functions.build()
    functions.edit("tools.py", old, new)
    assert functions.build() == ran


def test_a_failure_names_the_line_in_the_users_module(functions):
    functions.edit("tools.py", 'print("making")', "1 / 0")
    failure = functions.report().tasks["make"].failure
    assert (failure.error, failure.file, failure.line) == ("ZeroDivisionError", "tools.py", 10)


def test_functions_of_a_package_follow_its_init_and_its_other_modules(project):
    project.write("pkg/__init__.py", "FACTOR = 1\n")
    project.write("pkg/base.py", "def text():\n    return 'x'\n")
    project.write(
        "pkg/steps.py",
        "from pathlib import Path\nfrom pkg import FACTOR\nfrom pkg.base import text\n\n"
        "def run(product):\n    Path(product).write_text(text() * FACTOR)\n",
    )
    project.tasks = [{"source": "pkg.steps.run", "product": "out/run.txt"}]
    project.save()
    project.executor = FunctionExecutor()
    assert project.build() == ["run"]
    project.edit("pkg/base.py", "'x'", "'y'")
    assert project.build() == ["run"]
    project.edit("pkg/__init__.py", "FACTOR = 1", "FACTOR = 2")
    assert project.build() == ["run"]
    assert project.read("out/run.txt") == "yy"


def test_a_module_is_parsed_as_often_for_many_functions_as_for_two(project, monkeypatch):
    def count(functions):
        text = "".join(f"def f{i}(product):\n    return {functions}\n" for i in range(functions))
        project.write("tools.py", text)
        project.tasks = [
            {"source": f"tools.f{i}", "product": f"out/{i}.txt"} for i in range(functions)
        ]
        project.save()
        sources.clear()
        assert len(project.pipeline().plan().named("run")) == functions
        return sources.count(text)

    def compiled(source, *args, **options):
        sources.append(source)
        return compiles(source, *args, **options)

    sources: list[object] = []
    compiles = compile
    monkeypatch.setattr(builtins, "compile", compiled)
    assert count(9) == count(2) > 0
