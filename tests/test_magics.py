"""The magics in IPython's own shell and in a real kernel: grammar, values, traps."""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from nbpipe import InlineExecutor, UsageError, pipeline
from nbpipe.jupyter.completer import complete
from nbpipe.jupyter.namespace import NoSuchKeyError, named, task_of_source
from tests.projects import fake_work


def new_shell() -> InteractiveShell:
    """IPython's shell without a history, and without the collection that each makes at exit."""
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    atexit.unregister(shell.atexit_operations)
    return shell


class Shell:
    """An IPython shell in a project's folder."""

    def __init__(self, capsys) -> None:
        self.ip = new_shell()
        self.capsys = capsys
        self.ip.run_line_magic("load_ext", "nbpipe")

    def run(self, code: str):
        """Run a cell; returns its result, what it printed is in ``out``."""
        self.capsys.readouterr()
        result = self.ip.run_cell(code)
        self.out = re.sub(r"\x1b\[[\d;]*m", "", self.capsys.readouterr().out)
        return result

    def value(self, code: str):
        """The value of a cell that must go well."""
        result = self.run(code)
        result.raise_error()
        return result.result

    def error(self, code: str) -> str:
        """What a cell that must fail shows."""
        result = self.run(code)
        assert not result.success
        return self.out


@pytest.fixture
def shell(diamond, monkeypatch, capsys):
    """A shell in the diamond's folder, its tasks run in this process."""
    monkeypatch.chdir(diamond.root)
    monkeypatch.setattr(pipeline, "default_executor", lambda kind: InlineExecutor(fake_work))
    shell = Shell(capsys)
    yield shell
    shell.ip.run_line_magic("unload_ext", "nbpipe")


# -- loading -------------------------------------------------------------------------------


def test_loading_twice_unloading_and_loading_again_works(shell):
    shell.run("%load_ext nbpipe")
    shell.run("%reload_ext nbpipe")
    assert len(shell.ip.Completer.custom_matchers) == 1
    shell.run("%unload_ext nbpipe")
    assert shell.ip.Completer.custom_matchers == []
    assert not shell.run("%pipeline status").success
    shell.run("%load_ext nbpipe")
    assert len(shell.value("%pipeline status")) == 4


def test_loading_puts_no_name_into_the_users_namespace(diamond, monkeypatch):
    monkeypatch.chdir(diamond.root)
    ip = new_shell()
    before = set(ip.user_ns)
    ip.run_line_magic("load_ext", "nbpipe")
    assert set(ip.user_ns) == before


def test_status_and_plan_say_what_a_build_would_take_from_the_store(
    shell, diamond, checkout, url, monkeypatch
):
    checkout().report(store=url)
    shell.run("%load_ext nbpipe")
    monkeypatch.setenv("NBPIPE_STORE", url)
    for asked in ("%pipeline status", "%pipeline plan", "%pipeline build --dry-run"):
        assert "in the store" in str(shell.value(asked)), asked
    monkeypatch.setenv("NBPIPE_STORE", "odd://nowhere")
    assert "in the store" not in str(shell.value("%pipeline plan"))
    assert "warning: what is in the store is not known" in shell.out


