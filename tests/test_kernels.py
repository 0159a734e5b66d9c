"""Kernels that are forked from a warm process, taken from a pool, or started cold, and why."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbpipe.cli.doctor import examine
from nbpipe.core.model import KernelStart
from nbpipe.errors import UsageError
from nbpipe.kernels import builds, changes, forkserver, launching, starts, wire
from nbpipe.kernels.builds import Choice, choose, outlook
from nbpipe.kernels.environment import differences, obstacle
from nbpipe.kernels.heads import head_imports
from nbpipe.kernels.learning import sets_of
from nbpipe.kernels.process import ForkedProcess
from nbpipe.kernels.streams import calm
from nbpipe.run import lost
from tests.kernel_rig import Ran, Rig, children, make_job, run
from tests.projects import Project

kernel = pytest.mark.kernel

# -- what may be given to a fork --------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "start"),
    [
        ({"NBPIPE_TASK": "fit"}, None),
        ({"JPY_PARENT_PID": "7", "PWD": "/x", "_": "y"}, None),
        ({"MY_SETTING": "1"}, "bare"),
        ({"OMP_NUM_THREADS": "1"}, "bare"),
        ({"MPLBACKEND": "agg"}, "bare"),
        ({"TZ": "Asia/Tokyo"}, "bare"),
        ({"PYTHONHASHSEED": "0"}, "cold"),
        ({"LD_PRELOAD": "x.so"}, "cold"),
        ({"LC_ALL": "C"}, "cold"),
        ({"HOME": "/other"}, "cold"),
        ({"MY_SETTING": "1", "PYTHONPATH": "lib"}, "cold"),
    ],
)
def test_variables_that_are_read_early_rule_out_a_fork(
    wanted: dict[str, str], start: str | None
) -> None:
    found = obstacle(differences({"PATH": "/bin"}, {"PATH": "/bin", **wanted}))
    assert (found and found.start) == start


def test_a_variable_that_is_missing_is_a_difference_too() -> None:
    assert differences({"A": "1", "B": "2"}, {"B": "3"}) == {"A": None, "B": "3"}
    found = obstacle({"PYTHONPATH": None})
    assert found is not None
    assert found.start == "cold"


def test_the_reason_names_the_variables() -> None:
    found = obstacle({f"V{i}": "" for i in range(5)})
    assert found is not None
    assert found.reason.startswith("V0, V1, V2, …")


# -- what a notebook imports first ------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["import pandas as pd, numpy"], ["pandas", "numpy"]),
        (["from sklearn.svm import SVC, SVR"], ["sklearn.svm:SVC", "sklearn.svm:SVR"]),
        (["from numpy import *"], ["numpy"]),
        (["import os, json", "import numpy"], ["numpy"]),
        (['"""Doc."""\nupstream = None\nx: int = [1, {"a": -2}]', "import numpy"], ["numpy"]),
        (["def f(x=1):\n    import scipy\n    return x", "import numpy"], ["numpy"]),
        (["%matplotlib inline\nimport numpy"], ["numpy"]),
        (["import numpy\nprint(1)\nimport pandas"], ["numpy"]),
        (["import os\nos.environ['OMP_NUM_THREADS'] = '1'\nimport numpy"], []),
        (["import warnings\nwarnings.simplefilter('error')\nimport numpy"], []),
        (["import sys\nsys.path.insert(0, 'x')", "import numpy"], []),
        (["%env OMP_NUM_THREADS=1\nimport numpy"], []),
        (["!pip list\nimport numpy"], []),
        (["%%time\nimport numpy"], ["numpy"]),
        (["%%bash\nls", "import numpy"], []),
        (["try:\n    import numpy\nexcept ImportError:\n    pass", "import pandas"], []),
        (["if True:\n    import numpy"], []),
        (["@decorated\ndef f(): pass", "import numpy"], []),
        (["def f(x=g()): pass", "import numpy"], []),
        (["import numpy\nx = = 1"], []),
        (["import own", "import numpy"], ["pandas", "numpy"]),
        (["from own import helper", "import numpy"], ["pandas", "numpy"]),
        (["import loud", "import numpy"], ["scipy"]),
        (["from package.inner import x", "import numpy"], ["requests", "numpy"]),
    ],
)
def test_the_head_of_a_notebook_ends_where_something_happens(
    tmp_path: Path, cells: list[str], found: list[str]
) -> None:
    (tmp_path / "own.py").write_text("import pandas\nimport loud_not\ndef helper(): ...\n")
    (tmp_path / "loud_not.py").write_text("")
    (tmp_path / "loud.py").write_text("import scipy\nprint('hello')\nimport pandas\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "inner.py").write_text("import requests\nx = 1\n")
    assert head_imports(cells, str(tmp_path)) == tuple(found)


@pytest.mark.parametrize(
    ("heads", "sets"),
    [
        ([], []),
        ([("pandas",)], []),
        ([(), ()], []),
        ([("pandas",)] * 2, [("pandas",)]),
        ([("pandas", "numpy"), ("numpy", "scipy")], [("numpy",)]),
        (
            [("pandas",)] * 3 + [("pandas", "sklearn")] * 3,
            [("pandas",), ("pandas", "sklearn")],
        ),
    ],
)
def test_what_two_notebooks_import_is_preloaded(
    heads: list[tuple[str, ...]], sets: list[tuple[str, ...]]
) -> None:
    assert sorted(sets_of(heads)) == sets


def test_only_a_few_sets_are_preloaded_and_those_that_save_most() -> None:
    heads = [(f"m{i}",) for i in range(10) for _ in range(i + 1)]
    assert sets_of(heads) == [("m9",), ("m8",), ("m7",), ("m6",)]


# -- the choice -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "variable", "choice"),
    [
        (None, None, Choice("fork")),
        ("pool", None, Choice("pool", "the spec says so")),
        ("pool", "cold", Choice("cold", "NBPIPE_KERNELS says so")),
        (None, "fork", Choice("fork", "NBPIPE_KERNELS says so")),
    ],
)
def test_the_variable_comes_before_the_spec(
    monkeypatch: pytest.MonkeyPatch,
    wish: KernelStart | None,
    variable: str | None,
    choice: Choice,
) -> None:
    monkeypatch.setattr(builds, "unsupported", lambda: None)
    assert choose(wish, {"NBPIPE_KERNELS": variable} if variable else {}) == choice


def test_a_wrong_value_of_the_variable_is_told() -> None:
    with pytest.raises(UsageError, match="NBPIPE_KERNELS is 'colt'") as caught:
        choose(None, {"NBPIPE_KERNELS": "colt"})
    assert caught.value.hint == "did you mean 'cold'?"


def test_without_fork_there_is_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "unsupported", lambda: "forked kernels need Linux")
    assert choose(None, {}) == Choice("pool", "forked kernels need Linux")


@pytest.mark.parametrize(
    ("mode", "command", "how", "reason"),
    [
        ("fork", ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "fork", ""),
        ("fork", ["/x/python", "-m", "ipykernel_launcher", "-f", "{f}"], "pool", "of another"),
        ("fork", ["R", "--slave", "-e", "IRkernel::main()"], "cold", "not an IPython kernel"),
        ("pool", ["python", "-m", "ipykernel_launcher", "-f", "{f}"], "pool", "said"),
        ("cold", ["python", "-m", "ipykernel_launcher", "-f", "{f}"], "cold", "said"),
    ],
)
def test_the_outlook_of_a_kernel_tells_why(
    mode: KernelStart, command: list[str], how: str, reason: str
) -> None:
    if how == "fork" and starts.unsupported():
        pytest.skip("this system cannot fork kernels")
    start = outlook(Choice(mode, "said" if mode != "fork" else ""), command)
    assert start.how == how
    assert reason in start.reason
    assert bool(reason) == bool(start.reason)


@kernel
def test_a_build_tells_in_its_log_how_each_kernel_started(project: Project) -> None:
    project.meta["kernels"] = {"start": "cold"}
    project.task("get")
    assert project.pipeline().build().ok
    lines = map(json.loads, project.pipeline().event_lines())
    (said,) = [line for line in lines if line["event"] == "kernel-started"]
    assert (said["task"], said["start"], said["reason"]) == ("get", "cold", "the spec says so")


@kernel
def test_a_build_forks_its_kernels_by_default(project: Project) -> None:
    if starts.unsupported():
        pytest.skip("this system cannot fork kernels")
    before = children()
    project.task("get")
    project.task("fit", ["get"])
    assert project.pipeline().build().ok
    lines = map(json.loads, project.pipeline().event_lines())
    said = [line for line in lines if line["event"] == "kernel-started"]
    assert [(line["task"], line["start"]) for line in said] == [("get", "fork"), ("fit", "fork")]
    assert children() == before


def test_doctor_tells_how_kernels_start(project: Project) -> None:
    project.meta["kernels"] = {"start": "pool"}
    project.task("get")
    (found,) = [f for f in examine(project.root) if f.name == "kernels start by"]
    assert (found.ok, found.seen) == (True, "pool (python3: the spec says so)")


# -- small parts ------------------------------------------------------------------------------


def test_a_message_arrives_with_its_descriptors(tmp_path: Path) -> None:
    ours, theirs = wire.pair()
    with ours, theirs, (tmp_path / "x").open("w") as file:
        wire.send(ours, {"a": [1]}, (file.fileno(),))
        message, (fd,) = wire.receive(theirs)
        os.write(fd, b"through it")
        os.close(fd)
        assert message == {"a": [1]}
        assert (tmp_path / "x").read_text() == "through it"
        ours.close()
        assert wire.receive(theirs) == (None, [])


def test_an_edited_module_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.py"
    file.write_text("x = 1")
    loaded = changes.Loaded([str(file)])
    assert loaded.changed() is None
    file.write_text("x = 1234")
    monkeypatch.setattr(loaded, "_next", 0.0)
    assert loaded.changed() == str(file)


def test_a_kernel_ends_for_its_client_when_the_warm_process_does() -> None:
    ours, theirs = wire.pair()
    process = ForkedProcess(ours)
    assert process.poll() is None
    theirs.close()
    assert process.poll() == -signal.SIGKILL
    assert process.lost
    process.send_signal(signal.SIGINT)  # nobody is hit


def test_a_kernel_that_was_not_forked_yet_has_no_id_to_signal() -> None:
    ours, theirs = wire.pair()
    process = ForkedProcess(ours)
    wire.send(theirs, {"bound": True})
    process.poll()
    assert process.bound
    assert process.pid == 0

    async def wait() -> bool:
        async with asyncio.timeout(0.1):
            return await process.until_bound()

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    theirs.close()
    process.abandon()


def test_a_blocking_wait_can_run_out() -> None:
    ours, theirs = wire.pair()
    process = ForkedProcess(ours)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    wire.send(theirs, {"code": 3, "left": False})
    assert process.wait() == 3
    theirs.close()


class Stream:
    """What a flush looks at in ipykernel's streams."""

    def __init__(self) -> None:
        self._buffers: dict[str, str] = {}
        self._buffer_lock = threading.RLock()
        self.waits = 0
        self.is_ours = True

    def _is_master_process(self) -> bool:
        return self.is_ours

    def _flush_buffers(self) -> None: ...

    def _flush(self) -> None:
        self.flush()
        self._buffers.clear()

    def flush(self) -> None:
        self.waits += 1


