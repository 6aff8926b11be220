"""Subscribers that are connected to a follower: the leader's messages come to them."""

import pytest

from kvnode._core.front import collect
from kvnode._core.messages import OUTPUT_LIMIT
from kvnode.base.limits import MIB
from kvnode.commands import client_list
from tests.support.forwarded import OK, ask, move, new_leader, retire, words
from tests.support.forwarding import Client, Group
from tests.support.resp import encode

S_CLOSING = 3


def message(text: str = "m", channel: str = "c", kind: str = "message") -> bytes:
    return encode(kind, channel, text)


def confirmed(kind: str, channel: str, count: int) -> bytes:
    return b"*3\r\n" + encode(kind, channel)[4:] + b":%d\r\n" % count


@pytest.fixture
def group() -> Group:
    return Group(followers=2)


def news(group: Group, client: Client) -> bytes:
    """What comes to a client that asks nothing."""
    before = len(client.output)
    group.settle()
    group.check()
    return client.output[before:]


def subscriber(group: Group, proto: int = 2) -> Client:
    client = group.client()
    if proto == 3:
        ask(group, client, "HELLO 3")
    ask(group, client, "SUBSCRIBE c")
    return client


@pytest.mark.parametrize("where", ["leader", "same", "other"])
def test_messages_come_to_a_client_that_asks_nothing(group: Group, where: str) -> None:
    client = group.client()
    assert ask(group, client, "SUBSCRIBE c") == confirmed("subscribe", "c", 1)
    nodes = {"leader": group.leader, "same": group.followers[0], "other": group.followers[1]}
    publisher = group.client(nodes[where])
    for text in "abc":
        before = len(client.output)
        assert ask(group, publisher, f"PUBLISH c {text}") == b":1\r\n"
        assert client.output[before:] == message(text)
    assert not client.is_closed
    client.close()
    group.settle()
    assert ask(group, publisher, "PUBLISH c m") == b":0\r\n"
    assert group.leader.view.pubsub.clients == 0


def test_what_a_subscriber_may_not_call_is_refused(group: Group) -> None:
    client = subscriber(group)
    refused = (
        b"-ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
        b"RESET are allowed in this context\r\n"
    )
    for command, name in (
        ("GET a", b"get"),
        ("CLIENT ID", b"client|id"),
        ("INFO", b"info"),
        ("MULTI", b"multi"),
        ("ECHO a", b"echo"),
    ):
        assert ask(group, client, command) == refused % name
    assert ask(group, client, "PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    assert ask(group, client, "CLIENT ID", "PING a", "ECHO a") == (
        refused % b"client|id" + b"*2\r\n$4\r\npong\r\n$1\r\na\r\n" + refused % b"echo"
    )
    end = ask(group, client, "UNSUBSCRIBE", "CLIENT GETNAME", "PING", "SET a 1")
    assert end == confirmed("unsubscribe", "c", 0) + b"$-1\r\n+PONG\r\n" + OK
    assert ask(group, client, "SUBSCRIBE c", "MULTI", "ECHO a").endswith(refused % b"echo")


def test_a_transaction_that_was_refused_is_none(group: Group) -> None:
    client = subscriber(group)
    ask(group, client, "MULTI")
    ask(group, client, "UNSUBSCRIBE")
    assert ask(group, client, "CLIENT GETNAME", "GET a") == b"$-1\r\n$-1\r\n"
    assert client.session.state != S_CLOSING


def test_resp3_takes_commands_beside_messages(group: Group) -> None:
    client = subscriber(group, 3)
    publisher = group.client(group.followers[1])
    client.send(words("CLIENT GETNAME", "SET a 1", "PING", "GET a"))
    publisher.send(words("PUBLISH c m"))
    got = news(group, client)
    assert b">" + message()[1:] in got
    assert got.replace(b">" + message()[1:], b"") == b"_\r\n" + OK + b"+PONG\r\n$1\r\n1\r\n"
    assert ask(group, client, "HELLO 2").startswith(b"*")
    ask(group, publisher, "PUBLISH c n")
    assert client.output.endswith(message("n"))


