"""``import ploomber`` in a project that asks for it, where that package is not installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbpipe import BuildError, Pipeline, errors
from nbpipe.compat import ploomber as answers
from nbpipe.errors import SpecError, UsageError
from nbpipe.executors import aliases
from tests.cli import ENV, nbpipe
from tests.projects import Project

process = pytest.mark.process
kernel = pytest.mark.kernel

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ploomber") is not None,
    reason="ploomber itself is installed here, so nobody stands in for it",
)


@pytest.fixture
def answered() -> Iterator[None]:
    """The imports are answered in this process."""
    assert aliases.install("ploomber")
    yield
    aliases.remove("ploomber")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("ploomber")


NAMES = [(module, name) for module, known in answers.MODULES.items() for name in known]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=".".join)
def test_every_name_that_is_answered_is_there(answered: None, module: str, name: str) -> None:
    """And is the very object of nbpipe."""
    scope: dict[str, object] = {}
    exec(f"from {module} import {name} as found", scope)
    place, _, inner = answers.MODULES[module][name].partition(":")
    assert scope["found"] is getattr(importlib.import_module(place), inner)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("import ploomber.executors", "'executor: serial'"),
        ("from ploomber.tasks import SQLDump", "list tasks of this kind in pipeline.yaml"),
        ("from ploomber.products import SQLRelation", "list tasks of this kind in pipeline.yaml"),
        ("from ploomber import OnlineDAG", "in_memory"),
        ("from ploomber.micro import dag_from_functions", "InMemoryPipeline.from_functions"),
        ("from ploomber.clients import ShellClient", "a .sh source runs on this machine"),
        ("from ploomber.io import serialiser", "did you mean 'serializer'"),
        ("import ploomber.clinets", "did you mean 'ploomber.clients'"),
        ("import ploomber; ploomber.SourceLoader", "source_loader"),
    ],
)
def test_what_is_not_answered_is_an_import_error_that_says_what_to_do(
    answered: None, statement: str, said: str
) -> None:
    with pytest.raises(ImportError, match="not among what nbpipe answers") as caught:
        exec(statement, {})
    assert said in str(caught.value)


def test_asking_twice_is_harmless(answered: None) -> None:
    importlib.import_module("ploomber.io")
    assert aliases.install("ploomber")
    assert sum(isinstance(finder, aliases.AliasFinder) for finder in sys.meta_path) == 1


def test_a_package_that_is_installed_is_never_shadowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ploomber.py").write_text("real = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not aliases.install("ploomber")
    assert importlib.import_module("ploomber").real
    del sys.modules["ploomber"]
    assert not aliases.install("another")


# -- in the processes of tasks -----------------------------------------------------------------

SPEC = """\
meta: {compat: ploomber}
serializer: tasks.write
unserializer: tasks.read
tasks:
- {source: tasks.load, product: out/load.json}
- {source: tasks.total, product: out/total.json, on_finish: tasks.check}
- {source: nb.py, product: {nb: out/nb.ipynb, data: out/nb.txt}, params: {n: "values::number"}}
"""

TASKS = """\
from ploomber.exceptions import DAGBuildEarlyStop
from ploomber.io import serializer, unserializer


@serializer(defaults=[".json"])
def write(obj, product):
    raise NotImplementedError


@unserializer(defaults=[".json"])
def read(product):
    raise NotImplementedError


def load():
    return [1, 2]


def total(upstream):
    return sum(upstream["load"])


def check(product):
    from ploomber.clients import SQLAlchemyClient
"""

NOTEBOOK = """\
# %% tags=["parameters"]
upstream = None
product = None
n = None

