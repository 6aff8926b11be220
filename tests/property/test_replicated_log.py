"""The log of a group over many leaders, cuts and power failures, against a list of entries.

A leader's log is any chain of entries ever written that has all committed ones, so tails are
replaced by newer and by older terms. What is in the ring, what is read back from the segments and
what recovery finds must be that list, and each has a planted bug that the run finds.
"""

import random
from contextlib import suppress
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode._core.replicated_log import ReplicatedLog, check_block, encode_block
from kvnode.base import limits
from kvnode.base.errors import CorruptionError, RemoteProtocolError
from kvnode.storage import log_reading, log_recovery
from kvnode.storage.log import SegmentWriter
from kvnode.storage.log_reading import LogReading
from kvnode.storage.log_recovery import open_replay, recover_log
from tests.sim.disk import SimDisk
from tests.sim.log import SimLog

DIRECTORY = "/data/log"
SEGMENT_BYTES = 8192
MANY = 1 << 40


class Failed(AssertionError):
    """What is there is not what should be."""


def require(condition, what):
    if not condition:
        raise Failed(what)


class Run:
    """One node's log. `model`: its entries as (term, index, commit_ts, payload), from 1 on."""

    def __init__(self, seed, *, log_class=ReplicatedLog, reading_class=LogReading):
        self.rng = random.Random(seed)
        self.log_class = log_class
        self.reading_class = reading_class
        self.disk = SimDisk()
        self.model = []
        self.leaders = []  # logs that a leader may have had
        self.states = [[]]  # of the log since all was synced: a crash leaves one of them
        self.committed = 0
        self.cut = 0
        self.term = 1
        self.life = 0
        self.clock = 0
        self.reopen()

    def reopen(self):
        self.life += 1
        log = recover_log(
            self.disk,
            DIRECTORY,
            checkpoint_index=self.cut,
            segment_bytes=SEGMENT_BYTES,
            id_seed=self.life,
        )
        require(log.first_index <= self.cut + 1, "the log begins too late")
        entries = list(open_replay(self.disk, DIRECTORY, log, self.cut + 1, MANY))
        self.model = self.model[: self.cut]
        found = [s for s in self.states if s[self.cut :] == entries]
        require(found, "recovered entries were never the log")
        self.model = found[0]
        terms = log.terms()
        for term, index, *_ in entries:
            stretch = [t for first, t in terms if first <= index][-1]
            require(stretch == term, "terms of a recovered log")
        memberships = [(i, p) for _, i, _, p in entries if p[:1] == b"\x03"]
        require(log.memberships(self.cut) == memberships, "memberships of a recovered log")
        self.states = [self.model]
        writer = SegmentWriter(
            self.disk, DIRECTORY, log.start, segment_bytes=SEGMENT_BYTES, id_seed=self.life
        )
        self.writer = writer
        at = self.model[self.cut - 1] if self.cut else (0, 0, 0)
        self.log = self.log_class(
            SimLog(writer), self.cut, at[0], at[2], ring_bytes=self.rng.choice((1024, 4096, 65536))
        )
        self.log.is_alone = False
        for entry in entries:
            self.log.remember(*entry)
        self.reading = self.reading_class(self.disk, DIRECTORY)

    def new_entry(self, index):
        self.clock += self.rng.randrange(1, 5)
        kind = self.rng.choice((b"", b"\x01", b"\x03"))
        return self.term, index, self.clock, kind + self.rng.randbytes(self.rng.choice((0, 9, 400)))

    def follow(self):
        """A leader of a new term sends what its log has and this one has not."""
        self.term += 1
        logs = [
            log for log in self.leaders if log[: self.committed] == self.model[: self.committed]
        ]
        base = self.rng.choice([*logs, self.model])
        log = base[: self.rng.randrange(self.committed, len(base) + 1)]
        for _ in range(self.rng.randrange(1, 6)):
            log = [*log, self.new_entry(len(log) + 1)]
        self.leaders = [*self.leaders[-5:], log, self.model]
        shared = 0
        for ours, theirs in zip(self.model, log, strict=False):
            if ours != theirs:
                break
            shared += 1
        sent = log[max(self.committed, shared - self.rng.randrange(3)) :]
        for term, group in groupby(sent, key=lambda e: e[0]):
            block = list(group)
            if block[-1][1] > shared:
                first = max(block[0][1], shared + 1)
                self.log.store(first, term, encode_block(block), begin=block[0][1])
        for entry in log[shared:]:
            self.model = [*self.model[: entry[1] - 1], entry]
            self.states.append(self.model)

    def lead(self):
        self.term += 1
        for _ in range(self.rng.randrange(1, 20)):
            entry = self.new_entry(len(self.model) + 1)
            self.log.append(*entry)
            self.model = [*self.model, entry]
            self.states.append(self.model)

    def sync(self):
        pending = len(self.log.inner.pending)
        count = self.rng.randrange(pending + 1)
        self.log.inner.complete(count)
        self.states = self.states[count:]
        if count == pending:
            require(self.states == [self.model], "the model of this test")
            self.committed = self.rng.randrange(self.committed, len(self.model) + 1)
            self.read_segments()

    def read_segments(self):
        """All is synced: the segments hold the log from the cut on."""
        if len(self.model) == self.cut:
            return
        first = self.rng.randrange(self.cut, len(self.model)) + 1
        while first <= len(self.model) and self.rng.random() < 0.9:
            term = self.model[first - 1][0]
            last = max(i for t, i, *_ in self.model if t == term)
            got = self.reading.read(first, last, term, self.rng.choice((0, 500, 5000)))
            require(got, f"entry {first} of term {term} is not in the segments")
            require(got == self.model[first - 1 : first - 1 + len(got)], "segments")
            first += len(got)

    def cut_log(self):
        pending = len(self.log.inner.pending)
        if pending == 0:
            self.cut = self.rng.randrange(self.cut, self.committed + 1)
            self.writer.cut(self.cut)

    def crash(self):
        if self.rng.random() < 0.3:
            self.disk.kill()
        else:
            self.disk.crash(self.rng)
        self.reopen()

    def check_ring(self):
        log, model = self.log, self.model
        require(log.last_index == len(model), "last_index")
        require(log.last_ts >= (model[-1][2] if model else 0), "last_ts")
        first = log.first_kept
        require(log.take(first, MANY, MANY) == model[first - 1 :], "ring")
        a = self.rng.randrange(1, len(model) + 2)
        b = self.rng.randrange(a, len(model) + 2)
        wanted = encode_block(model[a - 1 : b]) if first <= a and b <= len(model) else None
        require(log.block(a, b) == wanted, "block")
        if b <= len(model) and a >= first:
            fit = log.fit(a, b, 700)
            size = len(encode_block(model[a - 1 : fit]))
            require(a <= fit <= b and (fit == a or size <= 700), "fit")
            require(fit == b or size + 12 + len(model[fit][3]) > 700, "fit is less than fits")

    def go(self, steps=60):
        acts = (self.follow, self.lead, self.sync, self.sync, self.cut_log, self.crash)
        for _ in range(steps):
            self.rng.choices(acts, (5, 5, 5, 5, 3, 1))[0]()
            self.check_ring()