def test_it_loads_where_there_is_no_pipeline(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shell = Shell(capsys)
    shown = shell.error("%pipeline status")
    assert shown.count("\n") == 2
    assert shown.startswith("pipeline.yaml: not found; searched ")


def test_loading_imports_no_heavy_library(tmp_path):
    heavy = ["networkx", "pandas", "ipywidgets", "ipycytoscape", "jupytext", "nbclient", "rich"]
    heavy += ["msgspec", "click", "yaml", "nbpipe.errors", "nbpipe.pipeline", "nbpipe.jupyter.show"]
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\nimport sys\n"
        "shell = InteractiveShell()\nbefore = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'nbpipe')\n"
        f"print([m for m in {heavy} if m in set(sys.modules) - before])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_unloading_takes_back_the_forms_of_our_values(shell):
    plan = shell.value("%pipeline plan")
    assert len(shell.ip.display_formatter.format(plan)[0]) == 2
    shell.run("%unload_ext nbpipe")
    assert list(shell.ip.display_formatter.format(plan)[0]) == ["text/plain"]


# -- values --------------------------------------------------------------------------------


def test_every_line_magic_gives_a_value_with_a_plain_and_a_rich_form(shell):
    shell.run("x = %pipeline status")
    assert shell.value("x['fit'].state") == "new"
    assert shell.value("x['fit'].reason") == "never run"
    for code in ("status", "plan", "why get", "build", "log", "plot"):
        data, _ = shell.ip.display_formatter.format(shell.value(f"%pipeline {code}"))
        assert len(data) == 2, code
        assert data["text/plain"], code


def test_a_dry_run_gives_the_plan_and_runs_nothing(shell, diamond):
    plan = shell.value("%pipeline build --dry-run")
    assert plan.named("run") == ("get", "sepal", "petal", "fit")
    assert not (diamond.root / "out").exists()


def test_build_takes_tasks_and_options(shell):
    assert shell.value("%pipeline build sepal -j 1").named("ran") == ("get", "sepal")
    assert shell.value("%pipeline build --upstream-of fit").named("ran") == ("petal",)
    assert shell.value("%pipeline build -f get").named("ran") == ("get",)


def test_a_failed_build_is_the_error_of_its_cell(shell, diamond):
    diamond.edit("get.py", 'constant = "one"', "raise ValueError('no flower')")
    shown = shell.error("%pipeline build -k")
    assert "✗ get" in shown
    assert "ValueError: no flower" in shown
    assert "nbpipe/jupyter" not in shown, "no frames of ours"


def test_use_works_on_another_pipeline_and_keeps_the_old_one_when_it_is_wrong(shell, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pipeline.yaml").write_text("tasks:\n  - source: one.py\n")
    (tmp_path / "other" / "one.py").write_text("x = 1\n")
    shell.error("%pipeline use nowhere")
    assert len(shell.value("%pipeline status")) == 4
    shell.run("%pipeline use other")
    assert list(shell.value("%pipeline status").states) == ["one"]


# -- traps: the line -----------------------------------------------------------------------


@pytest.mark.parametrize("line", ["%pipeline -h", "%pipeline build --help", "%upstream -h"])
def test_trap_help_is_shown_and_is_no_error(shell, line):
    assert shell.run(line).success
    assert shell.out.startswith("usage: %")


def test_trap_help_of_a_cell_magic(shell):
    assert shell.run("%%task -h\nx = 1").success
    assert "--write PATH" in shell.out


def test_question_mark_shows_the_docstring(shell):
    shell.run("%pipeline?")
    assert "%pipeline status" in shell.out


def test_trap_quotes_join_and_are_not_kept(shell, diamond):
    diamond.tasks[0]["name"] = "get it"
    for name in ("sepal.py", "petal.py"):
        diamond.edit(name, "['get']", "['get it']")
    diamond.save()
    assert shell.value('%pipeline build "get it"').named("ran") == ("get it",)


def test_trap_dollars_and_braces_in_the_line_are_not_expanded(shell):
    shell.run("x = 'get'")
    assert "no task '$x'" in shell.error("%pipeline why $x")
    assert "no task '{x}'" in shell.error("%pipeline why {x}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%pipeline biuld", "did you mean 'build'?"),
        ("%pipeline build --forc", "did you mean '--force'?"),
        ("%pipeline why gett", "did you mean 'get'?"),
        ("%pipeline why", "the following arguments are required: TASK"),
        ("%pipeline build 'get", "No closing quotation"),
        ("%upstream gett", "did you mean 'get'?"),
        ("%upstream", "this notebook is no task of the pipeline"),
        ("%%task\nx = 1", "the following arguments are required: NAME"),
        ("%%task a -p data\nx = 1", "no KEY=PATH"),
        ("%%task get\nx = 1", "pipeline.yaml has a task of that name"),
        ("%%task a -u gett\nx = 1", "did you mean 'get'?"),
    ],
)
def test_a_mistake_is_told_in_two_lines(shell, line, said):
    shown = shell.error(line)
    assert said in shown
    assert len(shown.strip().splitlines()) == 2


def test_a_wrong_spec_is_told_as_on_the_command_line(shell, diamond):
    diamond.write("pipeline.yaml", "tasks:\n  - source: get.py\n    produkt: x\n")
    assert shell.error("%pipeline status").splitlines() == [
        "pipeline.yaml:3:5: tasks[0].produkt: unknown key 'produkt'",
        "  hint: did you mean 'product'?",
    ]


# -- completion ----------------------------------------------------------------------------


