"""Executors run one job in a clean process and tell how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbpipe.core.events import CellFinished, CellStarted, Event
from nbpipe.core.model import Failure, Job, Outcome
from nbpipe.errors import StoreError, UsageError
from nbpipe.executors import document
from nbpipe.executors.base import Executor
from nbpipe.executors.function import FunctionExecutor
from nbpipe.executors.inline import InlineExecutor
from nbpipe.executors.notebook import NotebookExecutor, check_kernel, kernel_names

posix = pytest.mark.skipif(os.name != "posix", reason="signals")

pytestmark = pytest.mark.process


def ignore(event: Event) -> None:
    """Take an event and do nothing."""


def run(executor: Executor, *jobs: Job) -> list[Outcome]:
    """Run jobs at once."""

    async def main() -> list[Outcome]:
        try:
            return await asyncio.gather(*(executor.run(job, ignore) for job in jobs))
        finally:
            await executor.close()

    return asyncio.run(main())


async def until(condition: Any, seconds: float = 15.0) -> Any:
    """Poll until something is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never became true"
        await asyncio.sleep(0.02)
    return value


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def failed(outcome: Outcome) -> Failure:
    """The failure of an outcome that has one."""
    assert outcome.failure is not None
    return outcome.failure


# -- functions -----------------------------------------------------------------------------

TASKS = """\
import os, signal, subprocess, sys, time
from pathlib import Path

def good(product, upstream, size, missing=4):
    print("said", size, missing, os.environ["NBPIPE_TASK"])
    Path(product).write_text(f"{upstream['load']} {os.getcwd()}")

def plain(product):
    Path(product).write_text("plain")

def everything(**kwargs):
    Path("all").write_text(",".join(sorted(kwargs)))

async def later(product):
    Path(product).write_text("later")

def broken(product):
    values = [1, 2]
    return helper(values)

def helper(values):
    return values[7]

def needs(product, rows):
    pass

def asks(product):
    input()

def exits(product):
    sys.exit(0)

def leaves(product):
    os._exit(7)

def killed(product):
    os.kill(os.getpid(), signal.SIGKILL)

def crashes(product):
    import ctypes
    ctypes.string_at(0)

def loud(product):
    for _ in range(300):
        print("x" * 99_999)
    print("the end")

def hangs(product):
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    Path("pids").write_text(f"{os.getpid()} {child.pid}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)

NUMBER = 3
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a module of functions and the folder of a run."""
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "wrong.py").write_text("x = = 1\n")
    (tmp_path / "run").mkdir()
    return tmp_path


def function_job(project: Path, name: str, **changes: Any) -> Job:
    """A job that calls a function of the project."""
    values: dict[str, Any] = {
        "task": "fit",
        "kind": "function",
        "source": name if "." in name else f"tasks.{name}",
        "root": str(project),
        "folder": str(project / "run"),
        "stem": "fit",
        "product": "out.txt",
        "upstream": {"load": "a.csv"},
    }
    return Job(**(values | changes))


def call(project: Path, name: str, **changes: Any) -> Outcome:
    """Run a function job alone."""
    return run(FunctionExecutor(), function_job(project, name, **changes))[0]


def test_a_function_gets_what_its_signature_names(project: Path):
    """Product, upstream and params, with the root as working directory."""
    outcome = call(project, "good", params={"size": 3, "other": 1})
    assert outcome.failure is None
    assert (project / "out.txt").read_text() == f"a.csv {project}"
    assert (project / "run" / "fit.log").read_text() == "said 3 4 fit\n"
    assert set(outcome.versions) == {"python"}
    assert [p.name for p in (project / "run").iterdir()] == ["fit.log"]


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("plain", "out.txt", "plain"),
        ("everything", "all", "product,size,upstream"),
        ("later", "out.txt", "later"),
    ],
)
def test_other_kinds_of_functions_run(project: Path, name: str, file: str, content: str):
    """Those without upstream, with ``**kwargs``, and coroutine functions."""
    assert call(project, name, params={"size": 1}).failure is None
    assert (project / file).read_text() == content


