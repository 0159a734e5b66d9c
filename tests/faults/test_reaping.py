"""No kernel and no process that it started outlives its build, whatever ends the builder."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from nbpipe.run.lost import marked
from tests.cli import ENV
from tests.cli import nbpipe as shell
from tests.faults.rig import lives, pids_in, start, until, wait_for
from tests.projects import Project

pytestmark = pytest.mark.kernel

SOON = 6.0
"""Seconds until all must be gone. What matters is that it needs no other build."""

FAMILY = """
import ctypes, os, signal, subprocess, sys, time
double = "import os, sys, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\n"
double += "open(sys.argv[1], 'w').write(str(os.getpid()))\\ntime.sleep(300)"
children = [subprocess.Popen(["sleep", "300"], start_new_session=own) for own in (False, True)]
subprocess.Popen([sys.executable, "-c", double, "orphan"]).wait()
while not Path("orphan").exists() or not Path("orphan").read_text():
    time.sleep(0.01)
pids = [os.getpid(), *(c.pid for c in children), int(Path("orphan").read_text())]
Path("pids.new").write_text(" ".join(map(str, pids)))
os.rename("pids.new", "pids")
"""
"""A kernel with a child in its session, one in a session of its own, and an orphan."""

BUSY = {
    "asleep": "time.sleep(300)",
    "deaf": "for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(n, "
    "signal.SIG_IGN)\ntime.sleep(300)",
    # In C code, with the lock of the interpreter held: no thread of the kernel runs.
    "locked": "ctypes.PyDLL(None).sleep(300)",
}

STARTS = ("fork", "cold")


@pytest.fixture(params=STARTS)
def begun(request: pytest.FixtureRequest, project: Project):
    """How kernels start; afterwards nothing that a test started is left, even when it failed."""
    project.meta = {"kernels": {"start": request.param}}
    yield project
    for pid in pids_in(project.root / "pids"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def family(project: Project, busy: str) -> None:
    """get, and then a task that starts processes and never ends."""
    project.task("get")
    project.task("stuck", ["get"], f"{FAMILY}\n{BUSY[busy]}")


def all_gone(pids: list[int]) -> bool:
    return not any(lives(pid) for pid in pids)


def started_all(project: Project) -> list[int]:
    """Wait until the kernel and all that it starts are there; returns their ids."""
    pids = until(lambda: pids_in(project.root / "pids"), 60)
    assert len(pids) == 4
    assert all(lives(pid) for pid in pids)
    time.sleep(0.3)
    return pids


def is_right_afterwards(project: Project) -> None:
    """The next build does what is left, and nothing else."""
    before = project.read(".nbpipe/records/get.json")
    project.write("stuck.py", project.text(["get"]))
    said = shell("build", cwd=project.root)
    assert "1 executed, 1 skipped" in said
    assert project.read(".nbpipe/records/get.json") == before
    assert project.read("out/stuck.txt") == "oneone"
    assert "nothing to do" in shell("build", cwd=project.root)


@pytest.mark.parametrize(
    ("how", "busy"),
    [
        *(("SIGKILL", busy) for busy in BUSY),
        *((how, busy) for how in ("SIGTERM", "SIGHUP", "SIGINT") for busy in ("deaf", "locked")),
    ],
)
def test_whatever_ends_the_builder_all_that_it_started_ends(begun, how, busy):
    family(begun, busy)
    private = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    build = start(begun.root, "build", environ={"TMPDIR": str(private)})
    try:
        pids = started_all(begun)
        build.send_signal(signal.Signals[how])
        with build:
            build.stdout.read()
        code = {"SIGKILL": -9, "SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130}[how]
        assert build.returncode == code
        until(lambda: all_gone(pids), SOON)
    finally:
        build.kill()
    runs = {path.name for path in (begun.root / ".nbpipe" / "runs").iterdir()}
    until(lambda: marked(runs, begun.root) == [], SOON)
    until(lambda: list(private.iterdir()) == [], SOON)
    private.rmdir()
    is_right_afterwards(begun)


def test_closing_the_terminal_ends_all_that_was_started_in_it(begun):
    """The system sends SIGHUP to the foreground when the terminal's other end is closed."""
    family(begun, "locked")
    ours, theirs = pty.openpty()
    build = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, sys.executable, "-m", "nbpipe", "build"],
        cwd=begun.root,
        env=ENV,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        pids = started_all(begun)
        drain(ours)
        os.close(ours)
        build.wait(timeout=30)
        until(lambda: all_gone(pids), SOON)
    finally:
        build.kill()
        build.wait()
    is_right_afterwards(begun)


TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal on standard input that of a new session, as a terminal program does."""


def drain(terminal: int) -> None:
    """Read what is there, so that a writer is not held up."""
    os.set_blocking(terminal, False)
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


def test_after_a_good_build_only_what_was_made_nobodys_child_on_purpose_stays(
    begun,
):
    """The kernel, its session and its children end with the task; a daemon was meant to stay."""
    begun.task("get", code=FAMILY)
    shell("build", cwd=begun.root)
    pids = pids_in(begun.root / "pids")
    assert len(pids) == 4
    until(lambda: all_gone(pids[:3]), SOON)
    assert lives(pids[3])


@pytest.mark.parametrize("then", ["build", "status and build"])
def test_what_even_the_keeper_could_not_end_is_ended_by_the_next_build(begun, then):
    """Both are killed at once, as when a container's memory is full."""
    family(begun, "locked")
    build = start(begun.root, "build")
    try:
        pids = started_all(begun)
        # First those that would notice, stopped, so that none of them can act.
        watchers = keepers(begun)
        assert len(watchers) == 1
        for process in watchers:
            process.kill()
        build.kill()
        with build:
            build.stdout.read()
        time.sleep(0.5)
        assert any(lives(pid) for pid in pids), "else this shows nothing"
        if then != "build":
            assert "get" in shell("status", cwd=begun.root)
        is_right_afterwards(begun)
        assert all_gone(pids)
    finally:
        build.kill()


def keepers(project: Project) -> list[psutil.Process]:
    """The processes that watch over the builds of a project."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "nbpipe.run.keeper" in words and os.path.realpath(project.root) in words:
                found.append(process)
    return found


def test_a_reused_process_id_is_never_killed(begun):
    """The sweep goes by marks in the environment, so that a stranger is left alone."""
    begun.task("get")
    shell("build", cwd=begun.root)
    (run,) = (begun.root / ".nbpipe" / "runs").iterdir()
    stranger = subprocess.Popen(["sleep", "60"], env={**ENV, "NBPIPE_RUN": run.name})
    elsewhere = {"NBPIPE_RUN": run.name, "NBPIPE_ROOT": str(begun.root.parent)}
    other = subprocess.Popen(["sleep", "60"], env={**ENV, **elsewhere})
    try:
        assert marked({run.name}, begun.root) == []
        (run / "events.jsonl").write_bytes((run / "events.jsonl").read_bytes()[:-40])
        shell("build", "-f", cwd=begun.root)
        assert stranger.poll() is None
        assert other.poll() is None
    finally:
        for process in (stranger, other):
            process.kill()
            process.wait()


def test_nothing_of_a_good_build_stays(begun):
    """No kernel, no warm process, no keeper, no file in the temporary folder."""
    begun.task("get")
    begun.task("fit", ["get"])
    shell("build", cwd=begun.root)
    (run,) = (begun.root / ".nbpipe" / "runs").iterdir()
    until(lambda: marked({run.name}, begun.root) == [], SOON)
    until(lambda: keepers(begun) == [], SOON)


def test_a_keeper_that_cannot_be_started_is_no_reason_not_to_build(begun, monkeypatch):
    from nbpipe.run import keeper

    def none_left(*args, **options):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(keeper.subprocess, "Popen", none_left)
    assert keeper.Keeper(begun.root).watch(Starting(), "r") is None


class Starting:
    """Stands for an executor that starts processes."""

    starts_processes = True


def test_functions_end_with_their_builder_too(project):
    project.write(
        "work.py",
        "import os, subprocess, time\nfrom pathlib import Path\n\ndef run(product):\n"
        "    children = [subprocess.Popen(['sleep', '300'], start_new_session=o) for o in (0, 1)]\n"
        "    Path('pids').write_text(' '.join(str(p) for p in "
        "[os.getpid(), *(c.pid for c in children)]))\n    time.sleep(300)\n",
    )
    project.tasks = [{"source": "work.run", "product": "out.txt"}]
    project.save()
    build = start(project.root, "build")
    wait_for(build, "▶ run")
    pids = until(lambda: pids_in(project.root / "pids"))
    build.kill()
    with build:
        build.stdout.read()
    until(lambda: all_gone(pids), SOON)
