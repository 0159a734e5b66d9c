"""Rows 31 to 36: several builds at once, a full disk, a read-only tree, interrupts, restarts."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import textwrap
import time
from collections import Counter

import pytest

from nbpipe import InterruptedBuildError, LockedError, StoreError
from nbpipe.run.lock import build_lock
from nbpipe.store.products import publish
from tests.cli import nbpipe as shell
from tests.faults.rig import (
    files,
    in_mount_namespace,
    lives,
    may_mount,
    pids_in,
    start,
    until,
    wait_for,
)
from tests.projects import Project

needs_mounts = pytest.mark.skipif(not may_mount(), reason="this user may not mount a file system")

SLOW = """
import os, time
Path("pids").write_text(str(os.getpid()))
time.sleep(60)
"""

TEMPORARY = re.compile(r"\.(tmp|new|result)$|^\.nbpipe-")
"""Names of files that are only there while something is being written."""


def temporary_files(project: Project) -> list[str]:
    """What a write that was cut short may have left."""
    return [path.name for path in project.root.rglob("*") if TEMPORARY.search(path.name)]


@pytest.fixture
def half_way(diamond):
    """get, sepal, then petal, which takes a minute; a build of these, one after the other."""
    diamond.edit("petal.py", "constant = 'petal'", f"constant = 'petal'\n{SLOW}")
    diamond.edit("petal.py", "['get']", "['get', 'sepal']")
    build = start(diamond.root, "build", "-j", "1", "sepal", "petal")
    yield diamond, build
    build.kill()
    build.wait()
    build.stdout.close()


def working(project: Project) -> int:
    """Wait until petal works; returns the id of its process."""
    (pid,) = until(lambda: pids_in(project.root / "pids"))
    return pid


def finish_quickly(project: Project) -> None:
    project.edit("petal.py", SLOW, "")


# -- 31 --------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_31_a_second_build_is_3_and_a_waiting_one_goes_on_after_the_first(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    working(project)
    before = files(project.root / ".nbpipe" / "records")
    said = shell("build", cwd=project.root, code=3)
    assert re.fullmatch(
        rf"another build holds this pipeline: pid {build.pid} on "
        rf"{re.escape(socket.gethostname())}, "
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n"
        r"  hint: wait for it \(--wait\), follow it \(nbpipe watch\), or stop it "
        r"\(nbpipe cancel\)\n",
        said,
    )
    assert shell("task", "get", "-f", cwd=project.root, code=3) == said
    assert files(project.root / ".nbpipe" / "records") == before
    assert len(list((project.root / ".nbpipe" / "runs").iterdir())) == 1, "no trace of the others"
    waiting = start(project.root, "build", "--wait", "petal")
    time.sleep(1.5)
    assert waiting.poll() is None
    finish_quickly(project)
    project.edit("petal.py", "['get', 'sepal']", "['get']")
    build.kill()
    assert "1 executed, 1 skipped" in waiting.communicate(timeout=30)[0], (
        "a dead holder does not block, and it builds what the files say when its turn comes"
    )
    assert waiting.returncode == 0


def test_31_a_second_build_in_python_is_refused_and_told_who_holds_the_pipeline(diamond):
    home = diamond.root / ".nbpipe"
    home.mkdir()
    with build_lock(home, "first"):
        with pytest.raises(LockedError, match=rf"pid {os.getpid()} on .*, since 20") as error:
            diamond.report()
        assert error.value.exit_code == 3
        assert "--wait" in error.value.hint
    assert diamond.executor.jobs == []
    assert diamond.build() == ["fit", "get", "petal", "sepal"]


@pytest.mark.parametrize("pid", [os.getppid(), 2**22 - 3], ids=["used again", "gone"])
def test_31_a_note_that_a_dead_holder_left_never_blocks(diamond, pid):
    """Its process id may even belong to a younger process."""
    home = diamond.root / ".nbpipe"
    home.mkdir()
    note = {"pid": pid, "host": socket.gethostname(), "started": 1.0, "run": "x"}
    (home / "holder.json").write_text(json.dumps(note))
    (home / "lock").touch()
    assert len(diamond.build()) == 4
    assert not (home / "holder.json").exists()


@pytest.mark.kernel
def test_rule_6_reading_commands_work_while_a_build_runs(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    assert "the last run did not end" in shell("why", "petal", cwd=project.root)
    assert "fit" in shell("status", cwd=project.root)
    shell("plot", "-o", "p.svg", cwd=project.root)
    assert "▶ running" in shell("log", cwd=project.root)


# -- 32 --------------------------------------------------------------------------------------


def test_32_a_record_of_a_newer_version_is_4_and_is_left_alone(diamond, cli):
    cli("build")
    path = diamond.root / ".nbpipe" / "records" / "get.json"
    path.write_text(json.dumps({"schema": 2, "checksum": "", "record": {"new": True}}))
    before, ran = files(diamond.root), len(diamond.executor.jobs)
    for command in ("build", "status", "plan"):
        said = cli(command, code=4)
        assert said == (
            f"{path}: written by a newer nbpipe (schema 2, known 1)\n"
            "  hint: update nbpipe, or remove the file to build that task anew\n"
        )
    assert files(diamond.root) == before
    path.unlink()
    cli("build")
    assert [job.task for job in diamond.executor.jobs[ran:]] == ["get"]


# -- 33 --------------------------------------------------------------------------------------

ONE_TASK = "from pathlib import Path\ndef run(product, word):\n    Path(product).write_text(word)\n"


@needs_mounts
@pytest.mark.process
def test_33_a_disk_that_is_really_full_keeps_the_record_and_works_again_once_there_is_room(project):
    """``.nbpipe`` is a file system of 256 kB, which a file fills to the last byte."""
    project.write("work.py", ONE_TASK)
    spec = "tasks: [{{source: work.run, product: out.txt, params: {{word: {}}}}}]\n"
    project.write("one.yaml", spec.format("one"))
    project.write("two.yaml", spec.format("two"))
    (project.root / ".nbpipe").mkdir()
    nbpipe = f"{shlex.quote(sys.executable)} -m nbpipe"
    code, said = in_mount_namespace(
        f"""
        cd {shlex.quote(str(project.root))}
        mount -t tmpfs -o size=256k none .nbpipe
        cp one.yaml pipeline.yaml; {nbpipe} build
        cp .nbpipe/records/run.json before
        cp two.yaml pipeline.yaml
        cat /dev/zero > .nbpipe/filler 2>/dev/null || true
        {nbpipe} build || echo "code $?"
        cmp .nbpipe/records/run.json before && echo "the old record is there"
        find .nbpipe -name '*.tmp' -o -name '*.new' -o -name '.nbpipe-*'
        {nbpipe} status
        rm .nbpipe/filler
        echo "room"; {nbpipe} build; cat out.txt
        """
    )
    full, room = said.split("room\n")
    assert code == 0, said
    assert re.search(r"cannot be \w+: No space left on device\n", full)
    assert "code 4\nthe old record is there\n" in full
    assert "Traceback" not in full
    assert not re.search(r"^\.nbpipe/.*(tmp|new)$", full, re.M)
    assert "1 executed, 0 skipped" in room
    assert room.endswith("two")


@needs_mounts
@pytest.mark.kernel
def test_33_an_executed_notebook_that_does_not_fit_is_4_and_the_old_one_stays(project):
    """The product's folder is a file system of 64 kB; the new notebook needs more."""
    project.task("get")
    project.tasks[0]["product"] = "out/get.ipynb"
    small = '# %% tags=["parameters"]\nupstream = None\nproduct = None\n\n# %%\nprint("small")\n'
    project.write("get.py", small)
    project.write("large.py", small.replace('"small"', '"large" * 50_000'))
    project.save()
    (project.root / "out").mkdir()
    nbpipe = f"{shlex.quote(sys.executable)} -m nbpipe"
    code, said = in_mount_namespace(
        f"""
        cd {shlex.quote(str(project.root))}
        mount -t tmpfs -o size=64k none out
        {nbpipe} build
        cp out/get.ipynb before
        cp large.py get.py
        {nbpipe} build || echo "code $?"
        cmp out/get.ipynb before && echo "the old notebook is there"
        ls -A out
        mount -o remount,size=4m out
        echo "room"; {nbpipe} build; grep -c large out/get.ipynb
        """
    )
    full, room = said.split("room\n")
    assert code == 0, said
    assert "out/get.ipynb: cannot be written: No space left on device\n  hint: " in full
    assert full.endswith("code 4\nthe old notebook is there\nget.ipynb\n")
    assert "1 executed, 0 skipped" in room


