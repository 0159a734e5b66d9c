"""Cells that are sent ahead: what comes of them is what comes of sending them one by one."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import nbformat
import pytest
import zmq.asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import Session

from nbpipe.core.events import CellFinished, CellStarted, Event
from nbpipe.core.model import Job, Outcome
from nbpipe.executors import ahead, messages
from nbpipe.executors.client import CellClient
from nbpipe.executors.collect import Outputs
from nbpipe.executors.notebook import NotebookExecutor, Watch

# -- what may be sent ahead ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("implementation", "sources", "can"),
    [
        ("ipython", ["a = 1", "b = 2"], sys.platform == "linux"),
        ("ipython", ["a = 1"], False),
        ("IRkernel", ["a <- 1", "b <- 2"], False),
        ("xeus-python", ["a = 1", "b = 2"], False),
        ("ipython", ["import os", "os._exit(1)"], False),
        ("ipython", ["import os", "os.kill(os.getpid(), 9)"], False),
        ("ipython", ["import ctypes", "ctypes.string_at(0)"], False),
        ("ipython", ["skill = 1", "an_exit = 2"], sys.platform == "linux"),
    ],
)
def test_cells_go_ahead_to_ipykernel_unless_one_may_end_it_at_once(
    implementation: str, sources: list[str], can: bool
):
    """A single cell has none to wait for."""
    assert ahead.can_be_sent(implementation, sources) == can


# -- messages --------------------------------------------------------------------------------


def frames(session: Session, **content: Any) -> list[bytes]:
    """A message as it comes from a kernel."""
    message = session.msg("stream", content, parent=session.msg("execute_request"))
    return [b"topic", *session.serialize(message), b"buffer"]


def test_a_message_is_read_as_jupyter_client_reads_it():
    """But its dates stay text: making datetimes of them takes most of its time."""
    session = Session(key=b"k")
    sent = frames(session, text="ä", number=10**30)
    ours = messages.decode(session, sent)
    theirs = session.deserialize(session.feed_identities(sent)[1])
    assert ours["content"] == theirs["content"] == {"text": "ä", "number": 10**30}
    for part in ("msg_id", "msg_type", "metadata", "buffers"):
        assert ours[part] == theirs[part]
    for part in ("header", "parent_header"):
        assert ours[part] | {"date": ""} == theirs[part] | {"date": ""}
        assert ours[part]["date"] == theirs[part]["date"].isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("wrong", ["key", "content", "short", "no delimiter"])
def test_a_message_that_is_not_the_kernels_is_refused(wrong: str):
    """It is signed with another key, changed on its way, or not complete."""
    session = Session(key=b"k")
    sent = frames(session, text="a")
    if wrong == "key":
        session = Session(key=b"another")
    elif wrong == "content":
        sent[6] = b'{"text": "b"}'
    else:
        sent = sent[:4] if wrong == "short" else sent[2:]
    with pytest.raises(ValueError, match=r"a message with|not in list"):
        messages.decode(session, sent)


def test_the_kernels_clock_tells_how_long_a_cell_took():
    """And nothing where it does not tell the time."""
    first, last = ({"header": {"date": f"2026-01-02T03:04:0{n}.5Z"}} for n in (1, 3))
    assert messages.seconds_between(first, last) == 2.0
    assert messages.seconds_between(last, first) == 0.0
    assert messages.seconds_between(first, {"header": {}}) is None
    assert messages.seconds_between(first, {"header": {"date": "noon"}}) is None


def test_a_reply_is_seen_though_something_is_sent_just_when_it_comes(tmp_path: Path):
    """As when an Output widget answers: the send takes the signal that there is a reply."""

    async def main() -> dict[str, Any]:
        context, session = zmq.asyncio.Context(), Session(key=b"k")
        kernel, ours = (context.socket(kind) for kind in (zmq.PAIR, zmq.PAIR))
        publisher, subscriber = (context.socket(kind) for kind in (zmq.PAIR, zmq.PAIR))
        for name, bound, connected in (("s", kernel, ours), ("i", publisher, subscriber)):
            bound.bind(f"ipc://{tmp_path / name}")
            connected.connect(f"ipc://{tmp_path / name}")
        shell, iopub = (AsyncZMQSocketChannel(s, session) for s in (ours, subscriber))
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
        channels = SimpleNamespace(session=session, shell_channel=shell, iopub_channel=iopub)
        dead = asyncio.get_running_loop().create_future()
        client = CellClient(notebook, None, channels, dead, Path("kernel.halt"))
        client.comm_objects["widget"] = object()
        await client.begin(0)
        request = session.deserialize(session.feed_identities(await kernel.recv_multipart())[1])

        def answer(message: dict[str, Any]) -> None:
            session.send(kernel, "execute_reply", {"status": "ok"}, parent=request)
            time.sleep(0.05)  # until it has arrived, and nobody has looked
            shell.send(session.msg("comm_msg"))

        client.watch = answer
        finished = asyncio.ensure_future(client.finish())
        await asyncio.sleep(0)
        session.send(publisher, "stream", {"name": "stdout", "text": "a"}, parent=request)
        session.send(publisher, "status", {"execution_state": "idle"}, parent=request)
        async with asyncio.timeout(10):
            content = await finished
        await client.drain()
        context.destroy(linger=0)
        return content

    assert asyncio.run(main()) == {"status": "ok"}


# -- outputs ---------------------------------------------------------------------------------


def collected(*contents: tuple[str, dict[str, Any]]) -> Any:
    """A notebook of one cell that has got these messages."""
    cell = nbformat.v4.new_code_cell("1")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    outputs = Outputs(notebook, None, None)
    for kind, content in contents:
        header = {"msg_type": kind, "msg_id": "m"}
        outputs.collect(
            {"msg_type": kind, "header": header, "parent_header": {}, "content": content}, 0
        )
    outputs.settle()
    return notebook


RICH = {"text/plain": "a", "application/json": [1, {}], "application/x+json": None}
SHOWN: list[tuple[str, dict[str, Any]]] = [
    ("stream", {"name": "stdout", "text": "a"}),
    ("display_data", {"data": RICH, "metadata": {"a": {}}, "transient": {"display_id": "1"}}),
    ("execute_result", {"data": RICH, "metadata": {}, "execution_count": 3}),
    ("error", {"ename": "E", "evalue": "v", "traceback": ["a", "b"]}),
]


def test_outputs_are_what_nbformat_makes_of_the_messages():
    """Without its validation, which takes longer than most cells."""
    notebook = collected(*SHOWN)
    nbformat.validate(notebook)
    made = [
        nbformat.v4.output_from_msg({"header": {"msg_type": kind}, "content": content})
        for kind, content in SHOWN
    ]
    assert notebook.cells[0].outputs == made
    assert notebook.cells[0].outputs[1].data["application/json"] == [1, {}]


def test_a_display_is_updated_where_it_is_shown():
    """And no output is added."""
    update = {"data": {"text/plain": "b"}, "metadata": {}, "transient": {"display_id": "1"}}
    (output,) = collected(SHOWN[1], ("update_display_data", update)).cells[0].outputs
    assert output["data"] == {"text/plain": "b"}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("display_data", {"data": None, "metadata": {}}),
        ("display_data", {"metadata": {}}),
        ("execute_result", {"data": {}, "metadata": {}}),
        ("error", {"ename": "E"}),
        ("novelty", {}),
    ],
)
def test_a_malformed_output_is_left_out(kind: str, content: dict[str, Any]):
    """So is the malformed part of one; the notebook stays valid."""
    notebook = collected((kind, content), ("display_data", {"data": {"a/b": 1}, "metadata": {}}))
    nbformat.validate(notebook)
    assert [o["data"] for o in notebook.cells[0].outputs] == [{}]


# -- the same as one by one --------------------------------------------------------------------

Cell = str | tuple[str, str]
"""Its text, and a tag."""

OUTPUT_WIDGET = "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    print('inside')"
LEFT_TASK = """\
import asyncio
seen = []
async def later():
    for n in range(20):
        await asyncio.sleep(0)
        seen.append(n)
