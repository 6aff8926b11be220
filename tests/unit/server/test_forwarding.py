"""A follower's clients: their commands run at the leader, and what happens when leaders change."""

import random

import pytest

from kvnode.base.limits import FORWARD_DRAIN_MS, FORWARD_WAIT_MS, MIB
from tests.support.forwarded import (
    EXECABORT,
    LEADERLESS,
    NULL,
    NULL_ARRAY,
    OK,
    QUEUED,
    UNCERTAIN,
    ask,
    move,
    new_leader,
    retire,
    words,
)
from tests.support.forwarding import UNBLOCKED, Client, ForwardingNode, Group
from tests.support.forwarding import UNCERTAIN as UNCERTAIN_LINE
from tests.support.resp import encode

S_WAITING = 2
LOST = b"-TRYAGAIN the leader was lost before it answered, and nothing was changed\r\n"


@pytest.fixture
def group() -> Group:
    return Group()


# -- order and places -----------------------------------------------------------------------------


def test_commands_run_at_the_leader(group: Group) -> None:
    client = group.client()
    assert ask(group, client, "SET a 1", "INCR a", "NOSUCH", "GET") == (
        OK + b":2\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n"
        b"-ERR wrong number of arguments for 'get' command\r\n"
    )
    assert ask(group, group.client(group.leader), "GET a") == b"$1\r\n2\r\n"


def test_a_local_command_waits_for_the_answers_before_it(group: Group) -> None:
    client = group.client()
    client.send(words("SET a 1", "CLIENT GETNAME", "INCR a"))
    assert client.take() == b""
    assert client.session.state == S_WAITING
    assert group.followers[0].sequencer.take_ready() == []  # it does not run round in circles
    group.settle()
    assert client.output == OK + NULL + b":2\r\n"


def test_a_ping_in_a_pipeline_waits_for_nobody(group: Group) -> None:
    client = group.client()
    client.send(words("PING"))
    assert client.take() == b"+PONG\r\n"  # nothing is owed: at once
    client.send(words("SET a 1", "PING", "INCR a"))
    assert client.session.state != S_WAITING
    group.settle()
    assert client.output == b"+PONG\r\n" + OK + b"+PONG\r\n:2\r\n"


def test_the_leader_owns_transactions(group: Group) -> None:
    client = group.client()
    assert ask(group, client, "MULTI", "SET a 1", "PING") == OK + QUEUED * 2
    assert ask(group, client, "EXEC") == b"*2\r\n" + OK + b"+PONG\r\n"
    assert ask(group, client, "MULTI", "SET a 2", "DISCARD", "GET a") == (
        OK + QUEUED + OK + b"$1\r\n1\r\n"
    )


def test_a_command_about_the_node_is_not_queued_at_the_leader(group: Group) -> None:
    client = group.client()
    reply = ask(group, client, "MULTI", "CONFIG SET maxmemory 1", "EXEC", "GET a")
    assert reply.startswith(OK + b"-ERR Command not allowed inside a transaction")
    assert reply.endswith(EXECABORT + NULL)


