"""The compactor: folds deltas of collections that nobody touches.

Deltas get into LevelDB only by themselves when the head of their collection was not in memory as
they were applied: after a restart, and on a follower. Folding is what a head's flush does anyway,
so all that is to be done is to have such heads read: then their sums are made, and the next
checkpoint writes the bases and deletes the deltas, in one batch. No sum changes at any time (I8),
and nobody conflicts.
"""

from kvnode._core.keys import DELTA, kind_bounds
from kvnode._core.tip import Tip
from kvnode._core.upkeep import head_of_delta
from kvnode.base.limits import COMPACT_EVERY_MS, COMPACT_HEADS_PER_STEP
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor, Slot
from kvnode.storage.fetch import Fetcher

LO, HI = kind_bounds(DELTA)

Row = tuple[bytes, bytes]


class DeltaCompactor:
    """Goes through all deltas in key order, a bounded number a step, and begins anew at the end.

    So no collection is passed over, whatever happens to others meanwhile.
    """

    def __init__(self, tip: Tip, engine: Engine, reader: Executor, fetcher: Fetcher) -> None:
        self._tip = tip
        self._engine = engine
        self._slot = Slot(reader)
        self._fetcher = fetcher
        self._place = LO  # in LevelDB
        self._rows = 0  # met since the walk began
        self._written = 0  # rows written by then
        self._due_ms = 0
        self.heads_asked = 0

    def step(self, now_ms: int) -> None:
        """Do a piece of work. Raises StorageIOError or CorruptionError when a call failed."""
        if now_ms < self._due_ms or not self._slot.is_free:
            return
        self._due_ms = now_ms + COMPACT_EVERY_MS
        self._ask(self._tip.stale_deltas(COMPACT_HEADS_PER_STEP))
        if self._tip.has_delta_rows:
            self._read()

    def _read(self) -> None:
        lo = self._place
        if lo == LO:
            self._rows = 0
            self._written = self._tip.delta_rows_written

        def then(rows: list[Row]) -> None:
            self._rows += len(rows)
            heads = (head_of_delta(self._tip, envelope) for _, envelope in rows)
            self._ask([head for head in dict.fromkeys(heads) if head is not None])
            if len(rows) == COMPACT_HEADS_PER_STEP:
                self._place = rows[-1][0] + b"\0"
                return
            if not self._rows and self._written == self._tip.delta_rows_written:
                self._tip.has_delta_rows = False
            self._place = LO

        self._slot.submit(lambda: self._engine.scan(lo, HI, COMPACT_HEADS_PER_STEP), then)

    def _ask(self, heads: list[bytes]) -> None:
        if heads:
            self.heads_asked += len(heads)
            self._fetcher.start(heads, [], [])
