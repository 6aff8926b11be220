"""Fetches: what the commands of a pass missed is read from LevelDB together, on reader threads.

A fetched record is taken only if the tip has none of its own, and the tip keeps whatever was
written or flushed since the fetch began (begin_fetch ... end_fetch): so a late "absent" never
hides a write (hard case 6), and a range merged with the tip misses nothing (hard case 18).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvnode._core.items import ItemSpan
from kvnode._core.keys import (
    head_end,
    head_start,
    order_start,
    part_bounds,
    record_order,
    split_head,
)
from kvnode._core.scan import CURSOR_SHIFT
from kvnode._core.tip import Tip, install_range
from kvnode._core.zset_reach import ScoreSpan
from kvnode.base.limits import (
    ELEMENT_ROWS_MAX,
    FETCH_KEYS_PER_CALL,
    FETCHES_IN_FLIGHT_MAX,
    RANGE_ROWS_MAX,
)
from kvnode.storage.engine import Engine, Reader
from kvnode.storage.executor import Executor, Work
from kvnode.storage.parts import read_page, read_records, read_span

HASH_END = 1 << 64

HeadRangeKey = tuple[int, int, int]  # generation, from_hash, count
ElementRangeKey = tuple[int, int, int, int]  # collection id, from_hash, count, kind of its records
RangeKey = HeadRangeKey | ElementRangeKey
Span = ScoreSpan | ItemSpan
# Records in hash order, the next elements of a collection by its id, or some by score or position.
Wanted = RangeKey | int | Span
StoredHead = tuple[int, bytes, bytes]  # hash, user key, envelope


@dataclass(frozen=True, slots=True)
class HeadRange:
    """Stored heads of a generation in hash order, whole groups of equal cursor."""

    rows: list[StoredHead]
    next_hash: int  # where the next range begins; the low CURSOR_SHIFT bits are 0
    is_done: bool  # there is none

    def install(self, tip: Tip) -> bool:
        """Say whether it may be used: nothing of it goes into the tip."""
        return True


@dataclass(frozen=True, slots=True)
class ElementRange:
    """Stored elements of a collection in hash order, see HeadRange."""

    id: int
    rows: list[tuple[bytes, bytes]]  # record key, envelope
    next_hash: int
    is_done: bool

    def install(self, tip: Tip) -> bool:
        """Give the tip what was read; False: the collection is not in memory.

        REQUIRES: the head that was fetched with it is installed.
        """
        return install_range(tip, self.id, self.rows)


@dataclass(eq=False, slots=True)
class Fetch:
    """Records and ranges on their way, and who waits for them."""

    keys: list[bytes]
    wanted_ranges: list[RangeKey]
    loads: list[int]
    spans: list[Span]
    waiters: list[Any]
    epoch: int = 0
    calls_left: int = 0
    ranges: dict[RangeKey, HeadRange | ElementRange] = field(default_factory=dict)


def read_heads(reader: Reader, generation: int, from_hash: int, count: int) -> HeadRange:
    """Read at least `count` heads from `from_hash` on, to the end of the last one's group."""
    count = min(count, RANGE_ROWS_MAX)
    end = head_end(generation)
    rows = reader.scan(head_start(generation, from_hash), end, count)
    if len(rows) < count:
        return HeadRange(_split(rows), 0, True)
    last_key = rows[-1][0]
    _, last_hash, _ = split_head(last_key)
    next_hash = ((last_hash >> CURSOR_SHIFT) + 1) << CURSOR_SHIFT
    is_done = next_hash == HASH_END
    group_end = end if is_done else head_start(generation, next_hash)
    # Keyed hashes: a group has one head nearly always, a few at most.
    rows += reader.scan(last_key + b"\0", group_end, RANGE_ROWS_MAX)
    return HeadRange(_split(rows), 0 if is_done else next_hash, is_done)


def read_elements(reader: Reader, id_: int, from_hash: int, count: int, kind: int) -> ElementRange:
    """The same for the elements of a collection."""
    count = min(count, ELEMENT_ROWS_MAX)
    end = part_bounds(kind, id_)[1]
    rows = reader.scan(order_start(kind, id_, from_hash), end, count)
    if len(rows) < count:
        return ElementRange(id_, rows, 0, True)
    last_key = rows[-1][0]
    next_hash = ((record_order(last_key) >> CURSOR_SHIFT) + 1) << CURSOR_SHIFT
    is_done = next_hash == HASH_END
    group_end = end if is_done else order_start(kind, id_, next_hash)
    rows += reader.scan(last_key + b"\0", group_end, RANGE_ROWS_MAX)
    return ElementRange(id_, rows, 0 if is_done else next_hash, is_done)


def read_range(reader: Reader, wanted: RangeKey) -> HeadRange | ElementRange:
    """Read what a command asked for."""
    if len(wanted) == 4:
        return read_elements(reader, *wanted)
    return read_heads(reader, *wanted)