def test_a_stream_is_flushed_only_if_something_was_written() -> None:
    stream = Stream()
    calm(stream, object())
    stream.flush()
    assert stream.waits == 0
    stream._buffers["cell"] = "text"
    stream.flush()
    assert stream.waits == 1


def test_a_flush_waits_for_what_another_thread_is_just_sending() -> None:
    """Its text has left the stream, and is not on its way yet."""
    stream = Stream()
    calm(stream)
    stream._flush()
    assert stream.waits == 1
    stream.flush()
    assert stream.waits == 1


def test_a_process_that_a_cell_has_forked_flushes_as_ipykernel_does() -> None:
    stream = Stream()
    stream.is_ours = False
    calm(stream)
    stream.flush()
    assert stream.waits == 1


# -- every client of jupyter_client -----------------------------------------------------------


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a kernel whose specification names the provisioner."""
    folder = tmp_path / "jupyter" / "kernels" / "forked"
    folder.mkdir(parents=True)
    described = {
        "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "forked",
        "language": "python",
        "metadata": {"kernel_provisioner": {"provisioner_name": "nbpipe-fork"}},
    }
    (folder / "kernel.json").write_text(json.dumps(described))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    yield "forked"
    starts.shared_starter(()).close()
    starts.shared_starter.cache_clear()


async def ask(client: Any, code: str) -> str:
    """Run code and return what it prints."""
    said: list[str] = []
    hook = lambda m: said.append(m["content"].get("text", ""))  # noqa: E731
    await client.execute_interactive(code, output_hook=hook, timeout=30)
    return "".join(said).strip()


@kernel
def test_nbclient_uses_it_unchanged(spec: str, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    cells = ["import sys\nprint(sys.argv[0][-21:])", "1 / 0"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    options = {"kernel_name": spec, "allow_errors": True, "timeout": 60}
    NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}, **options).execute()
    assert notebook.cells[0].outputs[0].text == "ipykernel_launcher.py\n"
    assert notebook.cells[1].outputs[0].ename == "ZeroDivisionError"


@kernel
def test_a_manager_starts_interrupts_restarts_and_ends_it(spec: str) -> None:
    from jupyter_client.manager import AsyncKernelManager

    async def main() -> None:
        manager = AsyncKernelManager(kernel_name=spec)
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        first = int(await ask(client, "x = 1\nimport os\nprint(os.getpid())"))
        assert manager.provisioner.start.how == "fork"
        assert first == manager.provisioner.pid

        sleeping = asyncio.ensure_future(ask(client, "import time\ntime.sleep(60)"))
        await asyncio.sleep(0.5)
        await manager.interrupt_kernel()
        await asyncio.wait_for(sleeping, 10)

        await manager.restart_kernel()
        await client.wait_for_ready(timeout=60)
        second = await ask(client, "import os\nprint(os.getpid(), 'x' in globals())")
        assert second.endswith("False")
        assert int(second.split()[0]) != first

        process = manager.provisioner.process
        await manager.shutdown_kernel()
        assert process.returncode == 0, "it ended by itself"
        assert not await manager.is_alive()
        client.stop_channels()

    asyncio.run(main())


@kernel
def test_a_restart_now_kills_the_old_kernel(spec: str) -> None:
    from jupyter_client.manager import AsyncKernelManager

    async def main() -> None:
        manager = AsyncKernelManager(kernel_name=spec)
        await manager.start_kernel()
        old = manager.provisioner.process
        await manager.restart_kernel(now=True)
        assert old.returncode == -signal.SIGKILL
        assert await manager.is_alive()
        await manager.shutdown_kernel(now=True)

    asyncio.run(main())


@kernel
def test_its_state_is_saved_and_loaded_as_that_of_the_local_provisioner(spec: str) -> None:
    from jupyter_client.manager import AsyncKernelManager

    async def main() -> None:
        manager = AsyncKernelManager(kernel_name=spec)
        await manager.start_kernel()
        info = await manager.provisioner.get_provisioner_info()
        assert info["pid"] == info["pgid"] == manager.provisioner.pid
        assert psutil.pid_exists(info["pid"])
        other = type(manager.provisioner)(
            kernel_id="other", kernel_spec=manager.kernel_spec, parent=manager
        )
        await other.load_provisioner_info(info)
        assert (other.pid, other.pgid) == (info["pid"], info["pgid"])
        assert other.connection_info == info["connection_info"]
        assert not other.has_process
        await manager.shutdown_kernel(now=True)

    asyncio.run(main())


@kernel
def test_kernels_end_by_themselves_every_time(spec: str) -> None:
    """ipykernel's race at exit ends with a SIGTERM after 2.5 s, once in a few kernels."""
    from jupyter_client.manager import AsyncKernelManager

    async def one() -> int:
        manager = AsyncKernelManager(kernel_name=spec)
        await manager.start_kernel()
        process = manager.provisioner.process
        await manager.request_shutdown()
        code = await process.ended()
        await manager.cleanup_resources()
        return code

    async def main() -> list[int]:
        return [await one() for _ in range(20)]

    assert asyncio.run(main()) == [0] * 20


