"""Sessions that wait on keys: order, deadlines, ends, and what wakes them."""

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode._core import serving
from tests.support.local import S_CLOSING, S_PARKED, S_READY, S_WAITING, pipeline
from tests.support.tokens import TokenNode

NULL = b"$-1\r\n"
NULL_ARRAY = b"*-1\r\n"
PONG = b"+PONG\r\n"
UNBLOCKED = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"


def took(key, token):
    return b"*2\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in (key, token))


@pytest.fixture
def node():
    return TokenNode()


def waiting(node, *commands):
    session = node.begin(*commands)
    assert session.state == S_WAITING
    assert session.is_blocked
    return session


def test_what_is_there_is_taken_at_once(node):
    node.begin(("GIVE", "k", "ab"))
    session = node.begin(("TAKE", "none", "k", 0))
    assert session.take() == took(b"k", b"a")
    assert not session.is_blocked


def test_a_waiter_is_served_and_goes_on(node):
    session = waiting(node, ("PING",), ("TAKE", "k", 0), ("PING",), ("GET", "k"))
    assert session.take() == PONG
    assert node.waiters.keys == node.waiters.sessions == 1
    node.begin(("GIVE", "k", "ab"))
    assert session.take() == took(b"k", b"a") + PONG + b"$1\r\nb\r\n"
    assert session.state == S_READY
    assert session.waiting is None
    assert node.waiters.keys == node.waiters.sessions == 0


def test_it_is_served_in_the_batch_that_gave(node):
    session = waiting(node, ("TAKE", "k", 0))
    entries = len(node.entries)
    giver = node.session()
    assert node.run(giver, pipeline(("GIVE", "k", "a"))) == b""
    assert session.state == S_READY
    assert session.take() == b""  # held, like the giver's own reply
    assert len(node.entries) == entries + 1
    node.commit()
    assert session.take() == took(b"k", b"a")
    assert giver.take() == b":1\r\n"
    assert node.begin(("EXISTS", "k")).take() == b":0\r\n"


def test_first_come_first_served(node):
    sessions = [waiting(node, ("TAKE", "k", 0)) for _ in range(4)]
    node.begin(("GIVE", "k", "ab"))
    assert [s.take() for s in sessions] == [took(b"k", b"a"), took(b"k", b"b"), b"", b""]
    node.begin(("GIVE", "k", "cde"))
    assert [s.take() for s in sessions] == [b"", b"", took(b"k", b"c"), took(b"k", b"d")]
    assert node.begin(("GET", "k")).take() == b"$1\r\ne\r\n"


def test_a_waiter_on_several_keys_leaves_all_queues(node):
    first = waiting(node, ("TAKE", "a", "b", "c", 0))
    second = waiting(node, ("TAKE", "b", 0))
    node.begin(("GIVE", "c", "x"))
    assert first.take() == took(b"c", b"x")
    node.begin(("GIVE", "b", "y"))
    assert second.take() == took(b"b", b"y")
    assert node.waiters.keys == 0


def test_a_key_named_twice_is_waited_on_once(node):
    session = waiting(node, ("TAKE", "k", "k", 0))
    assert node.waiters.keys == 1
    node.begin(("GIVE", "k", "ab"))
    assert session.take() == took(b"k", b"a")
    assert node.begin(("GET", "k")).take() == b"$1\r\nb\r\n"


def test_the_first_key_with_data_counts_at_the_end_of_the_command(node):
    """As in Redis: the order of the keys, not that in which they got data."""
    session = waiting(node, ("TAKE", "a", "b", 0))
    node.begin(("MULTI",), ("GIVE", "b", "x"), ("GIVE", "a", "y"), ("EXEC",))
    assert session.take() == took(b"a", b"y")


def test_an_exec_is_whole_before_anybody_is_served(node):
    session = waiting(node, ("TAKE", "k", 0))
    giver = node.begin(("MULTI",), ("GIVE", "k", "ab"), ("GET", "k"), ("DEL", "k"), ("EXEC",))
    assert giver.take().endswith(b"*3\r\n:2\r\n$2\r\nab\r\n:1\r\n")
    assert session.state == S_WAITING
    node.begin(("MULTI",), ("DEL", "k"), ("GIVE", "k", "cd"), ("EXEC",))
    assert session.take() == took(b"k", b"c")


