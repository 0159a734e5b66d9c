"""Builds in the background: started, followed, waited for, stopped, and lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import msgspec
import psutil
import pytest

from nbpipe import BuildError, LockedError, SpecError, StoreError, UsageError
from nbpipe.core import events as ev
from nbpipe.run import background, launch, lost
from nbpipe.run.eventlog import EventLog, Tail, read_events
from nbpipe.run.lock import build_lock
from nbpipe.run.note import new_note, write_note
from tests.cli import ENV, nbpipe
from tests.projects import Project

FUNCTIONS = """
import time
from pathlib import Path

def get(product):
    Path(product).write_text("one")

def hold(upstream, product):
    end = time.monotonic() + 60
    while not Path("go").exists() and time.monotonic() < end:
        time.sleep(0.02)
    Path(product).write_text(Path(upstream["get"]).read_text() + "two")
"""

STUBBORN = """
import ctypes, signal, subprocess
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["sleep", "300"], start_new_session=True)
Path("stuck").touch()
# In C code, holding the lock of the interpreter: no thread of the kernel runs.
ctypes.PyDLL(None).sleep(300)
"""

pytestmark = pytest.mark.process


@pytest.fixture
def held(project: Project):
    """get → hold, two functions; hold waits until the file ``go`` is there."""
    project.write("work.py", FUNCTIONS)
    project.tasks = [
        {"source": "work.get", "name": "get", "product": "out/get.txt"},
        {"source": "work.hold", "name": "hold", "product": "out/hold.txt"},
    ]
    project.save()
    yield project
    end_all(project)


@pytest.fixture
def stuck(project: Project):
    """get → stuck, two notebooks; the kernel of the second cannot be interrupted."""
    project.task("get")
    project.task("stuck", ["get"], STUBBORN)
    yield project
    end_all(project)


def end_all(project: Project) -> None:
    """No test leaves a build running, whether it went well or not."""
    run = background.running(project.root / ".nbpipe")
    if run is not None and run.pid != os.getpid():
        run.cancel()
    runs = {path.name for path in (project.root / ".nbpipe" / "runs").glob("*")}
    assert lost.marked(runs, project.root) == []


def until(condition, seconds: float = 15.0):
    """Wait until it holds; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def alive(pid: int) -> bool:
    """Whether a process is there; the one that reaps orphans may take its time."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def holds(run) -> bool:
    """Whether the run has come to its second task, which holds it up."""
    return run.progress.tasks["hold"].state == "running"


def python(code: str, project: Project, **options) -> subprocess.Popen[str]:
    """A program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=project.root,
        env=ENV,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def command(project: Project, *args: str) -> subprocess.Popen[str]:
    """``nbpipe ARGS`` while it runs, both streams in one."""
    return subprocess.Popen(
        [sys.executable, "-m", "nbpipe", *args],
        cwd=project.root,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rest(process: subprocess.Popen[str]) -> str:
    """What it prints until it ends. Unlike ``communicate`` it misses no line that is buffered."""
    with process:
        return process.stdout.read()


# -- start -----------------------------------------------------------------------------------


def test_start_returns_when_the_run_has_begun(held):
    run = held.pipeline().start()
    assert run.status == "running"
    assert isinstance(next(run.events()), ev.RunStarted)
    with pytest.raises(UsageError, match="has not ended"):
        run.report()
    with pytest.raises(TimeoutError, match=run.id):
        run.wait(timeout=0.1)
    held.write("go", "")
    assert run.wait(timeout=20).named("ran") == ("get", "hold")
    assert run.status == "done"
    assert held.read("out/hold.txt") == "onetwo"


def test_the_runner_is_a_stranger_to_its_caller(held):
    """Nobody's child, in a session of its own, with no input and no file of the caller's."""
    run = held.pipeline().start()
    runner = psutil.Process(run.pid)
    assert runner.ppid() != os.getpid()
    assert os.getsid(run.pid) == run.pid
    assert runner.cwd() == str(held.root)
    streams = [os.readlink(f"/proc/{run.pid}/fd/{n}") for n in (0, 1, 2)]
    assert streams == [os.devnull, *[str(run.folder / "runner.log")] * 2]


def test_what_tells_of_a_notebook_does_not_reach_the_runner():
    environ = {
        "JPY_PARENT_PID": "1",
        "JPY_SESSION_NAME": "a.ipynb",
        "NBPIPE_ROOT": "/x",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "HOME": "/home/me",
    }
    assert launch.environment(environ) == {"HOME": "/home/me"}
    assert launch.environment({"MPLBACKEND": "agg"}) == {"MPLBACKEND": "agg"}


def test_its_report_is_that_of_a_build_in_the_foreground(held, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "project"
    held.write("go", "")
    shutil.copytree(held.root, other)

    def plain(report):
        tasks = {n: (t.state, t.result, t.reasons, t.attempt) for n, t in report.tasks.items()}
        return report.state, report.exit_code, tasks

    here = held.pipeline().start().wait(timeout=20)
    assert plain(here) == plain(Project(other).pipeline().build())
    assert here.run == held.pipeline().past_run().run


def test_a_failed_task_fails_the_run_and_the_log_explains_it(held):
    held.edit("work.py", 'write_text("one")', "read_text()")
    run = held.pipeline().start()
    report = run.wait(timeout=20)
    assert (run.status, report.exit_code) == ("failed", 1)
    assert report.tasks["get"].failure.error == "FileNotFoundError"
    assert "FileNotFoundError" in (run.folder / "runner.log").read_text()


def test_what_ended_a_build_before_its_time_is_raised_to_whoever_waits(held):
    run = held.pipeline().start()
    watching = command(held, "watch")
    assert run.id in watching.stdout.readline()
    until(lambda: holds(run))
    records = held.root / ".nbpipe" / "records"
    shutil.rmtree(records)
    records.write_text("no folder any more")
    held.write("go", "")
    with pytest.raises(StoreError, match="records"):
        run.wait(timeout=20)
    assert run.status == "failed"
    assert "records" in rest(watching)
    assert watching.returncode == 4
    records.unlink()


def test_a_second_start_is_refused_and_told_who_builds(held):
    run = held.pipeline().start()
    with pytest.raises(LockedError, match=f"pid {run.pid} on") as error:
        held.pipeline().start()
    assert "nbpipe cancel" in error.value.hint
    assert held.pipeline().attach() == run
    assert [path.name for path in run.folder.parent.iterdir()] == [run.id]


def test_what_is_fresh_starts_no_process(held):
    held.write("go", "")
    held.pipeline().build()
    run = held.pipeline().start()
    assert (run.id, run.pid, run.status) == ("", 0, "done")
    assert run.wait().named("skipped") == ("get", "hold")
    assert not run.cancel()
    assert list(run.events(follow=True)) == []
    assert repr(run) == "<Run: nothing to do>"


def test_the_runner_itself_may_find_nothing_to_do(held):
    held.write("go", "")
    before = held.pipeline()
    request = launch.Request(file=str(before.file), jobs=1)
    before.build()
    run = launch.launch(request, before.root, before.store.home)
    assert run.wait().named("skipped") == ("get", "hold")


def test_a_spec_that_was_broken_meanwhile_is_told_with_line_and_column(held):
    pipeline = held.pipeline()
    held.write("pipeline.yaml", "tasks:\n  - sorce: a.py\n")
    with pytest.raises(SpecError) as error:
        pipeline.start()
    (problem, *_) = error.value.problems
    assert (problem.file, problem.line, problem.column) == ("pipeline.yaml", 2, 5)


@pytest.mark.parametrize(
    ("break_it", "options", "error", "words"),
    [
        (lambda root: None, {"names": ["gett"]}, UsageError, "no task 'gett'"),
        (lambda root: None, {"jobs": 0}, UsageError, "at least 1"),
        (lambda root: (root / "out").write_text(""), {}, StoreError, "out: cannot be written"),
    ],
    ids=["no such task", "no jobs", "no folder"],
)
def test_what_refuses_a_build_refuses_a_start(held, break_it, options, error, words):
    break_it(held.root)
    with pytest.raises(error, match=words):
        held.pipeline().start(*options.pop("names", ()), **options)
    assert held.pipeline().attach() is None
    assert list((held.root / ".nbpipe").glob("runs/*")) == [], "no trace of a run"


def test_a_task_cannot_start_a_build(held, monkeypatch):
    monkeypatch.setenv("NBPIPE_TASK", "get")
    with pytest.raises(UsageError, match="nested build"):
        held.pipeline().start()


def test_a_runner_that_does_not_come_up_is_told_with_its_last_words(held, monkeypatch):
    held.write("shadow/nbpipe/__init__.py", "")
    monkeypatch.setenv("PYTHONPATH", str(held.root / "shadow"))
    with pytest.raises(BuildError, match=r"died before the run began: .*nbpipe\.cli"):
        held.pipeline().start()


def test_a_runner_that_takes_too_long_is_stopped(held, monkeypatch):
    monkeypatch.setattr(launch, "START_TIMEOUT", 0.01)
    with pytest.raises(BuildError, match="has not begun within"):
        held.pipeline().start()
    assert held.pipeline().attach() is None


# -- follow ----------------------------------------------------------------------------------


def test_any_process_sees_the_same_events(held):
    run = held.pipeline().start()
    watching = command(held, "watch", "--json")
    first = watching.stdout.readline()
    until(lambda: holds(run))
    held.write("go", "")
    here = list(run.events(follow=True))
    said = rest(watching)
    lines = [json.loads(line) for line in (first + said).splitlines()]
    assert watching.returncode == 0
    assert lines.pop()["event"] == "report"
    assert lines == [json.loads(msgspec.json.encode(event)) for event in here]
    assert here == read_events(run.folder / "events.jsonl")
    assert isinstance(here[-1], ev.RunFinished)


def test_following_ends_when_its_time_is_over(held):
    run = held.pipeline().start()
    began = time.monotonic()
    list(run.events(follow=True, timeout=0.3))
    assert time.monotonic() - began < 1
    assert run.status == "running"


def test_progress_is_brought_up_to_date_as_often_as_it_is_asked_for(held):
    run = held.pipeline().start()
    until(lambda: holds(run))
    assert run.progress.tasks["get"].result == "ran"
    assert "1/2 tasks" in repr(run)
    bundle = run._repr_mimebundle_()
    assert run.id in bundle["text/html"]
    assert "<table" in bundle["text/html"]
    assert bundle["text/plain"].startswith(repr(run))


def test_a_torn_line_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "events.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    line = msgspec.json.encode(ev.Warned(message="one", time=1.0)) + b"\n"
    path.write_bytes(line + line[:7])
    assert len(tail.read()) == 1
    assert tail.read() == []
    path.write_bytes(line + line)
    assert len(tail.read()) == 1


def test_nobody_to_attach_to(held):
    assert held.pipeline().attach() is None
    with pytest.raises(UsageError, match="no run 'last'"):
        held.pipeline().attach("last")
    (held.root / ".nbpipe").mkdir()
    with build_lock(held.root / ".nbpipe", "clean"):
        assert held.pipeline().attach() is None, "a lock that is no build"


# -- stop ------------------------------------------------------------------------------------


def test_cancel_keeps_what_is_finished_and_the_next_build_does_the_rest(held):
    run = held.pipeline().start()
    until(lambda: holds(run))
    assert run.cancel()
    assert not run.cancel(), "once is enough"
    report = run.wait()
    assert (run.status, report.exit_code) == ("interrupted", 143)
    assert (report.named("ran"), report.named("cancelled")) == (("get",), ("hold",))
    assert not alive(run.pid)
    held.write("go", "")
    assert held.pipeline().build().named("ran") == ("hold",)


@pytest.mark.kernel
def test_a_kernel_that_heeds_no_signal_is_gone_within_five_seconds(stuck):
    run = stuck.pipeline().start()
    until(lambda: (stuck.root / "stuck").exists())
    assert len(lost.marked({run.id}, stuck.root)) >= 2, "the kernel, and what it started"
    began = time.monotonic()
    assert run.cancel()
    assert time.monotonic() - began < 5
    assert lost.marked({run.id}, stuck.root) == []
    assert not alive(run.pid)
    assert run.report().named("ran") == ("get",)


def test_a_runner_that_does_not_answer_is_killed_with_what_it_started(held):
    run = held.pipeline().start()
    until(lambda: holds(run))
    os.kill(run.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert run.cancel()
    assert time.monotonic() - began < 6
    assert not lost.marked({run.id}, held.root)
    assert (run.status, run.report().exit_code) == ("interrupted", 130)
    held.write("go", "")
    assert held.pipeline().build().named("ran") == ("hold",)


def test_a_build_in_a_thread_is_stopped_and_its_process_lives_on(held):
    """As in a notebook's kernel, which SIGTERM would end."""
    code = """
    import asyncio
    from nbpipe import Pipeline
    async def cell():
        try:
            Pipeline.load().build()
        except KeyboardInterrupt:
            print("stopped", flush=True)
    asyncio.run(cell())
    print("and on", flush=True)
    """
    notebook = python(code, held)
    run = until(lambda: held.pipeline().attach())
    until(lambda: "hold" in run.progress.tasks and holds(run))
    assert run.cancel()
    assert rest(notebook) == "stopped\nand on\n"
    assert notebook.returncode == 0
    assert (run.status, run.report().exit_code) == ("interrupted", 130)


def test_a_run_of_another_host_is_not_signalled(held, monkeypatch):
    run = held.pipeline().start()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert run.status == "running"
    with pytest.raises(UsageError, match="not on this machine"):
        run.cancel()
    monkeypatch.undo()
    assert run.status == "running"


# -- lost ------------------------------------------------------------------------------------


def test_a_killed_runner_leaves_a_lost_run_and_a_free_pipeline(held):
    run = held.pipeline().start()
    until(lambda: holds(run))
    os.kill(run.pid, signal.SIGKILL)
    until(lambda: run.status == "lost")
    report = run.wait()
    assert (report.state, report.exit_code) == ("interrupted", 130)
    assert f"pid {run.pid}" in report.warnings[-1]
    assert held.pipeline().attach() is None
    held.write("go", "")
    assert held.pipeline().build().named("ran") == ("hold",), "right, and nothing needless"
    assert run.status == "interrupted", "the next build closes its log"
    assert run.report().named("cancelled") == ("hold",)


@pytest.mark.kernel
@pytest.mark.parametrize("how", ["cancel", "build"])
def test_what_a_killed_runner_left_running_is_ended(stuck, how):
    run = stuck.pipeline().start()
    until(lambda: (stuck.root / "stuck").exists())
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if {"nbpipe.run.keeper", run.id} <= set(process.cmdline()):
                process.kill()
    os.kill(run.pid, signal.SIGKILL)
    until(lambda: run.status == "lost")
    left = lost.marked({run.id}, stuck.root)
    assert left, "the kernel cannot notice, and nobody is left who would"
    if how == "cancel":
        assert not run.cancel()
    else:
        assert stuck.build("get", force=True) == ["get"]
    assert lost.marked({run.id}, stuck.root) == []
    assert run.status == "interrupted"


def test_a_torn_log_is_closed_so_that_every_line_can_be_read(held):
    home = held.root / ".nbpipe"
    folder = home / "runs" / "20260101-000000-000000"
    folder.mkdir(parents=True)
    write_note(folder, new_note(folder.name, 1, None))
    with EventLog(folder / "events.jsonl") as log:
        log.emit(ev.RunStarted(run=folder.name, tasks=("get",)))
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"event":"task-st')
    assert lost.settle_lost_runs(home, held.root) == [folder.name]
    names = [type(event).__name__ for event in read_events(folder / "events.jsonl")]
    assert names == ["RunStarted", "Warned", "TaskCancelled", "RunFinished"]
    assert lost.settle_lost_runs(home, held.root) == []


def test_a_copy_of_a_project_does_not_end_the_originals_build(held, tmp_path_factory):
    run = held.pipeline().start()
    until(lambda: holds(run))
    other = tmp_path_factory.mktemp("other") / "project"
    shutil.copytree(held.root, other)
    (other / ".nbpipe" / "holder.json").unlink()
    (other / "go").touch()
    assert Project(other).pipeline().build().named("ran") == ("hold",)
    assert run.status == "running"
    assert lost.marked({run.id}, held.root)


# -- the command line ------------------------------------------------------------------------


def test_build_bg_names_the_run_and_what_to_do_with_it(held):
    said = nbpipe("build", "--bg", cwd=held.root)
    run = held.pipeline().attach()
    assert f"run {run.id} goes on in the background (pid {run.pid})" in said
    assert "nbpipe watch" in said
    assert "nbpipe cancel" in said
    held.write("go", "")
    run.wait(timeout=20)
    assert "nothing to do" in nbpipe("build", "--bg", cwd=held.root)
    said = json.loads(nbpipe("build", "--bg", "--force", "--json", cwd=held.root))
    assert held.pipeline().attach(said["run"]).pid == said["pid"]


def test_bg_and_wait_exclude_each_other(held):
    assert "exclude each other" in nbpipe("build", "--bg", "--wait", cwd=held.root, code=2)


def test_watch_prints_lines_into_a_pipe_and_exits_as_the_build(held):
    held.edit("work.py", '+ "two"', "+ 2")
    run = held.pipeline().start()
    watching = command(held, "watch")
    assert watching.stdout.readline().startswith(f"run {run.id}: 2 tasks")
    until(lambda: holds(run))
    held.write("go", "")
    said = rest(watching)
    assert watching.returncode == 1
    assert "✓ get" in said
    assert "TypeError" in said
    assert f"run {run.id}: failed" in nbpipe("watch", cwd=held.root, code=1), "the last run"


def test_ctrl_c_ends_the_watching_and_not_the_build(held):
    run = held.pipeline().start()
    watching = command(held, "watch")
    assert any(line.startswith("▶ hold") for line in watching.stdout)
    watching.send_signal(signal.SIGINT)
    said = rest(watching)
    assert f"detached: run {run.id} goes on" in said
    assert "Traceback" not in said
    assert watching.returncode == 130
    assert run.status == "running"


def test_cancel_says_what_was_stopped(held):
    run = held.pipeline().start()
    until(lambda: holds(run))
    said = nbpipe("cancel", cwd=held.root)
    assert said.startswith(f"stopped run {run.id} (pid {run.pid} on ")
    assert "1 ran, 1 task cancelled" in said
    assert nbpipe("cancel", cwd=held.root) == "nothing to stop: no build is running\n"
    assert "has ended (interrupted)" in nbpipe("cancel", run.id, cwd=held.root)
    assert json.loads(nbpipe("cancel", "--json", cwd=held.root)) == {"run": None, "stopped": False}


def test_there_may_be_nothing_to_watch(held):
    assert "no build has run yet" in nbpipe("watch", cwd=held.root)
    assert "no run 'x'" in nbpipe("watch", "x", cwd=held.root, code=2)


def test_a_build_in_a_terminal_can_be_watched_and_stopped_too(held):
    terminal = command(held, "build")
    run = until(lambda: held.pipeline().attach())
    until(lambda: "hold" in run.progress.tasks and holds(run))
    assert f"stopped run {run.id}" in nbpipe("cancel", cwd=held.root)
    said = rest(terminal)
    assert terminal.returncode == 143
    assert "1 executed" in said


def test_a_run_may_be_followed_where_an_event_loop_runs(held):
    async def cell():
        run = held.pipeline().start()
        held.write("go", "")
        return run.wait(timeout=20)

    assert asyncio.run(cell()).ok
