"""The checks of history.py: histories that are right, and each way in which one can be wrong."""

import pytest

from tests.processes.history import (
    DONE,
    NEVER,
    REFUSED,
    UNKNOWN,
    Operation,
    collection_errors,
    counter_errors,
    deadline_errors,
    queue_errors,
    register_errors,
)


def op(kind, begun, ended=NEVER, *, value=None, result=None, state=None, key=b"k"):
    state = state or (UNKNOWN if ended == NEVER else DONE)
    return Operation(kind, key, value, begun, ended, result, state)


def test_register_that_is_right():
    history = [
        op("get", 0, 1, result=None),
        op("set", 2, 9, value=b"a"),
        op("get", 3, 4, result=None),
        op("get", 3, 8, result=b"a"),
        op("set", 10, value=b"b"),
        op("set", 10, value=b"never seen"),
        op("set", 10, 11, value=b"no", state=REFUSED),
        op("get", 12, 13, result=b"a"),
        op("get", 14, 15, result=b"b"),
        op("set", 16, 20, value=b"c"),
        op("set", 16, 20, value=b"d"),
        op("get", 21, 22, result=b"c"),
    ]
    assert register_errors(history) == []


@pytest.mark.parametrize(
    ("history", "what"),
    [
        ([op("get", 0, 1, result=b"x")], "invented"),
        ([op("get", 0, 1, result=b"x"), op("set", 2, 3, value=b"x")], "before it was written"),
        ([op("set", 0, 1, value=b"x"), op("get", 2, 3, result=None)], "stale"),
        (
            [
                op("set", 0, 1, value=b"x"),
                op("set", 2, 3, value=b"y"),
                op("get", 4, 5, result=b"x"),
            ],
            "stale",
        ),
        (
            [
                op("set", 0, 1, value=b"x"),
                op("set", 2, value=b"y"),
                op("get", 4, 5, result=b"y"),
                op("get", 6, 7, result=b"x"),
            ],
            "stale",
        ),
        (
            [
                op("set", 0, 1, value=b"x", state=REFUSED),
                op("get", 2, 3, result=b"x"),
            ],
            "refused, but read",
        ),
        (
            [
                op("set", 0, 9, value=b"x"),
                op("set", 0, 9, value=b"y"),
                op("get", 1, 2, result=b"x"),
                op("get", 3, 4, result=b"y"),
                op("get", 5, 6, result=b"x"),
            ],
            "stale",
        ),
    ],
)
def test_register_that_is_wrong(history, what):
    assert any(what in text for text in register_errors(history))


def test_counter_that_is_right():
    history = [
        op("get", 0, 1, result=None),
        op("incr", 2, 9, result=2),
        op("incr", 3, 9, result=1),
        op("incr", 10),
        op("get", 11, 12, result=b"2"),
        op("get", 13, 14, result=b"3"),
    ]
    assert counter_errors(history) == []


@pytest.mark.parametrize(
    ("history", "what"),
    [
        ([op("incr", 0, 1, result=1), op("incr", 2, 3, result=1)], "same answer"),
        ([op("incr", 0, 1, result=1), op("get", 2, 3, result=None)], "stale"),
        ([op("incr", 0, 1, result=2)], "too much"),
        ([op("incr", 0, 1, state=REFUSED), op("get", 2, 3, result=b"1")], "too much"),
    ],
)
def test_counter_that_is_wrong(history, what):
    assert any(what in text for text in counter_errors(history))


def test_collection_that_is_right():
    history = [
        op("add", 0, 1, value=b"a", result=1),
        op("add", 2, value=b"b"),
        op("add", 2, value=b"c"),
        op("add", 2, 3, value=b"d", state=REFUSED),
        op("count", 4, 5, result=2),
    ]
    assert collection_errors(history, [b"a", b"b"]) == []


@pytest.mark.parametrize(
    ("history", "final", "what"),
    [
        ([op("add", 0, 1, value=b"a", result=1)], [], "lost"),
        ([op("add", 0, 1, value=b"a", result=0)], [b"a"], "twice"),
        ([op("add", 0, 1, value=b"a", state=REFUSED)], [b"a"], "refused, but done"),
        ([], [b"a"], "invented"),
        ([op("add", 0, 1, value=b"a", result=1), op("count", 2, 3, result=0)], [b"a"], "stale"),
    ],
)
def test_collection_that_is_wrong(history, final, what):
    assert any(what in text for text in collection_errors(history, final))


def test_queue_that_is_right():
    history = [
        op("push", 0, 1, value=b"a"),
        op("push", 2, 3, value=b"b"),
        op("push", 4, value=b"c"),
        op("push", 4, 5, value=b"d"),
        op("pop", 0, 2, result=b"a"),
        op("pop", 5, 6, result=None),
        op("pop", 7),
    ]
    assert queue_errors(history, [b"c", b"d"]) == []
    assert queue_errors(history, [b"d"]) == []


@pytest.mark.parametrize(
    ("history", "final", "what"),
    [
        ([op("push", 0, 1, value=b"a")], [], "lost"),
        (
            [
                op("push", 0, 1, value=b"a"),
                op("pop", 2, 3, result=b"a"),
                op("pop", 4, 5, result=b"a"),
            ],
            [],
            "2 times",
        ),
        ([op("push", 0, 1, value=b"a"), op("pop", 2, 3, result=b"a")], [b"a"], "still there"),
        ([op("push", 0, 1, value=b"a", state=REFUSED)], [b"a"], "refused, but done"),
        (
            [
                op("push", 0, 1, value=b"a"),
                op("push", 2, 3, value=b"b"),
                op("pop", 4, 5, result=b"b"),
                op("pop", 6, 7, result=b"a"),
            ],
            [],
            "out of order",
        ),
    ],
)
def test_queue_that_is_wrong(history, final, what):
    assert any(what in text for text in queue_errors(history, final))


@pytest.mark.parametrize(
    ("reads", "what"),
    [
        ([op("get", 200, 201, result=b"x")], "past its deadline"),
        ([op("get", 20, 21, result=None)], "too early"),
        ([op("get", 99, 100, result=None), op("get", 101, 102, result=b"x")], "came back"),
        ([op("get", 50, 51, result=b"x"), op("get", 150, 151, result=None)], ""),
    ],
)
def test_deadlines(reads, what):
    errors = deadline_errors([op("set", 0, 1, value=b"x"), *reads], life_ns=100, slack_ns=10)
    assert [what in text for text in errors] == ([True] if what else [])
