"""The line between builder and forked kernel: what is sent arrives, whole, once and in order."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpipe.kernels import line
from nbpipe.kernels.line import Assembler, Message, Packer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")


@pytest.fixture
def ends():
    """The builder's end and the kernel's."""
    ours, theirs = line.pair()
    with ours, theirs:
        yield ours, theirs


def taken(packets, assembler=None):
    """The messages that packets come to."""
    assembler = assembler or Assembler()
    return [m for m in map(assembler.take, packets) if m is not None]


# -- packets ---------------------------------------------------------------------------------

frames = st.lists(st.binary(max_size=200), max_size=6)


@given(st.lists(st.tuples(st.sampled_from([b"o", b"r", b"c"]), frames), max_size=5))
def test_any_messages_come_out_as_they_went_in(messages):
    packer = Packer()
    packets = [p for channel, frames in messages for p in packer.packets(channel, frames)]
    assert taken(packets) == [Message(*message) for message in messages]


LONG = bytes(range(256)) * 1024
"""Four packets, or five with what comes before it."""


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ([], []),
        ([b""], [b""]),
        ([b"", b"", b"x", b""], [b"", b"", b"x", b""]),
        ([memoryview(b"abc")[1:], bytearray(b"d")], [b"bc", b"d"]),
        ([memoryview(b"\1\0\0\0\2\0\0\0").cast("i")], [b"\1\0\0\0\2\0\0\0"]),
        ([b"head", LONG, b"", LONG], [b"head", LONG, b"", LONG]),
    ],
    ids=["none", "empty", "empty ones", "views", "a view of numbers", "long ones"],
)
def test_frames_are_anything_that_has_a_buffer(sent, arrives):
    assert taken(Packer().packets(b"o", sent)) == [Message(b"o", arrives)]


@given(st.integers(-2, 2), st.integers(1, 3))
def test_a_message_that_just_fits_its_packets_is_whole(more, parts):
    head = 4 + 8  # how many frames, and the size of the only one
    frame = b"x" * (parts * line.PART - head + more)
    packets = list(Packer().packets(b"o", [frame]))
    assert len(packets) == parts + (more > 0)
    assert taken(packets) == [Message(b"o", [frame])]


def test_a_packet_has_a_bound():
    sizes = [len(packet) for packet in Packer().packets(b"o", [LONG])]
    assert max(sizes) < line.PART + 100
    assert len(sizes) > 1


def alternating(*many):
    """The first of each, the second of each, and so on."""
    rounds = itertools.zip_longest(*many)
    return [packet for one in rounds for packet in one if packet is not None]


def test_packets_of_several_senders_may_alternate():
    """Their numbers are the same ones."""
    found = taken(alternating(*(Packer().packets(c, [c, LONG, c]) for c in (b"o", b"r", b"c"))))
    assert found == [Message(c, [c, LONG, c]) for c in (b"o", b"r", b"c")]


def test_packets_of_two_messages_of_one_sender_may_alternate():
    """As of two threads."""
    packer = Packer()
    first, second = packer.packets(b"o", [LONG, b"1"]), packer.packets(b"o", [b"2"])
    assert taken(alternating(first, second)) == [
        Message(b"o", [b"2"]),
        Message(b"o", [LONG, b"1"]),
    ]


@given(st.data())
def test_a_packet_that_comes_again_counts_once(data):
    """At once, or after others: a signal's handler may have broken into its sending."""
    packer = Packer()
    messages = [[b"1"], [b"2", LONG], [b"3"]]
    packets = [p for frames in messages for p in packer.packets(b"o", frames)]
    times = data.draw(st.lists(st.integers(1, 3), min_size=len(packets), max_size=len(packets)))
    doubled = [p for p, count in zip(packets, times, strict=True) for _ in range(count)]
    assert [m.frames for m in taken(doubled)] == messages


def test_what_comes_again_is_told_from_another_message_with_the_same_frames():
    packer = Packer()
    packets = [*packer.packets(b"o", [b"same"]), *packer.packets(b"o", [b"same"])]
    assert len(taken(packets)) == 2


def test_the_end_of_a_message_that_has_begun_elsewhere_is_no_message():
    _, *rest = Packer().packets(b"o", [LONG])
    assert taken([*rest, *Packer().packets(b"o", [b"next"])]) == [Message(b"o", [b"next"])]


def in_fork(work):
    """What a forked child makes of this process's state, as bytes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


@pytest.mark.process
def test_a_forked_child_is_another_sender():
    """Though it goes on with its parent's packer in the middle of what that has numbered."""
    packer = Packer()
    before = list(packer.packets(b"o", [b"parent"]))
    theirs = in_fork(lambda: b"".join(packer.packets(b"o", [b"child"])))
    after = list(packer.packets(b"o", [b"parent again"]))
    assert [m.frames for m in taken([*before, theirs, *after])] == [
        [b"parent"],
        [b"child"],
        [b"parent again"],
    ]
    again = in_fork(lambda: b"".join(packer.packets(b"o", [b"child"])))
    assert len(taken([theirs, again])) == 2, "each child is one of its own"


# -- sending ---------------------------------------------------------------------------------


