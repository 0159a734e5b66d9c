"""What a build leaves when it is killed, interrupted or crowded: real processes, real kernels."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.cli import ENV, nbpipe

pytestmark = pytest.mark.kernel

SLOW = "import time\ntime.sleep(60)"


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    """A build in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "nbpipe", "build", *args],
        cwd=folder,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(build: subprocess.Popen[str], line: str) -> None:
    """Read what the build prints up to a line that begins so."""
    for said in build.stdout:
        if said.startswith(line):
            return
    raise AssertionError(f"the build ended without saying {line!r}")


def kernels(folder: Path) -> list[psutil.Process]:
    """Living processes that work in a folder, the build itself left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and "ipykernel_launcher" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(folder: Path, seconds: float) -> bool:
    """Whether every kernel is gone within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not kernels(folder):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def half_way(diamond):
    """get, sepal, then petal, which takes a minute; a build of these, one after the other."""
    diamond.edit("petal.py", "constant = 'petal'", f"constant = 'petal'\n{SLOW}")
    diamond.edit("petal.py", "['get']", "['get', 'sepal']")
    build = start(diamond.root, "-j", "1", "sepal", "petal")
    yield diamond, build
    build.kill()
    build.wait()
    build.stdout.close()


def finish_quickly(project) -> None:
    project.edit("petal.py", SLOW, "")


def test_after_kill_9_half_way_the_next_build_does_what_is_left_and_nothing_else(half_way):
    project, build = half_way
    wait_for(build, "✓ get")
    wait_for(build, "▶ petal")
    build.kill()
    build.wait()
    assert gone(project.root, 10), "a kernel outlived its build"
    finish_quickly(project)
    done = project.read(".nbpipe/records/get.json")
    said = nbpipe("build", cwd=project.root)
    assert project.read(".nbpipe/records/get.json") == done, "get was right already"
    assert "✓ petal" in said
    assert "✓ fit" in said
    assert project.read("out/fit.txt") == "onesepalonepetalonesepalone"
    assert "nothing to do" in nbpipe("build", cwd=project.root)


def test_row_35_sigint_ends_kernels_within_5_s_keeps_what_is_done_and_exits_with_130(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    time.sleep(1.0)
    began = time.monotonic()
    build.send_signal(signal.SIGINT)
    rest = build.stdout.read()
    assert build.wait() == 130
    assert time.monotonic() - began < 5
    assert gone(project.root, 1)
    assert "1 not run" in rest, "the summary tells what was not run"
    assert nbpipe("why", "get", cwd=project.root).startswith("get is up to date")
    assert "the last run did not end" in nbpipe("why", "petal", cwd=project.root)


def test_sigterm_exits_with_143(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    build.terminate()
    build.stdout.read()
    assert build.wait() == 143
    assert gone(project.root, 1)


def test_row_31_a_second_build_exits_with_3_and_a_waiting_one_goes_on_after_the_first(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    said = nbpipe("build", cwd=project.root, code=3)
    assert f"pid {build.pid} on " in said
    assert "--wait" in said
    waiting = start(project.root, "--wait", "petal")
    time.sleep(1.5)
    assert waiting.poll() is None
    finish_quickly(project)
    project.edit("petal.py", "['get', 'sepal']", "['get']")
    build.kill()
    assert "1 executed, 1 skipped" in waiting.communicate(timeout=30)[0], (
        "it builds what the files say when its turn comes"
    )
    assert waiting.returncode == 0


def test_row_41_a_killed_kernel_fails_its_task_within_3_s_and_names_the_signal(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    end = time.monotonic() + 10
    while not (found := kernels(project.root)) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1.5)
    began = time.monotonic()
    os.kill(found[0].pid, signal.SIGKILL)
    rest = build.stdout.read()
    assert build.wait() == 1
    assert time.monotonic() - began < 4
    assert "SIGKILL" in rest
    assert "out of memory" in rest


def test_reading_commands_work_while_a_build_runs(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    assert "the last run did not end" in nbpipe("why", "petal", cwd=project.root)
    assert "fit" in nbpipe("status", cwd=project.root)
    nbpipe("plot", "-o", "p.svg", cwd=project.root)
    assert "▶ running" in nbpipe("log", cwd=project.root)


def read_only(folder: Path, command: str) -> tuple[int, str]:
    """Run a shell command with ``folder`` mounted read-only, in a mount namespace of its own."""
    quoted = shlex.quote(str(folder))
    script = (
        f"mount --bind {quoted} {quoted} && mount -o remount,ro,bind {quoted} && "
        f"cd / && cd {quoted} && exec {command}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


MAY_MOUNT = (
    sys.platform == "linux"
    and subprocess.run(
        ["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"], capture_output=True, check=False
    ).returncode
    == 0
)


@pytest.mark.skipif(not MAY_MOUNT, reason="this user may not mount a folder read-only")
def test_rule_6_and_row_34_on_a_read_only_tree_reading_works_and_a_build_exits_with_4(diamond):
    python = f"{sys.executable} -m nbpipe"
    for command in ("status", "plan", "why get", "log", "plot -o -"):
        code, said = read_only(diamond.root, f"{python} {command}")
        assert code == 0, said
    code, said = read_only(diamond.root, f"{python} build")
    assert code == 4
    assert "cannot be written" in said
    assert "hint: " in said
    assert not (diamond.root / ".nbpipe").exists()
