"""Random commands on redis-server and kvnode: the same keyspace events, in the same order.

KVNODE_CONFORMANCE_EXAMPLES=2000 searches longer, as for replies.
"""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings

from tests.conformance.generators import CONNECTIONS, TEST, Script, commands, scripts
from tests.conformance.test_differential import EXAMPLES, GROUPS, SETTINGS
from tests.support.process import ServerProcess
from tests.support.resp import Connection, encode

CLASSES = "KEAn"
SCRIPTS = settings(SETTINGS, max_examples=max(EXAMPLES // 4, 1))


@dataclass
class Side:
    """A server, who asks it, and who hears what that does."""

    server: ServerProcess
    classes: str = CLASSES

    def __post_init__(self) -> None:
        self._control = self.server.connect()
        self._listener = self.server.connect()
        self._listener.call("PSUBSCRIBE", "__key*@*__:*")
        self._asking: dict[str, Connection] = {}

    def begin(self, script: Script) -> None:
        self._close_asking()
        self._control.call("CONFIG", "SET", "notify-keyspace-events", "")
        self._control.call("FLUSHALL")
        self._control.call("CONFIG", "SET", "notify-keyspace-events", self.classes)
        for name, protocol in zip(CONNECTIONS, script.protocols, strict=True):
            self._asking[name] = self.server.connect()
            self._asking[name].send(encode("HELLO", protocol))
            self._asking[name].receive_raw()

    def ask(self, connection: str, words: tuple[bytes, ...]) -> tuple[bytes, list]:
        """Return the reply to a command, and the events that it made."""
        self._asking[connection].send(encode(*words))
        return self._asking[connection].receive_raw(), self._heard()

    def _heard(self) -> list[tuple[bytes, bytes]]:
        events = []
        self._listener.send(encode("PING"))
        while (message := self._listener.receive())[0] != b"pong":
            events.append((message[2], message[3]))
        return events

    def _close_asking(self) -> None:
        while self._asking:
            self._asking.popitem()[1].close()

    def close(self) -> None:
        self._close_asking()
        self._control.call("CONFIG", "SET", "notify-keyspace-events", "")
        self._control.close()
        self._listener.close()


def differences(expected: Side, actual: Side, script: Script) -> list[str]:
    """Run a script on both, up to the first reply that differs: that is for other tests."""
    sides, found = (expected, actual), []
    for side in sides:
        side.begin(script)
    for burst in script.bursts:
        for words in burst.commands if burst.connection != TEST else ():
            (reply, events), (our_reply, our_events) = (
                side.ask(burst.connection, words) for side in sides
            )
            if sorted(reply) != sorted(our_reply):
                return found
            if events != our_events:
                found.append(f"{words}: {our_events} instead of {events}")
    return found


@pytest.fixture
def pair(redis_server: ServerProcess, kvnode_server: ServerProcess):
    sides = Side(redis_server), Side(kvnode_server)
    yield sides
    for side in sides:
        side.close()


def test_events_are_those_of_redis(pair):
    @SCRIPTS
    @given(script=scripts(commands(*GROUPS)))
    def run(script: Script) -> None:
        assert differences(*pair, script) == []

    run()


def test_a_class_that_is_left_out_is_found(pair):
    pair[1].classes = "KEA"
    found = []

    @SCRIPTS
    @given(script=scripts(commands(*GROUPS)))
    def run(script: Script) -> None:
        found.extend(differences(*pair, script))

    run()
    assert any("new" in line for line in found)