task = asyncio.create_task(later())"""
LEFT_THREAD = """\
import threading
go_on = threading.Event()
thread = threading.Thread(target=go_on.wait)
thread.start()"""
NESTED = """\
reply = await get_ipython().kernel.do_execute("1 / 0", False)
reply["status"]"""

NOTEBOOKS: dict[str, list[Cell]] = {
    "an error in the middle": ["print('a')", "a = 1\na / 0", "open('ran', 'w')", "2"],
    "a syntax error": ["1", "a = = 2", "open('ran', 'w')"],
    "an error that is expected": [("1 / 0", "raises-exception"), "2", "print('on')", "3"],
    "an exit that is expected": ["import sys", ("sys.exit(3)", "raises-exception"), "2"],
    "an interrupt that is expected": [("raise KeyboardInterrupt", "raises-exception"), "2"],
    "exit()": ["1", "print('a')\nexit()", "open('ran', 'w')", "2"],
    "exit() by another name": ["leave = quit", "leave()", "open('ran', 'w')"],
    "exit() and an error that is expected": [
        "1",
        ("exit()\n1 / 0", "raises-exception"),
        "open('ran', 'w')",
    ],
    "sys.exit()": ["1", "import sys; sys.exit('no')", "open('ran', 'w')"],
    "input()": ["1", "input('?')", "open('ran', 'w')"],
    "the process ends": ["import os", "print('a')", "getattr(os, '_' + 'exit')(3)", "2"],
    "a crash": [
        "print('a')",
        "from importlib import import_module",
        "import_module('c' 'types').string_at(0)",
        "2",
    ],
    "a task left in the event loop": [LEFT_TASK, "await task", "seen"],
    "an async cell": ["import asyncio", "await asyncio.sleep(0.01)\nprint('a')", "print('b')"],
    "a thread left over": [LEFT_THREAD, "go_on.set(); thread.join()", "2"],
    "an Output widget": [OUTPUT_WIDGET, "out.outputs", "out.clear_output()", "out.outputs", "2"],
    "a widget closed": [
        "import ipywidgets\ns = ipywidgets.IntSlider()\ns",
        "s.close()",
        "print('a')",
        "2",
    ],
    "subprocesses": [
        "import os, subprocess",
        "os.system('echo a')",
        "_ = subprocess.run(['echo', 'b'])",
        "!echo c",
        "%%bash\necho d\necho e >&2",
        "_ = os.write(1, b'f')",
        "print('g')",
    ],
    "displays across cells": [
        "from IPython.display import clear_output, display\nh = display('a', display_id='x')",
        "h.update('b')",
        "display('c', display_id='x')",
        "h.update('d')\nclear_output(wait=True)",
        "print('e')\nclear_output(wait=True)\nprint('f')",
        "clear_output()",
    ],
    "both streams": [
        "import sys\nfor n in range(50):\n    print(n, file=(sys.stdout, sys.stderr)[n % 2])",
        "sys.stderr.write('x' * 5000)",
        "print('end', end='')",
    ],
    "magics": [
        "%%capture held\nprint('a')",
        "held.stdout",
        "%%writefile m.py\nn = 3",
        "%run m.py",
        "n",
        "from m import n\nIn[-2], Out, _",
        "%who_ls int",
        "%%html\n<b>a</b>",
    ],
    "the kernel runs code inside": ["1", (NESTED, "raises-exception"), "2", "3"],
    "sys.stdout replaced": [
        "import io, sys",
        "kept, sys.stdout = sys.stdout, io.StringIO()",
        "print('not seen')\n2",
        "sys.stdout = kept\nprint('a')",
    ],
    "an event loop of an interface": ["get_ipython().kernel.eventloop", "%gui", "1", "2"],
    "text of all kinds": ["'\\ud800'", "print('ä\\0\\x1b[1mb')", "10**30", "float('nan')"],
    "hardly any code": ["# nothing", "1;", "  ", "\n\nprint('a')", "pass"],
}


def notebook_of(cells: Sequence[Cell]) -> dict[str, Any]:
    """A notebook of code cells that have an output of an earlier run."""
    made = []
    for n, cell in enumerate(cells):
        source, *tags = (cell,) if isinstance(cell, str) else cell
        old = [{"output_type": "stream", "name": "stdout", "text": "old"}]
        made.append(
            {
                "cell_type": "code",
                "id": f"cell-{n}",
                "source": source,
                "metadata": {"tags": tags} if tags else {},
                "outputs": old,
                "execution_count": 77,
            }
        )
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def job_of(folder: Path, cells: Sequence[Cell], **changes: Any) -> Job:
    """A job with a folder of its own."""
    (folder / "run").mkdir(parents=True)
    values: dict[str, Any] = {
        "task": "fit",
        "kind": "notebook",
        "source": "fit.py",
        "root": str(folder),
        "folder": str(folder / "run"),
        "stem": "fit",
        "notebook": notebook_of(cells),
        "lines": tuple(range(1, len(cells) + 1)),
        "kernel": "python3",
    }
    return Job(**(values | changes))


def run(jobs: Sequence[Job], watch: Watch | None = None) -> list[tuple[Outcome, list[Event]]]:
    """Run jobs, two at once; their outcomes and events."""

    async def main() -> list[tuple[Outcome, list[Event]]]:
        executor, places = NotebookExecutor(watch=watch), asyncio.Semaphore(2)

        async def one(job: Job) -> tuple[Outcome, list[Event]]:
            events: list[Event] = []
            async with places:
                return await executor.run(job, events.append), events

        try:
            return await asyncio.gather(*map(one, jobs))
        finally:
            await executor.close()

    with pytest.MonkeyPatch.context() as patch:
        # ipykernel does not capture what compiled code prints when it sees pytest's variable.
        patch.delenv("PYTEST_CURRENT_TEST", raising=False)
        return asyncio.run(main())


def run_one_by_one(jobs: Sequence[Job]) -> list[tuple[Outcome, list[Event]]]:
    """Run jobs whose cells wait here until the one before has ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "can_be_sent", lambda *_: False)
        return run(jobs)