def test_the_mirror_follows_the_session(group: Group) -> None:
    client = group.client()
    ask(group, client, "SELECT 3", "HSET h f v")
    assert client.session.db == 3
    reply = ask(group, client, "HELLO 3", "HGETALL h")
    assert reply.endswith(b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n")
    ask(group, client, "CLIENT SETNAME bob", "GET x")
    assert [(m.name, m.db, m.proto) for m in group.mirrors()] == [(b"bob", 3, 3)]
    assert ask(group, client, "MULTI", "RESET", "HGETALL h") == OK + b"+RESET\r\n*0\r\n"
    assert [(m.name, m.db, m.proto) for m in group.mirrors()] == [(b"", 0, 2)]


def test_replies_that_are_not_wanted(group: Group) -> None:
    client = group.client()
    assert ask(group, client, "CLIENT REPLY SKIP", "SET a 1", "GET a") == b"$1\r\n1\r\n"
    assert ask(group, client, "CLIENT REPLY OFF", "INCR a", "CLIENT ID", "INCR a") == b""
    assert ask(group, client, "CLIENT REPLY ON", "GET a") == OK + b"$1\r\n3\r\n"


def test_broken_protocol_is_answered_after_what_came_before(group: Group) -> None:
    client = group.client()
    reply = group.ask(client, words("SET a 1") + b"*1\r\n:1\r\n")
    assert reply == OK + b"-ERR Protocol error: expected '$', got ':'\r\n"
    assert client.is_closed
    group.settle()
    assert group.mirrors() == []


def test_a_stranger_gets_nowhere(group: Group) -> None:
    client = group.client()
    client.session.authenticated = False
    assert ask(group, client, "SET a 1") == b"-NOAUTH Authentication required.\r\n"
    assert group.mirrors() == []


# -- sizes ----------------------------------------------------------------------------------------


def test_large_commands_and_replies(group: Group) -> None:
    client = group.client()
    value = random.Random(1).randbytes(5 * MIB)
    assert group.ask(client, encode("SET", "big", value)) == OK
    reply = group.ask(client, words("GET big", "CLIENT GETNAME", "STRLEN big"))
    assert reply == b"$%d\r\n%b\r\n" % (len(value), value) + NULL + b":%d\r\n" % len(value)


def test_a_link_without_room_keeps_what_it_is_given(group: Group) -> None:
    end = group.ends[0]
    end.has_room = lambda: len(end.frames) < 2
    client = group.client()
    value = bytes(5 * MIB)
    assert group.ask(client, encode("SET", "big", value)) == OK
    assert ask(group, client, "STRLEN big") == b":%d\r\n" % len(value)


def test_a_slow_client_is_buffered_at_the_leader_and_holds_nobody_up(group: Group) -> None:
    slow, quick = group.client(), group.client()
    value = bytes(100_000)
    group.ask(quick, encode("SET", "big", value))
    group.clients.remove(slow)  # nobody takes its output
    slow.send(words(*["GET big"] * 60))
    group.settle()
    assert MIB <= slow.session.output_bytes < 2 * MIB
    (mirror,) = [m for m in group.mirrors() if m.output_bytes]
    assert 0 < mirror.output_bytes < 2 * MIB
    assert ask(group, quick, "INCR n") == b":1\r\n"
    group.clients.append(slow)
    group.settle()
    assert slow.output == (b"$100000\r\n" + value + b"\r\n") * 60
    assert mirror.output_bytes == 0


def test_input_of_a_session_is_sent_as_it_is_executed(group: Group) -> None:
    client = group.client()
    pipeline = encode("RPUSH", "l", bytes(1000)) * 4000
    client.send(pipeline)
    sent = sum(map(len, group.ends[0].frames))
    assert sent < 2 * MIB < len(pipeline)
    assert client.session.state == S_WAITING
    group.settle()
    assert client.output == b"".join(b":%d\r\n" % (n + 1) for n in range(4000))


# -- no leader ------------------------------------------------------------------------------------


def test_input_waits_for_a_leader(group: Group) -> None:
    follower, client = group.followers[0], group.client()
    follower.follow(2, None)
    assert ask(group, client, "CLIENT SETNAME x", "SET a 1", "GET a") == OK
    group.tick(FORWARD_WAIT_MS - 1)
    assert client.output == OK
    follower.follow(1, group.net.connect(follower, group.leader))
    group.settle()
    assert client.output == OK + OK + b"$1\r\n1\r\n"


def test_without_a_leader_commands_are_not_done_in_the_end(group: Group) -> None:
    follower, client = group.followers[0], group.client()
    follower.follow(2, None)
    assert ask(group, client, "SET a 1", "CLIENT GETNAME", "GET a") == b""
    group.tick(FORWARD_WAIT_MS)
    assert client.output == LEADERLESS + NULL + LEADERLESS
    assert not client.is_closed
    assert ask(group, client, "GET a") == b""  # it waits anew
    follower.follow(1, group.net.connect(follower, group.leader))
    group.settle()
    assert client.output.endswith(LEADERLESS + NULL)


def test_a_transaction_begun_without_a_leader_is_not_torn(group: Group) -> None:
    follower, client = group.followers[0], group.client()
    follower.follow(2, None)
    client.send(words("MULTI", "SET a 1"))
    group.tick(FORWARD_WAIT_MS)
    follower.follow(1, group.net.connect(follower, group.leader))
    assert ask(group, client, "SET a 2", "EXEC", "GET a") == QUEUED + EXECABORT + NULL
    assert client.output == OK + QUEUED + QUEUED + EXECABORT + NULL


# -- the leader is lost ---------------------------------------------------------------------------


def test_what_is_not_answered_is_uncertain_and_never_sent_again(group: Group) -> None:
    client = group.client()
    client.send(words("INCR n", "INCR n"))
    group.net.cut(group.ends[0])
    new_leader(group)
    move(group)
    group.settle()
    assert client.output == UNCERTAIN
    assert client.is_closed
    assert ask(group, group.client(), "GET n") == NULL


def test_reads_that_are_not_answered_may_be_tried_again(group: Group) -> None:
    client = group.client()
    client.send(words("GET n", "STRLEN n"))
    group.net.cut(group.ends[0])
    group.settle()
    assert (client.output, client.is_closed) == (LOST, True)


def test_who_is_owed_nothing_goes_on(group: Group) -> None:
    client = group.client()
    ask(group, client, "SELECT 2", "CLIENT SETNAME bob", "SET a 1")
    group.net.cut(group.ends[0])
    new_leader(group)
    assert ask(group, client, "GET a") == b""
    move(group)
    group.settle()
    assert client.output.endswith(OK + NULL)  # the data of another node
    assert [(m.name, m.db) for m in group.mirrors()] == [(b"bob", 2)]


def test_a_lost_transaction_is_discarded(group: Group) -> None:
    client = group.client()
    ask(group, client, "MULTI", "SET a 1")
    group.net.cut(group.ends[0])
    new_leader(group)
    move(group)
    assert ask(group, client, "SET b 1", "EXEC", "EXISTS a b") == QUEUED + EXECABORT + b":0\r\n"
    assert ask(group, client, "MULTI", "SET a 2", "EXEC") == OK + QUEUED + b"*1\r\n" + OK


@pytest.mark.parametrize("is_in_multi", [False, True])
def test_a_lost_watch_makes_exec_answer_null(group: Group, is_in_multi: bool) -> None:
    client = group.client()
    begin = ("MULTI", "SET a 1")
    ask(group, client, "WATCH a", *begin[: 2 * is_in_multi])
    group.net.cut(group.ends[0])
    new_leader(group)
    move(group)
    rest = ("EXEC", "GET a") if is_in_multi else (*begin, "EXEC", "GET a")
    assert ask(group, client, *rest).endswith(NULL_ARRAY + NULL)
    assert ask(group, client, *begin, "EXEC") == OK + QUEUED + b"*1\r\n" + OK


def test_unwatch_ends_what_a_lost_watch_began(group: Group) -> None:
    client = group.client()
    ask(group, client, "WATCH a")
    group.net.cut(group.ends[0])
    new_leader(group)
    move(group)
    reply = ask(group, client, "UNWATCH", "MULTI", "SET a 1", "EXEC")
    assert reply == OK + OK + QUEUED + b"*1\r\n" + OK


def test_a_reply_that_is_half_there_ends_without_an_error(group: Group) -> None:
    client, other = group.client(), group.client(group.leader)
    group.ask(other, encode("SET", "big", bytes(8 * MIB)))
    client.send(words("GET big"))
    for _ in range(3):
        for end in (group.ends[0], group.ends[0].peer):
            assert end is not None
            group.net.deliver(end, 10)
        group.leader.work()
        group.followers[0].work()
    group.net.cut(group.ends[0])
    group.settle()
    assert client.is_closed
    assert client.output[:10] == b"$8388608\r\n"
    assert 0 < len(client.output) < 8 * MIB
    assert b"-" not in client.output


def test_a_client_that_goes_takes_its_mirror_along(group: Group) -> None:
    client = group.client()
    ask(group, client, "BLPOP l 0")
    client.close()
    group.settle()
    assert group.mirrors() == []
    assert ask(group, group.client(), "RPUSH l v") == b":1\r\n"


# -- leadership moves -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "error"),
    [("INCR n", UNCERTAIN), ("BLPOP l 0", b"-UNBLOCKED the leader was lost, nothing was done\r\n")],
)
def test_what_has_begun_ends_with_the_leadership(group: Group, command: str, error: bytes) -> None:
    old, client = group.leader, group.client()
    ask(group, client, "GET a")
    client.send(words(command))
    group.net.deliver(group.ends[0], 10)
    old.serve()  # and nothing is synced
    old.stop()
    old.sequencer.step_down(UNCERTAIN_LINE, b"TRYAGAIN", UNBLOCKED)
    assert old.forwarding is not None
    old.forwarding.step_down()
    while group.net.is_busy:
        for end in (group.ends[0], group.ends[0].peer):
            assert end is not None
            group.net.deliver(end, 10)
    client.take()
    assert client.output.endswith(error)
    assert client.is_closed
    assert group.net.errors == []


