"""The elements of a collection at a pin, read from one state of LevelDB, as long as it takes.

LevelDB's state is taken some time after the pin. What it has that is newer, or not yet, memory or
the history knows: that is collected once, and then neither pin nor tip are needed any more. So a
reader may be slow: it keeps one snapshot of LevelDB, and a copy of the elements that were being
written as it began.
"""

from bisect import bisect_left
from collections.abc import Callable
from contextlib import ExitStack

from kvnode._core.element_reads import name_of, unsettled, visible
from kvnode._core.keys import (
    MEMBER,
    SCORE,
    history_start,
    part_bounds,
    score_key,
    split_history,
)
from kvnode._core.tip import Tip
from kvnode._core.upkeep import history_version, stored_value
from kvnode.base.limits import (
    READING_ELEMENTS_PER_STEP,
    READING_PAGE_BYTES,
    READING_PAGE_ROWS,
    SNAPSHOT_GROUP_ROWS_MAX,
)
from kvnode.storage.engine import Engine, Reader
from kvnode.storage.executor import Executor

Row = tuple[bytes, bytes]  # key, envelope
Change = tuple[bytes, bytes | None]  # record key; None: the element is absent

CHANGE_BYTES = 350  # memory of a Change beside the bytes of key and envelope, about
SCORE_BYTES = 8  # value of a sorted set's member
COMMIT_TS_BYTES = 8  # with which an envelope begins


class Reading:
    """One collection as the pin `commit_ts` sees it.

    kind, id_: of its elements. is_by_score: those of a sorted set, as score rows. now_ms: fields
    past their deadline by then are not there; 0: no field has one.
    Opened by open_reading(). page() is called on one thread at a time.
    """

    def __init__(
        self, kind: int, id_: int, commit_ts: int, *, is_by_score: bool = False, now_ms: int = 0
    ) -> None:
        self.kind = SCORE if is_by_score else kind
        self.id = id_
        self.bounds = part_bounds(self.kind, id_)
        self.commit_ts = commit_ts
        self.bytes = 0  # of what is kept in memory, about
        self.is_closed = False
        self._now_ms = now_ms
        self._resources = ExitStack()
        self._reader: Reader | None = None
        self._changed: dict[bytes, Change] = {}  # by the element's name
        self._added: list[Row] = []  # those of them that are there, by key
        self._added_keys: list[bytes] = []

    def page(
        self,
        lo: bytes,
        hi: bytes,
        rows_max: int = READING_PAGE_ROWS,
        *,
        is_backward: bool = False,
    ) -> tuple[list[Row], bytes]:
        """Return the first elements with lo <= key < hi, or the last of them, the highest first.

        And the key up to which, or down to which, these are all: where the next page begins. A
        page has about `rows_max` rows or READING_PAGE_BYTES. Blocks on LevelDB.
        """
        assert self._reader is not None
        rows, is_end = self._reader.scan_part(
            lo, hi, rows_max, READING_PAGE_BYTES, is_backward=is_backward
        )
        edge = (lo if is_backward else hi) if is_end else _behind(rows, is_backward)
        found = visible(rows, self._changed, self.commit_ts, self._now_ms)
        first = bisect_left(self._added_keys, edge if is_backward else lo)
        end = bisect_left(self._added_keys, hi if is_backward else edge)
        if first == end:
            return found, edge
        # More of it than a page takes: those nearest to where the page begins.
        is_cut = end - first > rows_max
        if is_cut:
            first, end = (end - rows_max, end) if is_backward else (first, first + rows_max)
        found = sorted(found + self._added[first:end], reverse=is_backward)
        count = _fitting(found, rows_max)
        if is_cut or count < len(found):
            found = found[:count]
            edge = _behind(found, is_backward)
        return found, edge

    def close(self, executor: Executor) -> None:
        """Let go of LevelDB's state, on a thread that reads it."""
        if not self.is_closed:
            self.is_closed = True
            executor.submit(self._release, lambda result, error: None)

    def _release(self) -> None:
        self._changed, self._added, self._added_keys = {}, [], []
        self._resources.close()

    # -- opening --------------------------------------------------------------------------------

    def take_state(self, engine: Engine) -> None:
        """Take LevelDB's state, and what of the pin's elements only its history has."""
        self._reader = self._resources.enter_context(engine.snapshot())
        kind = MEMBER if self.kind == SCORE else self.kind
        lo, hi = history_start(kind, self.id, 0), b"Y" + part_bounds(kind, self.id)[1]
        for key, old in self._reader.scan(lo, hi, SNAPSHOT_GROUP_ROWS_MAX):
            record_key, old_ts = split_history(key)
            until, envelope = history_version(old)
            if old_ts <= self.commit_ts < until:
                self.note(record_key, envelope)

    def note(self, record_key: bytes, envelope: bytes | None) -> None:
        """Memory or the history knows what the pin sees of an element; memory has the last word."""
        self._changed[name_of(record_key)] = record_key, envelope
        self.bytes += CHANGE_BYTES + 2 * len(record_key) + 2 * len(envelope or b"")

    def arrange(self) -> None:
        """All is noted: bring it into the order of the rows."""
        added = [(key, row) for key, row in self._changed.values() if row is not None]
        if self.kind == SCORE:
            added = [_score_row(*row) for row in added]
        self._added = sorted(visible(added, None, self.commit_ts, self._now_ms))
        self._added_keys = [key for key, _ in self._added]


def _behind(rows: list[Row], is_backward: bool) -> bytes:
    return rows[-1][0] if is_backward else rows[-1][0] + b"\0"


def _fitting(rows: list[Row], rows_max: int) -> int:
    """How many of the rows make a page."""
    size = 0
    for count, (key, envelope) in enumerate(rows, 1):
        size += len(key) + len(envelope)
        if size >= READING_PAGE_BYTES or count == rows_max:
            return count
    return len(rows)


def _score_row(member_key: bytes, envelope: bytes) -> Row:
    return (
        score_key(member_key, stored_value(envelope)[:SCORE_BYTES]),
        envelope[:COMMIT_TS_BYTES] + b"\0",
    )


def open_reading(
    reading: Reading,
    tip: Tip,
    engine: Engine,
    executor: Executor,
    then: Callable[[BaseException | None], None],
) -> None:
    """Collect what a reading needs; then(error) is called when page() may be, or it was closed.

    On the sequencer's thread. The pin has to stay until then. executor: reads LevelDB. The tip is
    looked at a part in each pass, which sees it as it is by then: what is settled there by now
    was in LevelDB when its state was taken, or is not the pin's business.
    """
    epoch = tip.begin_fetch()
    kind = MEMBER if reading.kind == SCORE else reading.kind

    def end(error: BaseException | None) -> None:
        tip.end_fetch(epoch)
        if error is None and not reading.is_closed:
            executor.submit(reading.arrange, lambda result, failed: then(failed))
        else:
            then(error)

    def look(from_hash: int, error: BaseException | None) -> None:
        if error is not None or reading.is_closed:
            end(error)
            return
        found, following = unsettled(
            tip, kind, reading.id, from_hash, READING_ELEMENTS_PER_STEP, reading.commit_ts, epoch
        )
        for record_key, envelope in found:
            reading.note(record_key, envelope)
        if following is None:
            end(None)
        else:
            executor.submit(lambda: None, lambda result, failed: look(following, failed))

    executor.submit(lambda: reading.take_state(engine), lambda result, error: look(0, error))
