"""Reads that wait for an index: in order, once, and not for ever."""

from collections.abc import Callable

from kvnode.base.limits import READ_TICKS_MAX
from kvnode.raft.reads import ReadsDone
from kvnode.txn.pending_reads import PendingReads


class Answers:
    """What reads were told, by number."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def of(self, number: int) -> Callable[[bool], None]:
        return lambda is_reached: self.told.append((number, is_reached))

    def take(self) -> list[tuple[int, bool]]:
        told, self.told = self.told, []
        return told


def test_a_read_waits_until_its_index_is_applied() -> None:
    reads, answers = PendingReads(), Answers()
    for ticket in (1, 2, 3):
        reads.add(ticket, answers.of(ticket))
    reads.answer(100)
    assert answers.take() == []
    reads.settle([ReadsDone(2, 7)])
    reads.answer(6)
    assert answers.take() == []
    reads.answer(7)
    assert answers.take() == [(1, True), (2, True)]
    reads.settle([ReadsDone(3, None)])
    assert answers.take() == [(3, False)]


def test_what_nobody_will_answer_fails() -> None:
    reads, answers = PendingReads(), Answers()
    reads.add(1, answers.of(1))
    reads.fail()
    reads.settle([ReadsDone(1, 1)])
    reads.answer(1)
    assert answers.take() == [(1, False)]


def test_a_node_far_behind_keeps_no_read_for_ever() -> None:
    reads, answers = PendingReads(), Answers()
    for ticket in (1, 2):
        reads.add(ticket, answers.of(ticket))
        reads.settle([ReadsDone(ticket, 10)])
        reads.tick()
    for _ in range(READ_TICKS_MAX - 2):
        reads.tick()
    assert answers.take() == []
    reads.tick()
    assert answers.take() == [(1, False)]
    reads.answer(10)
    reads.tick()
    assert answers.take() == [(2, True)]
