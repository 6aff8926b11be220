"""Check 13: the leader is lost after a write was committed, and before its client is answered.

Whatever the command, it was done once: the client is told that nobody knows, and no node sends it
again. A client that does, with the id that its request had, gets the reply of the first time. The
list of commands is the table's; each is tried in the worst moment. Where nodes die in any moment is
in tests/property/test_forwarding.py (lists), test_once_failover.py (requests with an id) and
tests/processes (all types).
"""

import hashlib

import pytest

from tests.conformance.calls import SETUP, all_rows, forms
from tests.support.contents import Contents, contents
from tests.support.forwarded import UNCERTAIN, move, new_leader
from tests.support.forwarding import RETRY, UNBLOCKED, ForwardingNode, Group
from tests.support.forwarding import UNCERTAIN as UNCERTAIN_LINE
from tests.support.forwarding_ledger import HEADER
from tests.support.resp import Reply, encode

SCRIPT = b"redis.call('RPUSH', KEYS[1], 'b') return redis.call('INCR', KEYS[2])"
FUNCTION = b"""#!lua name=writing
redis.register_function('writing', function(keys) return redis.call('INCR', keys[1]) end)"""
# What the table does not say how to call so that it changes something.
BY_HAND = {
    "brpoplpush": (b"BRPOPLPUSH", b"list", b"other", b"0.01"),
    "eval": (b"EVAL", SCRIPT, b"2", b"list", b"string"),
    "evalsha": (b"EVALSHA", hashlib.sha1(SCRIPT).hexdigest().encode(), b"2", b"list", b"string"),
    "fcall": (b"FCALL", b"writing", b"1", b"string"),
    "function|delete": (b"FUNCTION", b"DELETE", b"writing"),
    "function|load": (b"FUNCTION", b"LOAD", b"REPLACE", FUNCTION + b" -- another"),
    "hpersist": (b"HPERSIST", b"volatile-hash", b"FIELDS", b"1", b"f"),
    "hsetnx": (b"HSETNX", b"hash", b"new", b"1"),
    "kvnode|once": (b"KVNODE", b"ONCE", b"request-1", b"INCR", b"string"),
    "lset": (b"LSET", b"list", b"0", b"b"),
    "ltrim": (b"LTRIM", b"list", b"1", b"1"),
    "msetnx": (b"MSETNX", b"new", b"1", b"newer", b"2"),
    "persist": (b"PERSIST", b"volatile"),
    "rename": (b"RENAME", b"string", b"new"),
    "renamenx": (b"RENAMENX", b"string", b"new"),
    "rpoplpush": (b"RPOPLPUSH", b"list", b"other"),
    "sadd": (b"SADD", b"set", b"new"),
    "setnx": (b"SETNX", b"new", b"1"),
    "sinterstore": (b"SINTERSTORE", b"new", b"set"),
    "smove": (b"SMOVE", b"set", b"new", b"m"),
    "sort": (b"SORT", b"set", b"ALPHA", b"STORE", b"new"),
    "sunionstore": (b"SUNIONSTORE", b"new", b"set"),
    "swapdb": (b"SWAPDB", b"0", b"1"),
}
FILL = (
    *SETUP.values(),
    (b"SET", b"volatile", b"1", b"EX", b"1000"),
    (b"HSETEX", b"volatile-hash", b"EX", b"1000", b"FIELDS", b"1", b"f", b"1"),
    (b"FUNCTION", b"LOAD", b"REPLACE", FUNCTION),
    (b"SCRIPT", b"LOAD", SCRIPT),
)
CHANGE_NOTHING = {"function|restore": "of another node's payload"}


def writing() -> dict[str, list[tuple[bytes, ...]]]:
    """Return calls of each command that writes; not all of them change what FILL makes."""
    found = {
        row.name: [form.call() for form in forms(row)]
        for row in all_rows()
        if "write" in row.flags.split() and not row.place and row.name not in CHANGE_NOTHING
    }
    return found | {name: [call] for name, call in BY_HAND.items()}


def with_ids() -> dict[str, list[tuple[bytes, ...]]]:
    """Return those that may have an id: they do not wait."""
    waiting = {row.name for row in all_rows() if "blocking" in row.flags.split()}
    found = writing()
    return {name: found[name] for name in found if name not in {*waiting, "kvnode|once"}}


def fill(node: ForwardingNode) -> None:
    node.settle(node.session(), b"".join(encode(*words) for words in FILL))


def shown(node: ForwardingNode) -> tuple[Contents, Reply]:
    """Return the databases and the functions."""
    return contents(node.tip, node.engine), node.ask("FUNCTION", "LIST", "WITHCODE")