def test_an_undone_exec_wakes_nobody(node):
    node.begin(("SET", "cold", "1"))
    node.cool()
    session = node.begin(("TAKE", "k", 0))
    giver = node.session()
    node.run(giver, pipeline(("MULTI",), ("GIVE", "k", "a"), ("SCAN", "0"), ("EXEC",)))
    assert giver.state == S_PARKED
    assert session.state == S_WAITING
    node.proceed()
    assert session.take() == took(b"k", b"a")


def test_in_an_exec_nobody_waits(node):
    session = node.begin(("MULTI",), ("TAKE", "k", 0), ("PASS", "k", "l", 0), ("EXEC",))
    assert session.take().endswith(b"*2\r\n" + NULL_ARRAY + NULL)
    assert session.state == S_READY
    session.proto = 3
    node.begin(("MULTI",), ("TAKE", "k", 0), ("PASS", "k", "l", 0), ("EXEC",), session=session)
    assert session.take().endswith(b"*2\r\n_\r\n_\r\n")


def test_serving_gives_other_keys_data(node):
    last = waiting(node, ("TAKE", "b", 0))
    middle = waiting(node, ("PASS", "a", "b", 0))
    node.begin(("GIVE", "a", "x"))
    assert middle.take() == b"$1\r\nx\r\n"
    assert last.take() == took(b"b", b"x")


def test_a_ring_of_waiters_ends(node):
    sessions = [waiting(node, ("PASS", a, b, 0)) for a, b in ("ab", "bc", "ca", "ab")]
    node.begin(("GIVE", "a", "x"))
    assert all(session.take() == b"$1\r\nx\r\n" for session in sessions)
    assert node.begin(("GET", "b")).take() == b"$1\r\nx\r\n"


def test_another_type_or_nothing_wakes_nobody(node):
    session = waiting(node, ("TAKE", "k", 0))
    node.begin(("SET", "other", "1"))
    node.begin(("DEL", "k"))
    node.begin(("SADD", "k", "1"))
    node.begin(("GIVE", "k2", "1"))
    assert session.state == S_WAITING
    assert session.take() == b""


@pytest.mark.parametrize(
    "commands",
    [
        [("GIVE", "x", "a"), ("RENAME", "x", "k")],
        [("SELECT", 1), ("GIVE", "k", "a"), ("MOVE", "k", 0)],
        [("SELECT", 1), ("GIVE", "k", "a"), ("SWAPDB", 0, 1)],
        [("FLUSHALL",), ("GIVE", "k", "a")],
        [("SELECT", 5), ("GIVE", "k", "a"), ("SWAPDB", 5, 1), ("SWAPDB", 1, 0)],
    ],
)
def test_what_gives_a_key_data(node, commands):
    session = waiting(node, ("TAKE", "k", 0))
    node.begin(*commands)
    assert session.take() == took(b"k", b"a")


def test_waiters_stay_with_their_database(node):
    zero = waiting(node, ("TAKE", "k", 0))
    one = waiting(node, ("SELECT", 1), ("TAKE", "k", 0))
    one.take()
    node.begin(("SWAPDB", 0, 1), ("FLUSHDB",), ("SELECT", 1), ("GIVE", "k", "a"))
    assert (zero.take(), one.take()) == (b"", took(b"k", b"a"))
    node.begin(("GIVE", "k", "b"))
    assert zero.take() == took(b"k", b"b")


def test_cold_keys_of_a_swapped_database_are_fetched(node):
    node.begin(("SELECT", 1), ("GIVE", "k", "a"))
    node.cool()
    session = node.begin(("TAKE", "k", 0))
    assert session.state == S_WAITING
    node.begin(("SWAPDB", 0, 1))
    assert session.take() == took(b"k", b"a")


def test_a_parked_waiter_keeps_its_place(node):
    node.begin(("GIVE", "to", "x"))
    node.cool()
    first = node.begin(("PASS", "k", "to", 0))
    second = node.begin(("TAKE", "k", 0))
    node.cool()
    giver = node.session()
    node.run(giver, pipeline(("GIVE", "k", "a")))
    node.fetch()
    node.run_pass()  # GIVE; then PASS parks: it lacks `to`
    assert first.state == S_PARKED
    assert first.is_blocked
    assert second.state == S_WAITING
    node.run(node.session(), pipeline(("GIVE", "k", "b")))
    assert first.state == S_PARKED
    assert second.state == S_WAITING
    node.proceed()
    assert first.take() == b"$1\r\na\r\n"
    assert second.take() == took(b"k", b"b")
    assert node.begin(("GET", "to")).take() == b"$2\r\nxa\r\n"