@kernel
def test_no_output_is_dropped_however_slowly_a_client_reads(spec: str) -> None:
    """zmq's usual limit is 1,000 messages on each side; what is beyond it is dropped in silence."""
    from jupyter_client.manager import AsyncKernelManager

    async def main() -> str:
        manager = AsyncKernelManager(kernel_name=spec)
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        client.execute("for i in range(5000):\n    print(i, flush=True)")
        await client.shell_channel.get_msg(timeout=60)  # nobody has read an output until here
        said = ""
        while (message := await client.iopub_channel.get_msg(timeout=30))["content"].get(
            "execution_state"
        ) != "idle":
            said += message["content"].get("text", "")
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
        return said

    assert asyncio.run(main()) == "".join(f"{i}\n" for i in range(5000))


# -- what a build gets ------------------------------------------------------------------------


def start_of(ran: Ran) -> tuple[str, str, tuple[str, ...]]:
    assert ran.failure is None, ran.failure
    assert ran.started is not None
    return ran.started.start, ran.started.reason, ran.started.preloaded


RANDOM = """
import random, secrets, uuid
print(random.random(), secrets.token_hex(), uuid.uuid4())
import numpy
print(numpy.random.rand(), numpy.random.default_rng().random())
"""

IDENTITY = "print(get_ipython().kernel.session.session, get_ipython().kernel.ident)"


