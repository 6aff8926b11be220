"""Forwarding under reactors: sockets at the follower, mirrors without any at the leader."""

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from kvnode._core.reactor import Reactor
from kvnode._core.session import Session
from kvnode.base.limits import MIB
from tests.support.forwarding import End, ForwardingNode, Net
from tests.support.resp import encode

ROUNDS_MAX = 2000


class Side:
    """A node under a reactor of its own."""

    def __init__(self, node: ForwardingNode) -> None:
        self.node = node
        assert node.forwarding is not None
        self.forwarding = node.forwarding
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.reactor = Reactor(node.sequencer, node.now_ms, self.wake_fd)
        self.reactor.on_wake = lambda: None
        self.reactor.on_accept = lambda fd, listener: node.session()
        self.reactor.on_close = self._closed
        self.reactor.after_pass = self._after_pass
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.reactor.listen(self.listener.fileno(), self.listener)

    def _closed(self, session: Session, reason: str) -> None:
        self.node.close_session(session)

    def _after_pass(self) -> None:
        self.node.replica.after_pass()
        self.forwarding.flush()

    def poll(self) -> None:
        self.reactor.poll()
        self.node.step_threads()
        self.node.log.write(None)
        self.node.log.sync_written()
        self.reactor.run_pass(self.node.replica.completions_due)
        self.node.confirm()
        self.node.sequencer.serving = self.node.serves
        self.reactor.run_pass()


class Pair:
    """A leader and a follower."""

    def __init__(self) -> None:
        self.net = Net()
        self.clients: list[socket.socket] = []
        self.leader, self.follower = Side(ForwardingNode(1)), Side(ForwardingNode(2))
        self.leader.node.lead(1)
        self.leader.node.begin_to_serve()
        self.end: End = self.net.connect(self.follower.node, self.leader.node)
        self.follower.node.follow(1, self.end)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.follower.listener.getsockname())
        client.setblocking(False)
        self.clients.append(client)
        return client

    def close(self) -> None:
        for side in (self.leader, self.follower):
            side.listener.close()
            os.close(side.wake_fd)
        for client in self.clients:
            client.close()

    def step(self) -> None:
        assert self.end.peer is not None
        for side in (self.follower, self.leader):
            self.net.deliver(self.end, 100)
            self.net.deliver(self.end.peer, 100)
            side.poll()

    def receive(self, client: socket.socket, n: int) -> bytes:
        """Return `n` bytes, or less at the end of the stream."""
        data = b""
        for _ in range(ROUNDS_MAX):
            self.step()
            try:
                part = client.recv(n - len(data))
            except BlockingIOError:
                continue
            data += part
            if not part or len(data) == n:
                return data
        raise AssertionError(f"only {data[:100]!r} came")

    def send(self, client: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        for _ in range(ROUNDS_MAX):
            with contextlib.suppress(BlockingIOError):
                view = view[client.send(view) :]
            if not view:
                return
            self.step()
        raise AssertionError("the follower does not read")


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_commands_and_replies_larger_than_what_is_read_ahead(pair: Pair) -> None:
    client = pair.connect()
    value = os.urandom(1 * MIB) * 5
    pair.send(client, encode("SET", "big", value))
    assert pair.receive(client, 5) == b"+OK\r\n"
    pair.send(client, encode("GET", "big") + encode("CLIENT", "GETNAME"))
    wanted = b"$%d\r\n%b\r\n$-1\r\n" % (len(value), value)
    assert pair.receive(client, len(wanted)) == wanted


def test_a_long_pipeline(pair: Pair) -> None:
    client = pair.connect()
    pair.send(client, encode("INCR", "n") * 100_000)
    wanted = b"".join(b":%d\r\n" % (n + 1) for n in range(100_000))
    assert pair.receive(client, len(wanted)) == wanted


def test_a_client_that_sends_no_more_gets_its_answers(pair: Pair) -> None:
    client = pair.connect()
    client.sendall(encode("SET", "a", "1") + encode("GET", "a"))
    client.shutdown(socket.SHUT_WR)
    assert pair.receive(client, 100) == b"+OK\r\n$1\r\n1\r\n"
    pair.step()
    assert pair.leader.forwarding.mirrors() == []


def test_a_client_that_closes_takes_its_mirror_along(pair: Pair) -> None:
    client = pair.connect()
    client.sendall(encode("BLPOP", "l", "0"))
    while not pair.leader.forwarding.mirrors():
        pair.step()
    client.close()
    for _ in range(3):
        pair.step()
    assert pair.leader.forwarding.mirrors() == []
    assert pair.leader.node.ask("RPUSH", "l", "v") == 1