def test_input_waits_until_a_leader_serves(group: Group) -> None:
    client = group.client()
    node = ForwardingNode(77)
    node.lead(2)
    retire(group)
    group.leader = node
    move(group)
    assert ask(group, client, "SET a 1") == b""
    node.begin_to_serve()
    group.settle()
    assert client.output == OK


def test_a_follower_that_becomes_the_leader_serves_its_clients(group: Group) -> None:
    follower, client, owed = group.followers[0], group.client(), group.client()
    ask(group, client, "WATCH a")
    owed.send(words("INCR n"))
    assert follower.forwarding is not None
    follower.lead(2)
    follower.begin_to_serve()
    group.followers.clear()  # it may write now
    client.send(words("MULTI", "SET a 1", "EXEC", "GET a"))
    owed.send(words("INCR n"))
    follower.work()
    for each in group.clients:
        each.take()
    assert client.output.endswith(OK + QUEUED + NULL_ARRAY + NULL)
    assert owed.output == b""  # in order: the former leader has not answered
    follower.now_ms += FORWARD_DRAIN_MS
    follower.forwarding.tick()
    follower.work()
    owed.take()
    assert (owed.output, owed.is_closed) == (UNCERTAIN, True)


@pytest.mark.parametrize("end", ["EXEC", "DISCARD", "RESET", ""])
def test_what_was_queued_at_a_former_leader_does_not_count(group: Group, end: str) -> None:
    follower, client = group.followers[0], group.client()
    ask(group, client, "MULTI", "GET a", "SET b 1", *([end] if end else []))
    assert follower.forwarding is not None
    follower.lead(2)
    follower.begin_to_serve()
    group.followers.clear()  # it may write now
    if not end:
        client.send(words("DISCARD"))
        follower.work()
    client.take()
    before = len(client.output)
    client.send(words("MULTI", "GET a", "EXEC"))
    follower.work()
    client.take()
    assert client.output[before:] == OK + QUEUED + b"*1\r\n" + NULL


