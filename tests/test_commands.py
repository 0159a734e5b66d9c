"""The commands that show, teach and debug: task, report, interact, examples, scaffold, debug."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pexpect
import pytest

from nbpipe import InlineExecutor, Pipeline, pipeline
from nbpipe.cli.app import run
from nbpipe.cli.examples import copy_example, described, examples_folder
from nbpipe.debugging import read_dump
from nbpipe.errors import UsageError
from nbpipe.executors.dump import make_dump
from nbpipe.store.specfile import find_spec
from tests.cli import ENV
from tests.projects import Project, fake_work

process = pytest.mark.process
kernel = pytest.mark.kernel

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Call:
    """Calls the command line in this process; the tests' own folder is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(pipeline, "default_executor", lambda kind: InlineExecutor(fake_work))

    def command(*args: str) -> tuple[int, str, str]:
        code = run(list(args))
        return (code, *capsys.readouterr())

    return command


# -- task --------------------------------------------------------------------------------------


def test_task_shows_its_state_and_runs_nothing(call: Call, diamond: Project) -> None:
    code, out, _ = call("task", "sepal", "-st")
    assert code == 0
    assert "never run" in out
    assert "petal" not in out
    assert call("task", "sepal", "--status")[1] == out
    assert not (diamond.root / "out/sepal.txt").exists()


def test_task_shows_and_runs_when_both_are_asked(call: Call, diamond: Project) -> None:
    _, out, _ = call("task", "get", "-s", "-st", "--build")
    assert 'constant = "one"' in out
    assert "1 task: 1 new" in out
    assert diamond.read("out/get.txt") == "one"


HOOKED = """\
tasks:
- source: work.make
  product: out.txt
  on_finish: {dotted_path: work.check, least: 3}
- {source: work.other, product: other.txt}
"""

WORK = """\
def make(product):
    open(product, "w").write("abc")
def other(product):
    open(product, "w").write("abc")
def check(product, least):
    assert len(product.read_text()) >= least, "too short"
"""


@process
def test_task_calls_on_finish_alone(project: Project, call: Call) -> None:
    """On what is there: the build that made it is not repeated, and nothing is recorded."""
    project.write("pipeline.yaml", HOOKED)
    project.write("work.py", WORK)
    project.write("out.txt", "abc")
    assert call("task", "make", "-of")[:2] == (0, "on_finish of 'make' went well\n")
    project.write("out.txt", "a")
    code, _, err = call("task", "make", "--on-finish")
    assert code == 1
    assert "AssertionError: on_finish of task 'make': too short" in err
    assert Pipeline.load(project.root).record("make") is None
    assert "has no on_finish" in call("task", "other", "-of")[2]


def test_build_takes_what_the_reference_calls_skip_upstream(call: Call, diamond: Project) -> None:
    call("build")
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    diamond.edit("sepal.py", "constant = 'sepal'", "constant = 'leaf'")
    for word in ("-su", "--skip-upstream"):
        _, out, _ = call("build", "-p", "se*", word)
        assert re.search("1 executed|nothing to do", out)
    assert diamond.read("out/get.txt") == "one"
    assert diamond.read("out/sepal.txt").startswith("leaf")


# -- report ------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page holds and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_is_a_page_that_stands_alone(call: Call, diamond: Project) -> None:
    call("build")
    diamond.edit("get.py", 'constant = "one"', 'constant = "two"')
    code, out, _ = call("report")
    assert (code, Path(out.strip()).name) == (0, "pipeline.html")
    page = Page(diamond.read("pipeline.html"))
    assert "svg" in page.tags
    assert "script" not in page.tags
    assert [link for link in page.links if not link.startswith("#")] == []
    assert "code of get.py changed" in page.text
    assert "4 executed, 0 skipped" in page.text
    assert "none yet" not in page.text


