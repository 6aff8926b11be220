"""The reactor on real sockets: when clients are read and when not."""

import os
import select
import socket
import time

import pytest

from kvnode._core.front import Front
from kvnode._core.reactor import Reactor
from kvnode._core.session import Session
from tests.support.leader import Leader
from tests.support.local import LocalNode
from tests.support.resp import encode

POLLS_MAX = 1000
STALLED_INPUT_BYTES, READ_BYTES = 1 << 20, 1 << 16  # as in reactor.pxd
SECOND = 1_000_000  # micros
NO_BOUND = (1 << 64) - 1


class Rig:
    """A reactor with one client."""

    def __init__(self, node: LocalNode | None = None) -> None:
        self.node = node or LocalNode()
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.reactor = Reactor(self.node.sequencer, 0, self.wake_fd)
        self.sessions: list[Session] = []
        self.reactor.on_accept = self._accept
        self.reactor.on_wake = lambda: None
        self.reactor.after_pass = lambda: None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.reactor.listen(self.listener.fileno(), self.listener)
        self.client = self.connect()
        self.write("first")
        self.commit()
        if isinstance(self.node, Leader):
            self.node.sequencer.commit_to(self.node.sequencer.last_index)
            self.reactor.run_pass()

    def _accept(self, fd: int, listener: socket.socket) -> Session:
        self.sessions.append(self.node.session())
        return self.sessions[-1]

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.listener.getsockname())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent arrives at once
        return client

    def write(self, key: str) -> None:
        """Send a SET and poll until it was read, unless clients are not."""
        self.send(encode("SET", key, "x" * 100))

    def send(self, data: bytes) -> None:
        """Send `data` and poll until it was read, unless clients are not."""
        self.client.sendall(data)
        for _ in range(POLLS_MAX):
            before = self.reactor.reads
            self.reactor.poll()
            if self.reactor.reads > before or self.reactor.paused:
                return
        raise AssertionError("nothing arrived")

    def commit(self) -> None:
        self.node.log.complete()
        self.reactor.run_pass()

    def replies(self) -> bytes:
        """What the client received."""
        if not select.select([self.client], [], [], 0)[0]:
            return b""
        return self.client.recv(1 << 16)

    def is_readable(self) -> bool:
        """Whether the host would poll at once."""
        return bool(select.select([self.reactor.wait_fd], [], [], 0)[0])

    def slow_down(self) -> None:
        """Leave room for so little that one more write takes seconds to be allowed."""
        pace, dirty = self.reactor.pace, self.node.tip.dirty_bytes
        pace.soft_bytes, pace.hard_bytes = dirty - 1, dirty + 1000
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        pace.must_wait(now - 2 * SECOND, dirty, 0)
        pace.must_wait(now, dirty, 0)  # nothing was flushed meanwhile

    def close(self) -> None:
        self.client.close()
        self.listener.close()
        os.close(self.wake_fd)


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.close()


def test_a_client_is_served(rig):
    assert rig.replies() == b"+OK\r\n"


def told_of_two_passes(rig: Rig, *, at_once: bool) -> list[int]:
    """In a group, poll two passes; return after which rounds the host was told, from 1 on."""
    before = rig.reactor.rounds
    told: list[int] = []

    def on_wake() -> None:
        rig.client.sendall(encode("GET", "first"))
        rig.reactor.wants_after = at_once

    rig.reactor.on_wake = on_wake
    rig.reactor.after_pass = lambda: told.append(rig.reactor.rounds - before)
    rig.node.sequencer.front = Front()
    os.eventfd_write(rig.wake_fd, 1)
    rig.reactor.poll()
    assert rig.reactor.rounds == before + 2
    return told


def test_the_host_of_a_group_hears_of_several_passes_at_once(rig):
    assert told_of_two_passes(rig, at_once=False) == [2]


def test_the_host_hears_at_once_where_it_has_to(rig):
    assert told_of_two_passes(rig, at_once=True) == [1, 2]


def test_at_the_bound_of_dirty_bytes_clients_are_not_read(rig):
    rig.reactor.dirty_bytes_max = rig.node.tip.dirty_bytes
    rig.write("over it")
    assert rig.reactor.paused
    assert not rig.reactor.slowed
    reads = rig.reactor.reads
    rig.write("later")
    assert not rig.reactor.poll(), "the host may sleep until something is reported"
    assert not rig.is_readable()
    assert rig.reactor.reads == reads
    rig.node.checkpoint()
    rig.reactor.run_pass()
    assert not rig.reactor.paused
    assert rig.is_readable()
    rig.reactor.poll()
    assert rig.reactor.reads == reads + 1


