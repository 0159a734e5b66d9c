"""Forked kernels at the end of a line: what goes when, that nothing is lost, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import itertools
import os
import signal
import sys
import threading

import pytest

from nbpipe.executors import processes
from nbpipe.kernels import builders_end, line, wire
from nbpipe.kernels.builders_end import AT_ONCE, LinkedKernel
from nbpipe.kernels.process import ForkedProcess
from nbpipe.kernels.publishing import MOST_HELD, STEPS, Publisher, Reader
from nbpipe.kernels.trunk import Start
from tests.faults.rig import lives, pids_in
from tests.kernel_rig import Rig, make_job, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")

# -- what a kernel publishes, and when it goes -----------------------------------------------

STATUS, INPUT = (line.OUTPUT, b"kernel.1.status"), (line.OUTPUT, b"kernel.1.execute_input")
STREAM, DISPLAY = (line.OUTPUT, b"kernel.1.stream.stdout"), (line.OUTPUT, b"kernel.1.display_data")
REPLY, CHILDREN = (line.REPLY, b"client"), (line.CHILDREN, b"")


class Steps:
    """Stands for an event loop that takes a step when it is told to."""

    def __init__(self):
        self._soon = []

    def call_soon(self, callback, *args):
        self._soon.append((callback, args))

    def step(self):
        soon, self._soon = self._soon, []
        for callback, args in soon:
            callback(*args)


class Kernel:
    """A kernel as far as it publishes, and the builder that hears it."""

    def __init__(self):
        self._ours, theirs = line.pair()
        self._assembler = line.Assembler()
        self.publisher = Publisher(theirs, None)
        self.loop = Steps()

    def say(self, *messages):
        for channel, topic in messages:
            self.publisher.post(channel, [topic])

    def heard(self):
        """What has arrived since the last look."""
        found = line.receive(self._ours, self._assembler)
        return [(channel, frames[0]) for channel, frames in found]

    def close(self):
        self.publisher.stop()
        with contextlib.suppress(OSError):
            self.publisher.socket.close()
        self._ours.close()


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
def between(kernel):
    """A kernel between the code of two cells."""
    kernel.publisher.begin_to_wait(kernel.loop)
    return kernel


@pytest.mark.parametrize("message", [STATUS, INPUT, STREAM, DISPLAY, REPLY, CHILDREN])
@pytest.mark.parametrize("when", ["before it listens", "while code runs", "after it listens"])
def test_each_message_is_on_the_line_when_the_call_returns(kernel, when, message):
    """The code may end the process."""
    if when != "before it listens":
        kernel.publisher.begin_to_wait(kernel.loop)
    if when == "while code runs":
        kernel.publisher.code_begins()
    if when == "after it listens":
        kernel.publisher.end_to_wait()
    kernel.say(message)
    assert kernel.heard() == [message]


CELL_BEGINS = [STATUS, INPUT]
CELL_ENDS = [STREAM, REPLY, STATUS]
"""What the streams still hold, the reply, and that the kernel is idle."""


def test_what_is_said_between_two_cells_goes_when_the_code_of_the_next_begins(between):
    between.publisher.code_begins()
    between.publisher.code_ended()
    between.say(*CELL_ENDS, *CELL_BEGINS)
    assert between.heard() == []
    between.publisher.code_begins()
    assert between.heard() == [*CELL_ENDS, *CELL_BEGINS]


def test_what_is_said_between_two_cells_goes_after_some_steps_of_the_loop(between):
    between.say(REPLY)
    between.loop.step()
    between.say(STATUS)
    for _ in range(STEPS - 2):
        between.loop.step()
    assert between.heard() == []
    between.loop.step()
    assert between.heard() == [REPLY, STATUS]


def test_steps_are_counted_anew_for_what_comes_later(between):
    for message in (REPLY, STATUS):
        between.say(message)
        for _ in range(STEPS):
            assert between.heard() == []
            between.loop.step()
        assert between.heard() == [message]


@pytest.mark.parametrize("other", [DISPLAY, STREAM, CHILDREN])
def test_whatever_else_is_said_takes_along_what_was_held(between, other):
    """A stream too, once the kernel was said to be idle: it is of no cell's end."""
    between.publisher.code_begins()
    between.publisher.code_ended()
    between.say(REPLY, STATUS, other)
    assert between.heard() == [REPLY, STATUS, other]


