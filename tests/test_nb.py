"""``nbpipe nb``: the injected cell in the sources' own files, formats, pairs, the git hook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpipe.cli.app import run
from nbpipe.errors import SpecError, UsageError
from nbpipe.store.inject import COMMENT, injected_cell_text
from nbpipe.store.injected import NOTE, inject, remove
from nbpipe.store.sources import parse_source
from tests.projects import Project

PARAMETERS = {
    ".py": '# %% tags=["parameters"]\nupstream = None\nproduct = None\n',
    "light.py": '# + tags=["parameters"]\nupstream = None\nproduct = None\n# -\n',
    "open.py": '# + tags=["parameters"]\nupstream = None\nproduct = None\n',
    ".md": '```python tags=["parameters"]\nupstream = None\nproduct = None\n```\n',
    ".Rmd": '```{r tags=c("parameters")}\nupstream = NULL\nproduct = NULL\n```\n',
    ".R": '# %% tags=["parameters"]\nupstream = NULL\nproduct = NULL\n',
    "myst.md": (
        "---\njupytext:\n  text_representation:\n    extension: .md\n    format_name: myst\n"
        "kernelspec:\n  name: python3\n  display_name: P\n  language: python\n---\n\n"
        "# Words\n\n```{code-cell} ipython3\n:tags: [parameters]\n\nupstream = None\n```\n"
    ),
}
AFTER = {
    ".py": "\n# %%\nx = 1\n",
    "light.py": "\nx = 1\n",
    "open.py": "\n# +\nx = 1\n",
    ".md": "\nWords.\n\n```python\nx = 1\n```\n",
    ".Rmd": "\n```{r}\nx <- 1\n```\n",
    ".R": "\n# %%\nx <- 1\n",
    "myst.md": "\n```{code-cell} ipython3\nx = 1\n```\n",
}


def cell(path: str) -> str:
    language = "r" if path.lower().endswith((".r", ".rmd")) else "python"
    upstream = {"get": {"nb": "output/get.ipynb", "data": "output/get.csv"}}
    return injected_cell_text(language, upstream, "output/fit.ipynb", {"seed": 1})


def check(data: bytes, path: str) -> str:
    """Put in, put in again, take out; returns the text with the cell."""
    made = inject(data, path, cell(path))
    assert made != data
    assert inject(made, path, cell(path)) == made
    assert remove(made, path) == data
    assert remove(data, path) == data
    return made.decode()


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
@pytest.mark.parametrize("followed", [True, False])
def test_the_cell_goes_in_and_comes_out_byte_for_byte(name, ending, end, followed):
    text = PARAMETERS[name] + (AFTER[name] if followed else "")
    data = (text.rstrip("\n") + end).replace("\n", ending).encode()
    path = f"a/source{name}" if name.startswith(".") else f"a/{name}"
    made = check(data, path)
    cells = [c for c in parse_source(made, path).cells if c.kind == "code"]
    at = next(i for i, c in enumerate(cells) if "parameters" in c.tags)
    assert cells[at + 1].tags == ("injected-parameters",)
    assert made.count(ending) == made.count("\n")


def test_a_byte_order_mark_stays():
    check(b"\xef\xbb\xbf" + PARAMETERS[".py"].encode(), "a.py")


@given(
    st.sampled_from([None, 1, 2, "\t"]),
    st.sampled_from(["", "\n", " \r\n"]),
    st.booleans(),
    st.lists(st.text(max_size=20), max_size=3),
    st.sampled_from([4, 5]),
)
def test_a_notebook_s_json_keeps_its_layout(indent, end, ascii_only, texts, minor):
    new = nbformat.v4.new_code_cell
    cells = [new("upstream = None", metadata={"tags": ["parameters"]})]
    notebook = nbformat.v4.new_notebook(cells=[*cells, *map(new, texts)])
    notebook.nbformat_minor = minor
    for one in notebook.cells if minor == 4 else ():
        del one["id"]
    text = json.dumps(notebook, indent=indent, ensure_ascii=ascii_only) + end
    made = check(text.encode("utf-8", "surrogatepass"), "a.ipynb")
    read = json.loads(made)
    assert [c["metadata"].get("tags") for c in read["cells"][:2]] == [
        ["parameters"],
        ["injected-parameters"],
    ]
    nbformat.validate(nbformat.from_dict(read))


def test_a_cell_of_another_tool_is_left_alone():
    own = b'# %% tags=["injected-parameters"]\n# Parameters\nx = 1\n'
    assert remove(own, "a.py") == own


@pytest.mark.parametrize("path", ["a.py", "a.R"])
def test_lines_of_a_user_are_not_taken_out_with_the_cell(path):
    made = inject(PARAMETERS[path[1:]].encode(), path, cell(path)) + b"\nprint(upstream)\n"
    with pytest.raises(UsageError, match="lines of your own"):
        remove(made, path)
    with pytest.raises(UsageError, match="lines of your own"):
        inject(made, path, cell(path))


@pytest.mark.parametrize("broken", ["{", "[]", '{"cells": 3', "<<<<<<< HEAD"])
def test_a_notebook_that_is_no_json_is_an_error_of_its_own(broken):
    with pytest.raises(SpecError, match="not a notebook"):
        remove(f"{broken} {COMMENT} {NOTE}".encode(), "a.ipynb")


def test_assignments_in_r_are_ours():
    cell = injected_cell_text("r", None, "out/a.ipynb", {})
    data = PARAMETERS[".R"].encode()
    assert remove(inject(data, "a.R", cell), "a.R") == data


def test_a_source_without_a_parameters_cell_is_told_what_to_do():
    with pytest.raises(UsageError, match="no cell is tagged 'parameters'") as caught:
        inject(b"# %%\nx = 1\n", "a.py", cell("a.py"))
    assert "%upstream" in caught.value.hint


# -- the command -------------------------------------------------------------------------------


@pytest.fixture
def inside(project, monkeypatch, capsys):
    """get → fit in scripts/, and a runner of commands in that folder."""
    project.task("scripts/get")
    project.task("scripts/fit", ["get"])
    monkeypatch.chdir(project.root)

    def call(*args: str, code: int = 0) -> str:
        got = run(list(args))
        captured = capsys.readouterr()
        assert got == code, captured
        return captured.out + captured.err

    project.call = call
    return project


def test_inject_writes_paths_relative_to_the_root(inside):
    before = inside.read("scripts/fit.py")
    assert "injected into scripts/fit.py" in inside.call("nb", "inject")
    text = inside.read("scripts/fit.py")
    assert "'data': 'out/scripts/get.txt'" in text
    assert str(inside.root) not in text
    assert inside.call("nb", "inject") == "nothing to do\n"
    inside.call("nb", "remove")
    assert inside.read("scripts/fit.py") == before


def test_the_cell_in_the_file_makes_no_task_stale(inside):
    assert inside.build() == ["fit", "get"]
    inside.call("nb", "inject")
    assert inside.build() == []
    inside.edit("scripts/get.py", '"one"', '"two"')
    assert inside.build() == ["fit", "get"]


def test_inject_follows_the_spec(inside):
    inside.call("nb", "inject")
    inside.edit("pipeline.yaml", "out/scripts/get.txt", "elsewhere/get.txt")
    assert inside.call("nb", "inject").split() == [
        *["injected", "into", "scripts/get.py"],
        *["injected", "into", "scripts/fit.py"],
    ]
    assert "elsewhere/get.txt" in inside.read("scripts/fit.py")
    assert inside.read("scripts/fit.py").count(NOTE) == 1


def test_tasks_can_be_named(inside):
    inside.call("nb", "inject", "f*")
    assert NOTE not in inside.read("scripts/get.py")
    assert NOTE in inside.read("scripts/fit.py")
    assert "did you mean 'fit'?" in inside.call("nb", "inject", "fitt", code=2)


def test_what_cannot_be_injected_is_told_and_the_rest_is_done(inside):
    inside.write("scripts/get.py", "# %%\nproduct = None\n")
    assert "no cell is tagged" in inside.call("nb", "inject", code=2)
    assert NOTE in inside.read("scripts/fit.py")


def test_remove_works_when_the_pipeline_does_not_load(inside):
    inside.call("nb", "inject")
    inside.edit("scripts/fit.py", "upstream = ['get']", "upstream = ['gone']")
    inside.call("nb", "remove")
    assert NOTE not in inside.read("scripts/fit.py")


def test_permissions_and_links_stay(inside):
    script = inside.root / "scripts" / "fit.py"
    script.rename(inside.root / "real.py")
    script.symlink_to("../real.py")
    (inside.root / "real.py").chmod(0o750)
    inside.call("nb", "inject")
    assert script.is_symlink()
    assert (inside.root / "real.py").stat().st_mode & 0o777 == 0o750


def test_an_option_of_another_action_is_refused(inside):
    assert "belongs to" in inside.call("nb", "inject", "--staged", code=2)
    assert "--folder" in inside.call("nb", "sync", "--folder", "x", code=2)


# -- format, pair, sync ------------------------------------------------------------------------


def test_format_rewrites_scripts_and_the_spec(inside):
    inside.edit("pipeline.yaml", "tasks:", "tasks:  # mine")
    said = inside.call("nb", "format", "--to", "ipynb")
    assert "scripts/fit.py → scripts/fit.ipynb" in said
    assert not (inside.root / "scripts/fit.py").exists()
    assert "# mine" in inside.read("pipeline.yaml")
    pipeline = inside.pipeline()
    assert pipeline.graph.task("fit").source == "scripts/fit.ipynb"
    assert pipeline.graph.upstream["fit"] == ("get",)
    inside.call("nb", "format", "--to", "py:light", "fit")
    assert "# + tags=" in inside.read("scripts/fit.py")
    inside.call("nb", "format", "--to", "py:percent", "fit")
    assert "# %% tags=" in inside.read("scripts/fit.py")
    assert inside.pipeline().graph.upstream["fit"] == ("get",)


def test_format_leaves_tasks_fresh_where_the_source_s_name_stays(inside):
    inside.build()
    inside.call("nb", "format", "--to", "py:light")
    assert inside.build() == []


def test_format_overwrites_nothing(inside):
    inside.write("scripts/fit.md", "mine")
    assert "is there already" in inside.call("nb", "format", "--to", "md", "fit", code=2)
    assert inside.read("scripts/fit.md") == "mine"
    assert (inside.root / "scripts/fit.py").exists()


def test_a_notebook_with_outputs_stays(inside):
    inside.call("nb", "format", "--to", "ipynb", "fit")
    path = inside.root / "scripts/fit.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="hello")]
    nbformat.write(notebook, path)
    assert "has outputs and stays" in inside.call("nb", "format", "--to", "py:percent", "fit")
    assert path.exists()
    assert inside.pipeline().graph.task("fit").source == "scripts/fit.py"


def test_format_needs_one_that_exists(inside):
    assert "such as" in inside.call("nb", "format", code=2)
    assert "no format 'docx'" in inside.call("nb", "format", "--to", "docx", code=2)


def test_pair_and_sync(inside):
    inside.write("scripts/deep/more.py", Project.text(None))
    inside.tasks.append({"source": "scripts/deep/more.py", "product": {"data": "out/more.txt"}})
    inside.save()
    inside.build()
    assert "not paired" in inside.call("nb", "sync")
    said = inside.call("nb", "pair")
    assert "paired scripts/deep/more.py with notebooks/deep/more.ipynb" in said
    assert (inside.root / "notebooks/deep/more.ipynb").is_file()
    assert inside.build() == []
    inside.edit("scripts/fit.py", "# %%\nfrom", "# %%\nextra = 1\n\n# %%\nfrom")
    later = (inside.root / "scripts/fit.py").stat().st_mtime + 5
    os.utime(inside.root / "scripts/fit.py", (later, later))
    assert "in step: scripts/fit.py" in inside.call("nb", "sync")
    assert "extra = 1" in inside.read("notebooks/fit.ipynb")
    assert "cannot be paired" in inside.call("nb", "pair", "--folder", "scripts", code=2)


# -- the git hook ------------------------------------------------------------------------------


def git(root: Path, *args: str, code: int = 0) -> str:
    own = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "core.autocrlf=false"]
    done = subprocess.run(
        ["git", *own, *args], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def repository(inside):
    git(inside.root, "init", "-q")
    git(inside.root, "add", "-A")
    git(inside.root, "commit", "-qm", "first")
    return inside


def test_the_hook_keeps_the_cell_out_of_commits_and_in_the_file(repository):
    before = repository.read("scripts/fit.py")
    assert "installed" in repository.call("nb", "install-hook")
    assert "nothing to do" in repository.call("nb", "install-hook")
    repository.call("nb", "inject")
    repository.edit("scripts/fit.py", '"one"', '"two"')
    git(repository.root, "add", "-A")
    assert "without the injected cell" in git(repository.root, "commit", "-m", "second")
    committed = git(repository.root, "show", "HEAD:scripts/fit.py")
    assert committed == before.replace('"one"', '"two"')
    assert NOTE in repository.read("scripts/fit.py")


def test_executed_notebooks_keep_their_cell(repository):
    repository.call("nb", "install-hook")
    text = repository.call("nb", "inject") and repository.read("scripts/fit.py")
    repository.write("out/fit.py", text)
    git(repository.root, "add", "-A")
    git(repository.root, "commit", "-qm", "second")
    assert NOTE in git(repository.root, "show", "HEAD:out/fit.py")


def test_a_pipeline_that_does_not_load_stops_the_commit(repository):
    repository.call("nb", "install-hook")
    repository.call("nb", "inject")
    repository.edit("pipeline.yaml", "tasks:", "tusks:")
    git(repository.root, "add", "-A")
    assert "does not load" in git(repository.root, "commit", "-m", "second", code=1)


def test_a_hook_that_is_there_is_kept(repository):
    hook = repository.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    own = "#!/bin/sh\ntouch called\nexit 0\n"
    hook.write_text(own)
    hook.chmod(0o755)
    repository.call("nb", "install-hook")
    repository.call("nb", "inject")
    git(repository.root, "add", "-A")
    git(repository.root, "commit", "-qm", "second")
    assert (repository.root / "called").exists()
    assert NOTE not in git(repository.root, "show", "HEAD:scripts/fit.py")
    repository.call("nb", "install-hook", "--uninstall")
    assert hook.read_text() == own
    hook.write_text("#!/usr/bin/env python3\n")
    assert "is no shell script" in repository.call("nb", "install-hook", code=2)


def test_uninstall_leaves_nothing(repository):
    hook = repository.root / ".git" / "hooks" / "pre-commit"
    repository.call("nb", "install-hook")
    assert os.access(hook, os.X_OK)
    assert sys.executable in hook.read_text()
    repository.call("nb", "install-hook", "--uninstall")
    assert not hook.exists()
    assert "nothing to do" in repository.call("nb", "install-hook", "--uninstall")


def test_outside_of_git_it_says_so(inside):
    assert "git" in inside.call("nb", "install-hook", code=2)


# -- doctor ------------------------------------------------------------------------------------


@pytest.fixture
def jupyter_config(tmp_path, monkeypatch):
    """A configuration of Jupyter's that enables what a test says, and nothing else."""
    from jupyter_core import paths

    def enable(**extensions: bool) -> None:
        folder = tmp_path / "config" / "jupyter_server_config.d"
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"ServerApp": {"jpserver_extensions": extensions}})
        (folder / "some.json").write_text(text)
        monkeypatch.setattr(paths, "jupyter_config_path", lambda: [str(tmp_path / "config")])

    return enable