def parked_first(node):
    """Return a parked waiter and one behind it, with one token on their key."""
    node.begin(("GIVE", "to", "x"))
    first = node.begin(("PASS", "k", "to", 1), ("PING",))
    second = node.begin(("TAKE", "k", 0))
    node.cool()
    node.run(node.session(), pipeline(("GIVE", "k", "a")))
    node.fetch()
    node.run_pass()
    assert first.state == S_PARKED
    assert first.take() == b""
    return first, second


def test_a_parked_waiter_that_goes_lets_the_next_one_pass(node):
    first, second = parked_first(node)
    node.close(first)
    node.proceed()
    assert second.take() == took(b"k", b"a")


def test_a_parked_waiter_that_finds_nothing_waits_on(node):
    first, second = parked_first(node)
    thief = node.session()
    node.run(thief, pipeline(("TAKE", "k", 0)))
    node.proceed()
    assert thief.take() == took(b"k", b"a")
    assert (first.state, second.state) == (S_WAITING, S_WAITING)
    node.begin(("GIVE", "k", "bc"))
    assert first.take() == b"$1\r\nb\r\n" + PONG
    assert second.take() == took(b"k", b"c")


def test_a_parked_waiter_times_out_once_it_has_looked(node):
    first, second = parked_first(node)
    node.run(node.session(), pipeline(("TAKE", "k", 0)))
    node.clock.advance(1000)
    node.run_pass()
    assert first.state == S_PARKED
    node.proceed()
    assert first.take() == NULL_ARRAY + PONG
    assert second.state == S_WAITING


def test_a_parked_waiter_may_be_served_past_its_deadline(node):
    first, _ = parked_first(node)
    node.clock.advance(1000)
    node.proceed()
    assert first.take() == b"$1\r\na\r\n" + PONG


@pytest.mark.parametrize(("with_error", "reply"), [(True, UNBLOCKED), (False, NULL_ARRAY)])
def test_a_parked_waiter_that_is_unblocked_answers_before_it_goes_on(node, with_error, reply):
    first, second = parked_first(node)
    node.sequencer.begin(node.clock.now_ms)
    assert serving.unblock(node.sequencer, first, with_error)
    node.sequencer.end()
    assert first.state == S_PARKED
    node.proceed()
    assert first.take() == reply + PONG
    assert second.take() == took(b"k", b"a")


# -- deadlines ----------------------------------------------------------------------------------


def test_a_deadline_to_the_millisecond(node):
    session = waiting(node, ("TAKE", "k", "0.25"), ("PING",))
    assert node.waiters.timed == 1
    node.clock.advance(249)
    node.proceed()
    assert session.take() == b""
    node.clock.advance(1)
    node.proceed()
    assert session.take() == NULL_ARRAY + PONG
    assert node.waiters.sessions == node.waiters.keys == node.waiters.timed == 0
    node.begin(("GIVE", "k", "a"))
    assert session.take() == b""


def test_fractions_of_a_millisecond_are_rounded_up(node):
    session = waiting(node, ("TAKE", "k", "0.0001"))
    node.run_pass()
    assert session.take() == b""
    node.clock.advance(1)
    node.proceed()
    assert session.take() == NULL_ARRAY


def test_deadlines_pass_in_their_order_and_before_the_commands_of_a_pass(node):
    late = waiting(node, ("TAKE", "k", "0.2"))
    soon = waiting(node, ("TAKE", "k", "0.1"))
    ever = waiting(node, ("TAKE", "k", "0"))
    node.clock.advance(150)
    node.begin(("GIVE", "k", "a"))
    assert soon.take() == NULL_ARRAY
    assert late.take() == took(b"k", b"a")
    node.clock.advance(10**9)
    node.proceed()
    assert ever.state == S_WAITING


def test_a_null_at_the_deadline_is_null_in_resp3(node):
    session = node.session()
    session.proto = 3
    node.begin(("PASS", "k", "l", 1), session=session)
    node.clock.advance(1000)
    node.proceed()
    assert session.take() == b"_\r\n"