def test_answers_of_a_former_leader_are_taken_for_a_while(group: Group) -> None:
    client = group.client()
    client.send(words("INCR n"))
    group.net.deliver(group.ends[0], 10)
    group.leader.work()
    new_leader(group)
    move(group)
    client.send(words("INCR m"))
    group.settle()
    assert client.output == b":1\r\n:1\r\n"


def test_a_leader_that_follows_keeps_its_clients(group: Group) -> None:
    old = group.leader
    client = group.client(old)
    ask(group, client, "WATCH a")
    other = group.client(old)
    ask(group, other, "MULTI", "SET a 1")
    old.step_down()
    node = new_leader(group)
    old.follow(2, group.net.connect(old, node))
    assert ask(group, client, "MULTI", "SET a 2", "EXEC") == OK + QUEUED + NULL_ARRAY
    assert ask(group, other, "EXEC", "GET a") == EXECABORT + NULL
    group.tick(FORWARD_WAIT_MS)
    assert not client.is_closed
    assert not other.is_closed


# -- reads of a follower --------------------------------------------------------------------------


@pytest.fixture
def reader(group: Group) -> Client:
    """A client in READONLY, of a follower whose data are its own."""
    node = group.followers[0]
    node.hold("SET", "k", "here")
    client = group.client()
    assert node.forwarding is not None
    node.forwarding.serve_reads(client.session, True)
    return client


