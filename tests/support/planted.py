"""A kvnode with a deliberate bug in its recovery, to show that the crash tests see such bugs.

python -m tests.support.planted PLANT serve ...
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

from kvnode.__main__ import main
from kvnode.storage import recovery
from kvnode.txn.optimistic import Transaction, Transactions
from tests.support.contents import PUT, operations

WRITTEN_SECONDS = 0.1  # by then the thread of the log has written what it was given
HAS_DEADLINE = 0x80  # as in records.pxd: a deadline stands before the field's value

Operation = tuple[int, bytes, bytes | None]  # PUT or DELETE, record key, value


def pop_comes_back(operation: Operation) -> Operation | None:
    """Leave out deltas that make the queue shorter."""
    _, key, value = operation
    if _is_delta_of_queue(key, value) and value[8] & 1:  # an odd zigzag is negative
        return None
    return operation


def delta_counts_twice(operation: Operation) -> Operation:
    """Add to the length of the queue twice what was pushed, if that was little."""
    op, key, value = operation
    if _is_delta_of_queue(key, value) and not value[8] & 1 and value[8] < 64:
        value = value[:8] + bytes([2 * value[8]]) + value[9:]
    return op, key, value


def field_is_emptied(operation: Operation) -> Operation:
    """Lose the values of fields m0, m1, ..."""
    op, key, value = operation
    if key[:1] == b"F" and key[17:18] == b"m" and value is not None:
        value = value[: 10 if value[1] & HAS_DEADLINE else 2]
    return op, key, value


def half_a_transfer_is_lost(operation: Operation) -> Operation:
    """Leave fields at zero whose counterparts in a sorted set change with them."""
    op, key, value = operation
    if key[:1] == b"F" and key[17:18] == b"p" and value is not None:
        value = value[:2] + b"0"
    return op, key, value


_pending: set[bytes] = set()  # ids of collections that are being published


def half_a_publication_is_lost(operation: Operation) -> Operation | None:
    """Leave out every other element of collections that were published."""
    _, key, value = operation
    if key[:1] == b"P" and value is not None:
        _pending.add(key[1:9])
    is_element = key[:1] in (b"M", b"I") and key[1:9] in _pending
    return None if is_element and key[-1] & 1 else operation


def pending_is_forgotten(operation: Operation) -> Operation | None:
    """Leave out what says that a collection is written and not published."""
    return None if operation[1][:1] == b"P" else operation


def _is_delta_of_queue(key: bytes, value: bytes | None) -> bool:
    return key[:1] == b"E" and value is not None and value.endswith(b":queue")


PLANTS: dict[str, Callable[[Operation], Operation | None]] = {
    bug.__name__: bug
    for bug in (
        pop_comes_back,
        delta_counts_twice,
        field_is_emptied,
        half_a_transfer_is_lost,
        half_a_publication_is_lost,
        pending_is_forgotten,
    )
}


def changed(payload: bytes, plant: Callable[[Operation], Operation | None]) -> bytes:
    """Return the payload of an entry as the bug makes it."""
    parts = []
    for operation in operations(payload):
        kept = plant(operation)
        if kept is not None:
            op, key, value = kept
            parts.append(bytes([op]) + _counted(key) + (_counted(value) if op == PUT else b""))
    return b"".join(parts)


def _counted(data: bytes) -> bytes:
    length, head = len(data), b""
    while length >= 0x80:
        head += bytes([length & 0x7F | 0x80])
        length >>= 7
    return head + bytes([length]) + data


def plant(name: str) -> None:
    """Have this process recover with the bug `name`."""
    recover = recovery._replay

    def replay(tip: object, facts: object, entries: Iterable[recovery.ReplayedEntry]) -> tuple:
        bug = PLANTS[name]
        planted = ((*entry[:3], changed(entry[3], bug)) for entry in entries)
        return recover(tip, facts, planted)

    recovery._replay = replay
    if name == pending_is_forgotten.__name__:
        _die_in_publications()


def _die_in_publications() -> None:
    """Have this process die whenever a part of a large collection is written and not all of it.

    For a kill from outside that is a matter of luck, and by itself this is no bug.
    """
    may_publish = Transactions.may_publish

    def die(transactions: Transactions, transaction: Transaction) -> bool:
        if transactions.published_bytes:
            time.sleep(WRITTEN_SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)
        return may_publish(transactions, transaction)

    Transactions.may_publish = die


if __name__ == "__main__":
    plant(sys.argv.pop(1))
    main(prog_name="kvnode")