@kernel
def test_forked_tasks_share_no_random_numbers(tmp_path: Path) -> None:
    cells = ["import numpy\nimport numpy.random", RANDOM]
    one, other = run(tmp_path, cells, cells, sources=[cells] * 2)
    assert start_of(one) == ("fork", "", ("numpy", "numpy.random"))
    pairs = list(zip(one.text.split(), other.text.split(), strict=True))
    assert len(pairs) == 5
    assert all(mine != theirs for mine, theirs in pairs)


@kernel
def test_forked_kernels_share_no_identity(tmp_path: Path) -> None:
    one, other = run(tmp_path, [IDENTITY], [IDENTITY])
    pairs = list(zip(one.text.split(), other.text.split(), strict=True))
    assert len(pairs) == 2
    assert all(mine != theirs for mine, theirs in pairs)


@kernel
def test_forked_tasks_share_no_random_numbers_of_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed, and so has no generator")
    cells = ["import torch", "print(torch.initial_seed(), torch.rand(2).tolist())"]
    one, other = run(tmp_path, cells, cells, sources=[cells] * 2)
    assert start_of(one) == start_of(other) == ("fork", "", ("torch",))
    assert one.text != other.text
    assert one.text.split()[0] != other.text.split()[0]


@kernel
def test_strings_hash_alike_in_the_kernels_of_one_build_unless_the_seed_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    code = ["print(hash('x'))"]
    one, other = run(tmp_path, code, code)
    assert one.text == other.text, "the seed is drawn when the warm process starts"
    (third,) = run(tmp_path, code)
    assert third.text != one.text, "another build, another seed"
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    said = subprocess.check_output([sys.executable, "-c", code[0]], text=True)
    (seeded,) = run(tmp_path, code)
    assert seeded.text == said


