"""Collections whose head and elements disagree in LevelDB: whoever meets it stops the node."""

import contextlib

import pytest

from kvnode._core.keys import ITEM, part_bounds
from kvnode._core.upkeep import stored_collection
from kvnode.base.errors import CorruptionError, InvariantError
from tests.support.local import LocalNode

LENGTH_AT = 9 + 2 + 16  # in a head's row: behind commit_ts, flags, type and flags, id and folded

ADD = {
    "hash": lambda i: ("HSET", f"e{i}", i),
    "set": lambda i: ("SADD", f"e{i}"),
    "zset": lambda i: ("ZADD", i, f"e{i}"),
    "list": lambda i: ("RPUSH", i),
}
NEED_ALL = {
    "hash": ["HGETALL k", "HKEYS k", "COPY k other"],
    "set": ["SMEMBERS k", "SUNIONSTORE other k", "SORT k ALPHA"],
    "zset": ["ZRANGE k 0 -1", "ZUNION 1 k", "COPY k other"],
}
MAY_DO_WITHOUT = {
    "hash": ["HRANDFIELD k 5", "HSCAN k 0"],
    "set": ["SPOP k", "SPOP k 5", "SRANDMEMBER k", "SRANDMEMBER k -9", "SSCAN k 0"],
    "zset": [
        "ZPOPMIN k",
        "ZPOPMAX k 3",
        "ZRANGE k 5 9",
        "ZRANK k e7",
        "ZREVRANK k e7",
        "ZRANGEBYSCORE k 3 9",
        "ZCOUNT k 3 9",
        "ZREMRANGEBYRANK k 0 -1",
        "ZRANDMEMBER k 3",
    ],
    "list": [
        "LPOP k",
        "RPOP k",
        "LINDEX k 0",
        "LINDEX k -1",
        "LRANGE k 0 -1",
        "LPOP k 40",
        "LPOS k none",
        "LREM k 0 none",
        "LSET k -1 x",
        "RPOPLPUSH k other",
    ],
}


def with_length(row: bytes, change: int) -> bytes:
    """Return the row of a head that says another length."""
    at, length = LENGTH_AT, 0
    for shift in range(0, 70, 7):
        length |= (row[at] & 0x7F) << shift
        at += 1
        if row[at - 1] < 0x80:
            break
    length += 2 * change  # zigzag
    digits = bytearray()
    while length >= 0x80:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return row[:LENGTH_AT] + bytes((*digits, length)) + row[at:]


def cold_node(type_: str, elements: int) -> tuple[LocalNode, bytes]:
    """Return a node with a collection that is only in LevelDB, and the key of its head's row."""
    node = LocalNode()
    words = [word for i in range(elements) for word in ADD[type_](i)[1:]]
    node.client().ask(ADD[type_](0)[0], "k", *words)
    head = node.head_key(b"k")
    node.cool()
    node.cool()
    return node, head


def cases(commands: dict[str, list[str]]):
    pairs = [(type_, command) for type_ in commands for command in commands[type_]]
    return [pytest.param(*pair, id=pair[1]) for pair in pairs]


@pytest.mark.parametrize("elements", [40, 700])
@pytest.mark.parametrize("lie", [-1, 1])
@pytest.mark.parametrize(("type_", "command"), cases(NEED_ALL))
def test_a_wrong_length_is_met_by_who_needs_all_elements(type_, command, lie, elements):
    node, head = cold_node(type_, elements)
    (row,) = node.engine.get_many([head])
    node.engine.write([(head, with_length(row, lie))])
    with pytest.raises(CorruptionError, match=rf"'k'.* says {elements + lie} .* are {elements}"):
        node.client().ask(*command.split())


@pytest.mark.parametrize("elements", [40, 700])
@pytest.mark.parametrize("lie", [-30, 1])
@pytest.mark.parametrize(("type_", "command"), cases(MAY_DO_WITHOUT))
def test_of_a_wrong_length_no_command_waits_for_ever(type_, command, lie, elements):
    node, head = cold_node(type_, elements)
    (row,) = node.engine.get_many([head])
    node.engine.write([(head, with_length(row, lie))])
    node.check = lambda: None
    with contextlib.suppress(CorruptionError, InvariantError):
        node.client().ask(*command.split())


@pytest.mark.parametrize("elements", [40, 3000])
@pytest.mark.parametrize(
    "command",
    [
        "LPOP k",
        "LPOP k 30",
        "LINDEX k 5",
        "LRANGE k 0 30",
        "LRANGE k 5 1400",
        "LRANGE k 0 -1",
        "RPOP k 2999",
        "LPOS k none",
    ],
)
def test_a_list_that_lacks_an_item_stops_whoever_looks_at_it(command, elements):
    node, head = cold_node("list", elements)
    (row,) = node.engine.get_many([head])
    rows = node.engine.scan(*part_bounds(ITEM, stored_collection(row).id), elements)
    node.engine.write([(rows[5][0], None), (rows[0][0], None)])
    node.check = lambda: None
    with pytest.raises(InvariantError, match=rf"the list b'k' .* {elements} elements"):
        node.client().ask(*command.split())


def test_what_is_whole_raises_nothing():
    for type_ in ADD:
        for command in (*NEED_ALL.get(type_, ()), *MAY_DO_WITHOUT[type_]):
            node, _ = cold_node(type_, 40)
            node.client().ask(*command.split())