def told(job: Job, outcome: Outcome, events: list[Event]) -> dict[str, Any]:
    """All that is left of a run and does not tell the time, the process or the folder."""
    notebook = json.loads((Path(job.folder) / "fit.ipynb").read_text())
    notebook["metadata"].pop("nbpipe")
    for cell in notebook["cells"]:
        cell["outputs"] = joined(cell["outputs"])
    if outcome.failure is not None and outcome.failure.error == "KernelDied":
        # Whether the last that it said has left the process is chance.
        notebook["cells"][(outcome.failure.cell or 1) - 1].pop("execution_count")
    for widgets in notebook["metadata"].get("widgets", {}).values():  # sorted by their ids
        models = map(without_chance, map(json.dumps, widgets["state"].values()))
        widgets["state"] = sorted(models)
    seen = {
        "notebook": notebook,
        "failure": msgspec.to_builtins(outcome.failure),
        "versions": outcome.versions,
        "events": [
            (type(e).__name__, e.index, e.total)
            for e in events
            if isinstance(e, CellStarted | CellFinished)
        ],
        "files": sorted(p.name for p in Path(job.root).iterdir()),
    }
    return dict(json.loads(without_chance(json.dumps(seen).replace(job.root, "ROOT"))))


def joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With one stream of each name, at the end: their order is that of ipykernel's threads."""
    texts: dict[str, str] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            texts[output["name"]] = texts.get(output["name"], "") + "".join(output["text"])
    others = [o for o in outputs if o["output_type"] != "stream"]
    return [*others, *({"name": n, "text": texts[n]} for n in sorted(texts))]


