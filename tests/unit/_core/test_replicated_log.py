"""The log of a group: the ring of newest entries, blocks, and a follower's entries."""

import random

import pytest

from kvnode._core.replicated_log import ReplicatedLog, check_block, encode_block
from kvnode.base.errors import InvariantError, RemoteProtocolError
from tests.sim.log import SimLog
from tests.support.local import LocalNode

MANY = 1 << 30


def entry(index, term=1, payload=None):
    return term, index, index << 16, b"entry %d" % index if payload is None else payload


def group_log(**options):
    log = ReplicatedLog(SimLog(), **options)
    log.is_alone = False
    return log


def filled(count, **options):
    log = group_log(**options)
    for index in range(1, count + 1):
        log.append(*entry(index))
    return log


def submitted(log):
    return [(e.term, e.index, e.commit_ts, e.payload) for e in log.inner.pending]


def test_entries_are_kept_and_handed_on():
    log = filled(9)
    wanted = [entry(i) for i in range(1, 10)]
    assert submitted(log) == wanted
    assert log.take(1, 9, MANY) == wanted
    assert log.take(3, 5, MANY) == wanted[2:5]
    assert log.take(3, 99, MANY) == wanted[2:]
    assert log.block(3, 5) == encode_block(wanted[2:5])
    assert (log.first_kept, log.last_index, log.last_term, log.last_ts) == (1, 9, 1, 9 << 16)
    assert log.bytes_queued == sum(len(payload) for *_, payload in wanted)


def test_reports_are_those_of_the_inner_log():
    log = filled(3)
    log.inner.complete(2)
    assert log.position() == (1, 2, 1, 2, 0)
    log.sync()
    assert log.inner.syncs_wanted == 1


def test_what_is_not_kept_is_not_there():
    log = filled(3)
    for first, last in ((0, 1), (1, 4), (4, 4), (3, 2)):
        assert log.block(first, last) is None
    for first in (0, 4, 5):
        assert log.take(first, 9, MANY) == []


def test_alone_nothing_is_kept():
    log = ReplicatedLog(SimLog())
    assert log.is_alone
    log.append(*entry(1))
    assert log.block(1, 1) is None
    assert log.last_index == 1
    log.is_alone = False
    log.append(*entry(2))
    assert log.first_kept == 2
    assert log.take(2, 2, MANY) == [entry(2)]
    log.is_alone = True
    assert log.block(2, 2) is None
    assert log.last_ts == 2 << 16


def test_take_ends_before_its_bound_but_gives_one():
    log = group_log()
    for index in range(1, 6):
        log.append(*entry(index, payload=bytes(88)))
    assert [e[1] for e in log.take(1, 5, 300)] == [1, 2, 3]
    assert [e[1] for e in log.take(2, 5, 299)] == [2, 3]
    assert [e[1] for e in log.take(4, 5, 1)] == [4]


def test_a_followers_entries_replace_what_stood_there():
    log = filled(9)
    log.store(5, 2, encode_block([entry(5, 2, b"new 5"), entry(6, 2, b"new 6")]))
    wanted = [entry(i) for i in range(1, 5)] + [entry(5, 2, b"new 5"), entry(6, 2, b"new 6")]
    assert log.take(1, 99, MANY) == wanted
    assert submitted(log)[9:] == wanted[4:]
    assert (log.last_index, log.last_term, log.last_ts) == (6, 2, 9 << 16)


def test_of_a_block_only_what_is_new_is_stored():
    log = filled(4)
    log.store(5, 1, encode_block([entry(i) for i in range(3, 8)]), begin=3)
    assert submitted(log) == [entry(i) for i in range(1, 8)]
    with pytest.raises(RemoteProtocolError, match="ends before"):
        log.store(9, 1, encode_block([entry(8)]), begin=8)
    with pytest.raises(InvariantError):
        log.store(8, 1, encode_block([entry(9)]), begin=9)