def test_an_exception_is_quoted_where_the_project_raised_it(project: Path):
    """With its file, line, code and traceback, without frames of nbpipe."""
    failure = failed(call(project, "broken"))
    line = TASKS.splitlines().index("    return values[7]") + 1
    assert (failure.error, failure.message) == ("IndexError", "list index out of range")
    assert (failure.file, failure.line) == ("tasks.py", line)
    assert f"> {line} |     return values[7]" in failure.excerpt
    assert "in helper" in failure.traceback
    assert "nbpipe" not in failure.traceback


@posix
@pytest.mark.parametrize(
    ("name", "error", "words", "hint"),
    [
        ("needs", "TypeError", "requires 'rows'", "params:"),
        ("brokn", "AttributeError", "no function 'brokn'", "did you mean 'broken'?"),
        ("NUMBER", "TypeError", "not a function", ""),
        ("nowhere.f", "ModuleNotFoundError", "no module 'nowhere'", "pipeline.yaml"),
        ("wrong.f", "SyntaxError", "invalid syntax", ""),
        ("asks", "EOFError", "EOF", "unattended"),
        ("exits", "SystemExit", "sys.exit(0)", "raise an exception to fail"),
        ("leaves", "ProcessDied", "status 7, by os._exit?", ""),
        ("killed", "ProcessDied", "SIGKILL: possibly out of memory", ""),
        ("crashes", "ProcessDied", "SIGSEGV", ""),
    ],
)
def test_ways_to_fail_are_told_apart(project: Path, name: str, error: str, words: str, hint: str):
    """An error, a wrong signature, an exit and a death each say so."""
    failure = failed(call(project, name))
    assert failure.error == error
    assert words in failure.message
    assert hint in (failure.hint or "")


@posix
def test_a_crash_of_a_function_is_in_its_log(project: Path):
    """With the Python frames, which the failure repeats."""
    failure = failed(call(project, "crashes"))
    log = (project / "run" / "fit.log").read_text()
    assert "Segmentation fault" in log
    assert "in crashes" in failure.traceback


def test_the_log_of_a_loud_function_is_bounded(project: Path):
    """Beginning and end are kept, and the cut is marked."""
    assert call(project, "loud").failure is None
    log = (project / "run" / "fit.log").read_text()
    assert len(log) < 6_000_000
    assert "25,000,008 bytes dropped" in log
    assert log.endswith("the end\n")


@posix
@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_function_is_ended_with_its_descendants(project: Path, how: str):
    """Also when it ignores SIGTERM, and when they have sessions of their own."""
    timeout = 1.5 if how == "timeout" else None
    job = function_job(project, "hangs", timeout=timeout)

    async def main() -> Outcome | None:
        task = asyncio.ensure_future(FunctionExecutor().run(job, ignore))
        if how == "cancel":
            await until(lambda: (project / "pids").exists() and (project / "pids").read_text())
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return None

    begun = time.monotonic()
    outcome = asyncio.run(main())
    assert time.monotonic() - begun < 5
    assert (outcome is None) == (how == "cancel")
    assert outcome is None or failed(outcome).error == "Timeout"
    assert all(gone(int(pid)) for pid in (project / "pids").read_text().split())


def test_a_file_of_the_project_cannot_stand_in_for_a_library(project: Path):
    """A script named like a module that nbpipe imports does not break the child."""
    (project / "msgspec.py").write_text("raise RuntimeError('mine')")
    assert call(project, "plain").failure is None


# -- inline ---------------------------------------------------------------------------------


def test_the_inline_executor_calls_what_stands_for_the_task(project: Path):
    """By name or by default, plain or coroutine; exceptions become failures."""

    async def coroutine(job: Job) -> None:
        await asyncio.sleep(0)

    def bad(job: Job) -> None:
        raise ValueError("no")

    mine = Failure(error="Mine", message="m")
    works = {"a": coroutine, "b": bad, "c": lambda job: mine}
    executor = InlineExecutor(works, default=lambda job: None)
    outcomes = run(executor, *(function_job(project, "good", task=t) for t in "abcd"))
    assert [o.failure and o.failure.error for o in outcomes] == [None, "ValueError", "Mine", None]
    assert [job.task for job in executor.jobs] == list("abcd")


def test_the_inline_executor_keeps_a_coroutine_to_its_timeout(project: Path):
    """As the real ones do."""

    async def slow(job: Job) -> None:
        await asyncio.sleep(30)

    job = function_job(project, "good", timeout=0.01)
    assert failed(run(InlineExecutor(slow), job)[0]).error == "Timeout"