def test_a_read_waits_for_an_index_that_was_asked_for_after_it(
    group: Group, reader: Client
) -> None:
    node = group.followers[0]
    assert ask(group, reader, "GET k", "STRLEN k") == b""
    assert len(node.reads) == 1
    reader.send(words("EXISTS k"))
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n:4\r\n"
    assert len(node.reads) == 1  # the third came after the first was asked for
    node.end_reads(True)
    assert ask(group, reader) == b":1\r\n"
    assert group.mirrors() == []


def test_writes_of_a_reader_are_forwarded_in_order(group: Group, reader: Client) -> None:
    node = group.followers[0]
    assert ask(group, reader, "SET k there", "GET k", "INCR n") == OK
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n:1\r\n"  # (its data do not follow)
    assert ask(group, reader, "MULTI", "GET k", "EXEC") == OK + QUEUED + b"*1\r\n$5\r\nthere\r\n"
    assert node.reads == []


class EmptyNode(ForwardingNode):
    """Nothing was applied here yet: there are no databases."""

    def _lead(self) -> None:
        self.replica.lead()
        while not self.replica.is_serving:
            self.sync()


def test_a_read_before_there_are_databases_goes_to_the_leader() -> None:
    group = Group(0)
    node = EmptyNode(1)
    group.followers.append(node)
    node.follow(1, group.net.connect(node, group.leader))
    client = group.client(node)
    assert node.forwarding is not None
    node.forwarding.serve_reads(client.session, True)
    ask(group, client, "GET k")
    node.end_reads(True)
    assert ask(group, client) == NULL


def test_a_read_without_an_index_goes_to_the_leader(group: Group, reader: Client) -> None:
    ask(group, group.client(), "SET k there")
    assert ask(group, reader, "GET k") == b""
    group.followers[0].end_reads(False)
    assert ask(group, reader) == b"$5\r\nthere\r\n"
    assert ask(group, reader, "GET k") == b""
    group.tick(FORWARD_WAIT_MS)
    assert reader.output == b"$5\r\nthere\r\n" * 2