def test_report_in_markdown_draws_with_mermaid(call: Call, diamond: Project) -> None:
    diamond.task("pipe|line<b>", ["get"])
    assert call("report", "-o", "docs/report.md")[1] == "docs/report.md\n"
    text = diamond.read("docs/report.md")
    assert "```mermaid\nflowchart LR" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 5
    assert "pipe\\|line&lt;b&gt;" in text
    assert "## Runs\n\nnone yet\n" in text


def test_report_refuses_a_format_that_it_does_not_know(call: Call, diamond: Project) -> None:
    code, _, err = call("report", "-o", "report.pdf")
    assert code == 2
    assert ".html or .md" in err
    with pytest.raises(UsageError, match=r"'\.pdf'"):
        diamond.pipeline().report(".pdf")


# -- interact ----------------------------------------------------------------------------------


@process
def test_interact_is_a_session_with_the_pipeline_and_its_modules(
    diamond: Project, tmp_path: Path
) -> None:
    diamond.write("helper.py", "value = 'from the project'\n")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "nbpipe", "interact"],
        cwd=str(diamond.root),
        env={**ENV, "IPYTHONDIR": str(tmp_path / "ipython"), "TERM": "dumb"},
        encoding="utf-8",
        timeout=60,
    )
    try:
        child.expect(r"4 tasks")
        child.expect(r"In \[1\]")
        child.sendline("import helper; print(len(dag), dag['fit'].status.state, helper.value)")
        child.expect("4 new from the project")
        child.sendline("print('%autoreload' in str(get_ipython().magics_manager.magics['line']))")
        child.sendline("exit")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == 0


# -- examples ----------------------------------------------------------------------------------


def test_examples_are_listed_with_what_they_show(call: Call) -> None:
    code, out, _ = call("examples")
    assert code == 0
    for name, what in described().items():
        assert re.search(rf"^{name} +{re.escape(what[:40])}", out, re.M)


def test_an_example_is_copied_into_a_new_folder_only(call: Call, tmp_path: Path) -> None:
    assert "next: cd grid && nbpipe build" in call("examples", "grid")[1]
    assert (tmp_path / "grid/tasks.py").is_file()
    code, _, err = call("examples", "grid")
    assert code == 2
    assert "is not empty" in err
    assert call("examples", "-n", "grid", "-o", "other")[0] == 0
    assert "did you mean 'grid'?" in call("examples", "gird")[2]


