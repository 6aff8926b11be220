"""Entries for other nodes come from memory or from the log's files, whole and in order."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from kvnode._core.replicated_log import ReplicatedLog, encode_block
from kvnode.raft.membership import Membership
from kvnode.raft.messages import Append
from kvnode.txn.sending import EntrySender, LogEntry
from tests.sim.log import SimLog

TERM, ME, PEER = 3, 1, 2
LAST = 40


def entry(index: int) -> LogEntry:
    return TERM, index, index * 10, b"%d" % index


class Host:
    """Files of a log that return up to `at_once` entries of a call, and a link."""

    def __init__(self, at_once: int = 100) -> None:
        self.at_once = at_once
        self.first_there = 1  # older entries are gone
        self.sent: list[tuple[Append, bytes]] = []
        self.reads: list[Callable[[], None]] = []

    def send_entries(self, append: Append, block: bytes) -> None:
        self.sent.append((append, block))

    def read_entries(
        self,
        first: int,
        last: int,
        term: int,
        bytes_max: int,
        done: Callable[[Sequence[LogEntry]], None],
    ) -> None:
        assert term == TERM
        last = min(last, first + self.at_once - 1)
        entries = [entry(i) for i in range(first, last + 1)] if first >= self.first_there else []
        self.reads.append(lambda: done(entries))

    def finish_reads(self) -> None:
        while self.reads:
            self.reads.pop(0)()


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def raft():
    lost: list[int] = []
    return SimpleNamespace(synced_index=LAST, note_lost=lost.append, lost=lost)


@pytest.fixture
def sender(host, raft):
    """One whose memory has entries 31 to 40."""
    log = ReplicatedLog(SimLog(), 30, TERM, 300)
    log.is_alone = False
    for index in range(31, LAST + 1):
        log.append(*entry(index)[:3], entry(index)[3])
    return EntrySender(log, host, raft)


def append(first: int, last: int, memberships: Sequence[int] = ()) -> Append:
    voters = tuple((index, Membership.of_voters([])) for index in memberships)
    return Append(ME, PEER, TERM, first - 1, TERM, TERM, last, 0, voters)


def check(sent: list[tuple[Append, bytes]], first: int, last: int) -> None:
    """All of first..last was sent, in order, each message with its entries."""
    at = first
    for message, block in sent:
        assert message.previous_index == at - 1
        assert block == encode_block([entry(i) for i in range(at, message.last_index + 1)])
        at = message.last_index + 1
    assert at == last + 1


def test_what_is_in_memory_is_sent_at_once(sender, host):
    sender.send(append(31, 35))
    sender.send(append(36, 40))
    check(host.sent, 31, 40)
    assert not host.reads


def test_what_is_not_is_read_first_and_keeps_its_place(sender, host):
    sender.send(append(5, 30))
    sender.send(append(31, 40))
    assert not host.sent
    host.finish_reads()
    check(host.sent, 5, 40)
    assert len(host.sent) == 2


def test_more_than_one_read_takes_goes_in_pieces(sender, host):
    host.at_once = 7
    sender.send(append(5, 33, memberships=(6, 11, 12, 33)))
    sender.send(append(34, 40))
    host.finish_reads()
    check(host.sent, 5, 40)
    assert [message.last_index for message, _ in host.sent] == [11, 18, 25, 32, 33, 40]
    found = [[index for index, _ in message.memberships] for message, _ in host.sent]
    assert found == [[6, 11], [12], [], [], [33], []]


def test_what_is_not_synced_comes_from_memory(sender, host, raft):
    raft.synced_index = 35
    sender.send(append(20, 40))
    host.finish_reads()
    check(host.sent, 20, 40)
    assert not raft.lost


def test_what_is_in_neither_is_tried_again(sender, host, raft):
    raft.synced_index = 20
    sender.send(append(25, 40))
    assert raft.lost == [PEER]
    assert not host.reads


def test_what_is_gone_is_lost(sender, host, raft):
    host.first_there = 10
    sender.send(append(5, 20))
    sender.send(append(21, 40))
    host.finish_reads()
    assert raft.lost == [PEER]
    assert not host.sent


def test_what_is_lost_meanwhile_is_not_sent(sender, host, raft):
    sender.send(append(5, 30))
    sender.forget(PEER)
    sender.send(append(31, 40))
    host.finish_reads()
    check(host.sent, 31, 40)
