"""Subscribers that do not read: closed at the hard limit, and past the soft one in time."""

import socket
import time

import pytest

from tests.support.process import ServerProcess
from tests.support.resp import Connection, encode

MESSAGE = b"x" * 100_000
MESSAGES_MAX = 400  # far more than the limit and what the kernel buffers
SECONDS_MAX = 15.0
LIMIT = "client-output-buffer-limit"


class Sleeper:
    """A subscriber that reads nothing, and whose kernel buffers little."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(SECONDS_MAX)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(encode("SUBSCRIBE", "news"))
        assert self._socket.recv(1000).endswith(b":1\r\n")

    def read_all(self) -> bytes:
        """Return what is left until the end of the connection."""
        parts = []
        try:
            while data := self._socket.recv(1 << 20):
                parts.append(data)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    def close(self) -> None:
        self._socket.close()


def subscribers(publisher: Connection) -> int:
    return publisher.call("PUBSUB", "NUMSUB", "news")[1]


def closed_at_limits(publisher: Connection) -> int:
    info = publisher.call("INFO", "stats").decode()
    return int(info.partition("client_output_buffer_limit_disconnections:")[2].split("\r\n")[0])


@pytest.fixture
def publisher(kvnode_server: ServerProcess):
    connection = kvnode_server.connect()
    yield connection
    connection.call("CONFIG", "SET", LIMIT, "pubsub 33554432 8388608 60")
    connection.close()


def test_the_hard_limit_closes_at_once(kvnode_server, publisher):
    publisher.call("CONFIG", "SET", LIMIT, "pubsub 1000000 0 0")
    before = closed_at_limits(publisher)
    sleeper, reader = Sleeper(kvnode_server.port), kvnode_server.connect()
    reader.call("SUBSCRIBE", "news")
    counts = []
    for _ in range(MESSAGES_MAX):
        counts.append(publisher.call("PUBLISH", "news", MESSAGE))
        assert reader.receive()[2] == MESSAGE
        if counts[-1] == 1:
            break
    assert counts[0] == 2
    assert len(counts) > 10, "below the limit nobody is closed"
    assert subscribers(publisher) == 1, "who reads stays"
    assert closed_at_limits(publisher) == before + 1
    assert len(sleeper.read_all()) < MESSAGES_MAX * len(MESSAGE)
    sleeper.close()
    reader.close()


def test_the_soft_limit_closes_in_time(kvnode_server, publisher):
    publisher.call("CONFIG", "SET", LIMIT, "pubsub 0 1000000 1")
    sleeper = Sleeper(kvnode_server.port)
    began = time.monotonic()
    assert publisher.call("PUBLISH", "news", MESSAGE) == 1
    for _ in range(99):
        publisher.call("PUBLISH", "news", MESSAGE)
    while subscribers(publisher) and time.monotonic() - began < SECONDS_MAX:
        publisher.call("PING")
    assert 0.5 < time.monotonic() - began < SECONDS_MAX
    sleeper.close()


def test_normal_clients_have_their_own_limit(kvnode_server, publisher):
    """A subscriber of yesterday is a normal client."""
    publisher.call("CONFIG", "SET", LIMIT, "pubsub 1000 0 0")
    publisher.call("SET", "large", MESSAGE * 10)
    reader = kvnode_server.connect()
    reader.call("SUBSCRIBE", "news")
    reader.call("UNSUBSCRIBE")
    assert reader.call("GET", "large") == MESSAGE * 10
    reader.close()