def without_chance(text: str) -> str:
    """Without what differs between any two runs: ids, addresses, process numbers."""
    text = re.sub(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4,12}){4}(_\d+){0,3}", "ID", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x0", text)
    # A crash report lists all frames; one is that of the method before the kernel's own.
    text = re.sub(r' *File \\"<nbpipe>\\", line \d+ in \w+\\n', "", text)
    return re.sub(r"ipykernel_\d+", "ipykernel_0", text)


@pytest.mark.kernel
@pytest.mark.process
def test_what_is_sent_ahead_ends_as_if_sent_one_by_one(tmp_path: Path):
    """Notebook, failure, events and files, for all that cells may do to those below."""
    both = []
    for name, go in (("ahead", run), ("alone", run_one_by_one)):
        jobs = [
            job_of(tmp_path / name / str(n), cells) for n, cells in enumerate(NOTEBOOKS.values())
        ]
        both.append([told(job, *done) for job, done in zip(jobs, go(jobs), strict=True)])
    for name, sent_ahead, alone in zip(NOTEBOOKS, *both, strict=True):
        assert sent_ahead == alone, name


CELLS: list[Cell] = [
    "print(len(In))",
    "import sys; print('a', end=''); print('b', file=sys.stderr); print('c')",
    "display('shown', display_id='d', metadata={'a': 1})",
    "display({'text/html': '<b>1</b>', 'text/plain': '1'}, raw=True)",
    "from IPython.display import update_display; update_display('new', display_id='d')",
    "from IPython.display import clear_output; print('gone'); clear_output(wait=True); print('s')",
    "from IPython.display import clear_output; print('stays'); clear_output(wait=True)",
    ("undefined_name", "raises-exception"),
    ("raise ValueError('x')", "raises-exception"),
    "import asyncio; await asyncio.sleep(0)",
    "async def f():\n    return 2\nawait f()",
    "import os; _ = os.system('echo from a subprocess')",
    "%%capture\nprint('hidden')",
    "_",
    "x = globals().get('x', 0) + 1; x",
    "import ipywidgets; w = ipywidgets.Output(); w.append_stdout('t')",
    "with globals().get('w', __import__('contextlib').nullcontext()):\n    print('in w')",
    "getattr(globals().get('w'), 'outputs', None)",
    "undefined_name",
    "exit()",
]


