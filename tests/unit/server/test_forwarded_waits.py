"""A follower's clients that wait at the leader: how they are seen, and ended, where they are."""

import pytest

from kvnode._core.dispatch import Command
from kvnode._core.session import Session
from kvnode.base.limits import FORWARD_WAIT_MS
from kvnode.commands import client_list
from kvnode.server.services import may_write
from tests.support.forwarded import LEADERLESS, NULL_ARRAY, OK, QUEUED, ask, move, new_leader, words
from tests.support.forwarding import Client, ForwardingNode, Group

UNBLOCKED = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
POPPED = b"*2\r\n$1\r\nl\r\n$1\r\nv\r\n"


@pytest.fixture
def group() -> Group:
    return Group(followers=2)


def waiting(group: Group, node: ForwardingNode) -> Client:
    client = group.client(node)
    assert ask(group, client, "BLPOP l 0") == b""
    assert client_list.flags(client.session) == "b"
    return client


@pytest.mark.parametrize(("reason", "answer"), [("TIMEOUT", NULL_ARRAY), ("ERROR", UNBLOCKED)])
def test_unblock_ends_a_wait_at_the_leader(group: Group, reason: str, answer: bytes) -> None:
    client, other = waiting(group, group.followers[0]), group.client()
    unblock = f"CLIENT UNBLOCK {client.session.id} {reason}"
    assert ask(group, other, unblock) == b":1\r\n"
    assert client.output == answer
    assert client_list.flags(client.session) == "N"
    assert ask(group, other, unblock, "RPUSH l v") == b":0\r\n:1\r\n"
    assert ask(group, client, "LPOP l") == b"$1\r\nv\r\n"


def test_unblock_knows_the_clients_of_its_own_node_only(group: Group) -> None:
    one, other = (waiting(group, node) for node in group.followers)
    own = group.client(group.leader)
    assert ask(group, own, "BLPOP l 0") == b""
    assert one.session.id == other.session.id == own.session.id
    unblock = f"CLIENT UNBLOCK {one.session.id}"
    assert ask(group, group.client(group.followers[1]), unblock) == b":1\r\n"
    assert (one.output, other.output, own.output) == (b"", NULL_ARRAY, b"")
    assert ask(group, group.client(group.leader), unblock) == b":1\r\n"
    assert (one.output, own.output) == (b"", NULL_ARRAY)
    mirror = next(mirror for mirror in group.mirrors() if mirror.is_blocked)
    by_its_id_there = f"CLIENT UNBLOCK {mirror.id}"
    assert ask(group, group.client(group.leader), by_its_id_there) == b":0\r\n"
    assert ask(group, group.client(), unblock) == b":1\r\n"


def test_unblock_is_queued_like_what_is_about_the_data(group: Group) -> None:
    client, other = waiting(group, group.followers[0]), group.client()
    unblock = f"CLIENT UNBLOCK {client.session.id}"
    assert ask(group, other, "MULTI", unblock) == OK + QUEUED
    assert client.output == b""
    assert ask(group, other, "EXEC") == b"*1\r\n:1\r\n"
    assert client.output == NULL_ARRAY


def test_who_was_served_waits_no_more(group: Group) -> None:
    client, other = waiting(group, group.followers[0]), group.client()
    assert ask(group, other, "RPUSH l v") == b":1\r\n"
    assert client.output == POPPED
    assert client_list.flags(client.session) == "N"
    assert ask(group, other, f"CLIENT UNBLOCK {client.session.id}") == b":0\r\n"


def test_a_node_says_what_its_client_has_asked_last(group: Group) -> None:
    client = group.client()
    ask(group, client, "CLIENT GETNAME")
    assert client.session.last_command == b"client|getname"
    ask(group, client, "SET a 1", "CLIENT ID", "OBJECT ENCODING a")
    assert client.session.last_command == b"object|encoding"


@pytest.mark.parametrize("end", ["EXEC", "DISCARD", "RESET"])
def test_a_node_says_that_its_client_is_in_a_transaction(group: Group, end: str) -> None:
    client = group.client()
    ask(group, client, "MULTI", "GET a", "SET a 1")
    assert client_list.flags(client.session) == "x"
    assert client.session.queued_count == 2
    ask(group, client, end)
    assert client_list.flags(client.session) == "N"
    ask(group, client, "MULTI", "GET a")
    assert (client_list.flags(client.session), client.session.queued_count) == ("x", 1)


