"""A pipeline.yaml written for Ploomber: what its keys, its placeholders and its grids mean here."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nbpipe import Pipeline
from nbpipe.core.model import Task
from nbpipe.core.options import Call, Hooks
from nbpipe.errors import SpecError, UsageError
from nbpipe.jupyter.contents_tasks import Loaded
from nbpipe.store import placeholders
from nbpipe.store.env import casted, split_overrides
from nbpipe.store.specfile import find_spec, load_spec, read_spec
from nbpipe.store.specload import Entry

COMPAT = Path(__file__).parent / "pipelines" / "compat"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("ENTRY_POINT", "PLOOMBER_ENV_FILENAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def read(folder: Path, spec: str, **files: str) -> tuple[Task, ...]:
    """The tasks of a spec; ``env=…`` writes env.yaml."""
    write(folder, {"pipeline.yaml": spec, **{f"{k}.yaml": v for k, v in files.items()}})
    return read_spec(folder / "pipeline.yaml", sources=False).tasks


def params(folder: Path, values: str, env: str = "") -> dict[str, Any]:
    """The params of one task, written as a flow mapping."""
    spec = f"tasks:\n- source: a.py\n  params: {values}\n"
    return read(folder, spec, env=env)[0].params if env else read(folder, spec)[0].params


def refusal(folder: Path, spec: str, **files: str) -> str:
    with pytest.raises(SpecError) as caught:
        read(folder, spec, **files)
    return str(caught.value)


# --- placeholders ---------------------------------------------------------------------------

ENV = """\
name: iris
rows: 10
rate: 1.10
flags: [true, null]
model: {kind: tree, depth: {max: 3}}
out: "output/{{name}}"
"""


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("{{name}}", "iris"),
        ("{{ name }}-1", "iris-1"),
        ("{{rows}}", 10),
        ("n{{rows}}", "n10"),
        ("{{rows}}0", 100),
        ("{{rate}}", 1.1),
        ("v{{rate}}", "v1.1"),
        ("{{flags}}", [True, None]),
        ("{{flags[0]}}", True),
        ("{{model}}", {"kind": "tree", "depth": {"max": 3}}),
        ("{{model.depth.max}}", 3),
        ("{{model['kind']}}", "tree"),
        ("{{out}}/a", "output/iris/a"),
        ("{{ '{{' }}name{{ '}}' }}", "{{name}}"),
        ("no placeholder", "no placeholder"),
    ],
)
def test_a_placeholder_stands_for_a_value_of_env_yaml(
    folder: Path, said: str, value: object
) -> None:
    """Alone it keeps its type; in a text it is written out, and read as a value again."""
    assert params(folder, f'{{a: "{said}"}}', ENV) == {"a": value}


def test_where_text_belongs_a_placeholder_is_text(folder: Path) -> None:
    spec = 'tasks:\n- source: a.py\n  name: "{{year}}"\n  product: "{{year}}"\n'
    (task,) = read(folder, spec, env="year: 2024\n")
    assert (task.name, task.product) == ("2024", "2024")


def test_a_placeholder_may_stand_in_any_key(folder: Path) -> None:
    spec = (
        'meta: {extract_upstream: "{{flag}}"}\ntasks:\n- source: "{{src}}/a.py"\n'
        '  retries: "{{n}}"\n  upstream: "{{ups}}"\n- source: b.py\n'
    )
    first, _ = read(folder, spec, env="flag: false\nsrc: s\nn: 2\nups: [b]\n")
    assert (first.source, first.retries, first.upstream) == ("s/a.py", 2, ("b",))


def test_some_placeholders_need_no_env_yaml(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "set")
    found = params(
        folder,
        '{h: "{{here}}", c: "{{cwd}}", r: "{{root}}", u: "{{user}}", e: "{{env.SOME_VARIABLE}}"}',
    )
    here = str(folder)
    assert found == {"h": here, "c": here, "r": here, "u": getpass.getuser(), "e": "set"}
    assert params(folder, '{n: "{{now}}"}')["n"].count("-") >= 2


def test_root_is_the_folder_of_setup_py(folder: Path) -> None:
    write(folder, {"setup.py": "", "src/pkg/pipeline.yaml": ""})
    spec = folder / "src/pkg/pipeline.yaml"
    spec.write_text('- {source: a.py, params: {r: "{{root}}", h: "{{here}}"}}')
    assert read_spec(spec, sources=False).tasks[0].params == {
        "r": str(folder),
        "h": str(spec.parent),
    }


def test_a_key_of_env_yaml_wins_over_a_fact(folder: Path) -> None:
    assert params(folder, '{u: "{{user}}"}', "user: somebody\n") == {"u": "somebody"}


def test_products_below_here_are_relative_to_the_root(folder: Path) -> None:
    """So that a project that was moved stays fresh."""
    (task,) = read(folder, '- {source: a.py, product: "{{here}}/out/a.csv"}')
    assert task.product == "out/a.csv"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_tells_the_branch_and_the_commit(folder: Path) -> None:
    def git(*words: str) -> str:
        safe = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *safe, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "trunk")
    spec = '{b: "{{git}}", h: "{{git_hash}}"}'
    assert "git describe failed" in refusal(folder, f"- {{source: a.py, params: {spec}}}")
    git("add", ".")
    git("commit", "-qm", "first")
    short = git("rev-parse", "--short", "HEAD")
    assert params(folder, spec)["b"] == "trunk"
    git("add", ".")
    git("commit", "-qm", "second")
    short = git("rev-parse", "--short", "HEAD")
    assert params(folder, spec) == {"b": "trunk", "h": short}
    git("tag", "v1")
    git("checkout", "-q", "--detach")
    (folder / "pipeline.yaml").write_text((folder / "pipeline.yaml").read_text() + "\n")
    assert read_spec(folder / "pipeline.yaml", sources=False).tasks[0].params == {
        "b": "v1-dirty",
        "h": "v1-dirty",
    }


@pytest.mark.parametrize(
    ("said", "env", "what"),
    [
        ("{{nmae}}", ENV, "nothing stands for '{{nmae}}'\n  hint: did you mean 'name'?"),
        ("{{zzz}}", ENV, "hint: write 'zzz: …' into env.yaml beside the spec"),
        ("{{model.kid}}", ENV, "'model' has nothing called 'kid'\n  hint: did you mean 'kind'?"),
        ("{{flags[7]}}", ENV, "'flags' has nothing called '7'"),
        ("{{name | upper}}", ENV, "is no placeholder\n  hint: write {{key}} or {{key.inner}}"),
        ("{{env.NO_SUCH_VARIABLE}}", "", "the environment has no variable 'NO_SUCH_VARIABLE'"),
        ("{{a}}", "a: '{{b}}'\nb: '{{a}}'\n", "placeholders that need each other: a → b → a"),
        ("{{git}}", "", "'{{git}}': git describe failed"),
    ],
)
def test_what_cannot_be_filled_is_told_with_its_place(
    folder: Path, said: str, env: str, what: str
) -> None:
    assert what in refusal(folder, f'- source: a.py\n  params: {{p: "{said}"}}\n', env=env)


def test_a_mistake_in_a_value_is_placed_where_its_placeholder_is(folder: Path) -> None:
    text = refusal(folder, '- source: a.py\n  retries: "{{n}}"\n', env="n: -1\n")
    assert text.startswith("pipeline.yaml:2:12: tasks[0].retries: must be 0 or more, not -1")


def test_a_placeholder_without_quotes_is_explained(folder: Path) -> None:
    """YAML takes it for a mapping in a mapping."""
    text = refusal(folder, "- source: a.py\n  name: {{x}}\n", env="x: 1\n")
    assert "2:" in text
    assert "a list or a mapping as a key" in text


def test_placeholders_that_double_each_other_stop_at_a_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placeholders, "MAX_NODES", 2_000)
    lines = ["k0: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f'k{i}: ["{{{{k{i - 1}}}}}", "{{{{k{i - 1}}}}}"]' for i in range(1, 40)]
    text = refusal(folder, '- {source: a.py, params: {p: "{{k39}}"}}', env="\n".join(lines))
    assert "placeholders give more than 2,000 values" in text


@pytest.mark.parametrize(
    ("files", "value"),
    [
        ({"env.yaml": "x: 1"}, 1),
        ({"env.yaml": "x: 1", "env.serve.yaml": "x: 2"}, 2),
        ({"env.yaml": "x: 1", "work/env.yaml": "x: 3"}, 3),
        ({"env.serve.yaml": "x: 2", "work/env.yaml": "x: 3"}, 2),
    ],
    ids=["env.yaml", "env.NAME.yaml", "the current folder", "a name before a place"],
)
def test_env_yaml_of_a_named_pipeline(
    folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], value: int
) -> None:
    write(folder, {"pipeline.serve.yaml": '- {source: a.py, params: {p: "{{x}}"}}', **files})
    (folder / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(folder / "work")
    spec = read_spec(folder / "pipeline.serve.yaml", sources=False)
    assert spec.tasks[0].params == {"p": value}


def test_env_files_can_build_on_each_other(folder: Path) -> None:
    write(folder, {"base.yaml": "a: {x: 1, y: 2}\nb: 3\n"})
    env = "meta: {import_from: base.yaml}\na: {y: 9}\n"
    assert params(folder, '{p: "{{a}}", q: "{{b}}"}', env) == {"p": {"x": 1, "y": 9}, "q": 3}
    env = "meta: {import_from: env.yaml}\n"
    assert "the files import each other" in refusal(folder, '- source: "{{a}}"', env=env)


def test_the_env_file_can_be_named_by_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"env.ci.yaml": "x: ci\n"})
    monkeypatch.setenv("PLOOMBER_ENV_FILENAME", "env.ci.yaml")
    assert params(folder, '{p: "{{x}}"}', "x: here\n") == {"p": "ci"}


def test_keys_that_nobody_uses_are_told(folder: Path) -> None:
    write(folder, {"env.yaml": "a: 1\nb: '{{a}}'\nc: 2\n", "a.py": "1\n"})
    write(folder, {"pipeline.yaml": '- {source: a.py, params: {p: "{{b}}"}}'})
    assert Pipeline.load(folder).warnings == ("env.yaml: key 'c' is not used",)


def test_an_env_file_is_not_read_for_a_spec_without_placeholders(folder: Path) -> None:
    """A file of that name may belong to another tool."""
    assert read(folder, "- source: a.py\n", env="[not, ours")[0].name == "a"


def test_values_are_overridden_by_path(folder: Path) -> None:
    """And what is made of them changes with them."""
    write(folder, {"env.yaml": ENV, "pipeline.yaml": "", "a.py": "1\n"})
    (folder / "pipeline.yaml").write_text(
        '- {source: a.py, params: {o: "{{out}}", d: "{{model.depth.max}}", k: "{{model.kind}}",'
        ' c: "{{cwd}}"}}'
    )
    env = {"name": "wine", "model.depth.max": 5, "cwd": "/x"}
    pipeline = Pipeline.load(folder, env=env)
    expected = {"o": "output/wine", "d": 5, "k": "tree", "c": "/x"}
    assert pipeline.spec.tasks[0].params == expected
    assert pipeline.reload().spec.tasks[0].params == expected


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("nmae", "--env--nmae: env.yaml has no key 'nmae'\n  hint: did you mean 'name'?"),
        ("model.deep", "--env--model--deep: env.yaml has no key 'deep'"),
        ("rows.x", "--env--rows--x: 'rows' holds no further keys"),
    ],
)
def test_overriding_what_is_not_there_is_an_error(folder: Path, key: str, what: str) -> None:
    write(folder, {"env.yaml": ENV, "pipeline.yaml": '- {source: a.py, name: "{{name}}"}'})
    with pytest.raises(UsageError) as caught:
        Pipeline.load(folder, env={key: 1})
    assert what in str(caught.value)


def test_overrides_are_taken_from_a_command_line() -> None:
    words = ["build", "--env--a", "1", "-f", "--env--b--c=x y", "--env--d", "-1"]
    found, rest = split_overrides(words)
    assert (found, rest) == ({"a": "1", "b.c": "x y", "d": "-1"}, ["build", "-f"])
    with pytest.raises(UsageError, match="'--env--a' needs a key and a value"):
        split_overrides(["--env--a"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.5", 1.5),
        ("True", True),
        ("none", None),
        ("[1, 'a']", [1, "a"]),
        ("{'a': 1}", {"a": 1}),
        ("2024-01-01", "2024-01-01"),
        ("__import__('os')", "__import__('os')"),
        ("1e999", "1e999"),
        ("{1, 2}", "{1, 2}"),
        ("", ""),
    ],
)
def test_a_text_that_is_given_from_outside_is_read_as_a_value(text: str, value: object) -> None:
    assert casted(text) == value


# --- where the spec is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"setup.cfg": "[metadata]\nname = x\n[ploomber]\nentry-point = flow/p.yaml\n"},
        {"pyproject.toml": '[tool.ploomber]\nentry-point = "flow/p.yaml"\n'},
        {"pyproject.toml": '[tool.nbpipe]\nentry-point = "flow/p.yaml"\n'},
    ],
    ids=["setup.cfg", "pyproject, ploomber", "pyproject, nbpipe"],
)
def test_a_settings_file_names_the_entry_point(folder: Path, files: dict[str, str]) -> None:
    write(folder, {"flow/p.yaml": "tasks: []", "pipeline.yaml": "tasks: []", "deep/x": "", **files})
    assert find_spec(folder) == find_spec(folder / "deep") == folder / "flow/p.yaml"
    (folder / "flow/p.yaml").unlink()
    with pytest.raises(SpecError, match="no such file\n  hint: check ENTRY_POINT, and entry-point"):
        find_spec(folder)


def test_settings_files_that_say_nothing_of_it_change_nothing(folder: Path) -> None:
    write(folder, {"pipeline.yaml": "tasks: []", "setup.cfg": "[ploomber]\n[broken"})
    write(folder, {"pyproject.toml": '[tool.black]\nentry-point = "x"\n'})
    assert find_spec(folder) == folder / "pipeline.yaml"


def test_the_environment_names_the_entry_point(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"pipeline.serve.yaml": "tasks: []", "pipeline.yaml": "tasks: []", "deep/x": ""})
    monkeypatch.setenv("ENTRY_POINT", "pipeline.serve.yaml")
    assert find_spec(folder / "deep") == folder / "pipeline.serve.yaml"
    monkeypatch.setenv("ENTRY_POINT", str(folder / "pipeline.yaml"))
    assert find_spec(folder / "deep") == folder / "pipeline.yaml"


def test_scripts_without_a_spec_say_themselves_what_they_make(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(COMPAT / "declared" / "scripts", folder / "scripts")
    pipeline = Pipeline.load("scripts/*.py")
    assert pipeline.root == folder
    assert pipeline.graph.upstream == {"clean": ("load",), "load": ()}
    assert pipeline.product("load") == {
        "nb": str(folder / "output/load.ipynb"),
        "data": str(folder / "output/load.txt"),
    }
    assert [t.name for t in pipeline.reload().spec.tasks] == ["clean", "load"]


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("none/*.py", "none/*.py: no script is called so"),
        ("*.yaml", "a.yaml: is no script, and *.yaml means it"),
        ("*/same.py", "the name 'same' is taken by the task"),
    ],
)
def test_a_pattern_that_cannot_be_a_pipeline_is_refused(
    folder: Path, pattern: str, what: str
) -> None:
    write(folder, {"a.yaml": "", "x/same.py": "1\n", "y/same.py": "1\n"})
    with pytest.raises(SpecError) as caught:
        Pipeline.load(pattern)
    assert what in str(caught.value)


# --- grids ----------------------------------------------------------------------------------


def grid(folder: Path, entry: str) -> list[tuple[str, object, dict[str, Any]]]:
    lines = "".join(f"  {line}\n" for line in entry.splitlines())
    tasks = read(folder, f"tasks:\n- source: a.py\n{lines}")
    return [(task.name, task.product, task.params) for task in tasks]


def test_a_grid_is_every_combination_with_numbers_in_names_and_products(folder: Path) -> None:
    """The last key changes first; the number stands before all suffixes of the product."""
    found = grid(folder, "name: t-\nproduct: {x: o/a.tar.gz, f: dir}\ngrid: {a: [1, 2], b: [x, y]}")
    assert [(name, params) for name, _, params in found] == [
        ("t-0", {"a": 1, "b": "x"}),
        ("t-1", {"a": 1, "b": "y"}),
        ("t-2", {"a": 2, "b": "x"}),
        ("t-3", {"a": 2, "b": "y"}),
    ]
    assert found[3][1] == {"x": "o/a-3.tar.gz", "f": "dir-3"}


def test_several_grids_follow_each_other_and_params_are_the_same_for_all(folder: Path) -> None:
    entry = "name: t\nparams: {c: 9}\ngrid:\n- {a: [1, 2]}\n- {b: z}"
    assert [(name, params) for name, _, params in grid(folder, entry)] == [
        ("t0", {"a": 1, "c": 9}),
        ("t1", {"a": 2, "c": 9}),
        ("t2", {"b": "z", "c": 9}),
    ]


def test_placeholders_of_a_grid_stand_in_name_and_product(folder: Path) -> None:
    entry = "name: 'fit-[[a]]-[[ m.k ]]'\nproduct: 'o/[[a]]/[[c]].csv'\n"
    entry += "params: {c: 9, m: {k: v}}\ngrid: {a: [1.5]}"
    assert grid(folder, entry) == [
        ("fit-1.5-v", "o/1.5/9-0.csv", {"a": 1.5, "c": 9, "m": {"k": "v"}})
    ]


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("grid: {a: [1]}", "a task with a grid needs a name"),
        ("name: t\ngrid: {}", "grid: is empty"),
        ("name: t\ngrid: {a: []}", "'a' lists no value"),
        ("name: t\ngrid: {a: {b: 1}}", "the value of 'a' is a mapping"),
        ("name: t\ngrid: {a: [1]}\nparams: {a: 2}", "'a' is in 'params' too"),
        ("name: 't[[b]]'\ngrid: {a: [1]}", "there is no param 'b' for [[b]]"),
        ("name: t\nproduct: '[[b]]'\ngrid: {a: [1]}", "there is no param 'b' for [[b]]"),
        ("name: 't[[a]]'\ngrid: {a: [1, 1]}", "the name 't1' is taken by the task"),
        ("name: 't[[a]]'\ngrid: {a: [x/y]}", "contains '/', a path separator"),
        ("name: t\ngrid: {a: 'm::f'}", "what 'm::f' gives is not known: no build has called it"),
    ],
)
def test_a_grid_that_cannot_be_laid_out_is_refused(folder: Path, entry: str, what: str) -> None:
    lines = "".join(f"  {line}\n" for line in entry.splitlines())
    write(folder, {"pipeline.yaml": f"tasks:\n- source: a.py\n{lines}", "a.py": "1\n"})
    with pytest.raises(SpecError) as caught:
        Pipeline.load(folder)
    assert what in str(caught.value)
    assert (
        "pipeline.yaml:2" in str(caught.value)
        or "pipeline.yaml:3" in str(caught.value)
        or ("pipeline.yaml:4" in str(caught.value))
    )


def test_a_grid_of_too_many_tasks_is_refused_at_once(folder: Path) -> None:
    axes = ", ".join(f"{key}: {list(range(60))}" for key in "abcdef")
    text = refusal(folder, f"- {{source: a.py, name: t, grid: {{{axes}}}}}")
    assert "gives more than 10,000 tasks" in text


# --- hooks, classes, options ----------------------------------------------------------------


def test_hooks_are_functions_with_arguments(folder: Path) -> None:
    spec = (
        "on_finish: h.end\ntasks:\n- source: a.py\n  on_render: pkg.h.check\n"
        "  on_finish: {dotted_path: 'h::test', limit: 3}\n"
    )
    (task,) = read(folder, spec)
    assert task.hooks == Hooks(
        on_render=Call("pkg.h.check"), on_finish=Call("h.test", {"limit": 3})
    )
    assert read_spec(folder / "pipeline.yaml", sources=False).hooks.on_finish == Call("h.end")


ONE = "tasks:\n- source: a.py\n  product: {nb: a.ipynb, page: a.html, data: a.csv}\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (ONE + "  on_finish: check", "tasks[0].on_finish: 'check' names no function"),
        (ONE + "  on_finish: {path: h.f}", "hint: write module.function, or {dotted_path:"),
        (ONE + "  class: NotebookRuner", "hint: did you mean 'NotebookRunner'?"),
        (ONE + "  class: PythonCallable", "the source is not one of a PythonCallable"),
        (ONE + "  class: UploadToS3", "UploadToS3 tasks are not supported yet"),
        (ONE + "  product_class: SQLRelation", "but the product is a table or view"),
        (ONE + "  product_class: Flie", "there is no product class 'Flie'"),
        (ONE + "  static_analysis: strickt", "hint: did you mean 'strict'?"),
        (ONE + "  nb_product_key: nbb", "there is no product 'nbb'\n  hint: did you mean 'nb'?"),
        (ONE + "  nb_product_key: [nb, page]\n  nbconvert_exporter_name: html", "write a mapping"),
        (ONE + "  nbconvert_exporter_name: {page: html}", "'page' is not in 'nb_product_key'"),
        (ONE + "  debug_mode: now", "'now' is not supported\n  hint: write 'later'"),
        (ONE + "  executor: dask", "'dask' is no executor of notebooks"),
        (ONE + "  executor_params: {cwd: x}", "hint: write 'local_execution: true'"),
        (ONE + "  papermill_params: {report_mode: true}", "option 'report_mode' is not supported"),
        (ONE + "  ext_in: ipynb", "'ipynb' is not the source's suffix\n  hint: rename the source"),
        ("executor: dask\n" + ONE, "executor: 'dask' is no executor"),
        ("executor: {dotted_path: ploomber.executors.Parallel, x: 1}\n" + ONE, "argument 'x'"),
        ("config: {outdated_by_cod: false}\n" + ONE, "did you mean 'outdated_by_code'?"),
        ("config: {differ: default}\n" + ONE, "config.differ: key 'differ' is not supported yet"),
        ("meta: {product_default_class: {NotebookRunner: SQLRel}}\n" + ONE, "no product class"),
        ("meta: {product_default_class: {Notebok: File}}\n" + ONE, "no task class 'Notebok'"),
        ("meta: {source_loader: {}}\n" + ONE, "says neither 'path' nor 'module'"),
        ("meta: {source_loader: {module: nope}}\n" + ONE, "there is no package 'nope'"),
        ("meta: {extract_product: true}\n" + ONE, "the source itself declares its product"),
        ("- {source: m.f, local_execution: true}", "key 'local_execution' is for notebooks"),
        (ONE + "  params: {resources_: [a]}", "must be a mapping of names to paths"),
        (ONE + "  name: a\n  grid: [1]", "tasks[0].grid[0]: must be a mapping, but 1 is read"),
    ],
)
def test_what_is_not_supported_is_told_and_never_ignored(
    folder: Path, text: str, what: str
) -> None:
    assert what in refusal(folder, text)


@pytest.mark.parametrize(
    ("executor", "jobs"),
    [
        ("serial", 1),
        ("parallel", None),
        ("{dotted_path: ploomber.executors.Serial, build_in_subprocess: false}", 1),
        ("{dotted_path: ploomber.executors.Parallel, processes: 3}", 3),
        ("{dotted_path: ploomber.executors.Parallel, start_method: spawn}", None),
    ],
)
def test_the_executor_says_how_many_tasks_run_at_once(
    folder: Path, executor: str, jobs: int | None
) -> None:
    read(folder, f"executor: {executor}\ntasks:\n- source: a.py\n")
    assert read_spec(folder / "pipeline.yaml", sources=False).jobs == jobs


def test_notebooks_may_be_made_in_several_formats(folder: Path) -> None:
    spec = ONE + (
        "  nb_product_key: [nb, page]\n  nbconvert_exporter_name: {page: slides}\n"
        "  nbconvert_export_kwargs: {exclude_input: true}\n"
    )
    (task,) = read(folder, spec)
    assert task.notebook == "a.ipynb"
    assert task.notebooks == {"nb": "a.ipynb", "page": "a.html"}
    assert task.data == {"data": "a.csv"}
    assert task.options.exporters == {"page": "slides"}


def test_the_notebook_of_a_script_is_not_kept(folder: Path) -> None:
    (task,) = read(folder, "- {source: a.py, class: ScriptRunner, product: a.html}")
    assert (task.notebook, task.data) == (None, {"": "a.html"})


def test_options_of_papermill_that_mean_something_are_taken(folder: Path) -> None:
    entry = "- {source: a.py, papermill_params: {kernel_name: ir, log_output: true}}"
    assert read(folder, entry)[0].kernel == "ir"


# --- further files --------------------------------------------------------------------------


def test_tasks_of_another_file_are_taken_in(folder: Path) -> None:
    """Scripts are relative to that file, products to the root, and placeholders are filled."""
    write(
        folder, {"more/tasks.yaml": '- source: b.py\n  product: "{{out}}/b.csv"\n- source: m.f\n'}
    )
    spec = "meta: {import_tasks_from: more/tasks.yaml}\ntasks:\n- source: a.py\n"
    tasks = read(folder, spec, env="out: o\n")
    assert [(t.source, t.product) for t in tasks] == [
        ("a.py", None),
        ("more/b.py", "o/b.csv"),
        ("m.f", None),
    ]
    assert tasks[1].at is not None
    assert (tasks[1].at.file, tasks[1].at.line) == ("more/tasks.yaml", 1)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "pipeline.yaml:1:27: meta.import_tasks_from: no file 'm.yaml'"),
        ("tasks: []", "'m.yaml' is not a list of tasks"),
        ("- sorce: b.py", "m.yaml:1:3: tasks[0].sorce: unknown key 'sorce'"),
        (
            "- source: b.py\n  name: a",
            "m.yaml:2:9: tasks[0].name: the name 'a' is taken by the task"
            " on line 3 of pipeline.yaml",
        ),
        ("- source: b.py\n  product: a.csv", "m.yaml:2:12: tasks[0].product: 'a.csv' is already"),
    ],
)
def test_a_mistake_in_another_file_names_that_file(
    folder: Path, content: str | None, what: str
) -> None:
    spec = "meta: {import_tasks_from: m.yaml}\ntasks:\n- source: a.py\n  product: a.csv\n"
    files = {"m": content} if content is not None else {}
    assert what in refusal(folder, spec, **files)


def test_sources_are_looked_for_where_the_loader_says(folder: Path) -> None:
    loader = "meta: {source_loader: {path: scripts}}\ntasks:\n- {source: a.py}\n- {source: m.f}\n"
    assert [task.source for task in read(folder, loader)] == ["scripts/a.py", "m.f"]
    (folder / "pkg/inner").mkdir(parents=True)
    loader = "meta: {source_loader: {module: pkg.inner, path: nb}}\ntasks: [{source: a.py}]\n"
    assert read(folder, loader)[0].source == "pkg/inner/nb/a.py"


def test_resources_must_be_there(folder: Path) -> None:
    write(folder, {"a.py": "1\n", "there.json": "{}"})
    spec = "- source: a.py\n  params: {resources_: {x: there.json, y: gone.json}}\n"
    write(folder, {"pipeline.yaml": spec})
    with pytest.raises(SpecError) as caught:
        read_spec(folder / "pipeline.yaml")
    text = str(caught.value)
    assert "pipeline.yaml:2:43: tasks[0].params.resources_.y: no file 'gone.json'" in text
    assert "there.json" not in text


# --- products that sources declare ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "product"),
    [
        ("a.py", "product = 'o/a.ipynb'", "o/a.ipynb"),
        (
            "a.py",
            "product = {'nb': './o/a.ipynb', 'd': 'a.csv'}",
            {"nb": "o/a.ipynb", "d": "a.csv"},
        ),
        ("a.py", "product = None", None),
        ("a.py", "x = 1", None),
        ("a.R", "product = list(nb='o/a.ipynb', d=\"a.csv\")", {"nb": "o/a.ipynb", "d": "a.csv"}),
        ("a.R", "product <- 'o/a.ipynb'", "o/a.ipynb"),
        ("a.R", "product = NULL", None),
    ],
)
def test_a_source_declares_its_products(
    folder: Path, name: str, text: str, product: object
) -> None:
    write(folder, {name: f'# %% tags=["parameters"]\n{text}\n'})
    write(
        folder, {"pipeline.yaml": f"meta: {{extract_product: true}}\ntasks: [{{source: {name}}}]"}
    )
    assert Pipeline.load(folder).spec.tasks[0].product == product


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["product = make()"], "a.py:2: product is not a literal"),
        (["product = ['x']"], "a.py:2: product is neither a path nor a mapping"),
        (["product = 'x.csv'", "product = 'x.csv'"], "product 'x.csv' is already that of 'a'"),
        (["product = 'a.py'"], "product 'a.py' is the source of a task"),
    ],
)
def test_a_source_that_declares_them_badly_is_told(
    folder: Path, texts: list[str], what: str
) -> None:
    names = ["a.py", "b.py"][: len(texts)]
    for name, text in zip(names, texts, strict=True):
        write(folder, {name: f'# %% tags=["parameters"]\n{text}\n'})
    listed = ", ".join(f"{{source: {name}}}" for name in names)
    write(folder, {"pipeline.yaml": f"meta: {{extract_product: true}}\ntasks: [{listed}]"})
    with pytest.raises(SpecError) as caught:
        Pipeline.load(folder)
    assert what in str(caught.value)


# --- what the project of a test stands on ---------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in COMPAT.iterdir()))
def test_every_project_says_what_it_shows(name: str) -> None:
    assert len((COMPAT / name / "README.md").read_text(encoding="utf-8")) > 80


def test_every_file_that_was_read_is_known(folder: Path) -> None:
    """The cache of "nothing to do" rests on them."""
    project = folder / "import"
    shutil.copytree(COMPAT / "import", project)
    reading = load_spec(Entry(project / "pipeline.yaml", project))
    names = {path.relative_to(folder).as_posix() for path in reading.files}
    assert names >= {
        *("import/pipeline.yaml", "import/env.yaml", "import/features/features.yaml"),
        "env.yaml",  # of the current folder, which would come first
    }
    assert reading.settled


@pytest.mark.parametrize("said", ["{{now}}", "{{user}}", "{{cwd}}", "{{env.HOME}}"])
def test_what_more_than_files_decide_is_not_settled(folder: Path, said: str) -> None:
    write(folder, {"pipeline.yaml": f'- {{source: a.py, params: {{p: "{said}"}}}}'})
    entry = Entry(folder / "pipeline.yaml", folder)
    assert not load_spec(entry, sources=False).settled


def test_an_open_notebook_follows_edits_of_env_yaml(folder: Path) -> None:
    """What it is shown rests on all that was read, not on pipeline.yaml alone."""
    write(folder, {"env.yaml": "x: 1\n", "a.py": '# %% tags=["parameters"]\nupstream = None\n'})
    write(folder, {"pipeline.yaml": '- {source: a.py, params: {p: "{{x}}"}}'})
    long_ago = 1_600_000_000
    for name in ("env.yaml", "a.py", "pipeline.yaml"):
        os.utime(folder / name, (long_ago, long_ago))
    loaded = Loaded(Pipeline.load(folder), began=long_ago + 3600)
    assert loaded.holds
    write(folder, {"env.yaml": "x: 2\n"})
    assert not loaded.holds