def completions(shell, line):
    """What a reader is offered at the end of a line, help left out."""
    with provisionalcompleter():
        found = [c.text for c in shell.ip.Completer.completions(line, len(line))]
    return sorted({text for text in found if text not in ("-h", "--help")})


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("%pipeline b", ["build"]),
        ("x = %pipeline b", ["build"]),
        ("%pipeline build --k", ["--keep-going"]),
        ("%pipeline build s", ["sepal"]),
        ("%pipeline why ", ["fit", "get", "petal", "sepal"]),
        ("%upstream fit g", ["get"]),
        ("%upstream --l", ["--load"]),
        ("%%task new -u p", ["petal"]),
        ("%%task new --w", ["--write"]),
    ],
)
def test_trap_completion_gives_ours_and_nothing_else(shell, line, found):
    assert completions(shell, line) == found


def test_other_lines_are_left_to_ipython(shell):
    assert complete("import o", lambda: None) is None
    assert complete("%pipeli", lambda: None) is None
    assert "import" in completions(shell, "impor")


def test_completion_of_a_broken_pipeline_offers_no_task_and_is_no_error(shell, diamond):
    diamond.write("pipeline.yaml", "tasks: 3\n")
    assert "get" not in completions(shell, "%pipeline why ge")


# -- upstream ------------------------------------------------------------------------------


def test_upstream_by_name_gives_absolute_paths(shell, diamond):
    shell.value("%pipeline build")
    shell.run("%upstream get sepal")
    assert shell.out == "upstream: get ✓, sepal ✓\n"
    root = diamond.root.resolve()
    assert shell.value("upstream") == {
        name: {"nb": f"{root}/out/{name}.ipynb", "data": f"{root}/out/{name}.txt"}
        for name in ("get", "sepal")
    }
    assert type(shell.value("upstream['get']['data']")) is str


def test_upstream_as_a_task_gives_its_upstream_and_its_product(shell, diamond):
    shell.value("%pipeline build")
    shell.run("%upstream --task fit")
    assert shell.out == "upstream: sepal ✓, petal ✓ · product: nb, data\n"
    assert shell.value("list(upstream)") == ["sepal", "petal"]
    assert shell.value("product['data']") == str(diamond.root.resolve() / "out/fit.txt")
    shell.run("%upstream --task get --quiet")
    assert shell.out == ""
    assert shell.value("upstream") is None


def test_one_unnamed_product_is_the_path_itself(shell, diamond):
    diamond.tasks[0]["product"] = "out/get.ipynb"
    diamond.save()
    shell.run("%upstream get")
    assert shell.value("upstream") == {"get": str(diamond.root.resolve() / "out/get.ipynb")}


def test_a_wrong_key_names_the_valid_ones(shell):
    shell.run("%upstream get sepal")
    shown = shell.error("upstream['sepl']")
    assert "there is no 'sepl', only 'get', 'sepal'; did you mean 'sepal'?" in shown
    with pytest.raises(NoSuchKeyError, match="only 'nb'"):
        named({"get": {"nb": "x"}})["get"]["data"]


def test_a_stale_upstream_is_told_and_not_built(shell, diamond):
    shell.run("%upstream get")
    assert "warning: stale or missing: get; to build: %upstream get --build" in shell.out
    assert not (diamond.root / "out").exists()
    shell.run("%upstream get --build")
    assert (diamond.root / "out/get.txt").exists()
    assert shell.out.endswith("upstream: get ✓\n")


def test_values_are_loaded_by_suffix(shell, diamond):
    diamond.tasks[0]["product"] = {"nb": "out/get.ipynb", "data": "out/get.txt", "j": "out/a.json"}
    diamond.save()
    diamond.edit("get.py", "seen =", 'Path(product["j"]).write_text("[1, 2]")\nseen =')
    shell.run("%upstream get --build --load")
    assert shell.value("upstream['get']['data']") == "one"
    assert shell.value("upstream['get']['j']") == [1, 2]
    assert shell.value("upstream['get']['nb']").endswith("get.ipynb")


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("{root}/get.py", "get"),
        ("project/get.py", None),
        ("get.py", "get"),
        ("renamed.py", None),
        ("{root}", None),
        ("", None),
    ],
)
def test_a_session_name_counts_only_when_it_is_a_tasks_source(diamond, where, found):
    path = where.format(root=diamond.root)
    assert task_of_source(diamond.pipeline(), path) == found


