"""Metadata of collections as sums of deltas: folding and merging change no sum that is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode._core.deltas import DeltaLog
from tests.reference import deltas as reference

small = st.integers(-50, 50)
metas = st.tuples(small, small, small, small)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), metas),
        st.tuples(st.just("pin"), st.none()),
        st.tuples(st.just("unpin"), st.integers(0, 9)),
        st.tuples(st.just("durable"), st.integers(0, 9)),
        st.tuples(st.just("fold"), st.none()),
        st.tuples(st.just("merge"), st.none()),
    ),
    max_size=60,
)


class Readers:
    """Who may still ask: pins, and every batch from the durable one on."""

    def __init__(self) -> None:
        self.now = 0
        self.durable = 0
        self.pins: list[int] = []

    @property
    def oldest(self) -> int:
        return min([self.durable, *self.pins])

    def times(self) -> list[int]:
        return [*self.pins, *range(self.durable, self.now + 1)]


@given(base=metas, steps=steps)
def test_no_reader_sees_another_sum(base, steps):
    log, naive, readers = DeltaLog(base), reference.DeltaLog(base), Readers()
    for name, argument in steps:
        if name == "add":
            readers.now += 1
            log.add(readers.now, argument)
            naive.add(readers.now, argument)
        elif name == "pin":
            readers.pins = sorted([*readers.pins, readers.durable])
        elif name == "unpin" and readers.pins:
            readers.pins.pop(argument % len(readers.pins))
        elif name == "durable":
            readers.durable = min(readers.now, readers.durable + argument)
        elif name == "fold":
            log.fold(readers.oldest)
        elif name == "merge":
            log.merge(readers.pins, readers.durable)
        for time in readers.times():
            assert log.at(time) == naive.at(time)


@given(changes=st.lists(metas, min_size=1, max_size=200), pins=st.lists(st.integers(0, 200)))
def test_merging_leaves_one_delta_between_readers(changes, pins):
    log = DeltaLog()
    for time, change in enumerate(changes, 1):
        log.add(time, change)
    log.merge(sorted(pins), len(changes))
    assert len(log) <= len({pin for pin in pins if 0 < pin < len(changes)}) + 1


def test_folding_below_a_reader_is_found():
    """A planted fault: who folds past a pin shows that pin another sum."""
    log = DeltaLog()
    log.add(10, (1, 0, 1, 0))
    log.add(20, (1, 0, 1, 0))
    assert log.at(10) == (1, 0, 1, 0)
    log.fold(20)
    assert log.at(10) != (1, 0, 1, 0)


@given(meta=st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 4))
def test_bytes_of_metadata(meta):
    assert DeltaLog.decode(DeltaLog.encode(meta)) == meta


@given(data=st.binary(max_size=50))
def test_what_is_no_metadata_is_refused(data):
    try:
        meta = DeltaLog.decode(data)
    except ValueError:
        return
    assert len(data) >= 4
    assert DeltaLog.decode(DeltaLog.encode(meta)) == meta


def test_time_grows():
    log = DeltaLog()
    log.add(5, (1, 0, 0, 0))
    with pytest.raises(ValueError, match="grow"):
        log.add(5, (1, 0, 0, 0))