def test_reset_and_quit_end_subscriptions(group: Group) -> None:
    client, publisher = subscriber(group), group.client()
    assert ask(group, client, "RESET") == b"+RESET\r\n"
    assert ask(group, publisher, "PUBLISH c m") == b":0\r\n"
    assert ask(group, client, "GET a", "SUBSCRIBE d").startswith(b"$-1\r\n")
    assert ask(group, client, "QUIT") == OK
    assert client.is_closed
    assert ask(group, publisher, "PUBLISH d m") == b":0\r\n"


def test_a_node_knows_to_what_its_clients_are_subscribed(group: Group) -> None:
    def counts() -> tuple[int, int, int]:
        session = client.session
        assert client_list.is_subscribed(session) is any(
            (session.channels, session.patterns, session.shard_channels)
        )
        return session.channels, session.patterns, session.shard_channels

    client = group.client()
    ask(group, client, "SUBSCRIBE a b", "PSUBSCRIBE p*", "SSUBSCRIBE s t u")
    assert counts() == (2, 1, 3)
    assert client_list.flags(client.session) == "P"
    ask(group, client, "SUNSUBSCRIBE", "UNSUBSCRIBE a")
    assert counts() == (1, 1, 0)
    ask(group, client, "UNSUBSCRIBE", "PUNSUBSCRIBE")
    assert counts() == (0, 0, 0)
    ask(group, client, "SUBSCRIBE a", "RESET")
    assert counts() == (0, 0, 0)


def test_a_message_for_who_was_reset_comes_too_late(group: Group) -> None:
    client, publisher = subscriber(group), group.client(group.leader)
    publisher.send(words("PUBLISH c m", "PUBLISH c m"))
    group.leader.work()  # on the way to the follower
    client.send(words("RESET", "GET a", "SUBSCRIBE d"))
    group.followers[0].work()
    got = news(group, client)
    assert got == b"+RESET\r\n$-1\r\n" + confirmed("subscribe", "d", 1)
    assert not client.is_closed


def test_a_message_in_parts_is_not_torn(group: Group) -> None:
    client, publisher = subscriber(group, 3), group.client(group.leader)
    text = "x" * (3 * MIB)
    publisher.send(encode("PUBLISH", "c", text))
    group.leader.work()
    group.net.deliver(group.ends[0].peer or group.ends[0], 1000)
    client.send(words("CLIENT GETNAME"))
    assert news(group, client) == b">" + message(text)[1:] + b"_\r\n"


def test_no_subscriber_stays_when_leaders_change(group: Group) -> None:
    client, other, idle = subscriber(group), subscriber(group, 3), group.client()
    ask(group, idle, "GET a")
    new_leader(group)
    move(group)
    group.settle()
    assert client.is_closed
    assert other.is_closed
    assert not idle.is_closed
    assert ask(group, idle, "SUBSCRIBE c") == confirmed("subscribe", "c", 1)


def test_a_leader_that_steps_down_closes_subscribers(group: Group) -> None:
    client, idle = subscriber(group), group.client()
    ask(group, idle, "GET a")
    retire(group)
    group.leader.step_down()
    group.settle()
    assert client.is_closed
    assert client.output.endswith(confirmed("subscribe", "c", 1))
    assert not idle.is_closed


def test_a_lost_link_closes_subscribers(group: Group) -> None:
    client, idle = subscriber(group), group.client()
    ask(group, idle, "GET a")
    group.net.cut(group.ends[0])
    group.settle()
    assert client.is_closed
    assert not idle.is_closed
    assert group.leader.view.pubsub.clients == 0


def test_a_subscriber_that_takes_nothing_is_closed(group: Group) -> None:
    group.leader.sequencer.message_bytes_max = 4 * MIB
    client, publisher = subscriber(group), group.client(group.leader)
    group.clients.remove(client)  # it takes nothing from here on
    for _ in range(16):
        publisher.send(encode("PUBLISH", "c", "x" * MIB))
        group.settle()
    assert client.session.state == S_CLOSING
    assert client.session.close_reason == OUTPUT_LIMIT
    assert group.leader.view.pubsub.clients == 0


def test_a_mirror_that_takes_too_little_is_closed(group: Group) -> None:
    client = subscriber(group)
    for mirror in group.mirrors():
        mirror.state, mirror.close_reason = S_CLOSING, OUTPUT_LIMIT
        collect([mirror])
    group.settle()
    assert client.is_closed
    assert group.mirrors() == []