@kernel
def test_a_variable_that_a_library_may_read_rules_out_the_preload(tmp_path: Path) -> None:
    cells = [
        "import numpy",
        "import os\nfrom threadpoolctl import threadpool_info\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'], threadpool_info()[0]['num_threads'])",
    ]
    environ = {"OPENBLAS_NUM_THREADS": "1"}
    (ran,) = run(tmp_path, cells, environs=[environ], sources=[cells] * 2)
    start, reason, preloaded = start_of(ran)
    assert (start, preloaded) == ("fork", ())
    assert "OPENBLAS_NUM_THREADS" in reason
    assert ran.text == "1 1\n"


@kernel
def test_a_variable_that_python_reads_when_it_starts_makes_a_cold_kernel(tmp_path: Path) -> None:
    cells = ["import sys\nprint(sys.flags.hash_randomization, hash('x'))"]
    (ran,) = run(tmp_path, cells, environs=[{"PYTHONHASHSEED": "0"}])
    start, reason, _ = start_of(ran)
    assert start == "cold" or starts.unsupported()
    assert "PYTHONHASHSEED" in reason
    code = "import sys; print(sys.flags.hash_randomization, hash('x'))"
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    assert ran.text == subprocess.check_output([sys.executable, "-c", code], env=environ, text=True)


@kernel
def test_a_script_that_limits_threads_itself_finds_nothing_preloaded(tmp_path: Path) -> None:
    head = ["import numpy"]
    cells = [
        "import os\nos.environ['OPENBLAS_NUM_THREADS'] = '1'\nimport numpy",
        "from threadpoolctl import threadpool_info\nprint(threadpool_info()[0]['num_threads'])",
    ]
    (ran,) = run(tmp_path, cells, sources=[head, head, cells])
    assert start_of(ran) == ("fork", "", ())
    assert ran.text == "1\n"


@kernel
def test_a_kernel_finds_nothing_imported_that_it_does_not_import_itself(tmp_path: Path) -> None:
    small, large = ["import numpy"], ["import numpy\nimport pandas"]
    look = ["import sys\nprint('pandas' in sys.modules, 'numpy' in sys.modules)"]
    sources = [small, small, large, large]
    none, some, most = run(tmp_path, look, [*small, *look], [*large, *look], sources=sources)
    assert (none.text, some.text, most.text) == ("False False\n", "False True\n", "True True\n")
    assert [start_of(ran)[2] for ran in (none, some, most)] == [
        (),
        ("numpy",),
        ("numpy", "pandas"),
    ]