def test_the_index_of_a_read_that_was_given_up_is_none_of_a_later_read(
    group: Group, reader: Client
) -> None:
    """A node far behind: the leader answers in its place, and the index is reached much later."""
    node = group.followers[0]
    assert ask(group, reader, "GET k") == b""
    group.tick(FORWARD_WAIT_MS)
    assert reader.output == NULL
    assert ask(group, reader, "SET n 1") == OK
    assert ask(group, reader, "GET k") == b""
    given_up, asked = node.reads
    given_up(True)
    assert ask(group, reader) == b""
    asked(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n"


def test_a_read_waits_for_the_index_that_it_asked_for_last(group: Group, reader: Client) -> None:
    """Another leader comes while it waits: it asks again, with what has arrived meanwhile."""
    node = group.followers[0]
    assert ask(group, reader, "GET k") == b""
    reader.send(words("STRLEN k"))
    new_leader(group)
    move(group)
    assert ask(group, reader) == b""
    first, again = node.reads
    first(True)
    assert ask(group, reader) == b""
    again(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n:4\r\n"


def test_a_read_behind_what_was_forwarded_asks_for_an_index_after_it(
    group: Group, reader: Client
) -> None:
    """All of it came at once, before the first index was asked for."""
    node = group.followers[0]
    assert ask(group, reader, "GET k", "SET k there", "GET k") == b""
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n" + OK
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n"  # (its data do not follow)


def test_an_index_that_was_reached_says_nothing_of_a_state_that_is_built_anew(
    group: Group, reader: Client
) -> None:
    """It may be as of the last checkpoint."""
    node, other = group.followers[0], ForwardingNode(7)
    assert node.forwarding is not None
    assert ask(group, reader, "GET k") == b""
    node.end_reads(True)  # the read is to run in the next pass
    node.forwarding.adopt(other.sequencer)
    other.sequencer.take_over([reader.session])
    other.serve()
    node.forwarding.flush()
    assert reader.take() == b""
    node.end_reads(True)
    other.serve()
    assert reader.take() == NULL


def test_a_leader_that_hands_over_shows_nobody_what_is_not_committed(group: Group) -> None:
    node = group.leader
    writer, reader = group.client(node), group.client(node)
    assert node.forwarding is not None
    node.forwarding.serve_reads(reader.session, True)
    writer.send(words("SET k 1"))
    node.stop()
    reader.send(words("GET k"))
    node.end_reads(True)
    node.serve()
    assert reader.take() == b""
    node.begin_to_serve()
    group.settle()
    assert (writer.output, reader.output) == (OK, b"$1\r\n1\r\n")


def test_a_read_fetches_what_the_follower_lacks_in_memory(group: Group, reader: Client) -> None:
    node = group.followers[0]
    node.checkpoint()
    node.evict()
    ask(group, reader, "GET k")
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n"


def test_what_leaves_in_steps_or_takes_long_goes_to_the_leader(
    group: Group, reader: Client
) -> None:
    node = group.followers[0]
    node.hold("SET", "big", bytes(3 * MIB))
    ask(group, reader, "GET big", "EVAL_RO return{} 0", "DBSIZE", "GET k")
    node.end_reads(True)
    assert ask(group, reader) == NULL + b"*0\r\n:0\r\n"
    node.end_reads(True)
    assert ask(group, reader) == b"$4\r\nhere\r\n"


def test_readonly_ends(group: Group, reader: Client) -> None:
    assert ask(group, reader, "RESET", "GET k") == b"+RESET\r\n" + NULL
    assert group.followers[0].reads == []


# -- bad input ------------------------------------------------------------------------------------


def test_what_is_no_frame_ends_the_link(group: Group) -> None:
    client = group.client()
    ask(group, client, "SET a 1")
    for end in (group.ends[0], group.ends[0].peer):
        assert end is not None
        for frame in (b"", b"\x03" + bytes(24), b"\x01" + bytes(100), bytes([2]) + b"\xff" * 24):
            other = group.net.connect(group.followers[0], group.leader)
            assert other.peer is not None
            start = other if end is group.ends[0] else other.peer
            group.net.arrive(start, frame)
    assert len(group.net.errors) >= 6


@pytest.mark.parametrize("seed", range(40))
def test_damaged_frames_do_no_harm_beyond_the_link(seed: int) -> None:
    """They end the link or are taken; the leader goes on, and later clients are served."""
    rng = random.Random(seed)
    group = Group(seed=seed)

    def damage(frame: bytes) -> list[bytes]:
        if rng.random() < 0.5:
            return [frame]
        data = bytearray(frame)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            data[at] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        return [bytes(data)]

    group.net.tampers = damage
    for _ in range(5):
        client = group.client()
        client.send(words("MULTI", "SET a 1", "EXEC", "GET a", "BLPOP l 0.01", "PING"))
        for _ in range(4):
            for link in group.net.links:
                for end in link:
                    group.net.deliver(end, 5)
            for node in group.nodes:
                node.work()
        if any(end.is_closed for end in group.ends):
            group.ends = [group.net.connect(group.followers[0], group.leader)]
            group.followers[0].follow(1, group.ends[0])
    group.net.tampers = lambda frame: (frame,)
    for link in group.net.links:
        group.net.cut(link[0])
    group.followers[0].follow(1, group.net.connect(group.followers[0], group.leader))
    assert ask(group, group.client(), "SET last 1", "GET last") == OK + b"$1\r\n1\r\n"