def test_what_another_thread_says_takes_along_what_was_held(between):
    between.say(REPLY)
    thread = threading.Thread(target=between.say, args=(STATUS,))
    thread.start()
    thread.join()
    assert between.heard() == [REPLY, STATUS]


def test_nothing_that_is_held_is_lost_at_the_end(between):
    between.say(REPLY, STATUS)
    between.publisher.end_to_wait()
    assert between.heard() == [REPLY, STATUS]
    for _ in range(STEPS):
        between.loop.step()
    assert between.heard() == []


def test_what_a_stream_holds_at_its_end_has_a_bound(between):
    between.publisher.code_ended()
    between.say(*[STREAM] * (MOST_HELD - 1))
    assert between.heard() == []
    between.say(STREAM)
    assert between.heard() == [STREAM] * MOST_HELD


def test_after_it_is_closed_nothing_is_said(kernel):
    sock = kernel.publisher.socket
    kernel.publisher.close()
    kernel.say(DISPLAY)
    assert kernel.heard() == []
    kernel.publisher.socket = sock


@pytest.mark.process
def test_a_child_that_a_cell_forks_does_not_say_again_what_its_parent_holds(between):
    between.say(REPLY)
    pid = os.fork()
    if pid == 0:
        between.say(STATUS)
        os._exit(0)
    os.waitpid(pid, 0)
    assert between.heard() == [STATUS]
    between.publisher.end_to_wait()
    assert between.heard() == [REPLY]


@pytest.mark.process
def test_a_kernel_whose_line_a_cell_has_closed_ends(kernel):
    """Nobody would hear of it any more."""
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.close(kernel.publisher.socket.fileno())
        kernel.say(DISPLAY)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGABRT


# -- the thread ------------------------------------------------------------------------------


@pytest.fixture
def watch(kernel):
    has_begun = threading.Event()
    kernel.publisher.start()
    kernel.publisher.watch.add_callback(has_begun.set)
    assert has_begun.wait(10)
    return kernel.publisher.watch


def noted(watch):
    """A list, and a function that notes words in it and tells when there are as many as wanted."""
    words, enough = [], threading.Event()

    def note(word, of=1):
        words.append(word)
        if len(words) == of:
            enough.set()

    return words, note, enough


def test_calls_come_in_the_order_of_their_time_and_then_as_they_were_asked_for(watch):
    words, note, enough = noted(watch)
    with watch._publisher._lock:  # none is made before all are asked for
        for word, delay in [("late", 0.02), ("soon", 0.01), ("now", 0), ("now, too", 0)]:
            watch.call_later(delay, note, word, 4)
    assert enough.wait(10)
    assert words == ["now", "now, too", "soon", "late"]


def test_a_call_that_another_thread_asks_for_wakes_it(watch):
    """It sleeps until the next is due, which is never, or in an hour."""
    words, note, enough = noted(watch)
    watch.call_later(3600, note, "in an hour")
    threading.Thread(target=watch.add_callback, args=(note, "woken")).start()
    assert enough.wait(10)
    assert words == ["woken"]


def test_a_call_that_raises_does_not_end_it(watch, caplog):
    """As in the loop that ipykernel has there."""
    _, note, enough = noted(watch)
    watch.add_callback(lambda: 1 / 0)
    watch.add_callback(note, "next")
    assert enough.wait(10)
    assert "ZeroDivisionError" in caplog.text


