"""A leader that was deposed without knowing answers no read from its past, whatever the command.

It is stopped, another leads, all keys are deleted there. What then reaches the old leader, before it
runs again, has to be answered as if everything is deleted, or with an error, or not at all.
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
# What the table does not say how to call, and what writes.
BY_HAND = {
    "sdiff": (b"SDIFF", b"set", b"nosuch"),
    "zdiff": (b"ZDIFF", b"2", b"zset", b"nosuch"),
    "eval_ro": (b"EVAL_RO", READ, b"1", b"string"),
    "evalsha_ro": (b"EVALSHA_RO", hashlib.sha1(READ).hexdigest().encode(), b"1", b"string"),
    "fcall_ro": (b"FCALL_RO", b"reading", b"1", b"string"),
    "eval": (b"EVAL", READ, b"1", b"string"),
    "getdel": (b"GETDEL", b"string"),
    "getex": (b"GETEX", b"string"),
    "set with get": (b"SET", b"string", b"11", b"GET"),
    "incr": (b"INCR", b"string"),
    "lpop": (b"LPOP", b"list"),
    "blpop": (b"BLPOP", b"list", b"0.05"),
    "spop": (b"SPOP", b"set"),
    "zpopmin": (b"ZPOPMIN", b"zset"),
}
TELLS_NOTHING = {
    "lolwut": "a picture",
    "object|freq": "needs another policy of eviction",
}
ERRORS = (b"-TRYAGAIN ", b"-UNCERTAIN ", b"-UNBLOCKED ")
WAIT_SECONDS_MAX = 10.0


def calls() -> dict[str, list[tuple[bytes, ...]]]:
    """Return calls of each command that reads, by its name."""
    found = {
        row.name: [form.call() for form in forms(row)]
        for row in all_rows()
        if "readonly" in row.flags.split() and not row.place and row.name not in BY_HAND
    }
    return found | {name: [call] for name, call in BY_HAND.items()}


def answer(connection: Connection, call: tuple[bytes, ...]) -> bytes:
    connection.send(encode(*call))
    return connection.receive_raw()


def fill(node: GroupNode) -> None:
    with Connection(node.port) as connection:
        for call in ((b"FLUSHALL",), *CONTENTS, (b"SCRIPT", b"LOAD", READ)):
            connection.call(*call)
        connection.call(b"FUNCTION", b"LOAD", b"REPLACE", FUNCTION)


def telling(node: GroupNode) -> dict[tuple[bytes, ...], bytes]:
    """Return calls whose replies tell the contents from nothing, each with the reply of an empty
    node; leave the node filled. Fails for a command of which there is no such call."""
    chosen: dict[tuple[bytes, ...], bytes] = {}
    silent = []
    with Connection(node.port) as connection:
        replies: list[dict[tuple[bytes, ...], bytes]] = []
        for is_filled in (True, False):
            replies.append({})
            for name, several in calls().items():
                if name in BY_HAND or not replies[-1]:  # some of those write
                    fill(node)
                    if not is_filled:
                        connection.call(b"FLUSHALL")
                for call in several:
                    replies[-1][call] = answer(connection, call)
        for name, several in calls().items():
            told = [c for c in several if _is_telling(replies[0][c], replies[1][c])]
            chosen |= {call: replies[1][call] for call in told}
            if not told and name not in TELLS_NOTHING:
                silent.append(name)
    assert not silent, f"no call tells anything of {silent}"
    fill(node)
    return chosen


def _is_telling(full: bytes, empty: bytes) -> bool:
    return full != empty and not full.startswith(b"-")


def ask_a_deposed_leader(group: Group, *, is_cut_off: bool) -> list[str]:
    """Return what was answered from the past."""
    old = group.wait_agreed()
    expected = telling(old)
    connections = {call: Connection(old.port, timeout_s=WAIT_SECONDS_MAX) for call in expected}
    try:
        for connection in connections.values():
            connection.call(b"PING")  # it is accepted
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
        group.proxies.heal()
        old.resume()
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
        for is_cut_off in (False, True):
            assert not ask_a_deposed_leader(group, is_cut_off=is_cut_off)


def test_reads_without_a_fence_are_seen(tmp_path):
    with groups.running(tmp_path / "nodes", plant="reads_without_fence") as group:
        stale = ask_a_deposed_leader(group, is_cut_off=True)
    assert len(stale) > len(calls()) / 2
