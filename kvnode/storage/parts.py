"""Reads of collections from LevelDB: heads with what belongs to them, pages of elements.

What was read is installed between begin_fetch and end_fetch of the tip: until then the tip keeps
what was written or flushed meanwhile, and nothing that is read replaces that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kvnode._core.items import ItemSpan
from kvnode._core.keys import (
    CLAIM,
    DELTA,
    ITEM,
    bound_of_score,
    order_start,
    part_bounds,
    record_order,
    score_bound,
)
from kvnode._core.tip import Tip, install_items, install_scores
from kvnode._core.upkeep import StoredCollection, stored_collection
from kvnode._core.zset_reach import ScoreSpan
from kvnode.base.limits import (
    CLAIMS_MAX,
    DELTA_ROWS_MAX,
    LOAD_ROWS_PER_PAGE,
    SMALL_COLLECTION_ELEMENTS,
)
from kvnode.storage.engine import Reader

Row = tuple[bytes, bytes]
ORDER_END = 1 << 64


@dataclass(slots=True)
class Records:
    """Records by key, and of the collections among them deltas, claims and all of small ones."""

    rows: list[tuple[bytes, bytes | None]]
    deltas: list[Row] = field(default_factory=list)
    claims: list[tuple[int, list[Row]]] = field(default_factory=list)  # collection id, rows
    whole: list[tuple[int, list[Row]]] = field(default_factory=list)

    def install(self, tip: Tip) -> None:
        """Give the tip what was read."""
        for key, envelope in self.deltas:
            tip.install_delta(key, envelope)
        for key, envelope in self.rows:
            tip.install(key, envelope)
        for id_, rows in self.claims:
            tip.install_claims(id_, rows)
        for id_, rows in self.whole:
            tip.install_whole(id_, rows)


@dataclass(frozen=True, slots=True)
class Page:
    """All stored elements of a collection with an order in [first, end)."""

    id: int
    first: int
    end: int
    rows: list[Row]
    is_last: bool

    def install(self, tip: Tip) -> None:
        """Give the tip what was read."""
        tip.end_load(self.id, self.rows, self.first, self.end, self.is_last)


@dataclass(frozen=True, slots=True)
class ScorePage:
    """All score rows of a sorted set with low <= bound < high."""

    id: int
    low: bytes
    high: bytes
    rows: list[Row]

    def install(self, tip: Tip) -> None:
        """Give the tip what was read."""
        install_scores(tip, self.id, self.rows, self.low, self.high)


@dataclass(frozen=True, slots=True)
class ItemPage:
    """All stored items of a list at positions in [first, end), as sortable numbers."""

    id: int
    first: int
    end: int
    rows: list[Row]

    def install(self, tip: Tip) -> None:
        """Give the tip what was read."""
        install_items(tip, self.id, self.rows, self.first, self.end)


def read_records(reader: Reader, keys: Sequence[bytes], has_delta_rows: bool) -> Records:
    """Read records by key. has_delta_rows: LevelDB may hold deltas.

    The key of any claim of a list stands for all of them: they are known together or not at all.
    """
    plain = [key for key in keys if key[:1] != b"K"]
    records = Records(list(zip(plain, reader.get_many(plain), strict=True)))
    for id_ in {int.from_bytes(key[1:9], "big") for key in keys if key[:1] == b"K"}:
        _read_claims(reader, id_, records)
    for key, envelope in records.rows:
        if envelope is None or key[:1] != b"H":
            continue
        found = stored_collection(envelope)
        if found is not None:
            _read_parts(reader, found, has_delta_rows, records)
    return records


def _read_claims(reader: Reader, id_: int, records: Records) -> None:
    records.claims.append((id_, reader.scan(*part_bounds(CLAIM, id_), CLAIMS_MAX)))


def _read_parts(
    reader: Reader, found: StoredCollection, has_delta_rows: bool, records: Records
) -> None:
    if has_delta_rows:
        records.deltas += reader.scan(*part_bounds(DELTA, found.id), DELTA_ROWS_MAX)
    if found.kind == ITEM:
        _read_claims(reader, found.id, records)
    if found.length <= SMALL_COLLECTION_ELEMENTS:
        rows = reader.scan(*part_bounds(found.kind, found.id), 2 * SMALL_COLLECTION_ELEMENTS)
        if len(rows) < 2 * SMALL_COLLECTION_ELEMENTS:
            records.whole.append((found.id, rows))


def read_page(reader: Reader, kind: int, id_: int, first: int) -> Page:
    """Read the next elements of a collection, from an order (hash or position) on."""
    lo, hi = order_start(kind, id_, first), part_bounds(kind, id_)[1]
    rows = reader.scan(lo, hi, LOAD_ROWS_PER_PAGE)
    if len(rows) < LOAD_ROWS_PER_PAGE:
        return Page(id_, first, ORDER_END - 1, rows, True)
    last_key = rows[-1][0]
    end = record_order(last_key) + 1
    if end == ORDER_END:
        return Page(id_, first, ORDER_END - 1, rows, True)
    # Keyed hashes: seldom do two elements share one.
    rows += reader.scan(last_key + b"\0", order_start(kind, id_, end), LOAD_ROWS_PER_PAGE)
    return Page(id_, first, end, rows, False)


def read_span(reader: Reader, span: ScoreSpan | ItemSpan) -> ScorePage | ItemPage:
    """Read a part of a sorted set or list."""
    if isinstance(span, ItemSpan):
        lo, hi = order_start(ITEM, span.id, span.first), order_start(ITEM, span.id, span.end)
        return ItemPage(*span, reader.scan(lo, hi, span.end - span.first))
    return read_scores(reader, span)


def read_scores(reader: Reader, span: ScoreSpan) -> ScorePage:
    """Read the first or last members of a span of scores."""
    lo, hi = score_bound(span.id, span.low), score_bound(span.id, span.high)
    if span.is_backward:
        rows = reader.scan_back(lo, hi, span.count)
        low = bound_of_score(rows[-1][0]) if len(rows) == span.count else span.low
        return ScorePage(span.id, low, span.high, rows)
    rows = reader.scan(lo, hi, span.count)
    high = bound_of_score(rows[-1][0]) + b"\0" if len(rows) == span.count else span.high
    return ScorePage(span.id, span.low, high, rows)