def test_the_inline_executor_leaves_the_notebook_of_a_job(project: Path):
    """Not executed, in the file where the real one would leave it."""
    (outcome,) = run(InlineExecutor(lambda job: None), notebook_job(project, ["1"]))
    assert json.loads(Path(outcome.notebook or "").read_text())["cells"]


def test_the_inline_executor_refuses_a_task_for_which_nothing_stands(project: Path):
    """It is an error of the test, not of the task."""
    with pytest.raises(UsageError, match=r"'fit'.*\n.*did you mean 'fitt'"):
        run(InlineExecutor({"fitt": lambda job: None}), function_job(project, "good"))


# -- notebooks: no kernel needed --------------------------------------------------------------


def notebook_job(folder: Path, cells: list[str], **changes: Any) -> Job:
    """A job whose cells stand in the script from line 3 on, a marker line between each two."""
    code = [
        {
            "cell_type": "code",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "id": f"cell-{n}",
        }
        for n, source in enumerate(cells)
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": code,
        "metadata": {"kernelspec": spec},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    lines = [3]
    for source in cells[:-1]:
        lines.append(lines[-1] + len(source.splitlines()) + 1)
    values: dict[str, Any] = {
        "task": "fit",
        "kind": "notebook",
        "source": "scripts/fit.py",
        "root": str(folder),
        "folder": str(folder / "run"),
        "stem": "fit",
        "notebook": notebook,
        "lines": tuple(lines),
        "kernel": "python3",
    }
    (folder / "run").mkdir(exist_ok=True)
    return Job(**(values | changes))


def outputs(folder: Path, cell: int = 0, stem: str = "fit") -> list[dict[str, Any]]:
    """The outputs of a cell in the notebook on the disk."""
    notebook = json.loads((folder / "run" / f"{stem}.ipynb").read_text())
    found: list[dict[str, Any]] = notebook["cells"][cell]["outputs"]
    return found


def text(output: dict[str, Any]) -> str:
    """The text of a stream."""
    return "".join(output["text"])


def test_an_unknown_kernel_fails_before_anything_starts(tmp_path: Path):
    """With the nearest of the installed ones."""
    failure = failed(run(NotebookExecutor(), notebook_job(tmp_path, ["1"], kernel="pyton3"))[0])
    assert (failure.error, failure.hint) == ("NoSuchKernel", "did you mean 'python3'?")
    assert "python3" in kernel_names()
    with pytest.raises(UsageError, match="pyton3"):
        check_kernel("pyton3")


def test_a_notebook_is_saved_as_jupyter_saves_it():
    """Byte for byte, so that a diff shows what changed and nothing else."""
    import nbformat

    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# ä\n\nb"),
            nbformat.v4.new_code_cell(
                "a\nb",
                outputs=[
                    nbformat.v4.new_output("stream", text="x\ny\n"),
                    nbformat.v4.new_output(
                        "display_data",
                        {"text/html": "<b>\n</b>", "application/json": {"a": [], "b": {}}},
                    ),
                ],
            ),
        ]
    )
    assert document.as_json(notebook).decode() == nbformat.writes(notebook) + "\n"


