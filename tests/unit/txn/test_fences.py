"""The fence of a script: one, before its snapshot; none on the sequencer; its failure is told."""

from collections.abc import Callable

import pytest

from kvnode.server.node import NOT_DONE, UNCERTAIN
from kvnode.txn import optimistic
from tests.property.test_transactions import start_before_the_fence
from tests.sim.node import SimNode, new_node
from tests.support.local import S_CLOSING, S_WAITING, pipeline
from tests.support.resp import decode_all, encode
from tests.support.scripts import ask, finish

KEYS = 40
UNAVAILABLE = b"UNAVAILABLE the node leads no more"
MANY_CALLS = (
    f"local s = 0 for i = 1, {KEYS} do s = s + redis.call('get', 'k' .. i) "
    "redis.call('exists', 'none' .. i) end "
)
READS = MANY_CALLS + "return s"
WRITES = MANY_CALLS + "redis.call('set', 'sum', s) return s"


@pytest.fixture
def node() -> SimNode:
    node = new_node()
    session = node.session()
    node.settle(session, pipeline(*[("SET", f"k{i}", i) for i in range(1, KEYS + 1)]))
    return node


@pytest.fixture
def client(node) -> Callable:
    session = node.session()
    return lambda *words: ask(node, session, *words)


def make_long(node: SimNode) -> None:
    """No script may run on the sequencer."""
    node.view.scripts.here.set_budget(0, grant=1, grants=0)


class Fences:
    """A spy on the log: entries without effects are fences."""

    def __init__(self, node: SimNode) -> None:
        self._node = node
        self._first = max(node.entries) + 1

    @property
    def indexes(self) -> list[int]:
        entries = sorted(self._node.entries.items())
        return [i for i, (_, payload) in entries if i >= self._first and not payload]

    @property
    def other_entries(self) -> int:
        return max(self._node.entries) + 1 - self._first - len(self.indexes)


