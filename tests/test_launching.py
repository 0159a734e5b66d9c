"""The warm process that starts ahead of a build: for whom, who takes it, and that none is left."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from nbpipe.kernels import launching
from nbpipe.kernels.builds import BuildKernels, Choice, usual_launch
from nbpipe.kernels.launching import IN_MEMORY, NO_RUN, RUN
from nbpipe.run.eventlog import new_run_id
from tests.cli import ENV
from tests.cli import nbpipe as shell
from tests.faults.rig import lives, pids_in, until
from tests.kernel_rig import children, make_job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")

NOTEBOOKS = "tasks:\n- source: get.py\n  product: out/get.ipynb\n"


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch):
    """Nothing was started by a test before, and nothing says how kernels start."""
    monkeypatch.setattr(launching, "_waiting", [])
    monkeypatch.delenv("NBPIPE_KERNELS", raising=False)
    yield
    launching.drop()


@pytest.fixture
def spec(tmp_path):
    """A spec with a notebook."""
    path = tmp_path / "pipeline.yaml"
    path.write_text(NOTEBOOKS)
    return str(path)


# -- for whom --------------------------------------------------------------------------------


class Noted:
    """Stands for a warm process that starts."""

    key: tuple[object, ...] = ()

    def __init__(self, *asked):
        self.asked = asked

    def kill(self):
        """There is nothing to end."""


@pytest.fixture
def notes(monkeypatch):
    """What was started ahead, without starting it."""
    monkeypatch.setattr(launching, "Warm", Noted)
    return launching._waiting


@pytest.mark.parametrize(
    "text",
    [
        NOTEBOOKS,
        "tasks: [{source: a.ipynb, product: out/a.html}]",
        "tasks:\n- product: out/a.html\n  source: 'notes/a.md'",
        '{"tasks": [{"source": "a.py", "product": "out/a.ipynb"}]}',
        "meta: {kernels: {start: fork}}\n" + NOTEBOOKS,
        "tasks:\n- source: a.sql\n  product: t\n- source: b.py\n  product: out/b.ipynb\n",
    ],
)
def test_it_starts_for_a_spec_with_notebooks(tmp_path, notes, text):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    launching.start_ahead(str(path))
    assert len(notes) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tasks: []",
        "tasks:\n- source: clean.get\n  product: out/a.csv\n",
        "tasks:\n- source: a.sql\n  product: t\n",
        "meta: {kernels: {start: cold}}\n" + NOTEBOOKS,
        'meta:\n  kernels:\n    start: "pool"\n' + NOTEBOOKS,
        '{"meta": {"kernels": {"start": "cold"}}, "tasks": [{"source": "a.py"}]}',
    ],
    ids=["empty", "no task", "functions", "SQL", "cold", "pool", "cold, as JSON"],
)
def test_nothing_starts_for_a_spec_whose_tasks_need_none(tmp_path, notes, text):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    launching.start_ahead(str(path))
    assert notes == []


def test_nothing_starts_for_what_cannot_be_read(tmp_path, notes):
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + NOTEBOOKS.encode())
    (tmp_path / "folder").mkdir()
    for name in ("missing", "binary", "folder", "binary/below"):
        launching.start_ahead(str(tmp_path / name))
    assert notes == []


@pytest.mark.parametrize(("says", "count"), [("cold", 0), ("pool", 0), ("colt", 0), ("fork", 1)])
def test_the_environment_has_the_last_word(spec, notes, monkeypatch, says, count):
    monkeypatch.setenv("NBPIPE_KERNELS", says)
    launching.start_ahead(spec)
    assert len(notes) == count


def test_nothing_starts_where_nothing_is_forked(spec, notes, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    launching.start_ahead(spec)
    assert notes == []


def test_one_is_enough(spec, notes):
    launching.start_ahead(spec)
    launching.start_ahead(spec)
    assert len(notes) == 1


def test_it_is_what_a_build_in_that_folder_would_start(spec, notes, tmp_path, monkeypatch):
    """But for the run, which there is none of yet."""
    monkeypatch.chdir(tmp_path)
    launching.start_ahead("pipeline.yaml")
    usual = usual_launch(str(tmp_path), {"NBPIPE_ROOT": str(tmp_path), RUN: NO_RUN})
    ((python, options, folder, environ),) = (noted.asked for noted in notes)
    assert [*python, "-m", "ipykernel_launcher", "-f", "", *options] == usual.command
    assert (folder, environ) == (usual.folder, usual.environ)


def test_there_is_room_for_the_id_of_a_run():
    """In the environment that the system shows, where it takes the place of another text."""
    assert len(new_run_id()) == len(NO_RUN)


# -- who takes it ----------------------------------------------------------------------------


def build_kernels(root, run):
    environ = {"NBPIPE_ROOT": str(root), RUN: run}
    return BuildKernels(Choice("fork"), None, str(root), environ, jobs=1, kernels=1)


def shown_environ(pid):
    """The environment as the system shows it to others."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)


def start(spec):
    """The process that is started ahead; in the test itself, since pytest names it to processes."""
    launching.start_ahead(spec)
    (warm,) = launching._waiting
    return warm.process