def test_half_a_surrogate_pair_does_not_prevent_a_save():
    """A kernel may send one as an escape."""
    cell = {"cell_type": "code", "source": "", "outputs": [{"text": "\ud800"}]}
    saved = json.loads(document.as_json({"cells": [cell]}))
    assert saved["cells"][0]["outputs"][0]["text"] == ["\ud800"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is an error of the store, and no temporary file stays."""
    path = tmp_path / "a.ipynb"
    document.write(path, b"old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        document.write(path, b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


# -- notebooks in real kernels ------------------------------------------------------------------


def in_kernels(test: Any) -> Any:
    """Mark a test that starts kernels, and run it as outside of pytest.

    ipykernel does not capture what compiled code prints when it sees pytest's variable, which
    pytest sets once more after the fixtures have run.
    """

    @functools.wraps(test)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PYTEST_CURRENT_TEST")
            test(*args, **kwargs)

    return pytest.mark.kernel(wrapped)


@in_kernels
def test_two_notebooks_run_at_once_and_tell_their_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each in its own kernel, in the root folder, with the job's environment."""
    cells = [
        "import os, pathlib\nimport local_module",
        "os.system('echo from a subprocess')",
        "print(os.getcwd(), os.environ['NBPIPE_TASK'], os.environ['TOKEN'])",
        "pathlib.Path('out-' + os.environ['NBPIPE_TASK']).write_text('x')",
        "import atexit\natexit.register(lambda: pathlib.Path('exit').write_text('ran'));",
    ]
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "local_module.py").write_text("")
    jobs = [
        notebook_job(tmp_path, cells, task=name, stem=name, environ={"TOKEN": "s3cret"})
        for name in ("a", "b")
    ]
    events: list[Event] = []

    async def main() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        if os.name == "posix":
            loop.add_signal_handler(signal.SIGINT, print)
        executor = NotebookExecutor()
        try:
            found = await asyncio.gather(*(executor.run(job, events.append) for job in jobs))
        finally:
            await executor.close()
            await executor.close()
        if os.name == "posix":
            assert loop.remove_signal_handler(signal.SIGINT), "SIGINT belongs to the runner"
        return found

    outcomes = asyncio.run(main())
    assert [o.failure for o in outcomes] == [None, None]
    assert [Path(o.notebook or "").name for o in outcomes] == ["a.ipynb", "b.ipynb"]
    assert outcomes[0].versions["kernel"] == "python3"
    assert outcomes[0].versions["implementation"].startswith("ipython ")
    for name in ("a", "b"):
        # A thread of ipykernel reads what a subprocess writes: it may come after the result.
        streams = [o for o in outputs(tmp_path, 1, name) if o["output_type"] == "stream"]
        assert [text(o) for o in streams] == ["from a subprocess\n"]
        assert text(outputs(tmp_path, 2, name)[0]) == f"{tmp_path} {name} s3cret\n"
        assert (tmp_path / f"out-{name}").exists()
        notebook = json.loads((tmp_path / "run" / f"{name}.ipynb").read_text())
        assert notebook["metadata"]["nbpipe"]["task"] == name
        assert notebook["metadata"]["language_info"]["name"] == "python"
        assert "s3cret" not in json.dumps(notebook["metadata"])
    assert (tmp_path / "exit").read_text() == "ran"
    assert not list(tmp_path.glob("ipython/**/history.sqlite*"))
    cell_events = (e for e in events if isinstance(e, CellStarted | CellFinished))
    mine = [e for e in cell_events if e.task == "a"]
    assert mine[0] == CellStarted(task="a", index=1, total=5, line=3)
    assert isinstance(mine[1], CellFinished)
    assert [type(e) for e in mine] == [CellStarted, CellFinished] * 5


ERRORS: list[tuple[str, list[str], str, int, str, str]] = [
    ("a function", ["def f(x):\n    return 1 / x", "a = 1\nf(0)"], "ZeroDivisionError", 7, "", ""),
    ("syntax", ["1", "a = = 1"], "SyntaxError", 5, "scripts/fit.py, line 5", ""),
    ("exit() first", ["exit()", "1"], "SystemExit", 3, "exit()", "raise an exception"),
    ("exit() last", ["1", "quit()"], "SystemExit", 5, "quit()", "raise an exception"),
    ("sys.exit", ["import sys\nsys.exit(0)"], "SystemExit", 4, "sys.exit(0)", "raise an"),
    ("os._exit", ["import os", "os._exit(7)"], "KernelDied", 5, "cell 2 (exited with status 7", ""),
    (
        "kill",
        ["import os\nos.kill(os.getpid(), 9)"],
        "KernelDied",
        3,
        "cell 1 (signal 9, SIGKILL: possibly out of memory)",
        "",
    ),
    ("crash", ["import ctypes\nctypes.string_at(0)"], "KernelDied", 4, "SIGSEGV", ""),
    ("input", ["input('?')"], "StdinNotImplementedError", 3, "", "unattended"),
    ("getpass", ["from getpass import getpass\ngetpass()"], "StdinNotImplementedError", 4, "", ""),
    ("module", ["import nowhere_to_be"], "ModuleNotFoundError", 3, "", sys.prefix),
    ("upstream", ["upstream = {}", "upstream['lod']"], "KeyError", 5, "", "mean 'load'"),
]