def test_at_the_bound_of_unsynced_bytes_clients_wait_until_half_of_them_are_synced(rig):
    rig.reactor.unsynced_bytes_max = 200
    rig.write("a")
    assert not rig.reactor.paused
    rig.write("b")
    assert rig.reactor.paused
    assert not rig.reactor.slowed
    rig.commit()
    assert not rig.reactor.paused


def test_a_wake_is_served_while_clients_are_not_read(rig):
    woken = []
    rig.reactor.on_wake = lambda: woken.append(1)
    rig.reactor.dirty_bytes_max = 1
    rig.write("over it")
    os.eventfd_write(rig.wake_fd, 1)
    assert rig.is_readable()
    rig.reactor.poll()
    assert woken == [1]


def test_slowed_down_the_host_polls_again_by_itself(rig):
    rig.slow_down()
    rig.write("a")
    assert rig.reactor.slowed
    assert rig.reactor.paused
    reads = rig.reactor.reads
    rig.write("b")
    assert rig.reactor.poll(), "time alone will end it: nothing would wake the host"
    assert rig.reactor.reads == reads
    rig.reactor.pace.soft_bytes = NO_BOUND  # as if the time had come
    rig.reactor.poll()
    assert not rig.reactor.paused
    assert rig.reactor.reads == reads + 1


def test_slowed_down_a_host_that_others_wait_for_is_told_when_to_poll_again(rig):
    rig.reactor.lingers = False
    assert rig.reactor.seconds_to_deadline() is None
    rig.slow_down()
    rig.write("a bit too much")
    assert rig.reactor.slowed
    assert not rig.reactor.poll()
    assert rig.reactor.seconds_to_deadline() == 0.001


def test_clients_wait_for_a_node_that_would_fall_too_far_behind(rig):
    """It gets an image, and needs the log from there on (hard case 33)."""
    catch_up = rig.reactor.catch_up
    catch_up.soft_bytes, catch_up.hard_bytes = 100, 300
    rig.write("nobody needs it")
    assert not rig.reactor.paused
    rig.reactor.needed_bytes = rig.node.sequencer.payload_bytes
    rig.write("more than 100")
    assert not rig.reactor.paused
    rig.write("more than 300")
    assert rig.reactor.paused
    assert rig.reactor.slowed
    reads = rig.reactor.reads
    rig.write("not read")
    assert rig.reactor.reads == reads
    rig.reactor.needed_bytes = NO_BOUND
    rig.reactor.run_pass()
    assert not rig.reactor.paused
    rig.write("read")
    assert rig.reactor.reads > reads


def test_clients_slow_down_before_that_bound(rig):
    written = rig.node.sequencer.payload_bytes
    catch_up = rig.reactor.catch_up
    catch_up.soft_bytes, catch_up.hard_bytes = 100, 10_000
    rig.reactor.needed_bytes = written
    rig.write("first")
    behind = rig.node.sequencer.payload_bytes - written
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    catch_up.must_wait(now - 2 * SECOND, behind, written)
    catch_up.must_wait(now, behind, written)  # the node has got nothing meanwhile
    rig.write("second")
    assert rig.reactor.slowed


def test_slowed_down_a_wake_is_served(rig):
    woken = []
    rig.reactor.on_wake = lambda: woken.append(1)
    rig.slow_down()
    rig.write("a")
    os.eventfd_write(rig.wake_fd, 1)
    rig.reactor.poll()
    assert woken == [1]
    assert rig.reactor.slowed


# -- writes of many clients share syncs ---------------------------------------------------------


def only_writes(rig):
    """Run so many passes of one write that the reactor counts on more of them."""
    for _ in range(40):
        rig.write("a")
        rig.commit()
    assert rig.reactor.write_passes >= 40


@pytest.mark.parametrize(
    "data",
    [encode("GET", "nothing"), encode("SET", "a", "1") * 2, encode("PING")],
    ids=["read", "pipeline", "no key"],
)
def test_what_is_not_a_single_write_ends_a_run_of_them(rig, data):
    only_writes(rig)
    rig.send(data)
    assert rig.reactor.write_passes == 0