class Disk:
    """Refuses the n-th write of a kind, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.kinds: Counter[str] = Counter()
        self.refused = ""
        self._left = number
        for name in ("write", "fsync", "replace", "mkdir"):
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call):
        def counted(*args, **options):
            self._left -= 1
            if self._left == 0:
                self.refused = name
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*args, **options)

        return counted


def built_or_refused(project: Project) -> str:
    """How a build ends."""
    try:
        return project.report().state
    except StoreError as error:
        return f"exit code {error.exit_code}: {error.message.rpartition(': ')[2]}"


@pytest.mark.process
def test_33_wherever_the_disk_is_full_it_is_4_and_what_was_good_stays(project, cli):
    """Every call of ``os.write``, ``fsync``, ``replace`` and ``mkdir`` of a build in turn."""
    project.task("get")
    cli("build")
    good = project.read("get.py")
    records = project.root / ".nbpipe" / "records"
    refused, number = set(), 0
    while True:
        number += 1
        project.write("get.py", good.replace('"one"', f'"number {number}"'))
        before = files(records)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, number)
            outcome = built_or_refused(project)
        if not disk.refused:
            assert outcome == "done"
            break
        refused.add(disk.refused)
        assert temporary_files(project) == [], disk.refused
        assert outcome in ("done", "exit code 4: No space left on device"), disk.refused
        assert files(records).keys() == before.keys()
        assert "get" in cli("status")
        cli("build")
        assert project.read("out/get.txt") == f"number {number}"
    assert refused == {"write", "fsync", "replace", "mkdir"}
    assert number > 15


def test_33_a_line_of_the_log_that_does_not_fit_is_not_joined_with_the_next(tmp_path, monkeypatch):
    """The system may take half of what it is given, and say so in no other way."""
    from nbpipe.core import events as ev
    from nbpipe.run.eventlog import EventLog, read_events

    write = os.write
    with EventLog(tmp_path / "events.jsonl") as log:
        log.emit(ev.Warned(message="one"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
            with pytest.raises(StoreError, match="No space left on device"):
                log.emit(ev.Warned(message="two"))
        log.emit(ev.Warned(message="three"))
    assert [event.message for event in read_events(log.path)] == ["one", "three"]


def test_33_a_record_that_cannot_be_written_keeps_the_old_one(project, cli, monkeypatch):
    project.task("get")
    cli("build")
    store = project.pipeline().store
    before = files(store.folder)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = cli("build", "-f", code=4)
    assert said.rstrip().endswith(
        ".nbpipe/records/get.json: cannot be written: No space left on device\n"
        "  hint: free some space or mend the permissions, then build again"
    )
    assert files(store.folder) == before
    assert len(project.executor.jobs) == 1, "nothing runs that could not be recorded"
    cli("build", "-f")


@pytest.mark.parametrize("place", ["one file system", "another"])
def test_33_publishing_to_a_full_disk_keeps_both_files(tmp_path, monkeypatch, place):
    made, product = tmp_path / "made", tmp_path / "nb.ipynb"
    made.write_text("new")
    product.write_text("old")
    first = errno.EXDEV if place == "another" else errno.ENOSPC

    def moved(source, target):
        raise OSError(first, os.strerror(first))

    def copied(source, target):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", moved)
        patch.setattr(shutil, "copyfile", copied)
        with pytest.raises(StoreError, match="No space left"):
            publish(made, product)
    assert (made.read_text(), product.read_text()) == ("new", "old")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "nb.ipynb"]


# -- 34 --------------------------------------------------------------------------------------


def read_only(project: Project, folder: str, *commands: str) -> str:
    """Run ``nbpipe`` commands in a project of which a folder is mounted read-only."""
    place = shlex.quote(os.path.normpath(project.root / folder))
    lines = [f"mount --bind {place} {place}", f"mount -o remount,ro,bind {place}"]
    lines += ["cd /", f"cd {shlex.quote(str(project.root))}"]
    nbpipe = f"{shlex.quote(sys.executable)} -m nbpipe"
    lines += [f'{nbpipe} {command} || echo "code $?"' for command in commands]
    code, said = in_mount_namespace("\n".join(lines))
    assert code == 0, said
    return said


READING = ("status", "plan", "why get", "log", "plot -o -", "build --dry-run", "status --json")


@needs_mounts
@pytest.mark.process
def test_34_on_a_read_only_tree_reading_works_and_a_build_is_4(diamond):
    before = files(diamond.root)
    said = read_only(diamond, ".", *READING, "build")
    assert said.count("code ") == 1
    assert re.search(
        r"\.nbpipe/records: cannot be written: Read-only file system\n"
        r"  hint: a build needs to write there; reading commands do not\ncode 4\n$",
        said,
    )
    assert files(diamond.root) == before


@needs_mounts
@pytest.mark.process
def test_34_with_a_read_only_state_folder_reading_works_and_a_build_is_4(diamond):
    diamond.build()
    diamond.edit("get.py", '"one"', '"two"')
    before = files(diamond.root)
    said = read_only(diamond, ".nbpipe", *READING, "build", "build --bg")
    assert said.count("code 4\n") == said.count("code ") - said.count("code of") == 2
    assert said.count("hint: a build needs to write there") == 2
    assert files(diamond.root) == before


@needs_mounts
@pytest.mark.process
def test_34_with_a_read_only_output_folder_a_build_is_4_before_it_runs_anything(diamond):
    diamond.build()
    (diamond.root / "out/fit.txt").unlink()
    said = read_only(diamond, "out", "status", "build")
    assert re.search(
        r"out: cannot be written, and product out/fit\.ipynb of task 'fit' goes there\n"
        r"  hint: mend the folder's permissions, or change the product's path\ncode 4\n$",
        said,
    )
    assert "▶" not in said


def test_34_a_product_under_a_file_stops_the_build_before_anything_runs(diamond, cli):
    diamond.write("out", "a file where a folder belongs")
    said = cli("build", code=4)
    assert "out: cannot be written, and product out/get.ipynb of task 'get' goes there" in said
    assert diamond.executor.jobs == []
    assert diamond.read("out") == "a file where a folder belongs"
    assert "get" in cli("status")


# -- 35 --------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_35_sigint_ends_kernels_within_5_s_keeps_what_is_done_and_is_130(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    pid = working(project)
    began = time.monotonic()
    build.send_signal(signal.SIGINT)
    rest = build.stdout.read()
    assert build.wait() == 130
    assert time.monotonic() - began < 5
    assert not lives(pid)
    assert "2 executed, 0 skipped, 1 not run" in rest, "the summary"
    assert shell("why", "get", cwd=project.root).startswith("get is up to date")
    assert "the last run did not end" in shell("why", "petal", cwd=project.root)
    assert temporary_files(project) == []
    finish_quickly(project)
    said = shell("build", cwd=project.root)
    assert "2 executed, 2 skipped" in said, "petal and fit"


@pytest.mark.kernel
def test_35_a_second_sigint_forces(half_way):
    project, build = half_way
    wait_for(build, "▶ petal")
    pid = working(project)
    began = time.monotonic()
    for _ in range(4):
        build.send_signal(signal.SIGINT)
        time.sleep(0.02)
    rest = build.stdout.read()
    assert build.wait() == 130
    assert time.monotonic() - began < 5
    assert not lives(pid)
    assert "Traceback" not in rest
    assert shell("why", "get", cwd=project.root).startswith("get is up to date")


@pytest.mark.kernel
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_35_other_signals_end_it_in_the_same_way(half_way, number, code):
    """SIGHUP comes when a terminal is closed."""
    project, build = half_way
    wait_for(build, "▶ petal")
    pid = working(project)
    build.send_signal(number)
    rest = build.stdout.read()
    assert build.wait() == code
    assert not lives(pid)
    assert "2 executed, 0 skipped, 1 not run" in rest
    assert shell("why", "get", cwd=project.root).startswith("get is up to date")


def test_35_the_error_class_has_the_exit_code():
    assert InterruptedBuildError("stopped").exit_code == 130


# -- 36 --------------------------------------------------------------------------------------

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
    project.write("go", "")
    run = project.pipeline().attach()
    if run is not None:
        run.cancel()


def said_by(client, code: str) -> str:
    """Run a cell; returns all that it shows, as text."""
    shown: list[str] = []

    def hook(message) -> None:
        content = message["content"]
        if "execution_state" not in content and "code" not in content:
            data = content.get("data") or content.get("traceback")
            shown.append(content.get("text") or str(data))

    reply = client.execute_interactive(code, timeout=60, output_hook=hook)
    assert reply["content"]["status"] == "ok", shown
    return "".join(shown)


@pytest.mark.kernel
@pytest.mark.parametrize("end", ["restart", "kill"])
def test_36_a_build_outlives_the_kernel_that_started_it_and_the_new_one_attaches(held, end):
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(cwd=str(held.root))
    try:
        said_by(client, "%load_ext nbpipe")
        started = said_by(client, "run = %pipeline build --bg\nprint(run.id)").split()[-1]
        if end == "kill":
            manager.signal_kernel(signal.SIGKILL)
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        said_by(client, "%load_ext nbpipe\nfrom nbpipe import Pipeline\np = Pipeline.load('.')")
        assert said_by(client, "print(p.attach().id, p.attach().status)") == f"{started} running\n"
        panel = said_by(client, "%pipeline")
        assert "application/vnd.jupyter.widget-view+json" in panel
        live = textwrap.dedent(
            """
            import time
            from nbpipe.jupyter import panel
            (shown,) = [p for p in __import__('gc').get_objects() if type(p) is panel.Panel]
            end = time.monotonic() + 20
            while 'data-state="running"' not in shown._face.table.value:
                assert time.monotonic() < end
                time.sleep(0.05)
            print(shown.run.id)
            """
        )
        assert said_by(client, live).split()[-1] == started, "the panel shows the run live"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    held.write("go", "")
    assert held.pipeline().attach("last").wait(timeout=20).ok
    assert held.read("out/hold.txt") == "onetwo"


@pytest.mark.process
def test_36_a_build_outlives_its_caller_and_the_callers_whole_process_group(held):
    caller = start(held.root, "build", "--bg", "--json", start_new_session=True)
    run = held.pipeline().attach(json.loads(caller.stdout.readline())["run"])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(caller.pid, signal.SIGKILL)
    caller.wait()
    caller.stdout.close()
    held.write("go", "")
    assert run.wait(timeout=20).ok