def damaged_blocks():
    block = encode_block([entry(5, 2), entry(6, 2)])
    yield from (block[:n] for n in range(1, len(block)) if n != len(block) // 2)
    yield block + b"\0"
    yield block[:8] + b"\xff\xff\xff\xff" + block[12:]
    yield block[:8] + b"\x40\x00\x00\x01" + bytes(100)
    yield encode_block([entry(6, 2), entry(5, 2)])
    yield encode_block([entry(5, 2), entry(5, 2)])
    yield encode_block([(2, 5, 0, b"")])


@pytest.mark.parametrize("block", list(damaged_blocks()))
def test_of_a_malformed_block_nothing_is_stored(block):
    log = filled(4)
    with pytest.raises(RemoteProtocolError):
        log.store(5, 2, block)
    with pytest.raises(RemoteProtocolError):
        check_block(block, 5, 6)
    assert submitted(log) == log.take(1, 99, MANY) == [entry(i) for i in range(1, 5)]


def test_times_go_on_from_what_is_kept():
    log = filled(4)
    with pytest.raises(RemoteProtocolError, match="time of entry 5"):
        log.store(5, 2, encode_block([(2, 5, 4 << 16, b"")]))
    log.store(4, 2, encode_block([(2, 4, (3 << 16) + 1, b"")]))


def test_an_empty_block_is_none():
    log = filled(1)
    with pytest.raises(RemoteProtocolError):
        log.store(2, 1, b"")
    with pytest.raises(RemoteProtocolError):
        check_block(b"", 2, 2)
    assert check_block(b"", 2, 1) == []


def test_check_block_finds_memberships():
    entries = [entry(5), entry(6, 1, b"\x03first"), entry(7, 1, b""), entry(8, 1, b"\x03")]
    block = encode_block(entries)
    assert check_block(block, 5, 8) == [(6, b"first"), (8, b"")]
    for first, last in ((5, 7), (5, 9), (4, 8)):
        with pytest.raises(RemoteProtocolError, match="4 entries instead of"):
            check_block(block, first, last)


def test_gaps_and_older_terms_are_bugs():
    log = filled(3)
    for index, term in ((5, 1), (0, 1), (4, 0)):
        with pytest.raises(InvariantError):
            log.append(*entry(index, term))
    assert len(submitted(log)) == 3


def test_recovered_entries_are_remembered_and_not_written():
    log = group_log(last_index=7, last_term=1, last_ts=7 << 16)
    log.remember(*entry(8))
    log.remember(*entry(9, 2))
    log.append(*entry(10, 2))
    assert submitted(log) == [entry(10, 2)]
    assert log.take(8, 99, MANY) == [entry(8), entry(9, 2), entry(10, 2)]


def test_restart_behind_an_image():
    log = filled(3)
    other = SimLog()
    log.restart(100, 7, 100 << 16, other)
    assert log.inner is other
    assert (log.first_kept, log.last_index, log.last_term) == (101, 100, 7)
    log.store(101, 8, encode_block([entry(101, 8)]))
    assert submitted(log) == [entry(101, 8)]
    log.restart(50, 9, 0)
    assert (log.last_index, log.last_ts) == (50, 101 << 16)


@pytest.mark.parametrize("ring_bytes", [1024, 4096, 1 << 20])
def test_the_ring_is_bounded(ring_bytes):
    rng = random.Random(ring_bytes)
    log = group_log(ring_bytes=ring_bytes)
    kept = {}
    for index in range(1, 3000):
        payload = rng.randbytes(rng.choice((0, 1, 20, 100, 300, 600, 2000)))
        kept[index] = entry(index, 1, payload)
        log.append(*kept[index])
        assert log.ring_bytes <= ring_bytes
        first = log.first_kept
        assert log.take(first, index, MANY) == [kept[i] for i in range(first, index + 1)]
        for gone in [i for i in kept if i < first]:
            del kept[gone]


def test_fit_measures_what_was_let_go_too():
    log = group_log(ring_bytes=2048)
    for index in range(1, 101):
        log.append(*entry(index, payload=bytes(88)))
    assert log.first_kept > 50
    assert log.fit(1, 100, 1000) == 10
    assert log.fit(95, 100, 1000) == 100
    assert log.fit(95, 98, 1000) == 98
    assert log.fit(95, 98, 1) == 95
    assert log.fit(log.first_kept - 3, 100, 500) == log.first_kept + 1
    later = group_log(last_index=7)
    later.append(*entry(8))
    assert later.fit(8, 8) == 8


def test_fit_guesses_what_it_does_not_know():
    """Entries from before a start: the disk would be asked for each of them, one after another."""
    log = group_log(last_index=700)
    log.append(*entry(701))
    assert log.fit(3, 701) == 2 + (1 << 20) // (4096 + 12)
    assert log.fit(690, 701) == 701
    assert log.fit(3, 701, 1) == 3


def test_sizes_go_with_a_replaced_tail():
    log = group_log(ring_bytes=2048)
    for index in range(1, 101):
        log.append(*entry(index, payload=bytes(88)))
    log.append(*entry(11, 2, bytes(188)))
    assert log.first_kept == 11
    assert log.take(11, 99, MANY) == [entry(11, 2, bytes(188))]
    assert log.fit(1, 11, 1100) == 10
    assert log.fit(1, 11, 1200) == 11


def test_an_entry_larger_than_the_ring_is_let_go():
    log = filled(3, ring_bytes=1024)
    log.append(*entry(4, payload=bytes(5000)))
    assert log.first_kept == 5
    assert log.take(4, 4, MANY) == []
    assert log.fit(1, 4, 5100) == 4
    log.append(*entry(5))
    assert log.take(5, 5, MANY) == [entry(5)]


class NodeLog(ReplicatedLog):
    """As LocalNode uses its log."""

    @property
    def on_submit(self):
        return self.inner.on_submit

    @on_submit.setter
    def on_submit(self, value):
        self.inner.on_submit = value

    def complete(self, n=None):
        self.inner.complete(n)


def test_a_sequencer_writes_through_it():
    log = NodeLog(SimLog())
    log.is_alone = False
    node = LocalNode(log=log)
    client = node.client()
    for n in range(20):
        assert client.ask("INCR", "n") == n + 1
    entries = log.take(1, MANY, MANY)
    assert [(commit_ts, payload) for _, _, commit_ts, payload in entries] == node.entries
    assert len(entries) == log.last_index >= 20
    assert log.last_ts == entries[-1][2]
    assert check_block(log.block(1, log.last_index), 1, log.last_index) == []