def test_two_calls_are_never_made_at_once_nor_beside_a_message(kernel, watch):
    """So nothing is overtaken."""
    _, note, enough = noted(watch)
    with kernel.publisher._lock:
        watch.add_callback(note, "waits")
        assert not enough.wait(0.02)
    assert enough.wait(10)


@pytest.mark.parametrize("where", ["another thread", "its own"])
def test_stop_ends_it_and_drops_what_is_not_due(watch, where):
    words, note, _ = noted(watch)
    watch.call_later(3600, note, "in an hour")
    if where == "its own":
        watch.add_callback(watch.stop)
    else:
        watch.stop()
    watch.thread.join(10)
    assert not watch.thread.is_alive()
    assert words == []


# -- what is written to the descriptors ------------------------------------------------------


class Stream:
    """One of ipykernel's, as far as a reader has to do with it."""

    def __init__(self):
        self._fid, self.writing = os.pipe()
        self.copied, self._original_stdstream_copy = os.pipe()
        self._should_watch, self._exc = True, None
        self.said = []
        self.counts = []

    def write(self, text):
        self.said.append(text)
        self.counts.append(self.reader.count)


@pytest.fixture
def stream():
    stream = Stream()
    stream.reader = Reader(stream, threading.current_thread())
    yield stream
    for fd in (stream._fid, stream.writing, stream.copied, stream._original_stdstream_copy):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_what_is_written_to_the_descriptor_is_published_and_goes_where_it_went(stream):
    os.write(stream.writing, "caf\xe9\n".encode())
    assert stream.reader.read()
    assert stream.said == ["caf\xe9\n"]
    assert os.read(stream.copied, 100) == "caf\xe9\n".encode()


def test_bytes_that_are_no_text_are_published_as_well_as_they_can_be(stream):
    os.write(stream.writing, b"\xff!")
    assert stream.reader.read()
    assert stream.said == ["\N{REPLACEMENT CHARACTER}!"]


def test_a_reader_counts_before_what_it_has_read_is_published(stream):
    """Whoever sees nothing unread and the same count as before knows that nothing was written."""
    for _ in range(2):
        os.write(stream.writing, b"x")
        stream.reader.read()
    assert stream.counts == [1, 2]


@pytest.mark.parametrize("end", ["closed", "no longer watched", "broken"])
def test_whoever_waits_for_a_reader_goes_on_when_its_stream_has_ended(stream, end):
    assert stream.reader.is_alive()
    if end == "closed":
        os.close(stream.writing)
    elif end == "no longer watched":
        stream._should_watch = False
        os.write(stream.writing, b"\0")
    else:
        os.close(stream._fid)
    assert stream.reader.read() is False
    stream.reader.join()
    assert not stream.reader.is_alive()
    assert (stream._exc is not None) == (end == "broken")
    assert stream.said == []


# -- the builder's end -----------------------------------------------------------------------


class Far:
    """The kernel's end, and the warm process, of a kernel that a builder hears.

    Attributes:
        heard: what the builder has taken.
    """

    def __init__(self):
        ours, self.line = line.pair()
        theirs, self._warm = wire.pair()
        self.packer = line.Packer()
        self.heard = []
        self.near = LinkedKernel(ForkedProcess(theirs), ours, Start("fork"))
        self.near.listen(*(self._taker(name) for name in ("output", "reply", "children")))

    def _taker(self, name):
        return lambda frames: self.take(name, frames)

    def take(self, name, frames):
        self.heard.append((name, *frames))

    def say(self, channel, *frames):
        line.send_all(self.line, self.packer.packets(channel, frames))

    def end(self, code=0, left=False):
        wire.send(self._warm, {"code": code, "left": left})

    def close(self):
        self.near.close()
        self.near.close()
        self.line.close()
        self._warm.close()


def with_far(work):
    """Run a coroutine function on the two ends of a line; it may take ten seconds."""

    async def main():
        far = Far()
        try:
            async with asyncio.timeout(10):
                return await work(far)
        finally:
            far.close()

    return asyncio.run(main())


