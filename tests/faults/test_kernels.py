"""Rows 41 to 48: kernels that die, hang, ask, fail, talk too much or take too long."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from nbpipe import InlineExecutor
from nbpipe.core import events as ev
from tests.cli import ENV
from tests.cli import nbpipe as shell
from tests.faults.rig import files, lives, peak_megabytes, pids_in, start, until, wait_for
from tests.projects import Project, fake_work

NOTE = 'import os\nPath("pids").write_text(str(os.getpid()))\n'
"""A cell notes the id of its kernel's process."""


def events_of(project: Project) -> list[dict]:
    """The events of the latest run, as ``nbpipe log`` gives them."""
    return [json.loads(line) for line in project.pipeline().event_lines()]


def failed_at(project: Project, task: str) -> dict:
    """The event that tells of a task's failure."""
    (event,) = [e for e in events_of(project) if e["event"] == "task-failed" and e["task"] == task]
    return event


def last_cell_began(project: Project) -> float:
    """When the last cell of the latest run began."""
    return [e["time"] for e in events_of(project) if e["event"] == "cell-started"][-1]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "the kernel died in cell 4 (signal 9, SIGKILL: possibly out of memory)",
        ),
        ("ctypes.string_at(0)", "the kernel died in cell 4 (signal 11, SIGSEGV: a crash in"),
        ("os._exit(7)", "the kernel died in cell 4 (exited with status 7, by os._exit?)"),
    ],
    ids=["killed", "segfault", "os._exit"],
)
def test_41_a_kernel_that_dies_fails_its_task_within_3_s(project, code, words):
    project.task("get")
    project.edit("get.py", "seen =", f"{NOTE}\n# %%\nimport ctypes, signal, sys\n{code}\nseen =")
    line = project.read("get.py").splitlines().index(code) + 1
    said = shell("build", cwd=project.root, code=1)
    # Only a crash leaves its line behind; else it is the cell's first.
    assert re.search(rf"^✗ get: get\.py:({line - 1}|{line}) \(cell 4\)$", said, re.M)
    assert f"KernelDied: {words}" in said
    assert f" {line} | {code}" in said
    assert failed_at(project, "get")["time"] - last_cell_began(project) < 3
    assert not lives(*pids_in(project.root / "pids"))
    assert "Traceback (most recent call last)" not in said
    assert not (project.root / "out/get.ipynb").exists(), "it lands in the run's folder"
    assert re.search(r"^  notebook: \.nbpipe/runs/[\d-]+/get\.ipynb$", said, re.M)


@pytest.mark.kernel
def test_41_a_kernel_that_is_killed_from_outside_fails_its_task_within_3_s(project):
    project.task("get", code=f"{NOTE}import time\ntime.sleep(60)")
    build = start(project.root, "build")
    (pid,) = until(lambda: pids_in(project.root / "pids"))
    killed = time.time()
    os.kill(pid, signal.SIGKILL)
    with build:
        rest = build.stdout.read()
    assert build.returncode == 1
    assert failed_at(project, "get")["time"] - killed < 3
    assert re.search(r"KernelDied: the kernel died in cell \d \(signal 9, SIGKILL: possibly", rest)


DYING = """
import os, sys
from pathlib import Path
tries = Path(__file__).with_name("tries")
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) <= {times}:
    sys.exit("no such luck")
os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *sys.argv[1:]])
"""


