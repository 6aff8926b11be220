"""Clients of all nodes: messages and events come to each, a wait ends where its client is."""

import pytest

from tests.processes import group as groups
from tests.processes.group import ASK_SECONDS_MAX, Group, GroupNode, wait_for
from tests.support.resp import Connection

PAUSE_MS = 600_000  # longer than any test
MESSAGE, PATTERN_MESSAGE = b"message", b"pmessage"


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    with groups.running(tmp_path_factory.mktemp("group") / "nodes") as running:
        yield running


@pytest.fixture
def nodes(group: Group):
    """The leader first; connections end with the test, and nothing is there at its beginning."""
    leader = group.wait_agreed()
    leader.ask("FLUSHALL")
    yield [leader, *group.others(leader)]
    for node in group.nodes.values():
        node.close_connections()


def subscriber(node: GroupNode, command: str, *names: str) -> Connection:
    connection = node.connect()
    for name in names:
        connection.call(command, name)
    return connection


def info(node: GroupNode, field: str) -> int:
    fields = dict(line.split(b":", 1) for line in node.ask("INFO").splitlines() if b":" in line)
    return int(fields[field.encode()])


def seen(node: GroupNode, client_id: int) -> dict[str, str]:
    """Return the fields of a client in CLIENT LIST, none if it is not there."""
    line = node.ask("CLIENT", "LIST", "ID", client_id).decode()
    return dict(field.split("=", 1) for field in line.split())


def wait_seen(node: GroupNode, client_id: int, flags: str) -> None:
    wait_for(
        f"flags={flags}",
        lambda: seen(node, client_id).get("flags") == flags,
        ASK_SECONDS_MAX,
    )


def publish(node: GroupNode, how: str, text: str) -> object:
    """Return how many have got a message, as its publisher is told."""
    if how == "alone":
        return node.ask("PUBLISH", "news", text)
    if how == "script":
        return node.ask("EVAL", "return redis.call('PUBLISH', 'news', ARGV[1])", 0, text)
    connection = node.connect()
    for words in (("MULTI",), ("INCR", "n"), ("PUBLISH", "news", text)):
        connection.call(*words)
    return connection.call("EXEC")[1]


def test_a_message_from_any_node_comes_to_subscribers_at_each(nodes):
    channels = [subscriber(node, "SUBSCRIBE", "news") for node in nodes]
    patterns = [subscriber(node, "PSUBSCRIBE", "ne*") for node in nodes]
    for node in nodes:
        for how in ("alone", "transaction", "script"):
            text = f"{how}-{node.node_id}"
            assert publish(node, how, text) == 2 * len(nodes)
            for connection in channels:
                assert connection.receive() == [MESSAGE, b"news", text.encode()]
            for connection in patterns:
                assert connection.receive() == [PATTERN_MESSAGE, b"ne*", b"news", text.encode()]


def test_each_node_answers_who_is_subscribed_in_the_group(nodes):
    for node in nodes:
        subscriber(node, "SUBSCRIBE", "news", f"of-{node.node_id}")
        subscriber(node, "PSUBSCRIBE", "ne*")
    for node in nodes:
        assert sorted(node.ask("PUBSUB", "CHANNELS")) == [b"news", b"of-1", b"of-2", b"of-3"]
        assert node.ask("PUBSUB", "CHANNELS", "of-*2") == [b"of-2"]
        assert node.ask("PUBSUB", "NUMSUB", "news", "of-1", "none") == [
            *(b"news", len(nodes)),
            *(b"of-1", 1),
            *(b"none", 0),
        ]
        assert node.ask("PUBSUB", "NUMPAT") == 1


def test_each_node_knows_its_own_subscribers(nodes):
    for node in nodes:
        subscribed = subscriber(node, "SUBSCRIBE", "news", "other")
        subscribed.call("PSUBSCRIBE", "ne*")
    for node in nodes:
        (line,) = node.ask("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines()
        fields = dict(field.split("=", 1) for field in line.split())
        assert (fields["flags"], fields["sub"], fields["psub"]) == ("P", "2", "1")
        assert info(node, "pubsub_clients") == 1


def test_events_of_keys_come_to_subscribers_at_each_node(nodes):
    for node in nodes:  # those of the leader count
        node.ask("CONFIG", "SET", "notify-keyspace-events", "K$gl")
    watching = [subscriber(node, "PSUBSCRIBE", "__keyspace@0__:k*") for node in nodes]
    for node in nodes:
        node.ask("SET", "k", node.node_id)
        node.ask("EVAL", "redis.call('RPUSH', KEYS[1], 'a') redis.call('DEL', KEYS[1])", 1, "kl")
    for connection in watching:
        for _ in nodes:
            for key, event in ((b"k", b"set"), (b"kl", b"rpush"), (b"kl", b"del")):
                expected = [PATTERN_MESSAGE, b"__keyspace@0__:k*", b"__keyspace@0__:" + key, event]
                assert connection.receive() == expected
    for node in nodes:
        node.ask("CONFIG", "SET", "notify-keyspace-events", "")


def test_a_wait_is_ended_at_the_node_of_its_client(nodes):
    for node in nodes:
        connection = node.connect()
        client_id = connection.call("CLIENT", "ID")
        connection.send(b"BLPOP list 0\r\n")
        wait_seen(node, client_id, "b")
        assert info(node, "blocked_clients") == 1
        assert node.ask("CLIENT", "UNBLOCK", client_id) == 1
        assert connection.receive() is None
        assert node.ask("CLIENT", "UNBLOCK", client_id) == 0
        assert seen(node, client_id)["flags"] == "N"
        assert info(node, "blocked_clients") == 0
        assert connection.call("GET", "none") is None


def test_each_node_shows_the_transactions_of_its_clients(nodes):
    for node in nodes:
        connection = node.connect()
        client_id = connection.call("CLIENT", "ID")
        for words in (("MULTI",), ("SET", "k", 1), ("GET", "k")):
            connection.call(*words)
        fields = seen(node, client_id)
        assert (fields["flags"], fields["multi"]) == ("x", "2")
        assert connection.call("EXEC") == [b"OK", b"1"]
        assert seen(node, client_id)["flags"] == "N"


def test_who_waits_can_be_killed_and_takes_nothing(nodes):
    for node in nodes:
        connection = node.connect()
        client_id = connection.call("CLIENT", "ID")
        connection.send(b"BLPOP list 0\r\n")
        wait_seen(node, client_id, "b")
        assert node.ask("CLIENT", "KILL", "ID", client_id) == 1
        assert connection.at_end()
        assert seen(node, client_id) == {}
        assert node.ask("RPUSH", "list", "v") == 1
        assert node.ask("LPOP", "list") == b"v"


def test_a_pause_holds_the_writes_of_its_node_and_of_all_at_the_leader(nodes):
    for node in nodes:
        paused, other = (nodes, None) if node is nodes[0] else ([node], nodes[0])
        connections = [each.connect() for each in paused]
        ids = [connection.call("CLIENT", "ID") for connection in connections]
        node.ask("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        for connection in connections:
            connection.send(b"INCR n\r\n")
        wait_seen(node, ids[0], "b")
        if other is not None:
            assert other.ask("SET", "k", 1) == b"OK"
        for each in nodes:
            assert each.ask("GET", "n") is None
        node.ask("CLIENT", "UNPAUSE")
        assert sorted(c.receive() for c in connections) == list(range(1, len(paused) + 1))
        nodes[0].ask("DEL", "n")