class Interrupt(Exception):
    """What a signal's handler raises."""


class Interrupted:
    """A socket at whose calls signals come.

    Args:
        sock: really sends.
        calls: numbers of calls, with whether the packet is gone when the handler raises.
        error: that it raises.
    """

    def __init__(self, sock, calls, error=Interrupt):
        self._sock, self._calls, self._error = sock, calls, error
        self._numbers = itertools.count()

    def send(self, packet):
        number = next(self._numbers)
        if self._calls.get(number, True):
            self._sock.send(packet)
        if number in self._calls:
            raise self._error(str(number))


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 7), st.booleans()))
def test_what_a_signals_handler_raises_comes_out_when_all_has_gone(calls):
    """Whether it came before a packet was sent or after."""
    ours, theirs = line.pair()
    packer, raised = Packer(), None
    with ours, theirs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(line, "PART", 64)  # what nobody reads meanwhile must find room
        long = LONG[:200]
        packets = [*packer.packets(b"o", [b"1", long]), *packer.packets(b"r", [b"2"])]
        assert len(packets) == 5
        try:
            line.send_all(Interrupted(theirs, calls), packets)
        except Interrupt as error:
            raised = error
        assert list(line.receive(ours, Assembler())) == [
            Message(b"o", [b"1", long]),
            Message(b"r", [b"2"]),
        ]
    assert (raised is not None) == (min(calls, default=len(packets)) < len(packets))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, TimeoutError])
def test_whatever_a_handler_raises_is_kept_until_then(ends, error):
    ours, theirs = ends
    with pytest.raises(error):
        line.send_all(Interrupted(theirs, {0: False}, error), Packer().packets(b"o", [b"1"]))
    assert [m.frames for m in line.receive(ours, Assembler())] == [[b"1"]]


def test_a_handler_that_always_raises_does_not_hold_the_sender_up_for_ever():
    class Never:
        calls = 0

        def send(self, packet):
            self.calls += 1
            raise Interrupt

    sock = Never()
    with pytest.raises(Interrupt):
        line.send_all(sock, [b"1", b"2"])
    assert sock.calls == 2 * line.TRIES


def test_where_the_other_end_is_closed_sending_is_no_error(ends):
    ours, theirs = ends
    ours.close()
    line.send_all(theirs, Packer().packets(b"o", [LONG]))


def test_a_socket_that_is_closed_itself_is_told(ends):
    """Its other end could hear of nothing any more."""
    _, theirs = ends
    theirs.close()
    with pytest.raises(line.Closed):
        line.send_all(theirs, Packer().packets(b"o", [LONG]))


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
def test_that_the_other_end_is_closed_is_believed_when_it_is_told_twice(number):
    """Once might be a signal's handler, which may raise such an error too."""

    class Gone:
        calls = 0

        def send(self, packet):
            self.calls += 1
            raise OSError(number, os.strerror(number))

    sock = Gone()
    line.send_all(sock, [b"1", b"2"])
    assert sock.calls == 2


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.EBADF])
def test_such_an_error_of_a_handler_comes_out_after_the_whole_message(number):
    class Interrupted:
        def __init__(self):
            self.sent = []

        def send(self, packet):
            self.sent.append(packet)
            if len(self.sent) == 1:
                raise OSError(number, os.strerror(number))

    sock = Interrupted()
    with pytest.raises(OSError, match=os.strerror(number)):
        line.send_all(sock, [b"1", b"2"])
    assert sock.sent == [b"1", b"1", b"2"]


# -- receiving -------------------------------------------------------------------------------


@pytest.mark.parametrize("closes", [0, 1])
def test_whoever_receives_at_a_closed_line_gets_what_was_sent_before(ends, closes):
    """Either end may be the one that is closed."""
    sender, receiver = ends[closes], ends[1 - closes]
    line.send_all(sender, Packer().packets(b"o", [b"last"]))
    sender.close()
    messages = line.receive(receiver, Assembler())
    assert next(messages) == Message(b"o", [b"last"])
    with pytest.raises(EOFError):
        next(messages)


def test_receiving_does_not_wait(ends):
    """Also at the kernel's end, which blocks."""
    for end in ends:
        end.settimeout(None)
        assert list(line.receive(end, Assembler())) == []


def test_half_a_message_is_kept_until_the_rest_is_there(ends):
    ours, theirs = ends
    first, *rest = Packer().packets(b"o", [LONG])
    assembler = Assembler()
    theirs.send(first)
    assert list(line.receive(ours, assembler)) == []
    line.send_all(theirs, rest)
    assert list(line.receive(ours, assembler)) == [Message(b"o", [LONG])]


def test_the_builders_end_does_not_block_and_the_kernels_does(ends):
    ours, theirs = ends
    assert (ours.getblocking(), theirs.getblocking()) == (False, True)


def test_a_megabyte_waits_in_the_line_while_nobody_reads_where_the_system_allows_it(ends):
    """Less than the system's usual limit makes a cell's code wait for its builder."""
    with open("/proc/sys/net/core/wmem_max") as file:
        allowed = int(file.read())
    rooms = [end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) for end in ends]
    assert min(rooms) >= min(allowed, line.ROOM)