def times_run(node: ForwardingNode, name: str) -> int:
    """Return how often a command has run on any of the nodes: they have one table."""
    command, _, part = name.encode().partition(b"|")
    found = node.sequencer.dispatch.lookup(command)
    return (found.subcommands[part.upper()] if part else found).calls


def lose_the_answer(name: str, call: tuple[bytes, ...], *, is_sent_again: bool = False) -> bool:
    """Return whether the call changes anything; check that it was then done once."""
    group = Group()
    old = group.leader
    fill(old)
    before, times = shown(old), times_run(old, name)
    client = group.client()
    client.send(encode(*call))
    group.followers[0].work()
    (frame,) = group.ends[0].frames
    group.net.deliver(group.ends[0])
    for _ in range(3):
        old.work()
    after = shown(old)
    if after == before:
        return False
    assert times_run(old, name) == times + 1
    successor = new_leader(group)
    fill(successor)
    successor.settle(successor.session(), encode(*call))
    has, times = shown(successor), times_run(old, name)
    group.net.cut(group.ends[0])
    move(group)
    if is_sent_again:
        uplink = group.followers[0].forwarding.clients.uplink
        head = HEADER.pack(1, uplink.port.term, uplink.port.uplink, 0)
        group.net.links[-1][0].frames.append(head + frame[HEADER.size :])
    group.settle()
    assert client.output == UNCERTAIN
    assert client.is_closed
    assert times_run(old, name) == times
    assert (shown(old), shown(successor)) == (after, has)
    return True


def lose_the_leadership(name: str, call: tuple[bytes, ...]) -> None:
    """The leader has executed the call, and steps down before that is committed."""
    group = Group()
    old, end = group.leader, group.ends[0]
    fill(old)
    times = times_run(old, name)
    client = group.client()
    client.send(encode(*call))
    group.followers[0].work()
    group.net.deliver(end)
    old.serve()  # and nothing is synced
    assert times_run(old, name) == times + 1
    old.stop()
    old.sequencer.step_down(UNCERTAIN_LINE, RETRY, UNBLOCKED)
    old.forwarding.step_down()
    fill(new_leader(group))
    times = times_run(old, name)
    while group.net.is_busy:
        group.net.deliver(end, 10)
        group.net.deliver(end.peer, 10)
    move(group)
    group.settle()
    assert client.output == UNCERTAIN
    assert client.is_closed
    assert times_run(old, name) == times


@pytest.mark.parametrize(("name", "calls"), writing().items())
def test_check_13_a_write_of_unknown_outcome_was_done_once(
    name: str, calls: list[tuple[bytes, ...]]
) -> None:
    changing = [call for call in calls if lose_the_answer(name, call)]
    assert changing, "no call changes anything"
    for call in changing:
        lose_the_leadership(name, call)


def try_again(call: tuple[bytes, ...], *, ids: tuple[str, str] = ("request", "request")) -> bool:
    """Return whether the call changes anything; check that it does so once, however often it is
    sent. ids: at first, and from then on."""
    group, direct = Group(), Group().leader
    for node in (group.leader, direct):
        fill(node)
    request, again = (encode("KVNODE", "ONCE", request_id, *call) for request_id in ids)
    before, first = shown(direct), direct.settle(direct.session(), request)
    if shown(direct) == before:
        return False
    client = group.client()
    client.send(request)
    group.followers[0].work()
    group.net.deliver(group.ends[0])
    for _ in range(3):
        group.leader.work()
    after = shown(group.leader)
    group.net.cut(group.ends[0])
    client.take()
    assert client.output == UNCERTAIN
    group.followers[0].follow(1, group.net.connect(group.followers[0], group.leader))
    for _ in range(2):
        assert group.ask(group.client(), again) == first
        assert shown(group.leader) == after
    return True


@pytest.mark.parametrize(("name", "calls"), with_ids().items())
def test_check_13_a_write_that_is_tried_again_with_its_id_is_done_once(
    name: str, calls: list[tuple[bytes, ...]]
) -> None:
    assert [call for call in calls if try_again(call)], "no call changes anything"


@pytest.mark.parametrize("call", [(b"SADD", b"set", b"n"), (b"LPOP", b"list")])
def test_check_13_a_node_that_sends_again_is_found(call: tuple[bytes, ...]) -> None:
    with pytest.raises(AssertionError):
        lose_the_answer(call[0].decode().lower(), call, is_sent_again=True)


@pytest.mark.parametrize("call", [(b"SADD", b"set", b"n"), (b"INCR", b"string")])
def test_check_13_a_client_that_takes_another_id_is_found(call: tuple[bytes, ...]) -> None:
    with pytest.raises(AssertionError):
        try_again(call, ids=("request", "another"))