@pytest.mark.process
def test_a_build_of_that_folder_takes_it_and_it_shows_its_run(spec, tmp_path):
    started = start(spec)
    run, before = new_run_id(), children()
    assert started.pid in before
    until(lambda: shown_environ(started.pid).get(RUN) == NO_RUN)
    kernels = build_kernels(tmp_path, run)
    kernels.warm_up()
    try:
        assert children() == before, "none beside it"
        until(lambda: shown_environ(started.pid)[RUN] == run)
    finally:
        kernels.close()
    assert started.returncode is not None
    assert not lives(started.pid)


@pytest.mark.process
def test_a_folder_is_the_same_by_another_name(spec, tmp_path):
    started = start(spec)
    before, link = children(), tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path)
    kernels = build_kernels(link, NO_RUN)
    kernels.warm_up()
    try:
        assert children() == before
        assert lives(started.pid)
    finally:
        kernels.close()


@pytest.mark.process
def test_a_build_of_another_folder_ends_it(spec, tmp_path_factory):
    started = start(spec)
    before = children()
    kernels = build_kernels(tmp_path_factory.mktemp("other"), new_run_id())
    kernels.warm_up()
    try:
        assert not lives(started.pid)
        assert len(children() - before) == 1
    finally:
        kernels.close()


@pytest.mark.process
@pytest.mark.parametrize(
    ("python", "options"), [([sys.executable, "-O"], [IN_MEMORY]), ([sys.executable], [])]
)
def test_one_with_other_words_on_its_command_line_is_another(spec, tmp_path, python, options):
    started = start(spec)
    warm = launching.take(python, options, str(tmp_path), os.environ)
    try:
        assert warm.process.pid != started.pid
        assert not lives(started.pid)
    finally:
        warm.kill()


@pytest.mark.process
def test_dropping_it_ends_it_and_leaves_nothing_to_reap(spec):
    started = start(spec)
    launching.drop()
    assert launching._waiting == []
    assert not psutil.pid_exists(started.pid)
    launching.drop()


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "is_taken"), [("NBPIPE_ANY", True), ("OMP_NUM_THREADS", False), ("PYTHONPATH", False)]
)
def test_one_whose_kernels_could_not_have_a_variable_that_was_set_since_is_another(
    spec, tmp_path, monkeypatch, name, is_taken
):
    started = start(spec)
    monkeypatch.setenv(name, "7")
    warm = launching.take([sys.executable], [IN_MEMORY], str(tmp_path), usual(tmp_path, NO_RUN))
    try:
        assert (warm.process.pid == started.pid) == is_taken
        assert lives(started.pid) == is_taken
    finally:
        warm.kill()


def usual(root, run):
    """The environment of a build's kernels."""
    return usual_launch(str(root), {"NBPIPE_ROOT": str(root), RUN: run}).environ


@pytest.mark.kernel
def test_its_kernels_show_the_run_by_which_strays_are_found(spec, tmp_path):
    started, run = start(spec), new_run_id()
    kernels = build_kernels(tmp_path, run)
    kernels.warm_up()
    job, file = make_job(tmp_path, ["1"]), str(tmp_path / "kernel.json")
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", file, IN_MEMORY]

    async def look():
        with (tmp_path / "log").open("wb") as log:
            kernel = await kernels.link(job, command, usual(tmp_path, run), log.fileno())
        try:
            assert psutil.Process(kernel.pid).ppid() == started.pid
            return shown_environ(kernel.pid)[RUN]
        finally:
            kernel.close()

    try:
        assert asyncio.run(look()) == run
    finally:
        kernels.close()


# -- builds ----------------------------------------------------------------------------------

NOTES = """
import os, subprocess

class Noted(subprocess.Popen):
    def __init__(self, args, **options):
        super().__init__(args, **options)
        if "nbpipe.kernels.warm" in str(args):
            with open(os.environ["NOTES"], "a") as file:
                file.write(f"{self.pid} ")

if "NOTES" in os.environ:
    subprocess.Popen = Noted
"""
"""Runs in every Python that starts: notes the warm processes that it starts."""


@pytest.fixture
def started_by_builds(tmp_path_factory, monkeypatch):
    """Asks for the warm processes that commands have started since it was asked last."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(NOTES)
    monkeypatch.setitem(ENV, "PYTHONPATH", str(folder))
    monkeypatch.setitem(ENV, "NOTES", str(folder / "pids"))

    def since():
        found = pids_in(folder / "pids")
        (folder / "pids").unlink(missing_ok=True)
        return found

    return since


@pytest.mark.process
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("product:", "produkt:", "produkt"),
        ("source: get.py", "source: gone.py", "gone.py"),
        ("tasks:", "tasks: {", "pipeline.yaml"),
    ],
    ids=["a wrong key", "no such source", "no YAML"],
)
def test_a_build_of_a_broken_spec_leaves_no_process(project, started_by_builds, old, new, says):
    project.task("get")
    project.edit("pipeline.yaml", old, new)
    assert says in shell("build", cwd=project.root, code=2)
    (pid,) = started_by_builds()
    assert not lives(pid)


@pytest.mark.kernel
def test_a_build_leaves_no_process_whether_something_ran_or_not(project, started_by_builds):
    project.task("get")
    for names, said in [((), "1 executed, 0 skipped"), (("get",), "0 executed")]:
        assert said in shell("build", *names, cwd=project.root)
        (pid,) = started_by_builds()
        assert not lives(pid)