@kernel
def test_the_spec_can_name_what_every_kernel_finds(tmp_path: Path) -> None:
    (ran,) = run(tmp_path, ["import sys\nprint('numpy' in sys.modules)"], preload=["numpy"])
    assert start_of(ran) == ("fork", "", ("numpy",))
    assert ran.text == "True\n"


@kernel
def test_plots_follow_the_settings_in_the_tasks_folder(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 7\n")
    cells = [
        "import matplotlib.pyplot as plt\nprint(plt.rcParams['lines.linewidth'])",
        "plt.plot([1])",
    ]
    (ran,) = run(tmp_path, cells, sources=[cells] * 2)
    assert start_of(ran) == ("fork", "", ("matplotlib.pyplot",))
    assert ran.text.startswith("7.0\n")
    assert any("image/png" in o.get("data", {}) for o in ran.notebook.cells[1].outputs)


UNFIT = {
    "prints": ("print('hello')", "prints"),
    "warns": ("import warnings\nwarnings.warn('old')", "prints"),
    "fails": ("raise RuntimeError('no')", "RuntimeError: no"),
    "threads": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()",
        "thread",
    ),
    "exits": ("import sys\nsys.exit(3)", "SystemExit"),
    "dies": ("import os\nos._exit(3)", ""),
    "peeks": ("try:\n    import of_project\nexcept ImportError:\n    pass", "of the project"),
}


@kernel
@pytest.mark.parametrize("trait", UNFIT)
def test_an_unfit_module_is_imported_by_the_kernels_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trait: str
) -> None:
    text, why = UNFIT[trait]
    library = tmp_path / "library"
    library.mkdir()
    (library / f"{trait}.py").write_text(f"{text}\nx = 1\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / "of_project.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(library))
    cells = [f"import numpy\nimport {trait}", "print('on')"]
    calm = ["import numpy", "print('on')"]
    first, second = run(project, calm, calm, sources=[cells] * 2, preload=["numpy", trait])
    for ran in (first, second):
        start, reason, _ = start_of(ran)
        assert start == "fork"
        assert why in reason
        assert ran.text == "on\n"
    if why:
        assert start_of(second)[2] == ("numpy",), "the others are preloaded all the same"


@kernel
def test_a_module_that_hangs_when_it_is_imported_holds_up_one_kernel_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "hangs.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", str(library))
    monkeypatch.setattr(forkserver, "FORK_TIMEOUT", 3.0)
    before = children()
    first, second = run(tmp_path, ["print(1)"], ["print(2)"], preload=["hangs"])
    assert [start_of(ran)[0] for ran in (first, second)] == ["fork", "fork"]
    assert "did not answer" in start_of(first)[1]
    assert children() == before


@kernel
def test_a_warm_process_that_cannot_start_leaves_cold_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "BOOT", "raise SystemExit('not today')")
    (ran,) = run(tmp_path, ["print(1)"])
    start, reason, _ = start_of(ran)
    assert start in ("cold", "pool")
    assert "not today" in reason


@kernel
def test_of_an_unknown_ipykernel_each_fork_builds_the_whole_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = "from nbpipe.kernels import prebuilt; prebuilt.KNOWN = (); "
    boot = launching.BOOT.replace("from nbpipe", unknown + "from nbpipe", 1)
    monkeypatch.setattr(launching, "BOOT", boot)
    one, other = run(tmp_path, ["print(In)"], ["import sys\nprint(sys.argv[1], '' in sys.path)"])
    assert start_of(one)[0] == start_of(other)[0] == "fork"
    assert (one.text, other.text) == ("['', 'print(In)']\n", "-f True\n")


@kernel
def test_an_edited_library_is_imported_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "edited.py").write_text("value = 'old'\n")
    monkeypatch.setenv("PYTHONPATH", str(library))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    cells = ["import edited", "print(edited.value)"]

    project = tmp_path / "project"

    async def main() -> list[Ran]:
        async with Rig(project, sources=[cells] * 2) as rig:
            first = await rig.run(make_job(project, cells, "first"))
            (library / "edited.py").write_text("value = 'newer'\n")
            await asyncio.sleep(0.5)  # the files are not looked at without a pause
            return [first, await rig.run(make_job(project, cells, "second"))]

    first, second = asyncio.run(main())
    assert (first.text, second.text) == ("old\n", "newer\n")
    assert start_of(first) == start_of(second) == ("fork", "", ("edited",))