def test_writes_that_gather_are_executed_though_the_sync_never_ends(rig):
    only_writes(rig)
    rig.write("in flight")
    reads = rig.reactor.reads
    with rig.connect() as other:
        rig.reactor.poll()
        rig.client.sendall(encode("SET", "b", "1"))
        other.sendall(encode("SET", "c", "1"))
        for _ in range(POLLS_MAX):
            rig.reactor.poll()
            if rig.reactor.reads == reads + 2:
                break
    assert rig.reactor.reads == reads + 2
    rig.client.setblocking(False)
    rig.client.recv(1 << 16)
    rig.commit()
    assert rig.replies() == b"+OK\r\n" * 2


# -- in a group ---------------------------------------------------------------------------------


@pytest.fixture
def group():
    rig = Rig(Leader())
    assert rig.replies() == b"+OK\r\n"
    yield rig
    rig.close()


GET = encode("GET", "first")
FOUND = b"$100\r\n%b\r\n" % (b"x" * 100)


def test_a_reply_waits_for_a_confirmation(group):
    group.send(GET)
    assert group.replies() == b""
    number = group.node.sequencer.unconfirmed()
    group.reactor.run_pass(lambda: group.node.sequencer.confirm(number))
    assert group.replies() == FOUND


def test_a_large_reply_does_not_leave_before_the_pass_has_ended(group):
    group.node.settle(group.node.session(), encode("SET", "large", b"v" * 100_000))
    group.node.finish()
    group.send(encode("GET", "large"))
    assert group.replies() == b""
    assert group.node.sequencer.unconfirmed()
    group.node.sequencer.confirm(group.node.sequencer.unconfirmed())
    group.reactor.run_pass()
    assert group.replies() != b""


def test_at_the_bound_of_fenced_bytes_clients_are_not_read(group):
    group.reactor.fenced_bytes_max = 1
    group.send(GET)
    assert group.reactor.paused
    assert not group.reactor.poll()
    group.node.sequencer.confirm(group.node.sequencer.unconfirmed())
    group.reactor.run_pass()
    assert not group.reactor.paused
    assert group.replies() == FOUND


def read_all(rig: Rig) -> None:
    """Poll until there is nothing more to do."""
    for _ in range(POLLS_MAX):
        if not rig.reactor.poll():
            return
    raise AssertionError("the reactor never rests")


def test_without_a_leader_clients_are_read_up_to_a_bound(group):
    """Nobody polls in vain for them meanwhile, and they go on once somebody leads."""
    group.node.sequencer.serving = False
    group.client.setblocking(False)
    sent = 0
    while select.select([], [group.client], [], 0)[1]:
        sent += group.client.send(GET * 1000)
        read_all(group)
    (session,) = [s for s in group.sessions if s.input_bytes]
    assert STALLED_INPUT_BYTES < session.input_bytes <= STALLED_INPUT_BYTES + READ_BYTES
    assert not group.reactor.poll()

    def lead() -> None:
        group.node.sequencer.serving = True
        group.node.sequencer.is_alone = True

    group.reactor.run_pass(lead)
    replies = 0
    for _ in range(POLLS_MAX):
        group.reactor.poll()
        while data := group.replies():
            replies += len(data)
        if replies == sent // len(GET) * len(FOUND):
            return
    raise AssertionError(f"{replies} bytes of replies to {sent} bytes")


def test_another_sequencer_takes_over_the_connections(group):
    """What was held is an error, what was not read runs there."""
    reader, idle, late = group.client, group.connect(), group.connect()
    read_all(group)
    group.send(GET)
    group.reactor.run_pass(lambda: group.node.sequencer.step_down(b"A", b"B", b"C"))
    assert group.replies() == b"-B\r\n"
    late.sendall(encode("PING"))
    read_all(group)
    other = Leader()
    group.reactor.run_pass(lambda: group.reactor.adopt(other.sequencer))
    assert group.is_readable()
    idle.sendall(encode("PING"))
    for _ in range(3):
        read_all(group)
    assert idle.recv(100) == late.recv(100) == b"+PONG\r\n"
    assert reader.recv(100) == b""
    idle.sendall(encode("SET", "a", "1"))
    read_all(group)
    other.finish()
    group.reactor.run_pass()
    assert other.sequencer.last_index == group.reactor.sequencer.last_index
    for client in (idle, late):
        client.close()


def test_time_never_runs_below_the_floor(rig):
    now = rig.reactor.now()
    rig.reactor.raise_floor(now - 1000)
    assert rig.reactor.now() - now < 500
    rig.reactor.raise_floor(now + 10_000)
    assert 0 <= rig.reactor.now() - (now + 10_000) < 500
    rig.reactor.raise_floor(now + 5_000)
    assert rig.reactor.now() >= now + 10_000
