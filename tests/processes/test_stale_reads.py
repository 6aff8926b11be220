"""A node that was left behind without knowing answers no read from its past, whatever the command.

A leader is stopped, another leads, all keys are deleted there. What then reaches the old leader,
before it runs again, has to be answered as if everything is deleted, or with an error, or not at
all. The same of a follower that answers reads itself.
"""

import hashlib

import pytest

from tests.conformance.calls import all_rows, forms
from tests.processes import group as groups
from tests.processes.group import Group, GroupNode
from tests.support.resp import Connection, encode

CONTENTS = (
    (b"SET", b"string", b"10"),
    (b"RPUSH", b"list", b"a", b"b"),
    (b"HSET", b"hash", b"f", b"5"),
    (b"HPEXPIRE", b"hash", b"1000000", b"FIELDS", b"1", b"f"),
    (b"SADD", b"set", b"m"),
    (b"ZADD", b"zset", b"1", b"m"),
)
READ = b"return redis.call('GET', KEYS[1])"
FUNCTION = b"""#!lua name=reading
redis.register_function{function_name='reading', flags={'no-writes'},
    callback=function(keys) return redis.call('GET', keys[1]) end}"""
# What the table does not say how to call.
BY_HAND = {
    "sdiff": (b"SDIFF", b"set", b"nosuch"),
    "zdiff": (b"ZDIFF", b"2", b"zset", b"nosuch"),
    "eval_ro": (b"EVAL_RO", READ, b"1", b"string"),
    "evalsha_ro": (b"EVALSHA_RO", hashlib.sha1(READ).hexdigest().encode(), b"1", b"string"),
    "fcall_ro": (b"FCALL_RO", b"reading", b"1", b"string"),
}
# These read, too: what makes the key, and the call. A read that came together with a write would
# wait for it, so they are not sent together; each has its own key, as they run at the new leader.
WRITING = {
    "eval": ((b"SET", b"w1", b"10"), (b"EVAL", READ, b"1", b"w1")),
    "getdel": ((b"SET", b"w2", b"10"), (b"GETDEL", b"w2")),
    "getex": ((b"SET", b"w3", b"10"), (b"GETEX", b"w3", b"EX", b"100")),
    "set": ((b"SET", b"w4", b"10"), (b"SET", b"w4", b"11", b"GET")),
    "append": ((b"SET", b"w5", b"10"), (b"APPEND", b"w5", b"1")),
    "incr": ((b"SET", b"w6", b"10"), (b"INCR", b"w6")),
    "lpop": ((b"RPUSH", b"w7", b"a"), (b"LPOP", b"w7")),
    "blpop": ((b"RPUSH", b"w8", b"a"), (b"BLPOP", b"w8", b"0.05")),
    "hincrby": ((b"HSET", b"w9", b"f", b"5"), (b"HINCRBY", b"w9", b"f", b"1")),
    "spop": ((b"SADD", b"w10", b"m"), (b"SPOP", b"w10")),
    "sadd": ((b"SADD", b"w11", b"m"), (b"SADD", b"w11", b"m")),
    "zincrby": ((b"ZADD", b"w12", b"1", b"m"), (b"ZINCRBY", b"w12", b"1", b"m")),
    "zpopmin": ((b"ZADD", b"w13", b"1", b"m"), (b"ZPOPMIN", b"w13")),
}
TELLS_NOTHING = {
    "lolwut": "a picture",
    "object|freq": "needs another policy of eviction",
}
ERRORS = (b"-TRYAGAIN ", b"-UNCERTAIN ", b"-UNBLOCKED ")
WAIT_SECONDS_MAX = 10.0


Calls = dict[str, list[tuple[bytes, ...]]]  # of each command


def reading() -> Calls:
    """Return calls of all commands that only read."""
    found = {
        row.name: [form.call() for form in forms(row)]
        for row in all_rows()
        if "readonly" in row.flags.split() and not row.place and row.name not in BY_HAND
    }
    return found | {name: [call] for name, call in BY_HAND.items()}