@pytest.mark.kernel
@pytest.mark.process
@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(cells=st.lists(st.sampled_from(CELLS), min_size=4, max_size=25))
def test_any_notebook_ends_as_if_sent_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, cells: list[Cell]
):
    """Generated ones, of all kinds of outputs and ends."""
    folder = tmp_path_factory.mktemp("both")
    jobs = [job_of(folder / name, cells) for name in ("ahead", "alone")]
    (sent_ahead,), (alone,) = run(jobs[:1]), run_one_by_one(jobs[1:])
    assert told(jobs[0], *sent_ahead) == told(jobs[1], *alone)


# -- ahead -----------------------------------------------------------------------------------


linux = pytest.mark.skipif(sys.platform != "linux", reason="cells are sent ahead on Linux only")


def blocking_until(path: Path, seconds: float) -> Iterator[bool]:
    """Block this thread, and with it the event loop, once, until a file is there; whether it is."""
    end = time.monotonic() + seconds
    while not (is_there := path.exists()) and time.monotonic() < end:
        time.sleep(0.01)
    while True:
        yield is_there


@linux
@pytest.mark.kernel
@pytest.mark.process
def test_the_kernel_does_not_wait_for_the_builder(tmp_path: Path):
    """Which blocks at the first output until the last cell has run; the kernel's clock counts."""
    cells = ["print('a')", "import time\ntime.sleep(0.3)", "1", "open('last', 'w').close()"]
    blocked, seen = blocking_until(tmp_path / "last", 20), list[bool]()
    ((outcome, events),) = run(
        [job_of(tmp_path, cells)], watch=lambda *_: seen.append(next(blocked))
    )
    assert outcome.failure is None
    assert all(seen), "the kernel waited for us"
    finished = [e for e in events if isinstance(e, CellFinished)]
    assert [e.index for e in finished] == [1, 2, 3, 4]
    assert finished[1].seconds >= 0.3
    assert [e.line for e in events if isinstance(e, CellStarted)] == [1, 2, 3, 4]


@pytest.mark.kernel
@pytest.mark.process
@pytest.mark.parametrize(
    "cell",
    [
        "import asyncio; task = asyncio.create_task(asyncio.sleep(60))",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import ipywidgets; slider = ipywidgets.IntSlider()",
        "import os; _ = os.write(1, b'a')",
    ],
    ids=["task", "thread", "widget", "descriptor"],
)
def test_the_kernel_waits_for_the_builder_where_a_cell_has_left_something(
    tmp_path: Path, cell: str
):
    """A task, a thread or a widget; or the output of compiled code, which ipykernel must read."""
    cells = [cell, "open('next', 'w').close()", "2"]
    blocked, seen = blocking_until(tmp_path / "next", 0.5), list[bool]()
    ((outcome, _),) = run([job_of(tmp_path, cells)], watch=lambda *_: seen.append(next(blocked)))
    assert outcome.failure is None
    assert seen[0] is False
    assert (tmp_path / "next").exists()


@linux
@pytest.mark.kernel
@pytest.mark.process
def test_after_its_timeout_no_other_cell_starts(tmp_path: Path):
    """Even if the cell that is interrupted ends well."""
    wait = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('caught')"
    cells = ["1", wait, "open('ran', 'w').close()"]
    ((outcome, _),) = run([job_of(tmp_path, cells, timeout=3.0)])
    assert outcome.failure is not None
    assert (outcome.failure.error, outcome.failure.cell) == ("Timeout", 2)
    assert not (tmp_path / "ran").exists()