def test_which_task_a_notebook_is_comes_from_vs_code_or_the_server(shell, diamond, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(diamond.root / "sepal.py"))
    shell.run("%upstream")
    assert shell.out.endswith("upstream: get ● · product: nb, data\n".replace("●", "○"))
    shell.ip.user_ns["__vsc_ipynb_file__"] = str(diamond.root / "fit.py")
    shell.run("%upstream")
    assert "upstream: sepal ○, petal ○" in shell.out


def test_inside_a_build_upstream_gives_what_the_runner_injected(shell, tmp_path, monkeypatch):
    given = {"task": "fit", "upstream": {"get": {"data": "out/get.txt"}}, "product": "x.ipynb"}
    (tmp_path / "given.json").write_text(json.dumps(given))
    monkeypatch.setenv("NBPIPE_GIVEN", str(tmp_path / "given.json"))
    monkeypatch.setenv("NBPIPE_TASK", "fit")
    shell.run("%upstream get")
    assert shell.value("upstream") == given["upstream"]
    shell.run("%upstream")
    assert shell.out == ""
    assert shell.value("(upstream, product)") == (given["upstream"], "x.ipynb")
    assert "nested build" in shell.error("%pipeline build")
    assert "nested build" in shell.error("%pipeline build --bg")


# -- task ----------------------------------------------------------------------------------

BODY = (
    "from pathlib import Path\n"
    'Path(product["data"]).write_text(Path(upstream["get"]["data"]).read_text())'
)


def test_a_cell_task_runs_here_with_upstream_and_product_bound(shell, diamond):
    shell.value("%pipeline build get")
    assert shell.value(f"%%task new -p data=out/new.txt\n{BODY}\n'seen'") is None
    assert diamond.read("out/new.txt") == "one"
    assert "seen" in shell.out, "the last expression is shown"
    status = shell.value("%pipeline status")
    assert status["new"].upstream == ("get",), "inferred from the body"
    assert status["new"].state == "new", "this kernel's state is no clean one"


def test_a_cell_task_that_does_not_write_its_product_is_told(shell):
    shown = shell.error("%%task new -p data=out/new.txt\nx = 1")
    assert "the body did not write out/new.txt" in shown


def test_an_error_in_a_cell_task_is_shown_once_with_the_cells_own_line(shell):
    shown = shell.error("%%task new\nx = 1\ny = x / 0")
    assert shown.count("ZeroDivisionError") == 2, "IPython's head and foot, once each"
    assert "----> 3 y = x / 0" in shown
    assert "nbpipe/jupyter" not in shown


def test_a_cell_task_takes_part_in_the_graph_and_a_later_cell_can_read_it(shell):
    shell.value("%pipeline build get")
    shell.value(f"%%task one -p data=out/one.txt\n{BODY}")
    two = BODY.replace("'get'", "'one'").replace('"get"', '"one"')
    shell.value(f"%%task two -p data=out/two.txt\n{two}")
    assert shell.value("%pipeline status")["two"].upstream == ("one",)


def test_write_moves_a_cell_into_a_script_and_keeps_the_comments(shell, diamond):
    spec = "# mine\n" + diamond.read("pipeline.yaml").replace(
        "- source: fit.py", "# the last\n- source: fit.py"
    )
    diamond.write("pipeline.yaml", spec)
    shell.value("%pipeline build get")
    shell.value(f"%%task new -p data=out/new.txt --write scripts/new.py\n{BODY}")
    assert shell.out == "wrote scripts/new.py and added 'new' to pipeline.yaml\n"
    edited = diamond.read("pipeline.yaml")
    assert edited.startswith(spec)
    assert "nb: output/new.ipynb" in edited
    assert diamond.read("scripts/new.py").endswith(f"# %%\n{BODY}\n")
    assert shell.value("%pipeline build new").named("ran") == ("new",)
    assert diamond.read("out/new.txt") == "one"


def test_write_overwrites_nothing_without_force(shell, diamond):
    spec = diamond.read("pipeline.yaml")
    before = diamond.read("sepal.py")
    assert "is there already" in shell.error(f"%%task new --write sepal.py\n{BODY}")
    assert "has a task 'get'" in shell.error("%%task get --write new.py\nx = 1")
    assert "outside" in shell.error("%%task new --write ../new.py\nx = 1")
    assert (diamond.read("pipeline.yaml"), diamond.read("sepal.py")) == (spec, before)
    assert "is the source of task 'get'" in shell.error("%%task new --write get.py --force\nx = 1")
    shell.value(f"%%task sepal --write sepal.py --force\n{BODY}")
    assert BODY in diamond.read("sepal.py")