def writing() -> Calls:
    return {name: [call] for name, (_, call) in WRITING.items()}


def answer(connection: Connection, call: tuple[bytes, ...]) -> bytes:
    connection.send(encode(*call))
    return connection.receive_raw()


def fill(node: GroupNode) -> None:
    with Connection(node.port) as connection:
        made = [make for make, _ in WRITING.values()]
        for call in ((b"FLUSHALL",), *CONTENTS, *made, (b"SCRIPT", b"LOAD", READ)):
            connection.call(*call)
        connection.call(b"FUNCTION", b"LOAD", b"REPLACE", FUNCTION)


def telling(node: GroupNode, calls: Calls) -> dict[tuple[bytes, ...], bytes]:
    """Return calls whose replies tell the contents from nothing, each with the reply of an empty
    node; leave the node filled. Fails for a command of which there is no such call."""
    fill(node)
    with Connection(node.port) as connection:
        full = _answers(connection, calls)
        connection.call(b"FLUSHALL")
        empty = _answers(connection, calls)
    fill(node)
    told = {
        name: [c for c in several if full[c] != empty[c] and not full[c].startswith(b"-")]
        for name, several in calls.items()
    }
    silent = [name for name, several in told.items() if not several and name not in TELLS_NOTHING]
    assert not silent, f"no call tells anything of {silent}"
    return {call: empty[call] for several in told.values() for call in several}


def _answers(connection: Connection, calls: Calls) -> dict[tuple[bytes, ...], bytes]:
    return {call: answer(connection, call) for several in calls.values() for call in several}


def ask_one_left_behind(
    group: Group, calls: Calls, *, is_leader: bool = True, is_cut_off: bool
) -> list[str]:
    """Return what was answered from the past."""
    old = group.wait_agreed()
    if not is_leader:
        old = group.others(old)[0]
    expected = telling(old, calls)
    connections = {call: Connection(old.port, timeout_s=WAIT_SECONDS_MAX) for call in expected}
    try:
        for connection in connections.values():
            connection.call(b"PING" if is_leader else b"READONLY")  # it is accepted
        if is_cut_off:
            group.proxies.isolate(old.node_id)
        old.pause()
        new = group.wait_leader(group.others(old))
        new.ask("FLUSHALL")
        for call, connection in connections.items():
            connection.send(encode(*call))
        old.resume()
        found = {call: _reply(connection) for call, connection in connections.items()}
    finally:
        for connection in connections.values():
            connection.close()
        old.resume()
        group.proxies.heal()
    return [
        f"{call}: {reply!r}"
        for call, reply in found.items()
        if reply is not None and reply != expected[call] and not reply.startswith(ERRORS)
    ]


def _reply(connection: Connection) -> bytes | None:
    try:
        return connection.receive_raw()
    except ConnectionError:
        return None


@pytest.mark.parametrize("options", [(), ("--lease-reads", "yes")], ids=["fences", "leases"])
def test_a_deposed_leader_answers_nothing_from_its_past(tmp_path, options):
    with groups.running(tmp_path / "nodes", *options) as group:
        for calls in (reading(), writing()):
            for is_cut_off in (False, True):
                assert ask_one_left_behind(group, calls, is_cut_off=is_cut_off) == []


def test_a_follower_that_stood_still_answers_nothing_from_its_past(tmp_path):
    with groups.running(tmp_path / "nodes") as group:
        for is_cut_off in (False, True):
            found = ask_one_left_behind(group, reading(), is_leader=False, is_cut_off=is_cut_off)
            assert found == []


def test_reads_without_a_fence_are_seen(tmp_path):
    with groups.running(tmp_path / "nodes", plant="reads_without_fence") as group:
        stale = ask_one_left_behind(group, reading(), is_cut_off=True)
    assert len(stale) > len(reading()) / 2
