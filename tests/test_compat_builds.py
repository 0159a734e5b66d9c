"""Projects as Ploomber's documentation describes them: built, skipped, and what must run again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from nbpipe import Pipeline
from nbpipe.errors import BuildError, SpecError, UsageError
from nbpipe.jupyter.magics import PipelineMagics
from nbpipe.run.unchanged import unchanged
from tests.cli import nbpipe
from tests.projects import Project

COMPAT = Path(__file__).parent / "pipelines" / "compat"

process = pytest.mark.process
kernel = pytest.mark.kernel


class Copy:
    """A copy of one project, and builds that tell what ran."""

    def __init__(self, name: str, folder: Path) -> None:
        self.root = folder / name
        shutil.copytree(COMPAT / name, self.root)

    def build(self, entry: str = "", **env: object) -> list[str]:
        """The tasks that ran; the build went well."""
        report = Pipeline.load(self.root / entry, env=env or None, call=True).build()
        assert report.ok, report
        return sorted(report.named("ran"))

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        made = file.with_name(f".{file.name}.new")
        made.write_text(text.replace(old, new), encoding="utf-8")
        made.replace(file)

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Copy]:
    def make(name: str) -> Copy:
        project = Copy(name, tmp_path)
        monkeypatch.chdir(project.root)
        return project

    return make


FITS = ["fit-1-stump", "fit-2-forest", "fit-2-tree", "fit-4-forest", "fit-4-tree"]

PRODUCTS = [
    pytest.param("env", {"output/train/scaled.csv": "train by 1.5\n0.0\n0.0\n3.0"}, marks=process),
    pytest.param(
        "grid",
        {
            "output/best.txt": "[('fit-4-forest', 137), ('fit-4-tree', 135), ('fit-2-forest', 75),"
            " ('fit-2-tree', 73), ('fit-1-stump', 43)]",
            "output/tree/model.txt": None,
            "output/tree/model-0.txt": "tree 2 73",
            "output/fit-4-3.log.txt": "fitted forest",
        },
        marks=process,
    ),
    pytest.param(
        "functions",
        {"output/select.txt": "['int', 'str'] 6", "output/region-1.txt": "south"},
        marks=process,
    ),
    pytest.param(
        "serializers",
        {"output/mean.txt": "3.0", "output/report.md": "MEAN 3.0\nHALVES [('HALF-0', 15)"},
        marks=process,
    ),
    pytest.param("stores", {"output/sum.txt": "6", "output/parts/2.txt": "2"}, marks=process),
    pytest.param("hooks", {"output/sum.txt": "3"}, marks=process),
    pytest.param("early-stop", {"output/work.txt": "LETTER\n"}, marks=process),
    pytest.param("import", {"output/model.txt": "7.5"}, marks=kernel),
    pytest.param("declared", {"output/clean.txt": "1 2 3"}, marks=kernel),
    pytest.param("notebooks", {"output/count.txt": "2", "output/shout.txt": "!!"}, marks=kernel),
    pytest.param("folders", {"output/make.txt": "made"}, marks=kernel),
]


@pytest.mark.parametrize(("name", "products"), PRODUCTS)
def test_a_project_builds_and_then_has_nothing_to_do(
    copy: Callable[[str], Copy], name: str, products: dict[str, str | None]
) -> None:
    project = copy(name)
    ran = project.build()
    assert ran == sorted(Pipeline.load(project.root).graph.tasks)
    for path, text in products.items():
        if text is None:
            assert not (project.root / path).exists()
        else:
            assert project.read(path).startswith(text)
    assert project.build() == []
    assert Pipeline.load(project.root).plan().idle


RERUNS = [
    ("env", "env.yaml", "scale: 1.5", "scale: 2.5", ["scale"]),
    ("env", "env.yaml", "rows: 4", "rows: 5", ["load", "scale"]),
    ("env", "env.yaml", "kind: train", "kind: test", ["load", "scale"]),
    ("env", "env.yaml", "kind: train", "kind: train  # as before", []),
    ("grid", "pipeline.yaml", "part: [0, 1]", "part: [1, 0]", ["part-0", "part-1", *FITS]),
    ("grid", "pipeline.yaml", "seed: 7", "seed: 8", ["best", *FITS]),
    (
        "grid",
        "pipeline.yaml",
        "kind: [tree, forest]",
        "kind: [tree]",
        ["best", "fit-1-stump", "fit-4-tree"],
    ),
    ("grid", "tasks.py", "fitted {kind}", "fitted a {kind}", ["best", *FITS]),
    ("functions", "schema.json", '"name": "str"', '"name": "text"', ["select"]),
    ("functions", "settings.py", '"id", "name"', '"name", "id"', ["select"]),
    ("functions", "settings.py", "return 2 * factor", "return factor * 2", []),
    ("functions", "settings.py", '"north", "south"', '"north", "south", "west"', ["region-2"]),
    ("serializers", "shouting.py", "obj.upper()", "obj.lower()", ["report"]),
    ("serializers", "tasks.py", "[0] + part", "[0] + 2 * part", ["half-0", "half-1", "report"]),
    ("hooks", "hooks.py", "> limit, f", ">= limit, f", ["load"]),
    ("hooks", "pipeline.yaml", "limit: 2", "limit: 1", ["load"]),
    ("hooks", "hooks.py", "params['rows']}", "params['rows']}!", []),
]


@process
@pytest.mark.parametrize(
    ("name", "path", "old", "new", "ran"), RERUNS, ids=lambda value: str(value)[:24]
)
def test_exactly_what_must_runs_again(
    copy: Callable[[str], Copy], name: str, path: str, old: str, new: str, ran: list[str]
) -> None:
    """After an edit of env.yaml, a grid, a resource, a function that gives params, a hook."""
    project = copy(name)
    project.build()
    project.edit(path, old, new)
    assert project.build() == sorted(ran)
    assert project.build() == []


# --- env.yaml -------------------------------------------------------------------------------


@process
def test_the_command_line_overrides_env_yaml(copy: Callable[[str], Copy]) -> None:
    """And what was built without it is fresh again afterwards, except what was overwritten."""
    project = copy("env")
    nbpipe("build", cwd=project.root)
    said = nbpipe("plan", "--env--sample--rows", "2", cwd=project.root)
    assert "param 'rows' changed from 4 to 2" in said
    nbpipe("build", "--env--sample--rows", "2", "--env--kind=small", cwd=project.root)
    assert project.read("output/small/rows-2.csv") == "id,value\n0,0\n2,5"
    assert project.read("output/train/rows-4.csv").startswith("id,value\n0,0\n2,5\n4,10")
    said = nbpipe("status", "--env--sampl", "1", cwd=project.root, code=2)
    assert "--env--sampl: env.yaml has no key 'sampl'\n  hint: did you mean 'sample'?" in said
    assert "No such option" in nbpipe("schema", "--env--a", "1", cwd=project.root, code=2)


@process
def test_a_background_build_takes_the_same_values(copy: Callable[[str], Copy]) -> None:
    project = copy("env")
    nbpipe("build", "--bg", "--env--kind", "away", cwd=project.root)
    nbpipe("watch", cwd=project.root)
    assert (project.root / "output/away/scaled.csv").exists()


@process
def test_two_pipelines_of_one_folder_keep_their_own_records(copy: Callable[[str], Copy]) -> None:
    project = copy("env")
    assert project.build() == ["load", "scale"]
    assert project.build("pipeline.serve.yaml") == ["load"]
    assert project.read("output/serve/rows-1.csv") == "id\n0"
    assert project.build() == []
    assert project.build("pipeline.serve.yaml") == []


@process
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("env.yaml", None),
        ("../env.yaml", "unrelated: 1\n"),
        ("setup.cfg", "[ploomber]\nentry-point = pipeline.serve.yaml\n"),
        ("pyproject.toml", '[tool.ploomber]\nentry-point = "pipeline.serve.yaml"\n'),
    ],
    ids=["env.yaml", "another folder's", "setup.cfg", "pyproject.toml"],
)
def test_nothing_to_do_rests_on_all_that_was_read(
    copy: Callable[[str], Copy],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    text: str | None,
) -> None:
    """The answer that reads nothing but signatures is void once one of these says more."""
    project = copy("env")
    project.build()
    time.sleep(0.05)
    project.build()
    assert unchanged(project.root) is not None
    target = project.root / path
    target.write_text(text if text is not None else target.read_text() + "\n")
    if ".." in path:
        monkeypatch.chdir(target.parent)
    assert unchanged(project.root) is None


@process
def test_a_functions_values_are_asked_for_by_every_build(copy: Callable[[str], Copy]) -> None:
    """So nothing is told by signatures alone."""
    project = copy("functions")
    with pytest.raises(SpecError, match="no build has called it yet"):
        Pipeline.load(project.root)
    assert "3 tasks to run" in nbpipe("plan", cwd=project.root)
    nbpipe("build", cwd=project.root)
    time.sleep(0.05)
    nbpipe("build", cwd=project.root)
    assert unchanged(project.root) is None
    assert "3 fresh" in nbpipe("status", cwd=project.root)


@process
@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            "return 2 * factor",
            "return 2 / 0",
            "ZeroDivisionError: division by zero (settings.py:6)",
        ),
        ("return 2 * factor", "return object()", "settings.limit: TypeError: what it returns"),
        ("return 2 * factor", "import os; os._exit(3)", "settings.limit, settings.regions died"),
        ("def limit(factor)", "def limit()", "settings.limit() has no parameter 'factor'"),
        ("def limit(factor)", "def other(factor)", "module 'settings' has no function 'limit'"),
    ],
)
def test_a_function_that_gives_no_value_ends_the_build_before_anything_runs(
    copy: Callable[[str], Copy], old: str, new: str, what: str
) -> None:
    project = copy("functions")
    project.edit("settings.py", old, new)
    assert what in nbpipe("build", cwd=project.root, code=2)
    assert not (project.root / "output").exists()


# --- databases and stores -------------------------------------------------------------------


@process
def test_a_database_is_filled_and_read_again_where_it_must_be(copy: Callable[[str], Copy]) -> None:
    project = copy("sql")
    assert project.build() == sorted(Pipeline.load(project.root).graph.tasks)
    assert project.read("output/joined.txt") == (
        'shops and totals\n"shop","total"\n"north","8"\n"south","4"\n"shop"\n"north"\n"south"\n'
    )
    assert project.build() == []
    project.edit("sql/by-shop.sql", "-- what each shop has sold", "-- sales\n-- by shop")
    assert project.build() == []
    project.edit("data/header.txt", "shops", "all shops")
    assert project.build() == ["join"]
    project.edit("pipeline.yaml", "least: 2", "least: 5")
    assert project.build() == ["best", "by-shop", "chunks", "dump", "join", "move", "moved"]


@process
def test_what_a_client_of_files_keeps_is_not_made_again(copy: Callable[[str], Copy]) -> None:
    project = copy("stores")
    project.build()
    shutil.rmtree(project.root / "output")
    assert project.build() == []
    assert project.read("output/parts/3.txt") == "3"
    shutil.rmtree(project.root / "output")
    shutil.rmtree(project.root / ".nbpipe")
    assert project.build() == []
    project.edit("tasks.py", "1\\n2\\n3", "1\\n2")
    assert project.build() == ["numbers", "total"]


# --- hooks ----------------------------------------------------------------------------------


@process
def test_hooks_are_called_once_in_their_places_with_what_they_ask_for(
    copy: Callable[[str], Copy],
) -> None:
    project = copy("hooks")
    project.build()
    seen = {path.name: path.read_text() for path in (project.root / "seen").iterdir()}
    assert seen == {
        "params.txt": "load 3\n",
        "rendered.txt": "['load', 'total']\n",
        "rows.txt": "3 None\n",
        "finished.txt": "['load', 'total'] done\n",
    }
    project.build()
    assert {p.name: p.read_text() for p in (project.root / "seen").iterdir()} == seen


@process
def test_an_error_in_on_finish_fails_the_task(copy: Callable[[str], Copy]) -> None:
    """Its product stays, it counts as failed, nothing below it runs, and on_failure is called."""
    project = copy("hooks")
    project.edit("pipeline.yaml", "limit: 2", "limit: 3")
    report = Pipeline.load(project.root).build()
    failure = report.tasks["load"].failure
    assert report.exit_code == 1
    assert failure is not None
    assert failure.error == "AssertionError"
    assert "on_finish of task 'load': only 3 rows" in failure.message
    assert failure.file == "hooks.py"
    assert report.named("blocked") == ("total",)
    assert project.read("seen/failed.txt") == "False\n"
    assert not (project.root / "seen/finished.txt").exists()
    project.edit("pipeline.yaml", "limit: 3", "limit: 2")
    assert project.build() == ["load", "total"]


@process
def test_on_failure_is_called_after_the_last_try(copy: Callable[[str], Copy]) -> None:
    project = copy("hooks")
    project.edit("tasks.py", "str(sum(numbers))", "str(1 / 0)")
    project.edit(
        "pipeline.yaml",
        "    on_failure: hooks.total_failed",
        "    retries: 1\n    on_failure: hooks.total_failed",
    )
    assert not Pipeline.load(project.root).build().ok
    assert project.read("seen/total.txt") == "total sum.txt\n"
    assert project.read("seen/failed.txt") == "True\n"


@process
def test_an_error_in_on_failure_is_a_warning(copy: Callable[[str], Copy]) -> None:
    project = copy("hooks")
    project.edit("tasks.py", "str(sum(numbers))", "str(1 / 0)")
    project.edit("hooks.py", 'note("total.txt"', 'undefined("total.txt"')
    report = Pipeline.load(project.root).build()
    assert any("on_failure of task 'total': name 'undefined'" in w for w in report.warnings)
    assert report.tasks["total"].failure.error == "ZeroDivisionError"


@process
@pytest.mark.parametrize("old", ['assert params["rows"] > 0', 'note("rendered.txt"'])
def test_an_error_in_on_render_ends_the_build_before_anything_runs(
    copy: Callable[[str], Copy], old: str
) -> None:
    project = copy("hooks")
    project.edit("hooks.py", old, f'raise ValueError("no"); {old}')
    with pytest.raises(BuildError, match=r"ValueError: on_render.*: no \(hooks.py:\d+\)"):
        Pipeline.load(project.root).build()
    assert not (project.root / "output").exists()
    assert "ValueError: on_render" in nbpipe("build", cwd=project.root, code=1)


@process
def test_an_error_in_the_pipelines_on_finish_fails_the_build(copy: Callable[[str], Copy]) -> None:
    project = copy("hooks")
    project.edit("hooks.py", 'note("finished.txt"', 'undefined("finished.txt"')
    said = nbpipe("build", cwd=project.root, code=1)
    assert "NameError: on_finish: name 'undefined' is not defined (hooks.py:" in said
    assert project.build() == []


@process
def test_an_early_stop_is_no_failure(copy: Callable[[str], Copy]) -> None:
    """Nothing new starts, the exit code is 0, and the task runs again with the next build."""
    project = copy("early-stop")
    (project.root / "inbox.txt").write_text("")
    said = nbpipe("build", cwd=project.root)
    assert "the build was ended early: the inbox is empty" in said
    assert not (project.root / "output/work.txt").exists()
    (project.root / "inbox.txt").write_text("more\n")
    assert project.build() == ["look", "work"]


@process
def test_a_task_may_stop_the_build_too(copy: Callable[[str], Copy]) -> None:
    project = copy("early-stop")
    project.edit(
        "tasks.py",
        "Path(product).write_text(Path(upstream",
        'raise DAGBuildEarlyStop("x")\n    (Path(upstream',
    )
    report = Pipeline.load(project.root).build()
    assert (report.exit_code, report.named("cancelled")) == (0, ("work",))


# --- notebooks ------------------------------------------------------------------------------


@kernel
def test_pipelines_share_the_tasks_of_a_file(copy: Callable[[str], Copy]) -> None:
    project = copy("import")
    assert project.build() == ["features", "fit", "get"]
    assert project.build("pipeline.serve.yaml") == ["features", "get", "predict"]
    assert project.read("output/prediction.txt") == "True"
    assert project.build() == []
    project.edit("features/features.py", "n * n", "n + n")
    assert project.build() == ["features", "fit"]
    assert project.build("pipeline.serve.yaml") == ["features", "predict"]


@kernel
def test_scripts_without_a_spec_are_built_by_a_pattern(copy: Callable[[str], Copy]) -> None:
    project = copy("declared")
    (project.root / "pipeline.yaml").unlink()
    assert "2 executed" in nbpipe("build", "-e", "scripts/*.py", cwd=project.root)
    assert "0 executed" in nbpipe("build", "-e", "scripts/*.py", cwd=project.root)
    project.edit("scripts/clean.py", "sorted(words)", "sorted(words)[::-1]")
    assert "clean" in nbpipe("plan", "-e", "scripts/*.py", cwd=project.root)
    nbpipe("build", "--bg", "-e", "scripts/*.py", cwd=project.root)
    nbpipe("watch", "-e", "scripts/*.py", cwd=project.root)
    assert project.read("output/clean.txt") == "3 2 1"


@kernel
@pytest.mark.parametrize(
    ("spec", "path"),
    [("pipeline.beside.yaml", "scripts/beside/make.txt"), ("pipeline.list.yaml", "list/make.txt")],
)
def test_products_go_where_the_spec_says(copy: Callable[[str], Copy], spec: str, path: str) -> None:
    project = copy("folders")
    assert project.build(spec) == ["make"]
    assert project.read(path) == "made"
    assert project.build(spec) == []


@kernel
def test_one_notebook_in_two_formats_without_its_code(copy: Callable[[str], Copy]) -> None:
    project = copy("notebooks")
    project.build()
    page = project.read("output/count.html")
    assert "pear is there 2 times" in page
    assert "words.txt" not in page
    assert "words.txt" in project.read("output/count.ipynb")
    assert not list((project.root / "output").glob("shout.*nb"))
    project.edit("pipeline.yaml", "exclude_input: true", "exclude_input: false")
    assert project.build() == ["count"]
    assert "words.txt" in project.read("output/count.html")


@kernel
def test_a_strict_check_refuses_a_notebook_before_anything_runs(
    copy: Callable[[str], Copy],
) -> None:
    project = copy("notebooks")
    project.edit("scripts/count.py", "word = None", "words = None")
    with pytest.raises(SpecError) as caught:
        Pipeline.load(project.root).build()
    text = str(caught.value)
    assert "scripts/count.py:4: 'words' is declared, but the task gives no such param" in text
    assert "the task gives the param 'word', which is not declared here" in text
    assert not (project.root / ".nbpipe/runs").exists()


@kernel
def test_a_regular_check_fails_the_task_alone(copy: Callable[[str], Copy]) -> None:
    project = copy("notebooks")
    project.edit("pipeline.yaml", "static_analysis: disable", "static_analysis: regular")
    project.edit("scripts/shout.py", "Path(product)", "Pth(product)")
    report = Pipeline.load(project.root).build()
    assert report.named("ran") == ("count",)
    assert "scripts/shout.py:8: undefined name 'Pth'" in report.tasks["shout"].failure.message


# --- in a notebook --------------------------------------------------------------------------


@process
def test_a_notebook_uses_a_pipeline_with_other_values(copy: Callable[[str], Copy]) -> None:
    """From ``%pipeline use`` on; a key that is not there leaves everything as it was."""
    shell = InteractiveShell()
    magics = PipelineMagics(shell)
    project = copy("env")
    magics.pipeline(f"use {project.root} --env--sample--rows 2")
    assert magics.session.load().graph.task("load").params["rows"] == 2
    magics.pipeline("build")
    assert (project.root / "output/train/rows-2.csv").exists()
    with pytest.raises(UsageError, match="did you mean 'sample'"):
        magics.pipeline(f"use {project.root} --env--sampl 2")
    assert magics.session.load().graph.task("load").params["rows"] == 2
    with pytest.raises(UsageError, match="unrecognized arguments"):
        magics.pipeline("status --env--kind x")


def test_a_notebook_may_stop_the_build(diamond: Project) -> None:
    """What is fresh stays so, what was not begun is new, and nothing counts as failed."""
    stop = "from nbpipe.errors import DAGBuildEarlyStop\nraise DAGBuildEarlyStop('enough')"
    diamond.write("petal.py", diamond.text(["get"], stop))
    report = diamond.report(jobs=1)
    assert (report.exit_code, report.state) == (0, "done")
    assert {"petal", "fit"} <= {*report.named("cancelled")}
    assert report.warnings == ("the build was ended early: enough",)
    diamond.write("petal.py", diamond.text(["get"]))
    assert set(diamond.build()) >= {"petal", "fit"}
