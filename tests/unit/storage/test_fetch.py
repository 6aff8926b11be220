"""Fetches and ranges, one sequence of events at a time."""

import pytest

from kvnode._core.keys import head_start, split_head
from kvnode._core.pinned import ABSENT, NEWEST, PRESENT, UNKNOWN, record_at
from kvnode.base import limits
from kvnode.base.errors import CorruptionError
from kvnode.storage.fetch import CURSOR_SHIFT, HeadRange, read_heads
from kvnode.storage.memory import MemoryEngine
from tests.support.storage_rig import GENERATION, Rig, string_value


def cold_rig(*names):
    """A rig whose keys are in LevelDB only."""
    rig = Rig()
    rig.write({name: string_value(b"value of " + name) for name in names or (b"a", b"b")})
    rig.sync()
    rig.checkpoint()
    rig.tip.evict(0, 100_000)
    rig.tip.evict(0, 100_000)
    return rig


def status(rig, name):
    return record_at(rig.tip, rig.key(name), NEWEST)[0]


def test_a_fetch_brings_records_and_absences():
    rig = cold_rig()
    assert [status(rig, n) for n in (b"a", b"none")] == [UNKNOWN, UNKNOWN]
    rig.require([rig.key(b"a"), rig.key(b"none")])
    assert [status(rig, n) for n in (b"a", b"none")] == [PRESENT, ABSENT]


def test_a_late_absence_does_not_hide_a_write():
    """Hard case 6: fetch, SET, flushed, evicted, and only then the answer "absent" arrives."""
    rig = cold_rig()
    key = rig.key(b"new")
    rig.fetcher.start([key], [], ["session"])
    rig.reader.step()  # LevelDB has no such row
    (fetch,) = rig.fetcher.take_ready()
    rig.fetcher.start([key], [], ["later"])  # under way from here on
    rig.fetcher.release(fetch)
    rig.write({b"new": string_value(b"1")})
    rig.sync()
    rig.checkpoint()
    rig.tip.evict(0, 100_000)
    rig.tip.evict(0, 100_000)
    assert status(rig, b"new") == PRESENT  # kept while the fetch is under way
    rig.reader.run()
    rig.finish_fetches()
    assert status(rig, b"new") == PRESENT


def test_fetched_records_stay_until_their_waiters_ran():
    rig = cold_rig()
    rig.fetcher.start([rig.key(b"a")], [], ["session"])
    rig.reader.run()
    (fetch,) = rig.fetcher.take_ready()
    rig.tip.evict(0, 100_000)
    rig.tip.evict(0, 100_000)
    assert status(rig, b"a") == PRESENT
    assert fetch.waiters == ["session"]
    rig.fetcher.release(fetch)
    rig.tip.evict(0, 100_000)
    rig.tip.evict(0, 100_000)
    assert status(rig, b"a") == UNKNOWN


def test_fetches_in_flight_are_bounded_and_the_rest_is_joined():
    rig = cold_rig()
    for i in range(limits.FETCHES_IN_FLIGHT_MAX + 5):
        rig.fetcher.start([rig.key(b"%d" % i), rig.key(b"a")], [], [i])
    assert rig.fetcher.statistics()["fetches_in_flight"] == limits.FETCHES_IN_FLIGHT_MAX
    assert rig.fetcher.statistics()["fetch_waiters"] == 5
    waiters = []
    while rig.fetcher.statistics()["fetches_in_flight"]:
        rig.reader.run()
        for fetch in rig.fetcher.take_ready():
            waiters += fetch.waiters
            rig.fetcher.release(fetch)
    assert sorted(waiters) == list(range(limits.FETCHES_IN_FLIGHT_MAX + 5))
    assert rig.fetcher.fetches == limits.FETCHES_IN_FLIGHT_MAX + 1


def test_a_large_fetch_is_split_into_calls():
    rig = cold_rig()
    names = [b"%d" % i for i in range(limits.FETCH_KEYS_PER_CALL + 1)]
    rig.fetcher.start([rig.key(name) for name in names], [], ["session"])
    assert len(rig.reader) == 2
    rig.reader.step()
    assert not rig.fetcher.take_ready()
    rig.reader.step()
    assert len(rig.fetcher.take_ready()) == 1


def test_a_failed_read_is_reported():
    rig = cold_rig()
    rig.engine.get_many = lambda keys: (_ for _ in ()).throw(CorruptionError("block"))
    rig.fetcher.start([rig.key(b"a")], [], ["session"])
    rig.reader.run()
    with pytest.raises(CorruptionError):
        rig.fetcher.take_ready()


# -- ranges ---------------------------------------------------------------------------------------


def engine_of(hashes):
    rows = {head_start(1, hash_) + name: b"envelope" for hash_, name in hashes}
    return MemoryEngine(rows | {head_start(2, 5) + b"other": b"envelope"})


def test_a_range_ends_with_a_whole_group_of_equal_cursor():
    """Hard case 27: all names of one cursor value come together."""
    group = 7 << CURSOR_SHIFT
    hashes = [(1, b"a"), (group, b"b"), (group, b"c"), (group + 5, b"d"), (group << 1, b"e")]
    part = read_heads(engine_of(hashes), 1, 0, 2)
    assert [name for _, name, _ in part.rows] == [b"a", b"b", b"c", b"d"]
    assert part.next_hash == 8 << CURSOR_SHIFT
    assert not part.is_done
    rest = read_heads(engine_of(hashes), 1, part.next_hash, 2)
    assert rest == HeadRange([(group << 1, b"e", b"envelope")], 0, True)


def test_a_range_ends_at_the_highest_hash():
    top = (1 << 64) - 1
    part = read_heads(engine_of([(top - 1, b"a"), (top, b"b")]), 1, 0, 1)
    assert [name for _, name, _ in part.rows] == [b"a", b"b"]
    assert part.is_done


def test_a_record_flushed_after_the_range_was_read_is_still_in_the_tip():
    """Hard case 18: the merge of tip and LevelDB misses nothing."""
    rig = cold_rig(b"a", b"b", b"c")
    rig.write({b"b": None, b"d": string_value(b"1")})
    rig.sync()
    rig.fetcher.start([], [(GENERATION, 0, 100)], ["session"])
    rig.reader.step()
    rig.checkpoint()
    rig.tip.evict(0, 100_000)
    rig.tip.evict(0, 100_000)
    rig.finish_fetches()  # merges and compares


def test_split_head_refuses_what_is_no_head():
    with pytest.raises(CorruptionError):
        split_head(b"H123")