# %%
from pathlib import Path
from ploomber.io import unserializer
Path(product["data"]).write_text(f"{unserializer.__module__} {n}")
"""


@pytest.fixture
def asking(project: Project) -> Project:
    project.write("pipeline.yaml", SPEC)
    project.write("tasks.py", TASKS)
    project.write("nb.py", NOTEBOOK)
    project.write("values.py", "import ploomber.io\n\n\ndef number():\n    return 7\n")
    return project


@kernel
@pytest.mark.parametrize("start", ["fork", "cold"])
def test_functions_hooks_params_and_kernels_are_answered(asking: Project, start: str) -> None:
    asking.edit(
        "pipeline.yaml", "compat: ploomber", f"compat: ploomber, kernels: {{start: {start}}}"
    )
    report = Pipeline.load(asking.root, call=True).build()
    assert report.ok, report
    assert asking.read("out/total.json") == "3"
    assert asking.read("out/nb.txt") == "nbpipe.io 7"
    assert "ploomber" not in sys.modules


@kernel
def test_a_kernel_that_was_not_asked_knows_nothing_of_it(asking: Project, tmp_path: Path) -> None:
    """Though it is forked by the same process that served one that was."""
    asking.edit("pipeline.yaml", ', params: {n: "values::number"}', "")
    asking.edit("nb.py", "n = None", "n = 1")
    assert Pipeline.load(asking.root).build("nb").ok
    asking.edit("pipeline.yaml", "meta: {compat: ploomber}\n", "")
    asking.edit("nb.py", "{n}", "{n}!")
    report = Pipeline.load(asking.root).build("nb")
    failure = report.tasks["nb"].failure
    assert failure is not None
    assert failure.error == "ModuleNotFoundError"
    assert "No module named 'ploomber'" in failure.message
    assert "write 'compat: ploomber'" in (failure.hint or "")


@process
def test_a_project_may_be_built_so_without_a_key_in_it(asking: Project) -> None:
    asking.edit("pipeline.yaml", "meta: {compat: ploomber}\n", "")
    assert "ModuleNotFoundError" in nbpipe("build", "total", cwd=asking.root, code=2)
    out = _compat("build", "total", cwd=asking.root)
    assert "2 executed" in out


@process
def test_a_script_of_such_a_project_runs(asking: Project) -> None:
    asking.write(
        "main.py",
        "import sys\n"
        "from ploomber import InMemoryDAG\n"
        "from ploomber.spec import DAGSpec\n"
        "dag = DAGSpec.find().to_dag().render()\n"
        "print(sys.argv[1:], len(dag), dag['total'].status.state)\n"
        "print(InMemoryDAG(DAGSpec([{'source': 'tasks.load', 'product': 'a.json'},"
        " {'source': 'tasks.total', 'product': 'b.json'}]).to_dag()).build({'load': [4]}))\n",
    )
    out = _compat("main.py", "one", cwd=asking.root)
    assert out == "['one'] 3 new\n{'load': [4], 'total': 4}\n"


def _compat(*args: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nbpipe.compat", *args],
        cwd=cwd,
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_another_package_cannot_be_answered(asking: Project) -> None:
    asking.edit("pipeline.yaml", "compat: ploomber", "compat: kedro")
    with pytest.raises(errors.SpecError, match="the imports of 'kedro' cannot be answered"):
        Pipeline.load(asking.root)


# -- the objects -------------------------------------------------------------------------------


def test_a_dag_takes_the_arguments_that_are_known_from_there(diamond: Project) -> None:
    from nbpipe.compat.dag import DAGSpec

    dag = DAGSpec(str(diamond.root / "pipeline.yaml")).to_dag()
    report = dag.build(executor=diamond.executor, show_progress=False, close_clients=True)
    assert sorted(report.named("ran")) == sorted(dag)
    report = dag.build_partially("se*", force=True, skip_upstream=True, executor=diamond.executor)
    assert report.named("ran") == ("sepal",)
    assert dag.plot(str(diamond.root / "dag.svg")) == str(diamond.root / "dag.svg")
    assert "<svg" in dag.plot().data
    assert dag._ipython_key_completions_() == list(dag)
    diamond.write("pipeline.small.yaml", "- {source: get.py, product: o/get.ipynb}\n")
    for given, count in (({}, 4), ({"name": "small"}, 1)):
        assert len(DAGSpec.find(starting_dir=diamond.root, **given).to_dag()) == count
    diamond.edit("get.py", 'constant = "one"', "1 / 0")
    with pytest.raises(BuildError, match="tasks failed: get"):
        dag.render().build(executor=diamond.executor)
    with pytest.raises(UsageError, match=r"dag\['task'\]\.debug\(\)"):
        dag.build(debug="now")


def test_the_values_of_functions_in_memory_can_be_changed() -> None:
    from nbpipe import InMemoryPipeline

    def first() -> list[int]:
        return [1]

    def second(first: list[int]) -> list[int]:
        first.append(2)
        return first

    doubled = InMemoryPipeline.from_functions(first, second).through(lambda value: value * 2)
    assert doubled.run()["second"] == [1, 1, 2] * 2


def test_an_env_is_read_and_changed_by_path(tmp_path: Path) -> None:
    from nbpipe.compat.environment import with_env

    (tmp_path / "env.yaml").write_text("path: {data: here}\nseed: 1\n")

    @with_env(tmp_path / "env.yaml")
    def show(env, word: str) -> str:
        return f"{env.path.data} {env['seed']} {word}"

    assert show("x") == "here 1 x"
    assert show("x", env__path__data="there", env__seed=2) == "there 2 x"
    assert show("x") == "here 1 x"
    with pytest.raises(UsageError, match=r"no key 'path\.date'"):
        show("x", env__path__date="there")
    with pytest.raises(UsageError, match="cannot be read"):
        with_env(tmp_path / "no.yaml")(show)("x")


def test_placeholders_in_an_env_are_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbpipe.compat.environment import with_env

    (tmp_path / "env.yaml").write_text(
        "name: iris\npath:\n  data: '{{here}}/{{name}}'\n  mine: '{{user}}'\n"
        "n: '{{size}}'\nsize: 3\n"
    )
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    show = with_env(str(tmp_path / "env.yaml"))(lambda env: (env.path.data, env.path.mine, env.n))
    assert show() == (tmp_path / "iris", Path("ada"), 3)
    assert with_env({"a": "b", "c": "{{a}}c"})(lambda env: env.c)() == "bc"
    monkeypatch.setenv("NBPIPE_ENV_OVERRIDES", '{"name": "rose", "elsewhere": "x"}')
    assert show()[0] == tmp_path / "rose"
    with pytest.raises(SpecError, match=r"nothing stands for '\{\{no\}\}'"):
        with_env({"a": "{{no}}"})(lambda env: env.a)()


# -- a pipeline that a function describes ------------------------------------------------------

FACTORY = """\
from pathlib import Path