def test_every_command_answers_a_null_array_at_its_deadline(node):
    session = waiting(node, ("PASS", "k", "l", 1))
    node.clock.advance(1000)
    node.proceed()
    assert session.take() == NULL_ARRAY


def test_the_answer_at_a_deadline_is_held(node):
    """It says that the key was empty: so it waits for whoever emptied it."""
    session = waiting(node, ("TAKE", "k", 1))
    node.run(node.session(), pipeline(("MULTI",), ("SET", "k", "x"), ("DEL", "k"), ("EXEC",)))
    node.clock.advance(1000)
    node.run_pass()
    assert session.take() == b""
    assert session.held
    node.commit()
    assert session.take() == NULL_ARRAY


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        ("abc", b"timeout is not a float or out of range"),
        ("", b"timeout is not a float or out of range"),
        (" 1", b"timeout is not a float or out of range"),
        ("1x", b"timeout is not a float or out of range"),
        ("nan", b"timeout is not a float or out of range"),
        ("-1", b"timeout is negative"),
        ("-0.002", b"timeout is negative"),
        ("1e5000", b"timeout is not a float or out of range"),
        ("1e300", b"timeout is out of range"),
        ("inf", b"timeout is out of range"),
        ("9223372036854775", b"timeout is out of range"),
    ],
)
def test_timeouts_that_are_refused(node, timeout, error):
    node.begin(("GIVE", "k", "a"))
    for key in ("k", "none"):
        assert node.begin(("TAKE", key, timeout)).take() == b"-ERR " + error + b"\r\n"


@pytest.mark.parametrize("timeout", ["0", "-0", "-0.001", "0.0", "1e-3", "0x10", "9223372036"])
def test_timeouts_that_are_taken(node, timeout):
    waiting(node, ("TAKE", "k", timeout))


# -- other ends ---------------------------------------------------------------------------------


def unblock(node, session, with_error=False):
    node.sequencer.begin(node.clock.now_ms)
    done = serving.unblock(node.sequencer, session, with_error)
    node.sequencer.end()
    node.proceed()
    return done


@pytest.mark.parametrize(("with_error", "reply"), [(True, UNBLOCKED), (False, NULL_ARRAY)])
def test_client_unblock(node, with_error, reply):
    session = waiting(node, ("TAKE", "k", 0), ("PING",))
    assert unblock(node, session, with_error)
    assert session.take() == reply + PONG
    assert not unblock(node, session, with_error)
    assert node.dispatch.errors.get(b"UNBLOCKED", 0) == with_error
    assert node.waiters.keys == 0


def test_nobody_else_is_unblocked(node):
    session = node.session()
    assert not unblock(node, session)
    session.state = S_WAITING  # for something else than keys
    assert not unblock(node, session)


def test_a_closed_waiter_takes_nothing(node):
    gone = waiting(node, ("TAKE", "k", 0))
    stays = waiting(node, ("TAKE", "k", 0))
    node.close(gone)
    assert node.waiters.sessions == 1
    node.begin(("GIVE", "k", "ab"))
    assert stays.take() == took(b"k", b"a")
    assert node.begin(("GET", "k")).take() == b"$1\r\nb\r\n"


@pytest.mark.parametrize("timeout", [0, 1])
def test_a_closing_waiter_takes_nothing(node, timeout):
    """A client that has hung up while older output is on its way."""
    session = waiting(node, ("TAKE", "k", timeout))
    session.state = S_CLOSING
    node.clock.advance(1000)
    node.begin(("GIVE", "k", "a"))
    assert not session.is_blocked
    assert session.take() == b""
    assert node.begin(("GET", "k")).take() == b"$1\r\na\r\n"
    assert not unblock(node, session)


def test_a_node_that_ends_lets_go_of_its_waiters():
    node = TokenNode()
    for i in range(50):
        waiting(node, ("TAKE", f"a{i % 7}", "b", "0" if i % 2 else "5"))
    del node
    gc.collect()


# -- counters, modes ----------------------------------------------------------------------------


