"""The history sweeper: drops older versions from LevelDB when no pin sees them any more.

A history row says for which timestamps it is the truth: from its version's commit_ts up to that of
the version that replaced it. That version was durable when the row was written, and pins are taken
at the watermark, so a row that no pin needs is never needed again.
"""

from bisect import bisect_left

from kvnode._core.keys import HISTORY, kind_bounds, split_history
from kvnode._core.pinned import pins
from kvnode._core.tip import Tip
from kvnode._core.upkeep import history_version
from kvnode.base.limits import HISTORY_ROWS_PER_STEP
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor, Slot

LO, HI = kind_bounds(HISTORY)


class HistorySweeper:
    """Walks the history once at start, and again when pins went; advanced by step().

    writer: the executor through which all writes to the engine go, in order.
    """

    def __init__(self, tip: Tip, engine: Engine, writer: Executor) -> None:
        self._tip = tip
        self._engine = engine
        self._slot = Slot(writer)
        self._place: bytes | None = LO  # None: no walk is under way
        self._unpins = 0  # pins released when the last walk began
        self._written = 0  # history rows written by then
        self._has_rows = False  # the last walk left some
        self.rows_deleted = 0

    def step(self) -> None:
        """Do a piece of work. Raises StorageIOError or CorruptionError when a call failed."""
        if not self._slot.is_free:
            return
        if self._place is None and not self._begin_walk():
            return
        lo = self._place
        assert lo is not None
        held = pins(self._tip)

        def work() -> tuple[list[bytes], int, bytes | None]:
            """Delete what no pin needs; return (deleted keys, rows kept, where to go on)."""
            if held:
                rows = self._engine.scan(lo, HI, HISTORY_ROWS_PER_STEP)
                gone = [key for key, row in rows if not is_needed(key, row, held)]
                last = rows[-1][0] if rows else b""
                seen = len(rows)
            else:
                gone = self._engine.scan_keys(lo, HI, HISTORY_ROWS_PER_STEP)
                last = gone[-1] if gone else b""
                seen = len(gone)
            if gone:
                self._engine.write([(key, None) for key in gone])
            next_place = last + b"\0" if seen == HISTORY_ROWS_PER_STEP else None
            return gone, seen - len(gone), next_place

        def then(result: tuple[list[bytes], int, bytes | None]) -> None:
            gone, kept, self._place = result
            self.rows_deleted += len(gone)
            self._has_rows = self._has_rows or kept > 0

        self._slot.submit(work, then)

    def _begin_walk(self) -> bool:
        """Begin a walk if there may be rows whose pins went since the last one."""
        unpins, written = self._tip.unpins, self._tip.history_rows
        if unpins == self._unpins or not (self._has_rows or written != self._written):
            return False
        self._unpins, self._written = unpins, written
        self._has_rows = False
        self._place = LO
        return True


def is_needed(key: bytes, row: bytes, held: list[int]) -> bool:
    """Whether one of the pins `held`, ascending, sees this version."""
    _, commit_ts = split_history(key)
    until, _ = history_version(row)
    at = bisect_left(held, commit_ts)
    return at < len(held) and held[at] < until
