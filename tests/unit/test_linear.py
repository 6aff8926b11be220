"""The checker of registers: what one order explains passes, what none does not."""

import pytest

from tests.sim.group.linear import NEVER, NotLinearizable, Operation, check


def op(kind, argument, begun, ended, result=None):
    return Operation(kind, argument, begun, ended, result)


GOOD = {
    "one after another": [
        op("get", None, 1, 2, None),
        op("set", b"a", 3, 4),
        op("get", None, 5, 6, b"a"),
    ],
    "a read beside a write sees the old value or the new": [
        op("set", b"a", 1, 2),
        op("set", b"b", 3, 8),
        op("get", None, 4, 5, b"a"),
        op("get", None, 6, 7, b"b"),
    ],
    "what is unknown may have happened": [
        op("set", b"a", 1, NEVER),
        op("get", None, 5, 6, None),
        op("get", None, 7, 8, b"a"),
    ],
    "what is unknown may not have happened": [
        op("incr", None, 1, NEVER),
        op("incr", None, 2, 3, 1),
        op("get", None, 4, 5, b"1"),
    ],
    "or later": [
        op("incr", None, 1, NEVER),
        op("incr", None, 2, 3, 1),
        op("get", None, 4, 5, b"2"),
    ],
    "a swap says what was there": [
        op("set", b"a", 1, 2),
        op("swap", b"b", 3, 4, b"a"),
        op("get", None, 5, 6, b"b"),
    ],
}

BAD = {
    "stale": [
        op("set", b"a", 1, 2),
        op("set", b"b", 3, 4),
        op("get", None, 5, 6, b"a"),
    ],
    "lost": [op("set", b"a", 1, 2), op("get", None, 3, 4, None)],
    "back and forth": [
        op("set", b"a", 1, 2),
        op("set", b"b", 3, 9),
        op("get", None, 4, 5, b"b"),
        op("get", None, 6, 7, b"a"),
    ],
    "out of nothing": [op("get", None, 1, 2, b"a")],
    "counted twice": [op("incr", None, 1, 2, 1), op("incr", None, 3, 4, 1)],
    "refused, and done": [
        Operation("set", b"a", 1, is_refused=True),
        op("get", None, 3, 4, b"a"),
    ],
    "before it was asked for": [op("get", None, 1, 2, b"a"), op("set", b"a", 3, NEVER)],
}


@pytest.mark.parametrize("name", GOOD)
def test_an_order_explains_it(name):
    check(b"r", GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_no_order_explains_it(name):
    with pytest.raises(NotLinearizable):
        check(b"r", BAD[name])