def test_a_command_counts_once_when_it_ends(node):
    command = node.dispatch.lookup(b"TAKE")
    sessions = [waiting(node, ("TAKE", "k", 1)) for _ in range(3)]
    assert command.calls == 0
    node.begin(("GIVE", "k", "a"))
    assert command.calls == 1
    unblock(node, sessions[1], with_error=True)
    assert (command.calls, command.failed) == (2, 1)
    node.clock.advance(1000)
    node.proceed()
    assert (command.calls, command.failed) == (3, 1)
    assert [session.commands for session in sessions] == [1, 1, 1]


def test_client_reply_off_and_skip(node):
    for mode, last in (("OFF", b""), ("SKIP", PONG)):
        for end in (("GIVE", "k", "a"), None):
            session = waiting(node, ("CLIENT", "REPLY", mode), ("TAKE", "k", 1), ("PING",))
            if end:
                node.begin(end)
            node.clock.advance(1000)
            node.proceed()
            assert session.take() == last


def test_an_error_of_the_rerun_is_the_reply(node):
    session = waiting(node, ("PASS", "k", "l", 0))
    node.begin(("MULTI",), ("GIVE", "k", "a"), ("EXEC",))
    assert session.take() == b"$1\r\na\r\n"


def test_a_pause_holds_waiters(node):
    held = []

    def gate(session, command):
        if command.name in (b"take", b"pass"):
            held.append(session)
            return True
        return False

    first = waiting(node, ("TAKE", "k", 0))
    second = waiting(node, ("TAKE", "k", 0))
    node.dispatch.gate = gate
    node.begin(("GIVE", "k", "a"))
    node.begin(("GIVE", "k", "b"))
    assert held == [first]
    assert (first.state, second.state) == (S_WAITING, S_WAITING)
    node.dispatch.gate = None
    node.sequencer.resume(first)
    node.proceed()
    assert first.take() == took(b"k", b"a")
    assert second.take() == took(b"k", b"b")


def test_many_that_wait_cost_nothing(node):
    """Counted in commands that begin: one that waits runs again only when its own key has data."""
    sessions = [waiting(node, ("TAKE", f"k{i}", 100 + i % 7)) for i in range(10_000)]
    begun = []
    node.dispatch.gate = lambda session, command: begun.append(command.name)
    node.begin(("PING",), ("GIVE", "none", "a"))
    node.clock.advance(99_999)
    node.proceed()
    node.begin(("GIVE", "k7777", "a"))
    assert begun == [b"ping", b"give", b"give", b"take"]
    assert [i for i, session in enumerate(sessions) if session.take()] == [7777]
    assert sum(session.input_bytes for session in sessions) == 0


# -- what one pass serves -----------------------------------------------------------------------


def settle_backlog(node):
    """Run passes until the backlog is served; return how many there were."""
    passes = 0
    while node.waiters.backlog:
        passes += 1
        node.run_pass()
    node.commit()
    return passes


def test_a_pass_serves_a_bounded_number_in_order(node):
    sessions = [waiting(node, ("TAKE", "k", 0)) for _ in range(2500)]
    giver = node.session()
    node.run(giver, pipeline(("GIVE", "k", "abcde" * 500)))
    assert node.waiters.sessions == 1500
    assert settle_backlog(node) == 2
    expected = "abcde" * 500
    for session, token in zip(sessions, expected, strict=True):
        assert session.take() == took(b"k", token.encode())


def test_an_exec_that_feeds_many_keys(node):
    node.sequencer.serving_max = 10
    sessions = [waiting(node, ("TAKE", f"k{i}", 0)) for i in range(95)]
    giver = node.session()
    gifts = [("GIVE", f"k{i}", "a") for i in range(95)]
    node.run(giver, pipeline(("MULTI",), *gifts, ("EXEC",)))
    assert node.waiters.sessions == 85
    assert settle_backlog(node) == 9
    assert [session.take() for session in sessions] == [took(b"k%d" % i, b"a") for i in range(95)]


OVERTAKING = (
    [("TAKE", "k", 0)],
    [("PASS", "k", "z", 0)],
    [("DEL", "k")],
    [("FLUSHALL",)],
    [("MULTI",), ("SET", "x", "1"), ("TAKE", "k", 0), ("EXEC",)],
)


