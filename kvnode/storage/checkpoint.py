"""Checkpoints: dirty records go to LevelDB in slices, then the log before A may go.

They go in the order of their keys: LevelDB's level-0 files then cover narrow ranges, and each of
its compactions rewrites little. A thread sorts, since a checkpoint may hold millions of records.

Why the order is what it is (hard cases 2 and 3):

  1. A is committed and synced in the own log, or a restart would skip entries that others replaced
     or that a power failure took.
  2. A slice may hold effects of entries beyond A, so the store is a mix until entries up to H have
     been replayed on it. H travels in the write of the slice itself: a slice that survives a crash
     brings its H along, whatever else is lost.
  3. LevelDB leaves a full log file unsynced, so a sync of the last write proves nothing about the
     slices. The memtable is compacted (written and synced) after the last slice.
  4. Only then A is stored, synced; and only when that returned may the log before A go.
"""

from collections.abc import Callable
from enum import Enum, auto

from kvnode._core.flush_order import sort_flush
from kvnode._core.tip import Tip, note_seen, take_blind
from kvnode.base.errors import InvariantError
from kvnode.base.limits import CHECKPOINT_SLICE_BYTES, CHECKPOINT_SLICE_RECORDS
from kvnode.storage.engine import Engine
from kvnode.storage.executor import Executor, Slot
from kvnode.storage.local import CheckpointRecord, HighWater, Position
from kvnode.storage.unseen import with_old_rows


class Phase(Enum):
    """What the running checkpoint does now."""

    IDLE = auto()
    SORT = auto()
    SLICES = auto()
    COMPACT = auto()
    RECORD = auto()


class Checkpointer:
    """One checkpoint at a time, advanced by step() once per pass; one call in flight.

    executor: the one through which all writes to the engine go, in order.
    last: the newest checkpoint there is.
    on_step: called on the executor before and after each call, with a name; failpoints sit there.
    """

    def __init__(
        self,
        tip: Tip,
        engine: Engine,
        executor: Executor,
        *,
        last: CheckpointRecord,
        high_water: HighWater,
        on_step: Callable[[str], None] | None = None,
    ) -> None:
        self._tip = tip
        self._engine = engine
        self._slot = Slot(executor)
        self._high_water = high_water
        self._on_step = on_step
        self._phase = Phase.IDLE
        self._record = last  # what the running checkpoint will store
        self.last = last
        self.begun = 0
        self.finished = 0
        self.rows_written = 0

    @property
    def is_running(self) -> bool:
        return self._phase is not Phase.IDLE

    def begin(self, at: Position, next_id: int, membership: bytes = b"") -> None:
        """Begin a checkpoint at A = `at`, the newest entry committed and synced here.

        membership: as of A, encoded; b"" in a group that always was of one.
        """
        if self.is_running:
            raise InvariantError("a checkpoint is running")
        if at.index < self.last.at.index or at.commit_ts > self._tip.durable:
            raise InvariantError(f"checkpoint at {at} after {self.last.at}")
        if self.last.membership and not membership:
            raise InvariantError("a group with members does not become one without")
        self._record = CheckpointRecord(at, next_id, membership)
        self._phase = Phase.SORT
        if self._tip.begin_checkpoint() <= CHECKPOINT_SLICE_RECORDS:
            sort_flush(self._tip)  # quicker than to ask a thread for it
            self._phase = Phase.SLICES
        self.begun += 1

    def step(self, durable_index: int) -> CheckpointRecord | None:
        """Go on if nothing is in flight; return the record of a checkpoint that just ended.

        durable_index: the newest entry committed and synced here, that of tip.durable or later.
        Raises StorageIOError or CorruptionError when a call failed: the node stops.
        """
        if not self._slot.is_free:
            return None
        match self._phase:
            case Phase.SORT:
                self._phase = Phase.SLICES
                self._tip.sorting = True
                self._slot.submit(lambda: sort_flush(self._tip), self._sorted)
            case Phase.SLICES if self._tip.flush_left():
                self._write_slice(durable_index)
            case Phase.SLICES:
                self._phase = Phase.COMPACT
                self._submit("checkpoint_compact", self._engine.compact_memtable)
            case Phase.COMPACT:
                self._phase = Phase.RECORD
                self._write_record(self._record)
            case Phase.RECORD:
                return self._finish()
        return None

    def _sorted(self, _: None) -> None:
        self._tip.sorting = False

    def _write_slice(self, durable_index: int) -> None:
        rows = self._tip.flush_slice(CHECKPOINT_SLICE_RECORDS, CHECKPOINT_SLICE_BYTES)
        if not rows:
            self._tip.flushed()
            return
        self.rows_written += len(rows)
        rows.append(self._high_water.row(durable_index))
        blind = take_blind(self._tip)

        seen: dict[int, bool] = {}

        def write() -> None:
            self._engine.write(with_old_rows(self._engine, rows, blind, seen))

        def then() -> None:
            self._tip.flushed()
            for id_, is_all in seen.items():
                note_seen(self._tip, id_, is_all)

        self._submit("checkpoint_slice", write, then)

    def _write_record(self, record: CheckpointRecord) -> None:
        rows = record.rows()
        self._submit("checkpoint_record", lambda: self._engine.write(rows, sync=True))

    def _finish(self) -> CheckpointRecord:
        self._tip.end_checkpoint()
        self._phase = Phase.IDLE
        self.last = self._record
        self.finished += 1
        return self.last

    def _submit(
        self, name: str, call: Callable[[], None], then: Callable[[], None] | None = None
    ) -> None:
        on_step = self._on_step

        def work() -> None:
            if on_step is not None:
                on_step(f"before_{name}")
            call()
            if on_step is not None:
                on_step(f"after_{name}")

        self._slot.submit(work, None if then is None else lambda _: then())