class Snapshots:
    """A spy on snapshots: (commit_ts, what was committed as each was taken)."""

    def __init__(self, node: SimNode, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[tuple[int, int]] = []
        made = optimistic.Attempt

        def attempt(*args: object) -> optimistic.Attempt:
            one = made(*args)
            self.taken.append((one.start_ts, node.sequencer.statistics()["committed"]))
            return one

        monkeypatch.setattr(optimistic, "Attempt", attempt)


def words_of(kind: str, client: Callable, text: str) -> list[tuple]:
    """Return the commands that run a script."""
    if "FCALL" in kind:
        flags = "flags={'no-writes'}, " if text != WRITES else ""
        client(
            *("FUNCTION", "LOAD", "REPLACE"),
            "#!lua name=lib\nredis.register_function{function_name='f', "
            f"{flags}callback=function() {text} end}}",
        )
    call = {
        "EVALSHA": lambda: ("EVALSHA", client("SCRIPT", "LOAD", text), "0"),
        "EVALSHA_RO": lambda: ("EVALSHA_RO", client("SCRIPT", "LOAD", text), "0"),
        "FCALL": lambda: ("FCALL", "f", "0"),
        "FCALL_RO": lambda: ("FCALL_RO", "f", "0"),
        "EVAL_RO": lambda: ("EVAL_RO", text, "0"),
        "EVAL": lambda: ("EVAL", text, "0"),
    }[kind.removeprefix("EXEC of ")]()
    if is_exec(kind):
        return [("MULTI",), ("SET", "in-exec", "1"), call, ("EXEC",)]
    return [call]


def is_exec(kind: str) -> bool:
    return kind.startswith("EXEC of ")


WRITERS = ("EVAL", "EVALSHA", "FCALL", "EXEC of EVAL", "EXEC of EVALSHA", "EXEC of FCALL")
READERS = (*WRITERS, "EVAL_RO", "EVALSHA_RO", "FCALL_RO", "EXEC of FCALL_RO")
READING = [pytest.param(kind, READS, id=f"{kind} reads") for kind in READERS]
WRITING = [pytest.param(kind, WRITES, id=f"{kind} writes") for kind in WRITERS]


def start(node: SimNode, commands: list[tuple]):
    """Send a script that has to wait for its fence."""
    session = node.session()
    session.feed(pipeline(*commands))
    node.serve(session)
    session.take()
    assert session.state == S_WAITING
    return session


@pytest.mark.parametrize(("kind", "text"), READING + WRITING)
@pytest.mark.parametrize("is_cold", [False, True])
def test_a_long_script_has_one_fence_however_many_calls(node, client, kind, text, is_cold):
    commands = words_of(kind, client, text)
    if is_cold:
        node.checkpoint()
        node.evict()
    make_long(node)
    fences = Fences(node)
    session = start(node, commands)
    reply = decode_all(finish(node, session))[-1]
    assert (reply[-1] if is_exec(kind) else reply) == KEYS * (KEYS + 1) // 2
    assert len(fences.indexes) == 1
    effects = 1 if is_exec(kind) or text == WRITES else 0
    assert fences.other_entries == effects + (kind in ("EVAL", "EVAL_RO"))  # which cache the text


@pytest.mark.parametrize("kind", WRITERS)
def test_a_script_on_the_sequencer_has_none(node, client, kind):
    commands = words_of(kind, client, WRITES)
    fences = Fences(node)
    node.settle(node.session(), pipeline(*commands))
    assert fences.indexes == []
    assert fences.other_entries == 1
    assert client("GET", "sum") == b"%d" % (KEYS * (KEYS + 1) // 2)


def test_each_try_has_one(node, client):
    make_long(node)
    fences = Fences(node)
    session = start(node, [("EVAL", WRITES, "0")])
    node.sync()
    node.serve()
    node.step_threads(1)
    client("SET", "k1", "1")
    finish(node, session)
    transactions = node.jobs.transactions
    assert transactions.conflicts == 1
    assert len(fences.indexes) == 2


ONE_READ = "return redis.call('get', 'k1')"


def run_with_a_write_meanwhile(node: SimNode, commands: list[tuple]) -> object:
    """A script arrives, another client's write is acknowledged, then the script goes on."""
    make_long(node)
    session = start(node, commands)
    other = node.session()
    other.feed(encode("SET", "k1", "new"))
    node.serve(other)
    node.sync()
    assert other.take() == b"+OK\r\n"
    return decode_all(finish(node, session))[-1]


@pytest.mark.parametrize("kind", READERS)
def test_the_snapshot_is_taken_after_the_fence(node, client, monkeypatch, kind):
    commands = words_of(kind, client, ONE_READ)
    fences, snapshots = Fences(node), Snapshots(node, monkeypatch)
    reply = run_with_a_write_meanwhile(node, commands)
    assert (reply[-1] if is_exec(kind) else reply) == b"new"
    (fence,) = fences.indexes
    ((start_ts, committed),) = snapshots.taken
    assert committed >= fence
    assert start_ts >= node.entries[fence][0]


@pytest.mark.parametrize("kind", READERS)
def test_a_snapshot_before_the_fence_is_noticed(node, client, monkeypatch, kind):
    commands = words_of(kind, client, ONE_READ)
    start_before_the_fence(monkeypatch)
    fences, snapshots = Fences(node), Snapshots(node, monkeypatch)
    run_with_a_write_meanwhile(node, commands)
    start_ts, committed = snapshots.taken[0]  # an EXEC, which writes, meets the write
    assert committed < fences.indexes[0]
    assert start_ts < node.entries[fences.indexes[0]][0]


@pytest.mark.parametrize("kind", READERS)
def test_a_script_sees_what_was_sent_before_it_on_any_connection(node, client, kind):
    """The write before it is not committed as it arrives: the fence's commit covers it."""
    commands = words_of(kind, client, ONE_READ)
    make_long(node)
    other = node.session()
    other.feed(encode("SET", "k1", "new"))
    node.serve(other)
    session = start(node, commands)
    reply = decode_all(node.settle(session, b""))[-1]
    assert (reply[-1] if is_exec(kind) else reply) == b"new"


# -- the fence fails -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "text"), READING + WRITING)
def test_lost_leadership_is_the_answer(node, client, kind, text):
    commands = words_of(kind, client, text)
    make_long(node)
    session = start(node, commands)
    node.run_pass(lambda: node.jobs.transactions.end_all(UNAVAILABLE))
    node.sync()
    assert b"-" + UNAVAILABLE + b"\r\n" in session.take()
    assert client("EXISTS", "sum", "in-exec") == 0
    assert node.tip.statistics()["pins"] == 0
    assert not node.view.scripts.programs


@pytest.mark.parametrize(("kind", "text"), READING + WRITING)
def test_a_log_that_fails_is_the_answer(node, client, kind, text):
    """The fence can never be committed: nothing is done, and the client is told so."""
    commands = words_of(kind, client, text)
    make_long(node)
    session = start(node, commands)
    fail(node)
    assert session.take() == b"-" + NOT_DONE + b"\r\n"
    assert session.state == S_CLOSING


def test_behind_a_write_of_the_same_client_the_outcome_is_unknown(node):
    """What was held goes first, and its error ends the connection."""
    make_long(node)
    session = start(node, [("SET", "a", "1"), ("EVAL", WRITES, "0")])
    fail(node)
    assert session.take() == b"-" + UNCERTAIN + b"\r\n"


def test_once_its_effects_are_in_the_log_the_outcome_is_unknown(node, client):
    make_long(node)
    session = start(node, [("EVAL", WRITES, "0")])
    while session.state == S_WAITING:
        if node.jobs.transactions._running[0].stage is optimistic.Stage.FENCE:
            node.sync()
        node.step_threads()
        node.serve()
    assert session.take() == b"", "its reply is held by its entry"
    fail(node)
    assert session.take() == b"-" + UNCERTAIN + b"\r\n"


def fail(node: SimNode) -> None:
    """What the node does when its log cannot be written."""
    node.sequencer.fail_held(UNCERTAIN)
    node.jobs.fail(NOT_DONE, node.sessions.values())