def test_a_cell_tasks_product_must_be_its_own(shell):
    assert "belongs to 'get'" in shell.error("%%task new -p data=out/get.txt\nx = 1")
    assert "new" not in shell.value("%pipeline status").states


# -- in a real kernel ----------------------------------------------------------------------


def notebook_of(*cells: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def execute(folder: Path, *cells: str, allow_errors: bool = False) -> list[list]:
    """Run cells in a real kernel; returns the outputs of each."""
    notebook = notebook_of("%load_ext nbpipe", *cells)
    client = NotebookClient(
        notebook,
        resources={"metadata": {"path": str(folder)}},
        allow_errors=allow_errors,
        timeout=120,
        iopub_timeout=600,
    )
    client.execute()
    return [cell.outputs for cell in notebook.cells[1:]]


def text(outputs) -> str:
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)


@pytest.mark.kernel
def test_in_a_kernel_a_build_shows_its_progress_in_one_display_that_ends_final(diamond):
    (outputs,) = execute(diamond.root, "%pipeline build -j 1")
    displays = [o for o in outputs if o.output_type == "display_data"]
    assert len(displays) == 1
    assert "4 executed, 0 skipped" in displays[0].data["text/plain"]
    assert "text/html" in displays[0].data
    (result,) = [o for o in outputs if o.output_type == "execute_result"]
    assert "fit" in result.data["text/html"]


@pytest.mark.kernel
def test_in_a_kernel_a_clean_run_streams_outputs_and_records_the_task(diamond):
    diamond.build("get")
    body = (
        f"{BODY}\nimport sys, time\nprint('out')\nprint('err', file=sys.stderr)\n"
        "from IPython.display import HTML, display\ndisplay(HTML('<b>bold</b>'))\n"
        "display({'image/png': 'iVBORw0KGgo='}, raw=True)\n6 * 7"
    )
    run, again, status = execute(
        diamond.root,
        f"leak = 1\n\n{'x = 2'}",
        f"%%task new -p data=out/new.txt --run\nassert 'x' not in globals()\n{body}",
        f"%%task new -p data=out/new.txt --run\nassert 'x' not in globals()\n{body}",
        "%pipeline status",
    )[1:]
    assert "out\n" in text(run)
    assert "err\n" in text(run)
    data = [o.data for o in run if "data" in o]
    assert any(d.get("text/html") == "<b>bold</b>" for d in data)
    assert any("image/png" in d for d in data)
    assert any(d.get("text/plain") == "42" for d in data)
    assert "ran in a clean kernel" in text(run)
    assert "up to date" in text(again)
    assert any(o.data.get("text/html") == "<b>bold</b>" for o in again if "data" in o)
    assert re.search(r"^new +✓ fresh", text(status), re.M)


@pytest.mark.kernel
def test_in_a_kernel_errors_are_real_error_outputs(diamond):
    run, wrong = execute(
        diamond.root,
        "%%task bad --run\nx = 1\ny = x / 0",
        "%pipeline biuld",
        allow_errors=True,
    )
    (error,) = [o for o in run if o.output_type == "error"]
    shown = "\n".join(error.traceback)
    assert "this cell:3" in shown
    assert "> " in shown
    assert "y = x / 0" in shown
    (error,) = wrong
    assert error.output_type == "error"
    assert len(error.traceback) == 2
    with pytest.raises(CellExecutionError):
        execute(diamond.root, "%pipeline biuld")


@pytest.mark.kernel
def test_a_script_with_our_magics_is_given_the_same_under_a_build(diamond):
    from tests.cli import nbpipe

    diamond.write(
        "fit.py",
        diamond.text(
            ["sepal", "petal"],
            """
            before = (upstream, product)
            get_ipython().run_line_magic("load_ext", "nbpipe")
            get_ipython().run_line_magic("upstream", "")
            assert (upstream, product) == before, (upstream, product)
            """,
        ),
    )
    nbpipe("build", cwd=diamond.root)
    assert diamond.read("out/fit.txt") == "onesepalonepetalone"


def test_the_message_of_a_usage_error_is_what_a_notebook_renders():
    error = UsageError("no task 'x'", "did you mean 'y'?")
    assert error._render_traceback_() == ["no task 'x'", "  hint: did you mean 'y'?"]
