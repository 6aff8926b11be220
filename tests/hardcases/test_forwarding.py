"""Sequences of events that would do a forwarded command twice, too late, or at the wrong node."""

import pytest

from kvnode.base.limits import FORWARD_WAIT_MS
from tests.support.forwarded import (
    EXECABORT,
    LEADERLESS,
    NULL,
    OK,
    QUEUED,
    UNCERTAIN,
    ask,
    move,
    new_leader,
    words,
)
from tests.support.forwarding import Group


@pytest.fixture
def group() -> Group:
    return Group()


def follow_another(group: Group) -> None:
    """The follower goes to a leader of term 2, whose data are its own; the former one is none."""
    new_leader(group)
    move(group)


def test_hard_case_24_a_broken_link_ends_waiters_before_anything_else(group: Group) -> None:
    client = group.client()
    assert ask(group, client, "BLPOP l 0") == b""
    group.net.cut(group.ends[0])
    assert group.mirrors() == []
    other = group.client(group.leader)
    assert ask(group, other, "RPUSH l v", "LRANGE l 0 -1") == b":1\r\n*1\r\n$1\r\nv\r\n"
    assert (client.output, client.is_closed) == (UNCERTAIN, True)


def test_hard_case_25_what_is_on_its_way_when_a_link_is_given_up_comes_too_late(
    group: Group,
) -> None:
    follower, client = group.followers[0], group.client()
    old = group.ends[0]
    client.send(words("SET a old"))
    group.net.cut_one_side(old)
    client.take()
    assert (client.output, client.is_closed) == (UNCERTAIN, True)
    follower.follow(1, group.net.connect(follower, group.leader))
    again = group.client()
    assert ask(group, again, "SET a new") == OK
    old.is_closed = False
    assert group.net.deliver(old, 10)
    assert group.net.errors
    assert ask(group, again, "GET a") == b"$3\r\nnew\r\n"


def test_hard_case_25_what_comes_to_a_node_of_another_term_is_not_done(group: Group) -> None:
    follower, client = group.followers[0], group.client()
    follower.follow(3, group.net.connect(follower, group.leader))
    assert ask(group, client, "SET a 1", "MULTI", "SET b 1", "EXEC") == b""
    group.tick(FORWARD_WAIT_MS)
    assert client.output == LEADERLESS + OK + QUEUED + EXECABORT
    follower.follow(1, group.net.connect(follower, group.leader))
    assert ask(group, client, "EXISTS a b") == b":0\r\n"


def test_hard_case_23_a_read_of_an_expired_key_goes_to_the_leader(group: Group) -> None:
    node, reader = group.followers[0], group.client()
    node.hold("SET", "k", "here")
    assert node.forwarding is not None
    node.forwarding.serve_reads(reader.session, True)
    node.hold("SET", "e", "v", "PX", 100)
    for each in group.nodes:
        each.now_ms += 200
    ask(group, reader, "GET k", "GET e", "GET k")
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n" + NULL
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n"
    assert len(group.mirrors()) == 1


def test_hard_case_33_what_a_leader_did_not_run_goes_to_the_next_one(group: Group) -> None:
    """A transfer: the old leader stops executing, and returns what waits."""
    old, client = group.leader, group.client()
    ask(group, client, "SELECT 2", "SET a 0")
    old.stop()
    client.send(words("SET a 1", "CLIENT GETNAME", "GET a"))
    group.settle()
    old.step_down()
    follow_another(group)
    group.settle()
    assert client.output.endswith(OK + OK + NULL + b"$1\r\n1\r\n")
    assert not client.is_closed
    assert group.net.errors == []


def test_hard_case_25_commands_about_a_node_never_reach_the_leader(group: Group) -> None:
    client = group.client()
    ask(group, client, "CLIENT SETNAME bob", "CLIENT NO-TOUCH ON", "COMMAND COUNT")
    assert group.mirrors() == []
    reply = ask(group, client, "MULTI", "CONFIG SET maxmemory 1", "SHUTDOWN", "EXEC")
    assert reply.count(b"-ERR Command not allowed inside a transaction") == 2
    assert reply.endswith(EXECABORT)
    leader = group.leader.sequencer.dispatch
    assert [leader.lookup(name).calls for name in (b"config", b"shutdown", b"client")] == [0, 0, 0]


def test_what_is_sent_again_under_its_id_is_done_once(group: Group) -> None:
    """The link breaks when the leader has executed: its answers do not come any more."""
    follower, client = group.followers[0], group.client()
    assert ask(group, client, "KVNODE ONCE a INCR n", "INCR n") == b":1\r\n:2\r\n"
    client.send(words("KVNODE ONCE b INCR n", "KVNODE ONCE c RPUSH l x", "GET n"))
    group.net.deliver(group.ends[0], 10)
    group.leader.work()
    group.net.cut(group.ends[0])
    client.take()
    assert client.output.endswith(UNCERTAIN)
    assert client.is_closed
    follower.follow(1, group.net.connect(follower, group.leader))
    assert ask(group, group.client(group.leader), "GET n") == b"$1\r\n3\r\n"
    again = group.client()
    retried = ("KVNODE ONCE c RPUSH l x", "KVNODE ONCE b INCR n", "KVNODE ONCE a INCR n", "GET n")
    assert ask(group, again, *retried) == b":1\r\n:3\r\n:1\r\n$1\r\n3\r\n"
    direct = group.client(group.leader)
    assert ask(group, direct, *retried) == b":1\r\n:3\r\n:1\r\n$1\r\n3\r\n"
