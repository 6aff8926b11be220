"""The checker of list-append histories: what is serializable passes, each anomaly has its name."""

import random

import pytest

from tests.support.list_append import NEVER, Transaction, check, components

TRANSACTIONS = 40


def history(*rows: str) -> list[Transaction]:
    """Each row: "begun ended operations"; "ax1" appends 1 to x, "rx12" reads [1, 2] of x.

    ended: "?" for what has no reply, "!" for what was refused.
    """
    made = []
    for number, row in enumerate(rows):
        begun, ended, *words = row.split()
        operations = [
            ("append", word[1].encode(), word[2:].encode())
            if word[0] == "a"
            else ("read", word[1].encode(), [bytes([c]) for c in word[2:].encode()])
            for word in words
        ]
        is_open = ended in "?!"
        end = NEVER if is_open else int(ended)
        made.append(Transaction(operations, int(begun), end, ended == "!", name=f"T{number}"))
    return made


GOOD = {
    "nothing": (),
    "one after another": ("0 1 ax1", "2 3 rx1 ax2", "4 5 rx12"),
    "at the same time": ("0 9 ax1 ry", "0 9 rx1 ay1", "10 11 rx1 ry1"),
    "own writes": ("0 1 ax1 rx1 ax2 rx12", "2 3 rx12"),
    "no reply, happened": ("0 ? ax1", "5 6 rx1"),
    "no reply, did not happen": ("0 ? ax1", "5 6 rx"),
    "no reply, happened late": ("0 ? ax1", "5 6 rx", "7 8 rx1"),
    "refused": ("0 ! ax1", "5 6 rx"),
}
BAD = {
    "G0": ("0 9 ax1 ay1", "0 9 ax2 ay2", "10 11 rx12 ry21"),
    "G1a": ("0 ! ax1", "5 6 rx1"),
    "G1b": ("0 9 ax1 ax2", "0 9 rx1", "10 11 rx12"),
    "G1c": ("0 9 ax1 ry1", "0 9 ay1 rx1", "10 11 rx1 ry1"),
    "G-single": ("0 9 rx ax1", "0 9 rx ax2", "10 11 rx12"),
    "G2": ("0 9 rx ay1", "0 9 ry ax1", "10 11 rx1 ry1"),
    "G-single in real time": ("0 1 rx az1", "2 9 rx ax1", "2 3 rx1 ay1", "4 5 rx ry1"),
    "lost": ("0 1 ax1", "2 3 rx"),
    "order": ("0 9 ax1", "0 9 ax2", "0 9 rx1", "0 9 rx2"),
    "duplicate": ("0 1 ax1", "2 3 rx11"),
    "invented": ("0 1 rx1",),
    "internal": ("0 1 ax1 rx", "2 3 rx1"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_serializable_history_passes(name):
    assert check(history(*GOOD[name])).anomalies == []


@pytest.mark.parametrize("name", BAD)
def test_an_anomaly_has_its_name(name):
    found = check(history(*BAD[name])).anomalies
    assert found
    assert any(one.startswith(name.split(" in ")[0]) for one in found), found


def test_a_stale_read_is_a_cycle_in_real_time():
    """Serializable, but one that began after the other's end does not see what that saw."""
    found = check(history("0 9 ax1", "1 2 rx1", "3 4 rx")).anomalies
    assert found == ["G-single in real time: T2 -rw-> T0 -wr-> T1 -rt-> T2"]


def test_what_a_client_sent_before_counts():
    first, second = history("0 9 ax1", "0 9 rx")
    assert check([first, second]).anomalies == []
    second.follows = first
    assert check([first, second, *history("10 11 rx1")]).anomalies


def serial(rng: random.Random) -> list[Transaction]:
    """A history that took effect one by one, at a moment between begin and end."""
    lists: dict[bytes, list[bytes]] = {key: [] for key in (b"x", b"y", b"z")}
    made = []
    for number in range(TRANSACTIONS):
        operations: list[tuple] = []
        for i in range(rng.randint(1, 4)):
            key = rng.choice(list(lists))
            if rng.random() < 0.5:
                value = b"%d.%d" % (number, i)
                lists[key].append(value)
                operations.append(("append", key, value))
            else:
                operations.append(("read", key, list(lists[key])))
        at = 10 * number
        begun, ended = at - rng.randrange(30), at + 1 + rng.randrange(30)
        made.append(Transaction(operations, begun, ended, name=f"T{number}"))
    return made


@pytest.mark.parametrize("seed", range(20))
def test_random_serial_histories_pass(seed):
    assert check(serial(random.Random(seed))).anomalies == []


@pytest.mark.parametrize("seed", range(20))
def test_a_read_that_lacks_a_value_is_found(seed):
    rng = random.Random(seed)
    made = serial(rng)
    reads = [
        (one, i)
        for one in made
        for i, op in enumerate(one.operations)
        if op[0] == "read" and op[2] and one.begun > 150
    ]
    one, i = rng.choice(reads)
    kind, key, values = one.operations[i]
    one.operations[i] = (kind, key, values[: len(values) // 2])
    assert check(made).anomalies


def test_components():
    graph = {1: [2], 2: [3], 3: [1, 4], 4: [5], 5: [4], 6: [1]}
    assert sorted(map(sorted, components(graph))) == [[1, 2, 3], [4, 5], [6]]