@pytest.mark.parametrize("commands", OVERTAKING, ids=lambda commands: commands[0][0])
def test_nobody_overtakes_the_backlog(node, commands):
    node.sequencer.serving_max = 2
    sessions = [waiting(node, ("TAKE", "k", 0)) for _ in range(5)]
    giver, late, other = (node.session() for _ in range(3))
    giver.feed(pipeline(("GIVE", "k", "abcde")))
    late.feed(pipeline(*commands))
    other.feed(pipeline(("GET", "k"), ("SET", "other", "1"), ("TAKE", "other", 0)))
    node.run_pass(giver, late, other)
    assert node.waiters.sessions == 3
    node.commit()
    assert other.take() == b"$3\r\ncde\r\n+OK\r\n" + took(b"other", b"1")  # goes on meanwhile
    node.proceed()
    for session, token in zip(sessions, "abcde", strict=True):
        assert session.take() == took(b"k", token.encode())


def test_who_has_data_in_the_backlog_does_not_time_out(node):
    node.sequencer.serving_max = 1
    sessions = [waiting(node, ("TAKE", "k", 1)) for _ in range(3)]
    giver = node.session()
    node.run(giver, pipeline(("GIVE", "k", "abc")))
    node.clock.advance(5000)
    node.proceed()
    for session, token in zip(sessions, "abc", strict=True):
        assert session.take() == took(b"k", token.encode())


def test_who_leaves_the_backlog_leaves_the_data_to_the_next(node):
    node.sequencer.serving_max = 1
    first, second, third, fourth, fifth = (waiting(node, ("TAKE", "k", 0)) for _ in range(5))
    node.run(node.session(), pipeline(("GIVE", "k", "abc")))
    node.close(second)
    assert unblock(node, fourth, with_error=True)  # in a pass that begins with the third
    assert (first.take(), third.take()) == (took(b"k", b"a"), took(b"k", b"b"))
    assert (fourth.take(), fifth.take()) == (UNBLOCKED, took(b"k", b"c"))


def test_a_switch_looks_at_waiters_of_its_databases_in_bounded_steps(node):
    """Counted in keys looked at; an empty database has nothing for anybody."""
    node.sequencer.serving_max = 10
    sessions = [waiting(node, ("TAKE", f"k{i}", 0)) for i in range(50)]
    node.begin(("FLUSHDB",))
    assert not node.waiters.backlog
    node.begin(("SELECT", 1), ("GIVE", "k33", "a"), ("SELECT", 0))
    swapper = node.session()
    node.run(swapper, pipeline(("SWAPDB", 0, 1)))
    assert settle_backlog(node) == 4
    assert [i for i, session in enumerate(sessions) if session.take()] == [33]
    node.close(sessions[0])
    node.begin(("SWAPDB", 0, 1), ("SWAPDB", 0, 1))
    assert node.waiters.keys == 48


# -- against a model ----------------------------------------------------------------------------

KEYS = ("a", "b", "c")
keys = st.sampled_from(KEYS)
STEPS = st.one_of(
    st.tuples(st.just("take"), st.lists(keys, min_size=1, max_size=3), st.sampled_from((0, 1, 2))),
    st.tuples(st.just("pass"), keys, keys, st.sampled_from((0, 1))),
    st.tuples(st.just("give"), keys, st.integers(1, 3)),
    st.tuples(st.just("give in exec"), st.lists(keys, min_size=1, max_size=4)),
    st.tuples(st.just("del"), keys),
    st.tuples(st.just("rename"), keys, keys),
    st.tuples(st.just("wait"), st.sampled_from((100, 700, 1000))),
    st.tuples(st.just("unblock"), st.integers(0, 5)),
    st.tuples(st.just("close"), st.integers(0, 5)),
    st.tuples(st.just("cool")),
)


class Wanted:
    """A waiting client of the model."""

    def __init__(self, session, sources, target, deadline_ms):
        self.session, self.sources, self.target = session, sources, target
        self.deadline_ms = deadline_ms


