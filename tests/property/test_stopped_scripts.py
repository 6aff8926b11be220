"""Random scripts, stopped at many steps, on the sequencer and beside it: nothing of them stays, in
memory, in the log, for who watches and for who waits. A script that fails keeps what it wrote.
"""

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conformance import generators_hash, generators_list, generators_set, generators_zset
from tests.conformance.generators import COMMON_GROUPS, Command, commands
from tests.conformance.test_differential import BRIEF
from tests.sim.interleave import COMMANDS
from tests.sim.node import new_node
from tests.support.contents import contents
from tests.support.local import S_WAITING, LocalNode, pipeline
from tests.support.resp import decode_all, encode
from tests.support.scripts import finish
from tests.unit.txn.test_scripts import tip_of

EXAMPLES = 100
STRIDES_MAX = 2  # from one stop to the next
STOPS_MAX = 60
GROUPS = (
    *COMMON_GROUPS,
    *generators_hash.GROUPS,
    *generators_set.GROUPS,
    *generators_zset.ZSET_GROUPS,
    *generators_list.GROUPS,
)
KEYS = ("a", "b", "c")
PREPARED = (
    ("RPUSH", "a", "1", "2", "3"),
    ("HSET", "b", "f", "1", "g", "2"),
    ("ZADD", "c", "1", "m", "2", "n"),
    ("SELECT", "1"),
    ("SADD", "a", "x", "y"),
    ("SET", "b", "10"),
    ("SELECT", "0"),
)
RUN = (  # arguments: for each command how many words it has, then these
    b"local at = 1 while at <= #ARGV do local n = tonumber(ARGV[at]) "
    b"redis.pcall(unpack(ARGV, at + 1, at + n)) at = at + n + 1 end "
)
FAILING = RUN + b"error('in the end')"
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
drawn = st.lists(commands(*GROUPS), min_size=1, max_size=8)
strides = st.lists(st.integers(1, STRIDES_MAX), min_size=1, max_size=20)


def words(sha: bytes, script: list[Command]) -> bytes:
    """Return the request that runs commands as a script."""
    parts = [part for command in script for part in (b"%d" % len(command), *command)]
    return encode("EVALSHA", sha, "0", *parts)


class Bystanders:
    """Clients that a script may disturb: one watches all keys, others wait for data in them."""

    def __init__(self, node) -> None:
        self.watcher = node.session()
        node.settle(self.watcher, pipeline(("WATCH", *KEYS)))
        self.waiting = [node.session() for _ in range(2)]
        for session, command in zip(self.waiting, ("BLPOP", "BZPOPMIN"), strict=True):
            session.feed(encode(command, "k\x00\xff\r\n", "", "0"))
        self.serve = node.run_pass if isinstance(node, LocalNode) else node.serve
        self.serve(*self.waiting)

    def check(self) -> None:
        assert not self.watcher.cas_dirty
        for session in self.waiting:
            assert session.state == S_WAITING
            assert session.take() == b""


def stops(strides: list[int]):
    """Yield numbers of steps, farther and farther apart by the strides in turn."""
    at = 0
    for i in range(STOPS_MAX):
        yield at
        at += strides[i % len(strides)]


@BRIEF
@SETTINGS
@given(script=drawn, strides=strides)
def test_stopped_on_the_sequencer_nothing_stays(script, strides):
    node = LocalNode(commands=COMMANDS)
    node.settle(node.session(), pipeline(*PREPARED))
    # One that was long begins beside the next time: as many scripts as stops.
    loads = [("SCRIPT", "LOAD", RUN + b"-- %d" % i) for i in range(STOPS_MAX)]
    names = decode_all(node.settle(node.session(), pipeline(*loads)))
    bystanders = Bystanders(node)
    tip, entries, next_id = tip_of(node), len(node.entries), node.view.first_unused_id
    for name, grants in zip(names, stops(strides), strict=True):
        node.view.scripts.here.set_budget(0, grant=1, grants=grants)
        session = node.session()
        session.feed(words(name, script))
        node.run_pass(session)
        if session.state != S_WAITING:
            break
        bystanders.check()
        assert session.take() == b""
        assert tip_of(node) == tip
        assert len(node.entries) == entries
        assert node.view.first_unused_id == next_id
        assert [args for _, args in node.sequencer.take_jobs()]
        node.close(session)


@BRIEF
@SETTINGS
@given(script=drawn, strides=strides)
def test_stopped_beside_the_sequencer_nothing_stays(script, strides):
    node = new_node(commands=COMMANDS)
    replies = decode_all(node.settle(node.session(), pipeline(*PREPARED, ("SCRIPT", "LOAD", RUN))))
    bystanders = Bystanders(node)
    node.sync()
    node.view.scripts.here.set_budget(0, grant=1, grants=0)
    before, entries = contents(node.tip, node.engine), len(payloads(node))
    for grants in stops(strides):
        node.view.scripts.beside.set_budget(0, grant=1, grants=grants)
        session = node.session()
        session.feed(words(replies[-1], script))
        node.serve(session)
        if b"took longer" not in finish(node, session):
            break
        bystanders.check()
        assert contents(node.tip, node.engine) == before
        assert len(payloads(node)) == entries
        assert node.tip.statistics()["pins"] == 0
        node.check()


def payloads(node) -> list[bytes]:
    """Return the entries that have effects."""
    return [payload for _, payload in node.entries.values() if payload]


@BRIEF
@SETTINGS
@given(script=drawn, is_long=st.booleans())
def test_a_script_that_fails_keeps_what_it_wrote(script, is_long):
    ends = []
    for text in (RUN, FAILING):
        node = new_node(commands=COMMANDS)
        session = node.session()
        sha = decode_all(node.settle(session, pipeline(*PREPARED, ("SCRIPT", "LOAD", text))))[-1]
        if is_long:
            node.view.scripts.here.set_budget(0, grant=1, grants=0)
        reply = node.settle(session, words(sha, script))
        assert (b"in the end" in reply) == (text == FAILING)
        ends.append(contents(node.tip, node.engine))
    assert ends[0] == ends[1]


def test_what_stays_is_noticed():
    """The comparison finds one write that the script itself did not make."""
    node = LocalNode(commands=COMMANDS)
    session = node.session()
    node.settle(session, pipeline(*PREPARED))
    bystanders = Bystanders(node)
    tip = tip_of(node)
    session.feed(encode("APPEND", "a", "x") + encode("LLEN", "a"))
    node.run_pass(session)
    assert tip_of(node) == tip
    bystanders.check()
    session.feed(encode("LSET", "a", "0", "1"))
    node.run_pass(session)
    assert tip_of(node) != tip
    assert bystanders.watcher.cas_dirty