# -- processes --------------------------------------------------------------------------------


@kernel
def test_kernels_and_warm_process_are_found_by_their_run(tmp_path: Path) -> None:
    """Also when their builder has died: its next build sweeps them."""

    async def main() -> None:
        async with Rig(tmp_path) as rig:
            job = make_job(tmp_path, ["open('up', 'w').close()\nimport time\ntime.sleep(30)"])
            task = asyncio.ensure_future(rig.run(job))
            while not (tmp_path / "up").exists():
                await asyncio.sleep(0.05)
            found = lost.marked({"run"}, tmp_path)
            assert len(found) == 2
            (running,) = [p for p in found if "ipykernel_launcher" in p.cmdline()]
            assert any(re.search(r"kernel-\d+\.json$", word) for word in running.cmdline())
            assert os.getsid(running.pid) == running.pid
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())


@kernel
def test_a_killed_warm_process_fails_its_tasks_and_the_next_go_on(tmp_path: Path) -> None:
    before = children()

    async def main() -> tuple[Ran, Ran]:
        async with Rig(tmp_path) as rig:
            job = make_job(tmp_path, ["open('up', 'w').close()\nimport time\ntime.sleep(60)"])
            task = asyncio.ensure_future(rig.run(job))
            while not (tmp_path / "up").exists():
                await asyncio.sleep(0.05)
            for process in lost.marked({"run"}, tmp_path):
                # The warm one's branches die with it, maybe before it is their turn.
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "ipykernel_launcher" not in process.cmdline():
                        process.kill()
            failed = await asyncio.wait_for(task, 10)
            return failed, await rig.run(make_job(tmp_path, ["print('on')"], "next"))

    failed, after = asyncio.run(main())
    assert failed.failure is not None
    assert failed.failure.error == "KernelDied"
    assert "SIGKILL" in failed.failure.message
    assert after.text == "on\n"
    assert start_of(after)[0] == "fork"
    assert children() == before


BUILDER = """
import asyncio, sys
from pathlib import Path
from tests.kernel_rig import Rig, make_job

async def main():
    root = Path(sys.argv[1])
    cells = ["import numpy", "open(f'up{NUMBER}', 'w').close()", "import time; time.sleep(60)"]
    async with Rig(root, sources=[cells[:1]] * 2) as rig:
        jobs = [[c.replace("{NUMBER}", str(n)) for c in cells] for n in range(2)]
        await asyncio.gather(*(rig.run(make_job(root, j, f"t{n}")) for n, j in enumerate(jobs)))

asyncio.run(main())
"""


@kernel
def test_nothing_outlives_a_killed_builder(tmp_path: Path) -> None:
    code = BUILDER.replace("f'up{NUMBER}'", "'up{NUMBER}'")
    builder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    end = time.monotonic() + 60
    while not ((tmp_path / "up0").exists() and (tmp_path / "up1").exists()):
        assert time.monotonic() < end, "the kernels never came up"
        time.sleep(0.05)
    found = lost.marked({"run"}, tmp_path)
    assert len(found) == 4, "a warm process, its branch, and two kernels"
    folders = [Path(word).parent for p in found for word in p.cmdline() if word.endswith(".json")]
    builder.kill()
    builder.wait()
    assert lost.gone(found, 5.0)
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)


@kernel
def test_200_kernels_leave_nothing_behind(tmp_path: Path) -> None:
    """No descriptor, process or folder stays, and no memory is lost but for a little."""
    me, jobs = psutil.Process(), 200

    def sizes(rig: Rig) -> tuple[int, int, int, int]:
        (warm,) = lost.marked({"run"}, tmp_path)
        return me.num_fds(), warm.num_fds(), me.memory_info().rss, warm.memory_info().rss

    async def main() -> list[tuple[int, int, int, int]]:
        async with Rig(tmp_path) as rig:
            seen = []
            for number in range(jobs):
                ran = await rig.run(make_job(tmp_path, ["print(1)"]))
                assert start_of(ran)[0] == "fork"
                if number in (20, jobs - 1):
                    await asyncio.sleep(0.5)  # zmq closes sockets in a thread of its own
                    seen.append(sizes(rig))
            return seen

    before = children()
    (fds, warm_fds, rss, warm_rss), late = asyncio.run(main())
    assert late[:2] == (fds, warm_fds)
    assert late[2] - rss < 20e6, "bytes that the builder has grown by in 180 kernels"
    assert late[3] - warm_rss < 4e6
    assert children() == before