def _split(rows: list[tuple[bytes, bytes]]) -> list[StoredHead]:
    return [(*split_head(key)[1:], envelope) for key, envelope in rows]


class Fetcher:
    """Fetches under way. All methods and completions run on the sequencer's thread.

    executors: the readers; calls go to them in turn.
    """

    def __init__(self, tip: Tip, engine: Engine, executors: Sequence[Executor]) -> None:
        self._tip = tip
        self._engine = engine
        self._executors = executors
        self._turn = 0
        self._in_flight = 0
        self._ready: list[Fetch] = []
        self._error: BaseException | None = None
        self._waiting_keys: dict[bytes, None] = {}
        self._waiting_ranges: dict[Wanted, None] = {}
        self._waiting: list[Any] = []
        self.fetches = 0
        self.records = 0

    def start(
        self, keys: Iterable[bytes], ranges: Iterable[Wanted], waiters: Iterable[Any]
    ) -> None:
        """Fetch what `waiters` miss; at once, or when an earlier fetch has ended.

        A waiter is a session, or a function: called in the pass in which the records are there.
        """
        self._waiting_keys.update(dict.fromkeys(keys))
        self._waiting_ranges.update(dict.fromkeys(ranges))
        self._waiting.extend(waiters)
        self._start_waiting()

    def take_ready(self) -> list[Fetch]:
        """Return fetches whose records are in the tip: run their waiters, then release() each.

        Raises CorruptionError or StorageIOError when a read failed: the node stops.
        """
        if self._error is not None:
            raise self._error
        ready, self._ready = self._ready, []
        return ready

    def release(self, fetch: Fetch) -> None:
        """The waiters of a fetch ran: its records may be evicted again."""
        self._tip.end_fetch(fetch.epoch)
        self._in_flight -= 1
        self._start_waiting()

    def _start_waiting(self) -> None:
        if self._in_flight >= FETCHES_IN_FLIGHT_MAX:
            return
        if not (self._waiting or self._waiting_keys or self._waiting_ranges):
            return
        fetch = self._take_waiting()
        fetch.epoch = self._tip.begin_fetch()
        self._in_flight += 1
        self.fetches += 1
        self.records += len(fetch.keys)
        parts = [
            fetch.keys[i : i + FETCH_KEYS_PER_CALL]
            for i in range(0, len(fetch.keys), FETCH_KEYS_PER_CALL)
        ]
        readers = [self._key_reader(part) for part in parts]
        readers += [read for id_ in fetch.loads if (read := self._page_reader(id_))]
        readers += [self._span_reader(span) for span in fetch.spans]
        fetch.calls_left = len(readers) + len(fetch.wanted_ranges)
        if not fetch.calls_left:
            self._ready.append(fetch)
        for read in readers:
            self._submit(fetch, read, None)
        for wanted in fetch.wanted_ranges:
            self._submit(fetch, self._range_reader(wanted), wanted)

    def _take_waiting(self) -> Fetch:
        """Return all that waits, sorted by kind."""
        fetch = Fetch(list(self._waiting_keys), [], [], [], self._waiting)
        for wanted in self._waiting_ranges:
            if isinstance(wanted, Span):
                fetch.spans.append(wanted)
            elif isinstance(wanted, tuple):
                fetch.wanted_ranges.append(wanted)
            else:
                fetch.loads.append(wanted)
        self._waiting_keys, self._waiting_ranges, self._waiting = {}, {}, []
        return fetch

    def _key_reader(self, keys: list[bytes]) -> Work:
        has_delta_rows = self._tip.has_delta_rows
        return lambda: read_records(self._engine, keys, has_delta_rows)

    def _page_reader(self, id_: int) -> Work | None:
        """Return the reader of a collection's next page, None if it is not wanted any more."""
        load = self._tip.begin_load(id_)
        if load is None:
            return None
        kind, first = load
        return lambda: read_page(self._engine, kind, id_, first)

    def _span_reader(self, span: Span) -> Work:
        return lambda: read_span(self._engine, span)

    def _range_reader(self, wanted: RangeKey) -> Work:
        return lambda: read_range(self._engine, wanted)

    def _submit(self, fetch: Fetch, work: Work, wanted: RangeKey | None) -> None:
        def completed(result: Any, error: BaseException | None) -> None:
            if error is not None:
                self._error = error
                return
            if wanted is not None:
                fetch.ranges[wanted] = result
            else:
                result.install(self._tip)
            fetch.calls_left -= 1
            if not fetch.calls_left:
                self._ready.append(fetch)

        executor = self._executors[self._turn % len(self._executors)]
        self._turn += 1
        executor.submit(work, completed)

    def statistics(self) -> dict[str, int]:
        """Counters for INFO."""
        return {
            "fetches": self.fetches,
            "fetched_records": self.records,
            "fetches_in_flight": self._in_flight,
            "fetch_waiters": len(self._waiting),
        }