def go(seeds, **planted):
    for seed in range(seeds):
        Run(seed, **planted).go()


@pytest.mark.parametrize("read_bytes", [100, 1000, limits.LOG_READ_BYTES])
def test_a_log_is_what_was_written(read_bytes, monkeypatch):
    monkeypatch.setattr(log_reading, "LOG_READ_BYTES", read_bytes)
    go(80)


class _StoresNoLast(ReplicatedLog):
    """Planted: the last entry of a block is lost if there are several."""

    def store(self, first, term, block, *, begin=0):
        count = len(take_apart(block))
        if count > 2:
            block = encode_block([(0, 0, *e) for e in take_apart(block)[:-1]])
        super().store(first, term, block, begin=begin)


def take_apart(block):
    """Take a block apart, in Python."""
    entries, at = [], 0
    while at < len(block):
        size = int.from_bytes(block[at + 8 : at + 12])
        entries.append((int.from_bytes(block[at : at + 8]), block[at + 12 : at + 12 + size]))
        at += 12 + size
    return entries


class _StoresAll(ReplicatedLog):
    """Planted: what is there already is written again, and cuts what is behind it."""

    def store(self, first, term, block, *, begin=0):
        super().store(begin, term, block, begin=begin)
        super().append(term, first, self.last_ts, b"")


class _StartsAtTheEnd(LogReading):
    """Planted: a start in the newest segment."""

    def _find(self, first):
        place = super()._find(first)
        return place and place._replace(segment=self._segments[max(self._segments)])


class _IgnoresTerms(LogReading):
    """Planted: the oldest record of an index counts."""

    def read(self, first, last, term, bytes_max):
        for older in range(1, term):
            with suppress(CorruptionError):
                entries = super().read(first, last, older, bytes_max)
                if entries:
                    return entries
        return super().read(first, last, term, bytes_max)


class _IgnoresEnds(LogReading):
    """Planted: records count that stand behind the end that a recovery gave a segment."""

    def _walk(self, *args):
        self._successor = lambda segment: None
        try:
            return super()._walk(*args)
        finally:
            del self._successor


@pytest.mark.parametrize("log_class", [_StoresNoLast, _StoresAll])
def test_bugs_of_storing_are_found(log_class):
    with pytest.raises((Failed, AssertionError, CorruptionError)):
        go(20, log_class=log_class)


@pytest.mark.parametrize("reading_class", [_StartsAtTheEnd, _IgnoresTerms, _IgnoresEnds])
def test_bugs_of_reading_are_found(reading_class):
    with pytest.raises((Failed, CorruptionError)):
        go(40, reading_class=reading_class)


def test_the_older_rule_of_replacing_is_found(monkeypatch):
    """Planted: an entry is replaced by a higher term only."""

    def term_at(base, runs, index):
        run = next((r for _, r in reversed(runs) if r.first_index <= index <= r.last_index), None)
        return run.term if run else 1 << 60

    monkeypatch.setattr(log_recovery, "_term_at", term_at)
    with pytest.raises(CorruptionError):
        go(40)


@given(st.binary(max_size=60), st.integers(0, 5))
def test_bytes_of_a_peer_are_a_block_or_refused(data, count):
    try:
        check_block(data, 1, count)
    except RemoteProtocolError:
        return
    entries = take_apart(data)
    assert len(entries) == count
    assert encode_block([(1, 1, *e) for e in entries]) == data