class Queues:
    """What first come first served means: data by key, and those that wait, in order of arrival."""

    def __init__(self):
        self.data = dict.fromkeys(KEYS, "")
        self.waiting = []
        self.expected = {}

    def try_one(self, wanted):
        for key in wanted.sources:
            if self.data[key]:
                token, self.data[key] = self.data[key][0], self.data[key][1:]
                reply = took(key.encode(), token.encode())
                if wanted.target:
                    reply = b"$1\r\n%s\r\n" % token.encode()
                    self.data[wanted.target] += token
                self.end(wanted, reply)
                return True
        return False

    def end(self, wanted, reply):
        self.expected[wanted.session] = self.expected.get(wanted.session, b"") + reply
        if wanted in self.waiting:
            self.waiting.remove(wanted)

    def arrive(self, wanted):
        if self.try_one(wanted):
            if wanted.target:
                self.serve([wanted.target])
        else:
            self.waiting.append(wanted)

    def serve(self, ready):
        """Serve the keys in the order in which they got data, each until it is empty."""
        while ready:
            key = ready.pop(0)
            for wanted in [w for w in self.waiting if key in w.sources]:
                if not self.data[key]:
                    break
                if self.try_one(wanted) and wanted.target and wanted.target not in ready:
                    ready.append(wanted.target)

    def pass_time(self, now_ms):
        for wanted in list(self.waiting):
            if wanted.deadline_ms and wanted.deadline_ms <= now_ms:
                self.end(wanted, NULL_ARRAY)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(STEPS, min_size=1, max_size=40))
def test_first_come_first_served_as_the_model_has_it(steps):
    compare(Queues(), steps)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(STEPS, min_size=1, max_size=40), st.integers(1, 3))
def test_the_model_holds_however_little_a_pass_serves(steps, serving_max):
    compare(Queues(), steps, serving_max)


class LastComeFirstServed(Queues):
    """A planted fault."""

    def serve(self, ready):
        self.waiting.reverse()
        super().serve(ready)
        self.waiting.reverse()


def test_a_planted_fault_is_found():
    steps = [("take", ["a"], 0), ("take", ["b", "a"], 0), ("give", "a", 1)]
    compare(Queues(), steps)
    with pytest.raises(AssertionError):
        compare(LastComeFirstServed(), steps)


def compare(model, steps, serving_max=None):
    node = TokenNode()
    node.sequencer.serving_max = serving_max or node.sequencer.serving_max
    sessions, tokens = [], iter("abcdefghijklmnopqrstuvwxyz" * 20)
    for step in steps:
        run_step(node, model, step, sessions, tokens)
        for session in sessions:
            assert session.take() == model.expected.pop(session, b"")
        assert node.waiters.sessions == len(model.waiting)
    for key in KEYS:
        value = model.data[key].encode()
        assert node.begin(("GET", key)).take() == (
            b"$%d\r\n%s\r\n" % (len(value), value) if value else NULL
        )


def run_step(node, model, step, sessions, tokens):
    kind, *rest = step
    now_ms = node.clock.now_ms
    if kind in ("take", "pass"):
        seconds = rest[-1]
        sources, target = (rest[0], None) if kind == "take" else ([rest[0]], rest[1])
        session = node.begin((kind, *sources, *([target] if target else []), seconds))
        sessions.append(session)
        model.arrive(Wanted(session, sources, target, seconds and now_ms + seconds * 1000))
    elif kind == "give":
        given = "".join(next(tokens) for _ in range(rest[1]))
        node.begin(("GIVE", rest[0], given))
        model.data[rest[0]] += given
        model.serve([rest[0]])
    elif kind == "give in exec":
        gifts = [(key, next(tokens)) for key in rest[0]]
        node.begin(("MULTI",), *(("GIVE", *gift) for gift in gifts), ("EXEC",))
        for key, token in gifts:
            model.data[key] += token
        model.serve(list(dict.fromkeys(rest[0])))
    elif kind == "del":
        node.begin(("DEL", rest[0]))
        model.data[rest[0]] = ""
    elif kind == "rename":
        source, target = rest
        node.begin(("RENAME", source, target))
        if model.data[source] and source != target:
            model.data[target], model.data[source] = model.data[source], ""
            model.serve([target])
    elif kind == "wait":
        node.clock.advance(rest[0])
        node.proceed()
        model.pass_time(node.clock.now_ms)
    elif kind == "cool":
        node.cool()
    elif model.waiting:
        wanted = model.waiting[rest[0] % len(model.waiting)]
        if kind == "unblock":
            unblock(node, wanted.session, with_error=True)
            model.end(wanted, UNBLOCKED)
        else:
            node.close(wanted.session)
            model.waiting.remove(wanted)