@kernel
def test_a_forked_kernel_finds_no_debugger_imported(tmp_path: Path) -> None:
    """It would cost more than all the rest; a notebook can import it."""
    cells = ["import sys\nprint('debugpy' in sys.modules)", "import debugpy\nprint('on')"]
    (ran,) = run(tmp_path, cells)
    assert ran.text == "False\non\n"


UNWAITED = [
    "import atexit, subprocess, time\nprocess = subprocess.Popen(['true'])",
    "while open(f'/proc/{process.pid}/stat').read().rpartition(')')[2].split()[0] != 'Z':\n"
    "    time.sleep(0.01)",
    "_ = atexit.register(open, 'orderly', 'w')",
]


@kernel
@pytest.mark.parametrize("mode", ["fork", "cold"])
def test_a_child_that_nobody_waited_for_does_not_keep_a_kernel_from_an_orderly_end(
    tmp_path: Path, mode: KernelStart
) -> None:
    """It would be killed while it waits for the child, before its exit handlers run."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the state of a process is read from /proc")
    (ran,) = run(tmp_path, UNWAITED, mode=mode)
    assert ran.failure is None
    assert (tmp_path / "orderly").exists()


@kernel
def test_a_forked_kernel_has_a_heartbeat_only_for_those_who_may_listen(
    spec: str, tmp_path: Path
) -> None:
    """The builder does not: the warm process tells it when a kernel ends."""
    from jupyter_client.manager import AsyncKernelManager

    names = "import threading\nprint(sorted(t.name for t in threading.enumerate()))"

    async def others() -> str:
        manager = AsyncKernelManager(kernel_name=spec)
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        said = await ask(client, names)
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
        return said

    (ran,) = run(tmp_path, [names])
    assert "Heartbeat" not in ran.text
    assert "Heartbeat" in asyncio.run(others())


# -- the pool ---------------------------------------------------------------------------------

SEEN = """
import json, os, sys, threading
print(json.dumps([sys.argv[0], sys.path, os.getcwd(), sys.orig_argv[1:3], __name__,
    sorted(i for i in os.environ.items() if i[0] not in ("JPY_PARENT_PID", "NBPIPE_TASK")),
    sorted(t.name for t in threading.enumerate()), sys.stdin.read(), os.getsid(0) == os.getpid()]))
"""


@kernel
def test_a_kernel_from_the_pool_sees_what_a_cold_one_sees(tmp_path: Path) -> None:
    (pooled,) = run(tmp_path, [SEEN], mode="pool")
    (cold,) = run(tmp_path, [SEEN], mode="cold")
    assert pooled.started is not None
    assert pooled.started.start == "pool"
    assert json.loads(pooled.text) == json.loads(cold.text)


@kernel
def test_spare_kernels_are_ended_with_the_build(tmp_path: Path) -> None:
    before = children()
    run(tmp_path, ["1"], mode="pool", jobs=3)
    assert children() == before


@kernel
def test_a_kernel_of_another_environment_comes_from_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "elsewhere" / "python"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "jupyter" / "kernels" / "other"
    folder.mkdir(parents=True)
    argv = [str(program), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    described = {"argv": argv, "display_name": "other", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(described))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

    async def main() -> list[Ran]:
        async with Rig(tmp_path) as rig:
            jobs = [make_job(tmp_path, ["print(1)"], f"t{n}", kernel="other") for n in range(2)]
            return [await rig.run(job) for job in jobs]

    first, second = asyncio.run(main())
    assert [start_of(ran)[0] for ran in (first, second)] == ["cold", "pool"]
    assert "another environment" in start_of(second)[1]


@kernel
@pytest.mark.parametrize("mode", ["fork", "pool", "cold"])
def test_every_way_leaves_the_frames_of_a_crash_in_the_log(
    tmp_path: Path, mode: KernelStart
) -> None:
    (ran,) = run(tmp_path, ["import ctypes\nctypes.string_at(0)"], mode=mode)
    assert ran.failure is not None
    assert "string_at" in ran.failure.traceback
    assert ran.started is not None
    assert ran.started.start == mode
