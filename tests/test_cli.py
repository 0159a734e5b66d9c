"""The command line: what it prints, its exit codes, and that it writes nothing needlessly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from nbpipe import InlineExecutor, pipeline
from nbpipe.cli.app import COMMANDS, cli, run
from tests.projects import fake_work


@pytest.fixture
def inline(diamond, monkeypatch, capsys):
    """The diamond as the current folder, its tasks run in this process; calls the command line."""
    monkeypatch.chdir(diamond.root)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(pipeline, "default_executor", lambda kind: InlineExecutor(fake_work))

    def call(*args: str) -> tuple[int, str, str]:
        code = run(list(args))
        return (code, *capsys.readouterr())

    return call


def test_a_build_prints_what_happens_and_a_summary(inline):
    code, out, _ = inline("build", "-j", "1")
    assert code == 0
    assert re.search(r"^✓ get  0\.\d s  \[1/4\]$", out, re.M)
    assert re.search(r"^fit +yes +\d\.\d\d +\d+ % +never run *$", out, re.M)
    assert "4 executed, 0 skipped in" in out


def test_a_build_with_nothing_to_do_says_so_in_one_line(inline):
    inline("build")
    code, out, _ = inline("build")
    assert (code, out) == (0, "✓ nothing to do: 4 tasks up to date, 0 executed, 4 skipped\n")


def test_a_failed_build_quotes_the_failure_and_exits_with_1(inline, diamond):
    diamond.edit("sepal.py", "constant = 'sepal'", "raise ValueError('no such flower')")
    code, out, _ = inline("build", "-k")
    assert code == 1
    assert "✗ sepal" in out
    assert "ValueError: no such flower" in out
    assert re.search(r"^fit +no +⊘ blocked: 'sepal' failed *$", out, re.M)
    assert "2 executed, 0 skipped, 1 failed, 1 blocked" in out


def test_json_gives_every_event_and_then_the_report(inline):
    _, out, _ = inline("build", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [lines[0]["event"], lines[-2]["event"], lines[-1]["event"]] == [
        "run-started",
        "run-finished",
        "report",
    ]
    assert {n: t["result"] for n, t in lines[-1]["tasks"].items()} == dict.fromkeys(
        ["get", "sepal", "petal", "fit"], "ran"
    )


@pytest.mark.parametrize("command", [["plan"], ["build", "--dry-run"]])
def test_a_dry_run_tells_what_would_run_and_runs_nothing(inline, diamond, command):
    inline("build")
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    code, out, _ = inline(*command)
    assert code == 0
    assert re.search(r"^get +▶ run +code of get\.py changed", out, re.M)
    assert re.search(r"^sepal +● maybe +waits for get", out, re.M)
    assert "1 task to run, 3 maybe, 0 to skip" in out
    _, out, _ = inline(*command, "--json")
    assert json.loads(out)["decisions"]["get"]["action"] == "run"
    assert diamond.read("out/get.txt") == "one"


def test_status_fits_80_columns_and_tells_state_reason_last_run_and_product(inline, diamond):
    inline("build")
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    _, out, _ = inline("status")
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^get +● stale +code of get\.py changed +just now +out/get\.ipynb", out, re.M)
    assert "4 tasks: 4 stale" in out


def test_status_json_has_a_row_for_each_task(inline):
    _, out, _ = inline("status", "--json")
    rows = json.loads(out)["tasks"]
    assert [row["task"] for row in rows] == ["get", "sepal", "petal", "fit"]
    assert rows[3]["upstream"] == ["sepal", "petal"]
    assert rows[0]["last_run"] is None


def test_why_shows_the_reasons_and_the_diff(inline, diamond):
    inline("build")
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    _, out, _ = inline("why", "get")
    assert out.startswith("get would run\n  - code of get.py changed\n")
    assert '-constant = "one"\n+constant = "two"\n' in out
    _, out, _ = inline("why", "fit")
    assert out.startswith("fit may run\n  - upstream 'sepal' runs first")


def test_log_lists_runs_one_run_and_the_runs_of_a_task(inline, diamond):
    assert inline("log")[1] == "no runs yet\n"
    inline("build")
    diamond.edit("fit.py", 'constant = "one"', "raise ValueError('bad')")
    inline("build")
    _, out, _ = inline("log")
    assert re.search(r"✓ done +\d\.\d\d +4 executed", out)
    assert re.search(r"✗ failed +\d\.\d\d +0 executed, 3 skipped, 1", out)
    _, out, _ = inline("log", "fit")
    assert re.search(r"✗ failed +\d\.\d\d +ValueError: bad", out)
    _, out, _ = inline("log", "--run", "last")
    assert "Traceback" in out
    _, out, _ = inline("log", "--events")
    assert json.loads(out.splitlines()[0])["event"] == "run-started"
    assert inline("log", "--run", "2020")[0] == 2


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("p.svg", b"<svg"),
        ("p.png", b"\x89PNG"),
        ("p.html", b"<!doctype html>"),
        ("p.mmd", b"flowchart LR"),
        ("p.dot", b"digraph"),
    ],
)
def test_plot_writes_the_format_of_the_suffix(inline, diamond, name, start):
    code, out, _ = inline("plot", "-o", f"pictures/{name}")
    assert (code, out) == (0, f"pictures/{name}\n")
    assert (diamond.root / "pictures" / name).read_bytes().lower().startswith(start.lower())


def test_plot_without_a_name_writes_pipeline_png_beside_the_spec(inline, diamond):
    inline("plot")
    with Image.open(diamond.root / "pipeline.png") as picture:
        assert picture.width > 400


def test_plot_refuses_a_format_that_it_does_not_know(inline):
    code, _, err = inline("plot", "-o", "p.bmp")
    assert code == 2
    assert ".svg" in err


def test_schema_is_one_json_document(inline):
    assert "TaskEntry" in json.loads(inline("schema")[1])["$defs"]


def test_scaffold_creates_what_is_missing_and_overwrites_nothing(inline, diamond):
    diamond.tasks.append({"source": "deep/new.py", "product": "out/new.ipynb"})
    diamond.tasks.append({"source": "tools.clean.run", "product": "out/clean.csv"})
    diamond.tasks.append({"source": "tools.clean.again", "product": "out/again.csv"})
    diamond.save()
    before = diamond.read("get.py")
    assert inline("status")[0] == 2
    _, out, _ = inline("scaffold")
    assert out == "created deep/new.py\ncreated tools/clean.py\n"
    assert diamond.read("get.py") == before
    text = diamond.read("deep/new.py")
    assert 'tags=["parameters"]' in text
    assert "upstream = None" in text
    assert inline("status")[0] == 0
    assert inline("scaffold")[1] == "nothing to create: all 7 sources are there\n"


def test_scaffold_adds_a_function_to_a_module_that_is_there(inline, diamond):
    diamond.write("tools.py", "VALUE = 1\n")
    diamond.tasks.append({"source": "tools.run", "product": "out/run.csv"})
    diamond.save()
    _, out, _ = inline("scaffold")
    assert out == "created run in tools.py\n"
    assert diamond.read("tools.py").startswith("VALUE = 1\n")
    assert inline("status")[0] == 0


def test_scaffold_by_name_makes_a_project_and_refuses_a_folder_that_holds_something(
    inline, diamond
):
    code, out, _ = inline("scaffold", "fresh")
    assert code == 0
    assert "scripts/get.py" in out
    assert inline("status", "-e", "fresh")[0] == 0
    code, _, err = inline("scaffold", "fresh")
    assert code == 2
    assert "is not empty" in err


def test_clean_lists_asks_and_removes(inline, diamond):
    inline("build")
    _, out, _ = inline("clean", "--products", "--dry-run")
    assert "would remove out/get.txt" in out
    assert (diamond.root / "out/get.txt").exists()
    _, out, _ = inline("clean", "--products", "--yes")
    assert not (diamond.root / "out/get.txt").exists()
    assert inline("status")[1].count("○ new") == 4


def test_clean_without_an_answer_removes_no_product(diamond, monkeypatch):
    monkeypatch.chdir(diamond.root)
    diamond.build()
    result = CliRunner().invoke(cli, ["clean", "--products"], input="n\n")
    assert result.exit_code == 1
    assert (diamond.root / "out/get.txt").exists()


def test_task_runs_one_task_after_what_it_needs(inline, diamond):
    _, out, _ = inline("task", "sepal")
    assert "2 executed" in out
    _, out, _ = inline("task", "sepal", "--force")
    assert "1 executed, 0 skipped" in out
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    assert "1 task up to date" in inline("task", "sepal", "--only")[1]
    assert inline("task", "get", "--source")[1] == diamond.read("get.py")


def test_doctor_tells_what_is_there_and_fails_when_something_is_missing(inline, diamond):
    code, out, _ = inline("doctor")
    assert code == 0
    assert "✓ ipykernel" in out
    assert "✓ kernel python3: installed" in out
    diamond.tasks[0]["kernel"] = "no-such-kernel"
    diamond.save()
    code, out, _ = inline("doctor")
    assert code == 1
    assert "✗ kernel no-such-kernel" in out


def test_doctor_is_content_outside_of_a_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 0
    assert "○ project: pipeline.yaml: not found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["biuld"], 2, "did you mean 'build'?"),
        (["build", "gett"], 2, "did you mean 'get'?"),
        (["why", "gett"], 2, "did you mean 'get'?"),
        (["build", "--jobs", "0"], 2, "jobs"),
        (["build", "--frce"], 2, "--force"),
        (["status", "-e", "nowhere"], 2, "nowhere"),
    ],
)
def test_wrong_usage_is_2_and_names_what_may_be_meant(inline, args, code, said):
    got, out, err = inline(*args)
    assert got == code
    assert said in out + err
    assert "Traceback" not in err


def test_a_wrong_spec_is_2_with_place_cause_and_hint(inline, diamond):
    diamond.write("pipeline.yaml", "tasks:\n  - source: get.py\n    produkt: out/get.ipynb\n")
    code, _, err = inline("status")
    assert code == 2
    assert err == (
        "pipeline.yaml:3:5: tasks[0].produkt: unknown key 'produkt'\n"
        "  hint: did you mean 'product'?\n"
    )


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help_without_touching_a_project(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


def heavy_modules(statement: str, cwd: Path) -> set[str]:
    """Which heavy libraries a fresh process has loaded after a statement."""
    heavy = (
        "networkx IPython ipykernel ipywidgets ipycytoscape jupytext nbclient nbformat rich yaml "
        "jupyter_client pandas PIL asyncio click"
    )
    code = f"{statement}\nimport sys\nprint(*(m for m in {heavy.split()} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split()) if done.stdout.strip() else set()


def test_importing_the_package_loads_no_library(tmp_path):
    assert heavy_modules("import nbpipe", tmp_path) == set()


def test_a_build_that_finds_nothing_to_do_loads_no_jupyter_library_no_networkx_no_rich(diamond):
    diamond.build()
    loaded = heavy_modules("from nbpipe.cli.app import run; run(['build'])", diamond.root)
    assert loaded <= {"click", "yaml", "asyncio"}


def test_a_build_in_which_nothing_has_changed_loads_no_library_at_all(diamond):
    diamond.build()
    time.sleep(0.05)
    diamond.build()
    code = "sys.argv[1:] = ['build']; import nbpipe.__main__ as m, atexit"
    code += "; atexit.register(lambda: print(*sorted(set(sys.modules) - before)))"
    code = f"import sys; before = set(sys.modules); {code}; m.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=diamond.root, capture_output=True, text=True, check=True
    )
    line, loaded = done.stdout.splitlines()
    assert line.startswith("✓ nothing to do: 4 tasks")
    others = {name for name in loaded.split() if name.partition(".")[0] != "nbpipe"}
    assert others <= {"__future__", "atexit", "binascii"}, "binascii: the cache's checksum"
    assert "nbpipe.errors" not in loaded.split()


def test_libraries_that_check_no_notebook_are_not_imported_with_nbformat(tmp_path):
    code = "import sys; from nbpipe.cli.process import settle; settle(); import nbformat"
    code += "; print([m for m in ('arrow', 'isoduration', 'lark') if sys.modules.get(m)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("imported", "frozen"), [("json", True), ("pdb", False), ("IPython.terminal", False)]
)
def test_only_a_process_that_ran_nobody_s_code_ends_without_tidying_up(imported, frozen):
    code = f"import gc, {imported}; from nbpipe.cli.process import part; part()"
    code += "; print(gc.get_freeze_count() > 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{frozen}\n"


def test_the_public_names_are_these():
    import nbpipe

    assert nbpipe.__all__ == [
        "__version__",
        "BuildError",
        "BuildReport",
        "Graph",
        "InMemoryPipeline",
        "InlineExecutor",
        "InterruptedBuildError",
        "LockedError",
        "NbpipeError",
        "Pipeline",
        "Plan",
        "Run",
        "Spec",
        "SpecError",
        "Status",
        "StoreError",
        "Task",
        "TaskHandle",
        "UsageError",
    ]
    assert all(getattr(nbpipe, name) for name in nbpipe.__all__)