@kernel
@pytest.mark.parametrize("name", sorted(described()))
def test_every_example_builds_and_then_has_nothing_to_do(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    copy_example(name, folder)
    report = Pipeline.load(folder, call=True).build()
    assert list(report.named("ran")) == list(report.tasks), report
    assert Pipeline.load(folder).plan().idle


@process
def test_the_example_that_serves_predicts_without_a_file(tmp_path: Path) -> None:
    copy_example("serve", tmp_path / "serve")
    assert Pipeline.load(tmp_path / "serve", call=True).build().ok
    before = sorted(tmp_path.rglob("*"))
    said = pexpect.run(
        f"{sys.executable} -B predict.py 12", cwd=str(tmp_path / "serve"), env={**ENV}
    )
    assert said.decode().split() == ["38.0"]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_examples_show_commands_that_exist() -> None:
    from tests.test_docs import commands

    known = commands()
    for readme in examples_folder().glob("*/README.md"):
        for name in re.findall(r"^    nbpipe (\w+)", readme.read_text(encoding="utf-8"), re.M):
            assert name in known


# -- scaffold ----------------------------------------------------------------------------------


def test_scaffold_makes_a_package_whose_pipeline_is_found(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("scaffold", "my-flowers", "--package", "--conda", "--pip")
    assert code == 0
    assert "src/my_flowers/pipeline.yaml" in out
    root = tmp_path / "my-flowers"
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] == "my-flowers"
    assert "name: my-flowers" in (root / "environment.yml").read_text()
    assert (root / "requirements.txt").exists()
    assert find_spec(root) == root / "src/my_flowers/pipeline.yaml"
    assert find_spec(root / "src") == root / "src/my_flowers/pipeline.yaml"
    code, out, _ = call("status", "-e", "my-flowers")
    assert (code, "2 tasks: 2 new" in out) == (0, True)


def test_a_package_is_looked_into_only_where_it_is_sure(tmp_path: Path) -> None:
    (tmp_path / "src/one").mkdir(parents=True)
    (tmp_path / "src/one/pipeline.yaml").write_text("- source: a.py\n")
    assert not _found(tmp_path)
    (tmp_path / "setup.py").touch()
    assert _found(tmp_path) == tmp_path / "src/one/pipeline.yaml"
    (tmp_path / "src/two").mkdir()
    (tmp_path / "src/two/pipeline.yaml").write_text("- source: a.py\n")
    assert not _found(tmp_path)
    (tmp_path / "pipeline.yaml").write_text("- source: a.py\n")
    assert _found(tmp_path) == tmp_path / "pipeline.yaml"


def _found(folder: Path) -> Path | None:
    from nbpipe.store.signatures import locate_spec

    found = locate_spec(str(folder))
    return None if found is None else Path(found)


def test_scaffold_makes_an_empty_pipeline_to_be_filled(call: Call, tmp_path: Path) -> None:
    assert call("scaffold", "bare", "--empty")[0] == 0
    spec = tmp_path / "bare/pipeline.yaml"
    assert call("status", "-e", "bare")[0] == 0
    spec.write_text(spec.read_text().replace("tasks: []", "tasks:\n  - source: first.py"))
    assert call("scaffold", "-e", "bare")[1] == "created first.py\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--package"], "make a new project"),
        (["new", "-e", "pipeline.yaml"], "leave one out"),
        (["2nd", "--package"], "cannot be the name of a package"),
    ],
)
def test_scaffold_refuses_what_makes_no_sense(call: Call, args: list[str], said: str) -> None:
    code, _, err = call("scaffold", *args)
    assert code == 2
    assert said in err


# -- debug -------------------------------------------------------------------------------------

BROKEN = """\
tasks:
- {source: nb.py, product: out/nb.ipynb, debug_mode: null}
- {source: work.fail, product: out/fail.txt}
"""

NOTEBOOK = """\
# %% tags=["parameters"]
upstream = None
product = None

# %%
rows = [1, 2, 3]
secret = lambda: 1

# %%
def share(count):
    left = count - 3
    return len(rows) / left


share(3)
"""

FAILING = """\
import threading


def fail(product):
    unpicklable = threading.Lock()
    total = 17
    raise ValueError("no good")
"""


@pytest.fixture
def broken(project: Project) -> Project:
    project.write("pipeline.yaml", BROKEN)
    project.write("nb.py", NOTEBOOK)
    project.write("work.py", FAILING)
    return project


@kernel
@pytest.mark.parametrize("start", ["fork", "cold"])
def test_debug_later_keeps_the_variables_of_a_failed_cell(
    broken: Project, start: str, capsys
) -> None:
    """Whichever way its kernel was started; they can be read without running what was pickled."""
    broken.write("pipeline.yaml", f"meta: {{kernels: {{start: {start}}}}}\n{BROKEN}")
    assert run(["build", "nb", "--debug-later", "-e", str(broken.root)]) == 1
    out = capsys.readouterr().out
    path = re.search(r"^nb: nbpipe debug (\S+)", out, re.M)
    assert path is not None, out
    assert run(["debug", path[1], "--print"]) == 0
    said = capsys.readouterr().out
    assert "ZeroDivisionError: division by zero" in said
    assert re.search(r"in share\n  count = 3\n  left = 0$", said, re.M)
    assert "rows = [1, 2, 3]" in said
    assert "get_ipython" not in said


@process
def test_a_dump_opens_in_a_debugger_again(broken: Project) -> None:
    dag = broken.pipeline()
    assert not dag.build("fail", debug_later=True).ok
    broken.write("work.py", "# edited since\n" * 3)
    child = _debugger(broken, "debug", os.path.abspath(dag.dumps()["fail"]))
    child.expect("raise ValueError")
    for typed, said in (("total + 1", "18"), ("unpicklable", "not kept: <unlocked")):
        child.sendline(f"p {typed}")
        child.expect_exact(said)
    child.sendline("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def _debugger(project: Project, *args: str) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        ["-m", "nbpipe", *args],
        cwd=str(project.root),
        env={**ENV, "TERM": "dumb", "IPYTHONDIR": str(project.root / "ipython")},
        encoding="utf-8",
        timeout=60,
    )


