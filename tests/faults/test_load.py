"""Many tasks, many builds, much output: memory stays flat and nothing is mixed up.

The figures are printed (``pytest -s``); what is asserted are bounds with much room.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from nbpipe import InlineExecutor, Pipeline
from nbpipe.core import events as ev
from tests.cli import ENV
from tests.faults.rig import PATIENCE, peak_megabytes, start, until

MEGABYTE = 1 << 20


def many(root: Path, count: int, script: str) -> None:
    """So many tasks that each need the one before the last, so that two can run at once."""
    tasks = []
    for i in range(count):
        upstream = [f"t{i - 2}"] if i > 1 else None
        (root / f"t{i}.py").write_text(script.format(upstream=upstream))
        tasks.append({"source": f"t{i}.py", "name": f"t{i}", "product": f"out/t{i}.ipynb"})
    (root / "pipeline.yaml").write_text(yaml.safe_dump({"tasks": tasks}, sort_keys=False))


class Memory:
    """Listens to a build, and notes what its process holds when a tenth and all of it is done."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.done = 0
        self.at: dict[int, float] = {}

    def __call__(self, event: ev.Event) -> None:
        if isinstance(event, ev.TaskDone):
            self.done += 1
            if self.done in (self.count // 10, self.count):
                gc.collect()
                self.at[self.done] = psutil.Process().memory_info().rss / MEGABYTE

    @property
    def growth(self) -> float:
        """Megabytes between a tenth and the end."""
        early, late = (self.at[done] for done in sorted(self.at))
        print(f"{self.count} tasks: {early:.0f} MB at 10 %, {late:.0f} MB at 100 %")
        return late - early


IN_A_PROCESS = """
import sys
from pathlib import Path
from tests.faults.test_load import build_many
build_many(Path(sys.argv[1]), int(sys.argv[2]))
"""


def build_many(root: Path, count: int) -> None:
    """In a process of its own, whose memory nothing else has filled."""
    many(root, count, '# %% tags=["parameters"]\nupstream = {upstream}\nproduct = None\n')
    memory = Memory(count)
    pipeline = Pipeline.load(root)
    report = pipeline.build(executor=InlineExecutor(lambda job: None), jobs=8, on_event=memory)
    assert len(report.named("ran")) == count
    assert memory.growth < 40, "the builder grows with every task"
    assert Pipeline.load(root).plan().idle


@pytest.mark.process
def test_two_thousand_tasks_leave_the_memory_of_the_builder_flat(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(tmp_path), "2000"],
        cwd=Path(__file__).parents[2],
        env=ENV,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.kernel
def test_two_hundred_tasks_in_kernels_eight_at_a_time(tmp_path):
    many(tmp_path, 200, '# %% tags=["parameters"]\nupstream = {upstream}\nproduct = None\n')
    memory = Memory(200)
    report = Pipeline.load(tmp_path).build(jobs=8, on_event=memory)
    assert len(report.named("ran")) == 200
    print(f"200 tasks in kernels: {report.seconds:.0f} s")
    assert memory.growth < 40


GATE = """\
import time
from pathlib import Path

def wait(product):
    with open("runs", "a") as runs:
        runs.write("one\\n")
    while not Path("go").exists():
        time.sleep(0.02)
    Path(product).write_text("done")
"""


@pytest.fixture
def gated(tmp_path: Path) -> Path:
    """A project whose only task ends when there is a file ``go``."""
    (tmp_path / "gate.py").write_text(GATE)
    (tmp_path / "pipeline.yaml").write_text("tasks:\n  - source: gate.wait\n    product: out.txt\n")
    return tmp_path


@pytest.mark.process
def test_row_31_of_sixteen_builds_at_once_one_runs_and_the_others_are_told(gated):
    builds = [start(gated, "build") for _ in range(16)]
    until(lambda: sum(build.poll() is not None for build in builds) >= 15, 4 * PATIENCE)
    (gated / "go").touch()
    said = [(build.communicate()[0], build.returncode) for build in builds]
    codes = sorted(code for _, code in said)
    assert codes == [0] + [3] * 15
    assert all("pid" in text and "--wait" in text for text, code in said if code == 3)
    assert (gated / "runs").read_text() == "one\n"


@pytest.mark.process
def test_row_31_of_sixteen_builds_that_wait_one_runs_and_the_others_find_it_done(gated):
    builds = [start(gated, "build", "--wait") for _ in range(16)]
    until((gated / "runs").exists, 4 * PATIENCE)
    (gated / "go").touch()
    said = [(build.communicate(timeout=4 * PATIENCE)[0], build.returncode) for build in builds]
    assert {code for _, code in said} == {0}
    assert sum("1 executed" in text for text, _ in said) == 1
    assert sum("nothing to do" in text or "1 skipped" in text for text, _ in said) == 15
    assert (gated / "runs").read_text() == "one\n"


LOUD = """\
import sys
from pathlib import Path

def megabytes(product):
    for _ in range(100):
        sys.stdout.write("x" * (1 << 20))
    Path(product).write_text("done")

def lines(product):
    for i in range(1_000_000):
        print(i)
    Path(product).write_text("done")
"""

LOUD_SCRIPT = """\
# %% tags=["parameters"]
upstream = None
product = None

# %%
import loud
loud.{function}(product["data"])
"""


@pytest.mark.kernel
@pytest.mark.parametrize("function", ["megabytes", "lines"])
@pytest.mark.parametrize("kind", ["notebook", "function"])
def test_row_46_a_loud_task_is_cut_and_the_builder_stays_small(tmp_path, kind, function):
    (tmp_path / "loud.py").write_text(LOUD)
    (tmp_path / "run.py").write_text(LOUD_SCRIPT.format(function=function))
    made = {"notebook": {"nb": "out.ipynb", "data": "out.txt"}, "function": "out.txt"}[kind]
    source = "run.py" if kind == "notebook" else f"loud.{function}"
    tasks = [{"source": source, "product": made}]
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    build, peak = start(tmp_path, "build"), 0.0
    while build.poll() is None:
        try:
            peak = max(peak, peak_megabytes(build.pid))
            build.wait(0.05)
        except (subprocess.TimeoutExpired, AssertionError, OSError):
            continue
    said = build.communicate()[0]
    assert build.returncode == 0, said
    print(f"{kind}, {function}: the builder held {peak:.0f} MB at most")
    assert 0 < peak < 500
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert kept < 40 * MEGABYTE, "what is kept of the output is bounded"