@in_kernels
@posix
def test_ways_to_fail_in_a_notebook_are_told_apart(tmp_path: Path):
    """Each with its line in the script, and the failed notebook is kept."""
    jobs = [
        notebook_job(tmp_path, cells, stem=f"n{n}", upstream={"load": "a"}, result="out.ipynb")
        for n, (_, cells, *_) in enumerate(ERRORS)
    ]

    async def main() -> list[Outcome]:
        executor, places = NotebookExecutor(), asyncio.Semaphore(2)

        async def one(job: Job) -> Outcome:
            async with places:
                return await executor.run(job, ignore)

        try:
            return await asyncio.gather(*map(one, jobs))
        finally:
            await executor.close()

    for (name, cells, error, line, words, hint), job, outcome in zip(
        ERRORS, jobs, asyncio.run(main()), strict=True
    ):
        failure = failed(outcome)
        assert (failure.error, failure.line) == (error, line), name
        assert (failure.file, failure.notebook) == ("scripts/fit.py", f"run/{job.stem}.ipynb")
        assert words in failure.message, name
        assert hint in (failure.hint or ""), name
        mark = cells[(failure.cell or 1) - 1].splitlines()[-1]
        assert mark in failure.excerpt, name
        assert (tmp_path / "run" / f"{job.stem}.ipynb").exists()
    crash = next(n for n, (name, *_) in enumerate(ERRORS) if name == "crash")
    assert "Segmentation fault" in (tmp_path / "run" / f"n{crash}.log").read_text()