from ploomber import DAG
from ploomber.products import File
from ploomber.tasks import NotebookRunner, PythonCallable

import steps


def make():
    dag = DAG()
    load = PythonCallable(steps.load, File("out/load.txt"), dag, params={"rows": 3})
    double = PythonCallable(steps.double, File("out/double.txt"), dag, name="twice")
    here = Path(__file__).parent
    show = NotebookRunner(here / "show.py", {"nb": File(here / "out" / "show.ipynb")}, dag)
    double.on_finish = steps.check
    load >> double
    (load + double) >> show
    return dag
"""

STEPS = """\
from pathlib import Path


def load(product, rows):
    Path(product).write_text("x" * rows)


def double(product, upstream):
    Path(product).write_text(2 * Path(upstream["load"]).read_text())


def check(product):
    assert product.read_text()
"""


@pytest.fixture
def made(project: Project) -> Project:
    project.write("pipeline.yaml", "meta: {compat: ploomber}\nlocation: factory.make\n")
    project.write("factory.py", FACTORY)
    project.write("steps.py", STEPS)
    project.write(
        "show.py", "# %% tags=[\"parameters\"]\nupstream = None\n# %%\nupstream['twice']\n"
    )
    return project


@kernel
def test_a_factory_s_pipeline_builds_is_skipped_and_follows_its_edits(made: Project) -> None:
    """The function is called by a build and by a plan; all else takes what it gave then."""
    with pytest.raises(errors.SpecError, match=r"2:1: location: what factory\.make gives is not"):
        Pipeline.load(made.root)
    assert Pipeline.load(made.root, call=True).build().named("ran") == ("load", "twice", "show")
    assert made.read("out/double.txt") == "xxxxxx"
    dag = Pipeline.load(made.root)
    assert dag.graph.upstream["show"] == ("load", "twice")
    assert (made.root / "out/show.ipynb").exists()
    assert dag.plan().idle
    made.edit("factory.py", '"rows": 3', '"rows": 4')
    assert dag.start("twice").wait(120).ok
    assert made.read("out/double.txt") == "x" * 8


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("location: factory.make\ntasks: []\n", "2:1: tasks: key 'tasks' cannot stand beside"),
        ("location: 3\n", "1:11: location: names no function"),
        ("location: a.b\nlocation: a.c\n", "2:1"),
        ("location: [a]\n", "names no function"),
    ],
)
def test_a_factory_stands_alone(project: Project, spec: str, said: str) -> None:
    project.write("pipeline.yaml", spec)
    with pytest.raises(errors.SpecError) as caught:
        Pipeline.load(project.root)
    assert said in str(caught.value)


@process
def test_a_factory_is_given_an_env_that_the_command_line_can_change(project: Project) -> None:
    project.write("pipeline.yaml", "meta: {compat: ploomber}\nlocation: factory.make\n")
    project.write("env.yaml", "out: out\nrows: 3\n")
    project.write(
        "factory.py",
        "from ploomber import with_env\n\n@with_env\ndef make(env):\n"
        "    return [{'source': 'steps.load', 'product': env.out + '/load.txt',\n"
        "             'params': {'rows': env.rows}}]\n",
    )
    project.write("steps.py", STEPS)
    nbpipe("build", cwd=project.root)
    assert project.read("out/load.txt") == "xxx"
    nbpipe("build", "--env--rows", "5", "--env--out", "other", cwd=project.root)
    assert project.read("other/load.txt") == "xxxxx"
    assert "no key 'row'" in nbpipe("build", "--env--row", "5", cwd=project.root, code=2)


@process
def test_a_factory_may_return_what_the_file_would_hold(project: Project) -> None:
    project.write("pipeline.yaml", "location: factory.make\n")
    project.write("steps.py", STEPS)
    entry = {"source": "steps.load", "product": "a.txt", "params": {"rows": 2}}
    project.write("factory.py", f"def make():\n    return [{entry}]\n")
    dag = Pipeline.load(project.root, call=True)
    assert dag.build().ok
    assert project.read("a.txt") == "xx"
    with pytest.raises(UsageError, match="add the task to what that function returns"):
        dag.write_task("more", "more.py", "1\n")
    project.write("factory.py", "def make():\n    return 3\n")
    with pytest.raises(errors.SpecError, match="a value of type int, no pipeline"):
        Pipeline.load(project.root, call=True)
    project.write("factory.py", "def make():\n    return [{'source': 'no.py'}]\n")
    with pytest.raises(errors.SpecError, match=r"no\.py"):
        Pipeline.load(project.root, call=True)


def test_what_cannot_be_sent_to_a_task_is_refused_when_the_dag_is_made() -> None:
    from nbpipe.compat.building import DAG, File, NotebookRunner, PythonCallable

    dag = DAG()
    with pytest.raises(UsageError, match="cannot have clients"):
        dag.clients[File] = object()
    with pytest.raises(UsageError, match="cannot be imported by another process"):
        PythonCallable(lambda product: None, File("a"), dag)
    with pytest.raises(UsageError, match="must be a path"):
        NotebookRunner("1 + 1", File("a.ipynb"), dag, name="inline")
    NotebookRunner(Path("a.py"), File("a.ipynb"), dag)
    with pytest.raises(UsageError, match="two tasks called 'a'"):
        NotebookRunner(Path("b/a.py"), File("b.ipynb"), dag)
    with pytest.raises(UsageError, match="did you mean 'a'"):
        dag["aa"]
    assert (len(dag), list(dag), dag["a"].upstream) == (1, ["a"], {})