def test_doctor_tells_that_the_extension_is_on(inside, jupyter_config):
    jupyter_config(nbpipe=True, jupyterlab_jupytext=True)
    said = inside.call("doctor")
    assert "✓ Jupyter extension: enabled" in said
    assert "✓ nbpipe in kernel python3" in said


def test_doctor_tells_what_to_do_when_it_is_off(inside, jupyter_config):
    jupyter_config(nbpipe=False)
    said = inside.call("doctor")
    assert "○ Jupyter extension: not enabled" in said
    assert "jupyter server extension enable nbpipe" in said
    assert "○ jupytext in Jupyter: not enabled" in said


def test_doctor_finds_ploomber_s_extension(inside, jupyter_config):
    jupyter_config(nbpipe=True, jupyterlab_jupytext=True, ploomber=True)
    assert "✗ ploomber" in inside.call("doctor", code=1)


def test_the_package_enables_the_extension_where_jupyter_looks():
    """The file that the wheel installs, and what it names."""
    import tomllib

    import nbpipe

    root = Path(__file__).parent.parent
    config = tomllib.loads((root / "pyproject.toml").read_text())
    shared = config["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    [(file, place)] = shared.items()
    assert place == "etc/jupyter/jupyter_server_config.d/nbpipe.json"
    enabled = json.loads((root / file).read_text())["ServerApp"]["jpserver_extensions"]
    assert enabled == {"nbpipe": True}
    [point] = nbpipe._jupyter_server_extension_points()
    module = __import__(point["module"], fromlist=["x"])
    assert callable(module._load_jupyter_server_extension)