@in_kernels
@posix
def test_what_a_reader_sees_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The partial notebook; and private connection files, which are gone in the end."""
    private = tmp_path / "t"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    monkeypatch.setattr("nbpipe.executors.kernel.LONGEST_FOLDER", 100)
    cells = ["print('first')", "import time, pathlib\nwhile not pathlib.Path('go').exists():"]
    cells[1] += "\n    time.sleep(0.05)"
    job = notebook_job(tmp_path, cells)

    def first_output() -> list[Any]:
        return ((tmp_path / "run" / "fit.ipynb").exists() and outputs(tmp_path)) or []

    async def main() -> Outcome:
        executor = NotebookExecutor()
        task = asyncio.ensure_future(executor.run(job, ignore))
        seen = await until(first_output)
        assert text(seen[0]) == "first\n"
        (folder,) = private.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700
        assert stat.S_IMODE((folder / "kernel.json").stat().st_mode) == 0o600
        assert json.loads((folder / "kernel.json").read_text())["transport"] == "ipc"
        (tmp_path / "go").touch()
        outcome = await task
        await executor.close()
        assert not folder.exists()
        return outcome

    assert asyncio.run(main()).failure is None
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["fit.ipynb"]


HANGS = """\
import os, pathlib, signal, subprocess, time
children = [subprocess.Popen(["sleep", "60"], start_new_session=s) for s in (True, False)]
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("before")
pids = [os.getpid(), *(c.pid for c in children)]
pathlib.Path(os.environ["PIDS"]).write_text(" ".join(map(str, pids)))
time.sleep(60)"""


@in_kernels
@posix
def test_a_notebook_is_ended_with_its_descendants(tmp_path: Path):
    """By its timeout and when cancelled, though it ignores SIGINT; the partial notebook stays."""
    late = notebook_job(tmp_path, [HANGS], stem="late", timeout=3.0, environ={"PIDS": "late"})
    cut = notebook_job(tmp_path, [HANGS], stem="cut", environ={"PIDS": "cut"})
    polite = notebook_job(tmp_path, ["import time\ntime.sleep(60)"], stem="polite", timeout=3.0)

    async def main() -> list[Outcome]:
        executor = NotebookExecutor()
        tasks = [asyncio.ensure_future(executor.run(job, ignore)) for job in (late, cut, polite)]
        await until(lambda: (tmp_path / "cut").exists() and (tmp_path / "cut").read_text())
        begun = time.monotonic()
        await asyncio.sleep(0.3)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert time.monotonic() - begun < 4
        assert all(gone(int(pid)) for pid in (tmp_path / "cut").read_text().split())
        found = [await tasks[0], await tasks[2]]
        await executor.close()
        return found

    stubborn, interrupted = map(failed, asyncio.run(main()))
    assert (stubborn.error, stubborn.cell) == ("Timeout", 1)
    assert all(gone(int(pid)) for pid in (tmp_path / "late").read_text().split())
    assert text(outputs(tmp_path, 0, "late")[0]) == "before\n"
    assert text(outputs(tmp_path, 0, "cut")[0]) == "before\n"
    assert (interrupted.error, interrupted.line) == ("Timeout", 4)
    assert "KeyboardInterrupt" in interrupted.traceback


@in_kernels
def test_no_output_is_lost_and_too_much_is_cut(tmp_path: Path):
    """20,000 flushed writes are one output; of 30 MB the beginning, a mark and the end stay."""
    cells = [
        "for i in range(20_000):\n    print(i, flush=True)",
        "print('a\\rb', end='')",
        "for i in range(300):\n    print('x' * 99_999)\nprint('the end')",
        "from IPython.display import clear_output, display\n"
        "h = display('one', display_id=True)\nprint('gone')\nclear_output()\n"
        "h = display('two', display_id=True)",
        "import ipywidgets\nh.update('three')\nipywidgets.IntSlider()",
    ]
    (outcome,) = run(NotebookExecutor(), notebook_job(tmp_path, cells))
    assert outcome.failure is None
    (many,) = outputs(tmp_path, 0)
    assert text(many) == "".join(f"{i}\n" for i in range(20_000))
    assert text(outputs(tmp_path, 1)[0]) == "a\rb"
    (long,) = outputs(tmp_path, 2)
    assert len(text(long)) < 5_100_000
    assert "25,000,008 bytes dropped" in text(long)
    assert text(long).endswith("the end\n")
    (shown,) = outputs(tmp_path, 3)
    assert shown["data"]["text/plain"] == ["'three'"]
    notebook = json.loads((tmp_path / "run" / "fit.ipynb").read_text())
    assert notebook["metadata"]["widgets"]


@in_kernels
def test_a_notebook_becomes_another_format(tmp_path: Path):
    """HTML and Markdown from nbconvert, images inside; an error leaves the notebook."""
    cells = ["print('hello')", "1 + 1"]
    html = notebook_job(tmp_path, cells, stem="h", result="out/r.html", task="<b>fit</b>")
    md = notebook_job(tmp_path, cells, stem="m", result="out/r.md")
    bad = notebook_job(tmp_path, cells, stem="x", result="out/r.docx")
    outcomes = run(NotebookExecutor(), html, md, bad)
    assert [Path(o.notebook or "").name for o in outcomes[:2]] == ["h.html", "m.md"]
    page = (tmp_path / "run" / "h.html").read_text()
    assert "hello" in page
    assert "<b>fit</b>" not in page
    assert "hello" in (tmp_path / "run" / "m.md").read_text()
    assert failed(outcomes[2]).error == "ConversionFailed"
    assert failed(outcomes[2]).notebook == "run/x.ipynb"


@in_kernels
def test_a_missing_nbconvert_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is optional."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "nbconvert" else find(n, *a)
    )
    failure = failed(run(NotebookExecutor(), notebook_job(tmp_path, ["1"], result="r.html"))[0])
    assert "pip install 'nbpipe-kit[convert]'" in (failure.hint or "")


@in_kernels
@posix
def test_a_kernel_that_dies_at_its_start_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Then the task fails, with what it wrote last."""
    folder = tmp_path / "jupyter" / "kernels" / "dying"
    folder.mkdir(parents=True)
    code = "import sys; open('tries', 'a').write('x'); sys.exit('no such luck')"
    argv = [sys.executable, "-c", code, "{connection_file}"]
    (folder / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "d", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    failure = failed(run(NotebookExecutor(), notebook_job(tmp_path, ["1"], kernel="dying"))[0])
    assert failure.error == "KernelStartFailed"
    assert "'dying' died before it answered (exited with status 1)" in failure.message
    assert "no such luck" in failure.traceback
    assert (tmp_path / "tries").read_text() == "xx"


def test_reading_the_module_imports_no_jupyter_library():
    """They cost two seconds, which a build with nothing to do must not pay."""
    code = (
        "import sys, nbpipe.executors.notebook, nbpipe.executors.function, nbpipe.executors.inline;"
        "print([m for m in ('jupyter_client', 'nbformat', 'nbclient', 'zmq', 'nbconvert')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