def test_unblock_waits_for_a_leader_as_what_is_about_the_data(group: Group) -> None:
    other = group.client()
    group.net.cut(group.ends[0])
    assert ask(group, other, "CLIENT UNBLOCK 1") == b""
    group.tick(FORWARD_WAIT_MS)
    assert other.output == LEADERLESS


def test_who_is_owed_an_answer_does_not_count_as_waiting(group: Group) -> None:
    client = group.client()
    client.send(words("SET a 1", "CLIENT GETNAME"))
    assert client.session.waiting is not None
    assert client_list.flags(client.session) == "N"


# -- pauses ---------------------------------------------------------------------------------------


class Pause:
    """CLIENT PAUSE at one node, WRITE or ALL."""

    def __init__(self, node: ForwardingNode, *, writes_only: bool = True) -> None:
        self._node = node
        self._writes_only = writes_only
        self._held: list[Session] = []
        self._dispatch = node.sequencer.dispatch
        self._dispatch.gate = self._holds

    def _holds(self, session: Session, command: Command) -> bool:
        if self._writes_only and not may_write(session, command, self._dispatch):
            return False
        self._held.append(session)
        return True

    def end(self) -> None:
        self._dispatch.gate = None
        for session in self._held:
            self._node.sequencer.resume(session)


def test_a_pause_holds_the_writes_of_its_own_node(group: Group) -> None:
    client, other = group.client(), group.client(group.followers[1])
    pause = Pause(group.followers[0])
    assert ask(group, client, "GET a", "SET a 1", "GET a") == b"$-1\r\n"
    assert ask(group, other, "SET b 2") == OK
    pause.end()
    assert ask(group, client, "PING") == OK + b"$1\r\n1\r\n" + b"+PONG\r\n"


def test_a_pause_of_the_leader_holds_the_writes_of_all(group: Group) -> None:
    client = group.client()
    pause = Pause(group.leader)
    assert ask(group, client, "GET a", "SET a 1", "GET a") == b"$-1\r\n"
    pause.end()
    assert ask(group, client, "PING") == OK + b"$1\r\n1\r\n" + b"+PONG\r\n"


@pytest.mark.parametrize("is_queued_before", [True, False])
def test_a_pause_holds_an_exec_that_may_write(group: Group, is_queued_before: bool) -> None:
    client = group.client()
    parts = ("MULTI", "SET a 1")
    if is_queued_before:
        assert ask(group, client, *parts) == OK + QUEUED
    pause = Pause(group.followers[0])
    if not is_queued_before:
        assert ask(group, client, *parts) == OK + QUEUED
    assert ask(group, client, "EXEC", "GET a") == b""
    pause.end()
    assert ask(group, client, "PING") == b"*1\r\n" + OK + b"$1\r\n1\r\n" + b"+PONG\r\n"


def test_a_pause_does_not_hold_an_exec_that_only_reads(group: Group) -> None:
    client = group.client()
    ask(group, client, "MULTI", "SET a 1", "DISCARD")
    pause = Pause(group.followers[0])
    assert ask(group, client, "MULTI", "GET a", "EXEC") == OK + QUEUED + b"*1\r\n$-1\r\n"
    pause.end()


def test_a_pause_of_all_holds_what_a_follower_answers_itself(group: Group) -> None:
    node, client, reader = group.followers[0], group.client(), group.client()
    node.hold("SET", "k", "here")
    assert node.forwarding is not None
    node.forwarding.serve_reads(reader.session, True)
    pause = Pause(node, writes_only=False)
    assert ask(group, client, "MODULE LIST") == b""
    ask(group, reader, "GET k")
    node.end_reads(True)
    assert ask(group, reader) == b""
    pause.end()
    assert ask(group, client) == b"*0\r\n"
    assert reader.output == b"$4\r\nhere\r\n"


def test_who_is_held_by_a_pause_goes_to_the_next_leader(group: Group) -> None:
    client = group.client()
    ask(group, client, "GET a")
    pause = Pause(group.followers[0])
    assert ask(group, client, "SET a 1") == b""
    new_leader(group)
    move(group)
    assert ask(group, client) == b""
    pause.end()
    assert ask(group, client, "GET a") == OK + b"$1\r\n1\r\n"