def test_a_damaged_dump_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    """Cut anywhere, or with a byte changed."""
    rows = [1, 2]
    try:
        rows[7]
    except IndexError as error:
        data = msgspec.msgpack.encode(make_dump("fit", error))
    whole = tmp_path / "whole.dump"
    whole.write_bytes(data)
    assert read_dump(whole).frames[0].values["rows"].text == "[1, 2]"
    for cut in range(0, len(data), 40):
        (tmp_path / "cut.dump").write_bytes(data[:cut])
        with pytest.raises(UsageError):
            read_dump(tmp_path / "cut.dump")
    (tmp_path / "new.dump").write_bytes(data[:-1] + b"\x7e")
    with pytest.raises(UsageError, match="written by another nbpipe"):
        read_dump(tmp_path / "new.dump")


@kernel
def test_debug_runs_the_failed_task_again_with_a_debugger_on_its_error(broken: Project) -> None:
    """In a terminal it is IPython's, at the script's own line."""
    child = _debugger(broken, "build", "nb", "--debug")
    child.expect("running 'nb' again")
    child.expect("ipdb>")
    child.sendline("p left, rows")
    child.expect_exact("(0, [1, 2, 3])")
    child.sendline("p share.__code__.co_filename, share.__code__.co_firstlineno")
    child.expect(r"nb\.py', 10\)")
    child.sendline("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1


def test_debug_says_when_there_is_nothing_to_open(call: Call, diamond: Project) -> None:
    assert call("build", "--debug", "--debug-later")[0] == 0
    code, _, err = call("debug", "nowhere.dump")
    assert code == 2
    assert "--debug-later makes one" in err
    diamond.write("text.dump", "no dump")
    assert "is no dump" in call("debug", "text.dump")[2]
    assert "use --debug-later" in call("build", "--bg", "--debug")[2]
    assert "exclude each other" in call("build", "--json", "--debug")[2]
    assert "exclude each other" in call("task", "get", "--json", "--debug")[2]


@kernel
def test_a_task_can_ask_for_its_dump_itself(broken: Project) -> None:
    """Other tasks of the same build keep nothing; in the background all may be asked to."""
    broken.write("pipeline.yaml", BROKEN.replace("null", "later"))
    dag = broken.pipeline()
    assert dag.build(keep_going=True).named("failed") == ("nb", "fail")
    assert list(dag.dumps()) == ["nb"]
    run = dag.start("fail", debug_later=True)
    assert not run.wait(120).ok
    assert list(dag.dumps(run.id)) == ["fail"]


class SendsOff(InlineExecutor):
    """One that has other machines run whole tasks."""

    records_itself = True


def test_no_variables_come_from_other_machines(diamond: Project) -> None:
    with pytest.raises(UsageError, match="only where they run on this machine"):
        diamond.pipeline().build(executor=SendsOff(fake_work), debug_later=True)


def test_debug_mode_now_is_an_error_that_names_the_command(broken: Project) -> None:
    broken.write("pipeline.yaml", BROKEN.replace("null", "now"))
    with pytest.raises(Exception, match="nbpipe build --debug"):
        broken.pipeline()


def test_the_current_folder_is_not_left_by_a_debugged_task(broken: Project) -> None:
    before = os.getcwd(), list(sys.path), dict(os.environ)
    seen = []
    error = broken.pipeline()["fail"].debug(lambda trace: seen.append(trace.tb_frame.f_code))
    assert isinstance(error, ValueError)
    assert seen[0].co_name == "fail"
    assert (os.getcwd(), list(sys.path), dict(os.environ)) == before
    sys.modules.pop("work", None)