@pytest.mark.parametrize("closes", [False, True])
def test_an_end_is_told_when_all_that_was_sent_before_is_taken(closes):
    """However much it is, and whether or not a process that is left has the line open."""
    said = [(b"%d" % n,) for n in range(3 * AT_ONCE)]

    async def work(far):
        for frames in said:
            far.say(line.OUTPUT, *frames)
        far.say(line.REPLY, b"x" * 3 * line.PART)
        if closes:
            far.line.close()
        far.end(code=3, left=True)
        assert far.heard == [], "before anybody waits"
        return await far.near.ended(), far.near.left, far.heard

    code, left, heard = with_far(work)
    assert (code, left) == (3, True)
    assert heard == [("output", *f) for f in said] + [("reply", b"x" * 3 * line.PART)]


def test_a_line_that_is_full_is_read_to_its_last_message():
    """However long that takes: those who get their turn in between may hold it up."""

    async def work(far):
        far.line.setblocking(False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                (packet,) = far.packer.packets(line.OUTPUT, [])
                far.line.send(packet)
                count += 1
        far.end()
        await far.near.ended()
        return count, len(far.heard)

    count, heard = with_far(work)
    assert 2 * AT_ONCE < count < builders_end.LAST_PACKETS
    assert heard == count


def test_a_process_that_is_left_and_goes_on_to_publish_does_not_keep_the_end_from_being_told(
    monkeypatch,
):
    monkeypatch.setattr(builders_end, "LAST_PACKETS", 3 * AT_ONCE)

    async def work(far):
        far.take = lambda name, frames: far.say(line.OUTPUT, b"more")
        far.say(line.OUTPUT, b"first")
        far.end()
        return await far.near.ended()

    assert with_far(work) == 0


def test_messages_are_taken_as_they_come():
    async def work(far):
        for n, channel in enumerate([line.OUTPUT, line.REPLY, line.CHILDREN]):
            far.say(channel, *[b"x"] * n)
            while len(far.heard) == n:
                await asyncio.sleep(0)
        return far.heard

    assert with_far(work) == [("output",), ("reply", b"x"), ("children", b"x", b"x")]


def test_however_much_comes_others_get_their_turn():
    turns = []

    async def work(far):
        for _ in range(4 * AT_ONCE):
            far.say(line.OUTPUT)
        while len(far.heard) < 4 * AT_ONCE:
            turns.append(len(far.heard))
            await asyncio.sleep(0)

    with_far(work)
    assert max(b - a for a, b in itertools.pairwise(turns)) <= AT_ONCE
    assert len(turns) > 3


def test_sending_waits_for_room_without_holding_anybody_up():
    long = os.urandom(1 << 20) * 8

    async def work(far):
        far.near.send("batch", [b"code", long])
        far.near.send("quit")
        found, assembler = [], line.Assembler()
        while len(found) < 2:
            found += line.receive(far.line, assembler)
            await asyncio.sleep(0)
        return found

    assert with_far(work) == [
        line.Message(line.BATCH, [b"code", long]),
        line.Message(line.QUIT, []),
    ]


def test_what_is_sent_to_a_kernel_that_has_ended_is_dropped():
    async def work(far):
        far.near.send("batch", [bytes(8 << 20)])
        far.line.close()
        await asyncio.sleep(0)
        far.near.send("quit")
        far.end(code=-9)
        return await far.near.ended()

    assert with_far(work) == -9


# -- real kernels ----------------------------------------------------------------------------

HOW = "ip = get_ipython()\nprint('how:', type(ip.kernel.shell_stream).__name__)"
"""Shows zmq's socket, or that there is none; without asking for it by name."""

LINKED, WITH_ZMQ = "how: NoneType\n", "how: ZMQStream\n"


def outputs(ran):
    """Of each cell, its outputs as texts."""
    return [[text(out) for out in cell.get("outputs", ())] for cell in ran.notebook.cells]


def text(out):
    return out["text"] if out.output_type == "stream" else out.get("data", {}).get("text/plain")


ENDS = {"os._exit": "os._exit(3)", "SIGKILL": "os.kill(os.getpid(), 9)"}


@pytest.mark.kernel
@pytest.mark.parametrize("end", ENDS)
def test_all_that_was_said_is_in_the_notebook_however_a_cell_ends_the_process(tmp_path, end):
    """Of the cells before it too, which were sent together."""
    last = f"import os\nprint('printed', flush=True)\ndisplay('shown')\n{ENDS[end]}"
    (ran,) = run(tmp_path, [HOW, "print('before')\n'value'", "display('b')", last, "1"])
    assert ran.failure.error == "KernelDied"
    assert "cell 4" in ran.failure.message
    assert outputs(ran) == [
        [LINKED],
        ["before\n", "'value'"],
        ["'b'"],
        ["printed\n", "'shown'"],
        [],
    ]


@pytest.mark.kernel
def test_outputs_of_many_megabytes_arrive_whole_or_bounded(tmp_path):
    show = "display({'text/html': 'x' * 8_000_000, 'text/plain': 'html'}, raw=True)"
    (ran,) = run(tmp_path, [HOW, show, "for n in range(20):\n    print(f'{n:02}' * 500_000)"])
    assert ran.failure is None
    (how, (_,), (printed,)) = outputs(ran)
    assert how == [LINKED]
    assert ran.notebook.cells[1].outputs[0].data["text/html"] == "x" * 8_000_000
    assert printed.startswith("00" * 500_000 + "\n01")
    assert printed.endswith("19\n")
    assert 5_000_000 <= len(printed) < 5_001_000


ASKS = {
    "by the kernel's name": ["type(get_ipython().kernel.shell_stream).__name__"],
    "zmq": ["import zmq", HOW],
    "ipykernel": ["from ipykernel.comm import Comm", HOW],
}


@pytest.mark.kernel
def test_a_notebook_that_asks_for_the_kernels_sockets_gets_them(tmp_path):
    """It is forked all the same, beside others that have a line."""
    first, *asking = run(tmp_path, [HOW], *ASKS.values())
    assert first.text == LINKED
    for ran in asking:
        assert "ZMQStream" in ran.text
        assert ran.failure is None
    assert [ran.started.start for ran in (first, *asking)] == ["fork"] * (1 + len(ASKS))


CONFIG = """
from ipykernel.ipkernel import IPythonKernel
class Own(IPythonKernel):
    pass
c.IPKernelApp.kernel_class = Own
"""


@pytest.mark.kernel
def test_a_kernel_of_another_class_gets_zmqs_sockets(tmp_path, monkeypatch):
    """What that does with them is not known."""
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_kernel_config.py").write_text(CONFIG)
    monkeypatch.setenv("IPYTHONDIR", str(profile.parent))
    (ran,) = run(tmp_path, [HOW, "type(ip.kernel).__name__"])
    assert outputs(ran) == [[WITH_ZMQ], ["'Own'"]]
    assert ran.started.start == "fork"


PROCESSES = """
import multiprocessing
context = multiprocessing.get_context("fork")
for name in ("first", "second"):
    child = context.Process(target=print, args=(name,))
    child.start()
    child.join()
print("parent", child.exitcode)
"""


@pytest.mark.kernel
def test_what_children_print_is_in_the_notebook(tmp_path):
    (ran,) = run(tmp_path, [HOW, PROCESSES])
    assert ran.failure is None
    assert outputs(ran)[0] == [LINKED]
    assert sorted("".join(outputs(ran)[1]).split()) == ["0", "first", "parent", "second"]


BESIDE = """
import threading, time
from pathlib import Path

def prints():
    print("while it runs")
    while not Path("over").exists():
        time.sleep(0.01)
    print("after it")

thread = threading.Thread(target=prints, daemon=True)
thread.start()
while not Path("seen").exists():
    time.sleep(0.01)
"""
"""Ends when the builder has seen what the thread prints, and nobody flushes."""


@pytest.mark.kernel
def test_what_a_daemon_thread_prints_arrives_while_a_cell_runs_and_after_it(tmp_path):
    def see(task, message):
        if "while it runs" in str(message["content"].get("text")):
            (tmp_path / "seen").touch()

    async def main():
        async with Rig(tmp_path) as rig:
            rig.executor._watch = see
            cells = [HOW, BESIDE, "Path('over').touch()\nthread.join()"]
            async with asyncio.timeout(60):
                return await rig.run(make_job(tmp_path, cells))

    ran = asyncio.run(main())
    assert ran.failure is None
    assert ran.text == LINKED + "while it runs\nafter it\n"


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_a_cell_closes_does_not_hang_the_kernel(tmp_path, name):
    (ran,) = run(tmp_path, [HOW, f"import sys\nsys.{name}.close()", "2 + 2", "display('shown')"])
    assert outputs(ran)[0] == [LINKED]
    assert ran.failure is None
    assert outputs(ran)[2:] == [["4"], ["'shown'"]]


ORPHAN = """
import os, subprocess, sys, time
from pathlib import Path
name = os.environ["NBPIPE_TASK"]
code = '''
import os, sys, time
if os.fork():
    os._exit(0)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(300)
'''
subprocess.Popen([sys.executable, "-c", code, name]).wait()
while not Path(name).exists() or not Path(name).read_text():
    time.sleep(0.01)
"""
"""Leaves a process that has lost its parent, in the session of the kernel."""


@pytest.mark.kernel
def test_what_has_lost_its_parent_ends_with_its_own_kernel_and_not_with_another(tmp_path):
    waits = "Path('waits').touch()\nwhile not Path('go').exists():\n    time.sleep(0.01)"

    def orphan(name):
        return pids_in(tmp_path / name)[0]

    async def main():
        async with Rig(tmp_path) as rig, asyncio.timeout(60):
            other = asyncio.ensure_future(rig.run(make_job(tmp_path, [ORPHAN, waits], "other")))
            while not (tmp_path / "waits").exists():
                await asyncio.sleep(0.01)
            for name, cells in [("one", [HOW, ORPHAN]), ("alone", [HOW])]:
                ran = await rig.run(make_job(tmp_path, cells, name))
                assert ran.failure is None
                assert ran.text == LINKED
            assert (lives(orphan("one")), lives(orphan("other"))) == (False, True)
            (tmp_path / "go").touch()
            assert (await other).failure is None
            assert not lives(orphan("other"))

    try:
        asyncio.run(main())
    finally:
        for path in (tmp_path / "one", tmp_path / "other"):
            for pid in pids_in(path):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


CHILDREN_OF = {
    "none": (["1"], False),
    "one that it has waited for": (["import subprocess\nsubprocess.run(['true'])"], False),
    "one that runs": (["import subprocess\nc = subprocess.Popen(['sleep', '300'])"], True),
    "one that it dies beside": (
        ["import os, subprocess\nc = subprocess.Popen(['sleep', '300'])\nos._exit(0)"],
        True,
    ),
}


@pytest.mark.kernel
@pytest.mark.parametrize("children", CHILDREN_OF)
def test_the_processes_are_searched_only_for_a_kernel_that_may_have_left_some(
    tmp_path, monkeypatch, children
):
    cells, is_searched = CHILDREN_OF[children]
    searched, tree = [], processes.tree

    def count(pid):
        searched.append(pid)
        return tree(pid)

    monkeypatch.setattr(processes, "tree", count)
    (ran,) = run(tmp_path, [HOW, *cells])
    assert outputs(ran)[0] == [LINKED]
    assert bool(searched) == is_searched