@pytest.fixture
def dying(project: Project, tmp_path_factory, monkeypatch):
    """Installs a kernel that dies so many times while it starts; returns the file that counts."""

    def install(times: int) -> Path:
        data = tmp_path_factory.mktemp("jupyter")
        folder = data / "kernels" / "dying"
        folder.mkdir(parents=True)
        (folder / "launch.py").write_text(DYING.format(times=times))
        argv = [sys.executable, str(folder / "launch.py"), "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "d", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
        monkeypatch.setitem(ENV, "JUPYTER_PATH", str(data))
        project.task("get", kernel="dying")
        return folder / "tries"

    return install


@pytest.mark.kernel
def test_42_a_kernel_that_dies_while_starting_is_tried_once_more_and_then_it_is_1(project, dying):
    tries = dying(9)
    said = shell("build", cwd=project.root, code=1)
    words = "KernelStartFailed: kernel 'dying' died before it answered (exited with status 1)"
    assert words in said
    assert tries.read_text() == "xx"
    assert "no such luck" in failed_at(project, "get")["failure"]["traceback"]
    assert not (project.root / "out/get.ipynb").exists()


@pytest.mark.kernel
def test_42_a_kernel_that_comes_up_at_the_second_try_does_its_work(project, dying):
    tries = dying(1)
    shell("build", cwd=project.root)
    assert tries.read_text() == "xx"
    assert project.read("out/get.txt") == "one"


@pytest.mark.kernel
def test_42_an_address_that_is_taken_costs_a_second_try(project, tmp_path_factory, monkeypatch):
    """The first kernel finds its address taken and dies of it, as ipykernel does."""
    data = tmp_path_factory.mktemp("jupyter")
    folder = data / "kernels" / "late"
    folder.mkdir(parents=True)
    (folder / "launch.py").write_text(
        "import sys\nfrom pathlib import Path\nimport zmq\n"
        "mark = Path(__file__).with_name('mark')\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    def taken(self, address):\n"
        "        raise zmq.ZMQError(zmq.EADDRINUSE)\n"
        "    zmq.Socket.bind = taken\n"
        "from ipykernel.kernelapp import launch_new_instance\n"
        "launch_new_instance()\n"
    )
    argv = [sys.executable, str(folder / "launch.py"), "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "l", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setitem(ENV, "JUPYTER_PATH", str(data))
    project.task("get", kernel="late")
    shell("build", cwd=project.root)
    assert (folder / "mark").exists()
    assert project.read("out/get.txt") == "one"


@pytest.mark.kernel
@pytest.mark.parametrize("code", ["input('name? ')", "from getpass import getpass; getpass()"])
def test_43_a_script_that_asks_fails_at_once(project, code):
    project.task("get", code=code)
    said = shell("build", cwd=project.root, code=1)
    assert "StdinNotImplementedError" in said
    assert re.search(r"^  hint: .*unattended.*params:", said, re.M)
    assert failed_at(project, "get")["time"] - last_cell_began(project) < 5


def test_44_with_keep_going_independent_branches_finish_and_it_is_1(diamond, cli):
    diamond.edit("sepal.py", "constant = 'sepal'", "raise ValueError('no')")
    said = cli("build", "-k", "-j", "1", code=1)
    for row in (r"^get +yes", r"^petal +yes", r"^sepal +yes .*✗ ValueError"):
        assert re.search(row, said, re.M), row
    assert re.search(r"^fit +no +⊘ blocked: 'sepal' failed *$", said, re.M)
    assert "2 executed, 0 skipped, 1 failed, 1 blocked" in said
    assert sorted(p.name for p in (diamond.root / "out").glob("*.txt")) == ["get.txt", "petal.txt"]
    assert re.search(r"^fit +○ new", cli("status"), re.M)


def test_44_without_it_nothing_new_starts_after_a_failure(diamond, cli):
    diamond.edit("sepal.py", "constant = 'sepal'", "raise ValueError('no')")
    said = cli("build", "-j", "1", code=1)
    assert "1 executed, 0 skipped, 1 failed" in said
    assert not (diamond.root / "out/petal.txt").exists()


def test_45_retries_are_tried_and_each_is_in_the_log(diamond, cli):
    tries = []

    def flaky(job):
        tries.append(job.attempt)
        if job.task == "get" and job.attempt < 3:
            raise OSError("later")
        fake_work(job)

    diamond.tasks[0]["retries"] = 2
    diamond.save()
    diamond.executor = InlineExecutor(flaky)
    events = []
    assert diamond.report("get", on_event=events.append).ok
    assert tries == [1, 2, 3]
    failed = [e for e in events if isinstance(e, ev.TaskFailed)]
    assert [(e.attempt, e.final) for e in failed] == [(1, False), (2, False)]
    tries.clear()
    said = cli("build", "get", "-f")
    assert re.findall(r"^▶ get.*$", said, re.M) == ["▶ get", "▶ get (try 2)", "▶ get (try 3)"]
    assert said.count(", trying again\n") == 2
    logged = [json.loads(line) for line in cli("log", "--events").splitlines()]
    tried = [e for e in logged if e["event"] == "task-failed"]
    assert [e["failure"]["message"] for e in tried] == ["later", "later"]


def test_45_when_every_try_fails_it_is_1(project, cli):
    def broken(job):
        raise OSError("never")

    project.task("get", retries=2)
    project.executor = InlineExecutor(broken)
    said = cli("build", code=1)
    assert said.count("▶ get") == 3
    assert "OSError: never" in said


LOUD = 'line = "x" * 99_999\nfor _ in range(1000):\n    print(line)\nprint("the end")'


@pytest.mark.kernel
def test_46_100_mb_of_output_are_bounded_and_marked_and_the_builder_stays_small(project):
    """The executed notebook keeps the beginning and the end."""
    project.task("get", code=LOUD)
    build = start(project.root, "build")
    peak = 0.0
    wait_for(build, "▶ get")
    while build.poll() is None:
        with contextlib.suppress(AssertionError, FileNotFoundError, ProcessLookupError):
            peak = max(peak, peak_megabytes(build.pid))
        time.sleep(0.01)
    with build:
        rest = build.stdout.read()
    assert build.returncode == 0, rest
    assert 30 < peak < 500
    notebook = json.loads(project.read("out/get.ipynb"))
    (output,) = [
        out for cell in notebook["cells"] for out in cell.get("outputs", ()) if "name" in out
    ]
    text = "".join(output["text"])
    assert len(text) < 6_000_000
    cut = re.search(r"\[nbpipe: output cut, ([\d,]+) bytes dropped\]", text)
    assert int(cut[1].replace(",", "")) > 94_000_000
    assert text.startswith("xxx")
    assert text.endswith("the end\n")
    kept = sum(len(data) for data in files(project.root / ".nbpipe").values())
    assert kept < 20_000_000


@pytest.mark.kernel
def test_47_no_small_write_is_lost(project):
    """20,000 writes, each flushed, from both streams."""
    project.task(
        "get",
        code="import sys\nfor i in range(20_000):\n    print(i, flush=True)\n"
        "    if i % 100 == 0:\n        print(-i, file=sys.stderr, flush=True)",
    )
    shell("build", cwd=project.root)
    notebook = json.loads(project.read("out/get.ipynb"))
    outputs = [
        out for cell in notebook["cells"] for out in cell.get("outputs", ()) if "name" in out
    ]
    text = {
        name: "".join("".join(out["text"]) for out in outputs if out["name"] == name)
        for name in ("stdout", "stderr")
    }
    assert text["stdout"].split() == [str(i) for i in range(20_000)]
    assert text["stderr"].split() == [str(-i) for i in range(0, 20_000, 100)]


GROUP = """
import os, signal, subprocess, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
children = [subprocess.Popen(["sleep", "300"], start_new_session=own) for own in (True, False)]
Path("pids").write_text(" ".join(str(p) for p in [os.getpid(), *(c.pid for c in children)]))
"""


@pytest.mark.kernel
def test_48_a_timeout_is_the_whole_tasks_time_and_ends_its_process_group(project):
    """No cell takes 3 s, together they do. The kernel heeds no signal, nor what it started."""
    project.task("get", code=GROUP + "\n# %%\ntime.sleep(2)" * 4, timeout=5)
    said = shell("build", cwd=project.root, code=1)
    assert re.search(r"Timeout: the task took longer than its timeout of 5 s, in cell \d", said)
    pids = pids_in(project.root / "pids")
    assert len(pids) == 3
    assert not any(lives(pid) for pid in pids)
    begun = next(e["time"] for e in events_of(project) if e["event"] == "task-started")
    assert failed_at(project, "get")["time"] - begun < 15
    assert not (project.root / "out/get.ipynb").exists()
    assert re.search(r"^  notebook: \.nbpipe/runs/[\d-]+/get\.ipynb$", said, re.M)


@pytest.mark.process
def test_48_a_function_is_ended_with_its_process_group_too(project):
    body = "\n".join(f"    {line}" for line in GROUP.strip().splitlines())
    project.write(
        "work.py",
        f"from pathlib import Path\ndef run(product):\n{body}\n    time.sleep(60)\n",
    )
    project.tasks = [{"source": "work.run", "product": "out.txt", "timeout": 1.5}]
    project.save()
    said = shell("build", cwd=project.root, code=1)
    assert "Timeout: the task took longer than its timeout of 1.5 s" in said
    pids = pids_in(project.root / "pids")
    assert len(pids) == 3
    assert not any(lives(pid) for pid in pids)
