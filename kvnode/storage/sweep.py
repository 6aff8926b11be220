"""The sweeper: frees what dead generations, collections and large values occupy.

Its work list are the trash records, written by the entry that killed something (hard case 10).
Trash is taken when its death is committed, durable and below every pin, so nobody can ask for it
again. Death is in the log; what is done about it is each node's own matter, leader or not. So a
trash record goes from this node's memory and LevelDB alone, when the deletions are durable there,
that is after a checkpoint that began behind them: a crash before that finds the record and goes on,
and an entry that is applied again makes it again, for a sweep that finds nothing.

A dead generation first waits for a checkpoint. Then all of it is in LevelDB with its last word,
the memory may be freed at once, and the heads found there name no value that lives on elsewhere
under another key (MOVE takes a value along into another generation).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from kvnode._core.keys import GENERATION, PARTS, PENDING, head_end, head_start, part_bounds
from kvnode._core.tip import Tip
from kvnode._core.upkeep import (
    TRASH_COLLECTION,
    dead_heads,
    drop_trash,
    free_generation,
    kill_chunks,
    kill_generation,
    trash,
)
from kvnode.base.limits import (
    CHUNK_BYTES,
    COMPACTION_STEP_BYTES,
    SWEEP_BUCKETS_PER_STEP,
    SWEEP_KNOWN_MAX,
    SWEEP_META_PER_STEP,
    SWEEP_ROWS_PER_STEP,
)
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.engine import Engine, compaction_ranges
from kvnode.storage.executor import Executor, Slot
from kvnode.storage.local import HighWater

Row = tuple[bytes, bytes]


class Stage(Enum):
    """What is left to do for a dead generation."""

    CHECKPOINT = auto()  # wait until LevelDB has the last word
    MEMORY = auto()
    ROWS = auto()
    COMPACT = auto()  # its tables hold only what is deleted: give the disk back


@dataclass(slots=True)
class _Chunks:
    """A dead value; its chunks before number `at` are deleted."""

    id: int
    count: int
    at: int = 0


@dataclass(slots=True)
class _Generation:
    """A dead generation; heads below `place` are deleted.

    ranges: of keys, still to be compacted.
    """

    id: int
    barrier: int  # number of the checkpoint to wait for
    stage: Stage
    place: bytes
    ranges: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class _Parts:
    """A dead collection; of its rows those of `kinds` are left, of the last kind from `place` on.

    To begin at the first key each time would step over all that was deleted before.
    """

    id: int
    kinds: list[int]
    place: bytes = b""


class TrashSweeper:
    """Sweeps a bounded piece per step(); one call in flight.

    writer: the executor through which all writes to the engine go, in order.
    is_staged: whether a value or collection is being written by who has not published it yet.
    is_read: whether a reply still needs the chunks of a value.
    """

    def __init__(
        self,
        tip: Tip,
        engine: Engine,
        writer: Executor,
        checkpointer: Checkpointer,
        high_water: HighWater,
        *,
        is_staged: Callable[[int], bool],
        is_read: Callable[[int], bool],
    ) -> None:
        self._tip = tip
        self._engine = engine
        self._slot = Slot(writer)
        self._checkpointer = checkpointer
        self._high_water = high_water
        self._is_staged = is_staged
        self._is_read = is_read
        self._known: set[int] = set()  # ids that wait or are worked on below
        self._values: deque[_Chunks] = deque()
        self._collections: deque[_Parts] = deque()
        self._generations: deque[_Generation] = deque()
        self._heads: list[bytes] | None = None  # rows to delete once `_values` is empty
        self._swept: deque[tuple[int, int]] = deque()  # (checkpoint to wait for, id)
        self._left: list[int] = []  # pending, and nobody is going to publish it
        self._looked_at = 0  # hash of the next meta record to look at
        self.rows_deleted = 0

    @property
    def wants_checkpoint(self) -> bool:
        """Whether memory waits for a checkpoint to begin."""
        return any(
            dead.stage is Stage.CHECKPOINT and dead.barrier > self._checkpointer.begun
            for dead in self._generations
        )

    @property
    def has_more(self) -> bool:
        """Whether step() would do more now than look for trash."""
        if not self._slot.is_free:
            return False
        if self._may_forget:
            return True
        if self._has_rows or not self._generations:
            return bool(self._collections) or self._may_delete()
        first = self._generations[0]
        return first.stage is not Stage.CHECKPOINT or (first.barrier <= self._checkpointer.finished)

    @property
    def _has_rows(self) -> bool:
        """Whether rows are known that are to be deleted."""
        return bool(self._collections or self._values or self._heads)

    @property
    def _may_forget(self) -> bool:
        """Whether the deletion of something is durable."""
        return bool(self._swept) and self._swept[0][0] <= self._checkpointer.finished

    def step(self, durable_index: int) -> None:
        """Do a piece of work.

        durable_index: the newest entry committed and synced here, that of tip.durable or later.
        Raises StorageIOError or CorruptionError when a call failed: the node stops.
        """
        self._look_for_trash()
        if self._slot.is_free:
            if self._may_forget:
                self._forget(durable_index)
            elif self._collections:
                self._delete_parts(self._collections[0], durable_index)
            elif self._has_rows:
                if self._may_delete():
                    self._delete_rows(durable_index)
            elif self._generations:
                self._sweep_generation(self._generations[0])

    def take_left(self) -> list[int]:
        """Return ids that step() has met and nobody here is going to publish: a leader has to
        bury_pending() them in the same pass.
        """
        left, self._left = self._left, []
        return left

    def statistics(self) -> dict[str, int]:
        """Counters for INFO."""
        return {"sweeping": len(self._known), "swept_rows": self.rows_deleted}

    def _look_for_trash(self) -> None:
        if len(self._known) >= SWEEP_KNOWN_MAX:
            return
        found, looked_at = trash(self._tip, self._looked_at, SWEEP_META_PER_STEP)
        self._looked_at = looked_at or 0
        for dead, kind, length in found:
            if dead in self._known or self._is_staged(dead) or self._is_read(dead):
                continue
            if kind == PENDING:
                self._left.append(dead)
            elif kind == GENERATION:
                self._add_generation(dead)
            elif kind == TRASH_COLLECTION:
                self._known.add(dead)
                self._collections.append(_Parts(dead, list(PARTS)))
            else:
                self._known.add(dead)
                self._values.append(_Chunks(dead, chunk_count(length)))

    def _add_generation(self, generation: int) -> None:
        kill_generation(self._tip, generation)
        self._known.add(generation)
        self._generations.append(
            _Generation(
                generation,
                self._next_checkpoint(),
                Stage.CHECKPOINT,
                head_start(generation, 0),
            )
        )

    def _next_checkpoint(self) -> int:
        """Return the number of the first checkpoint that begins after now."""
        return self._checkpointer.begun + 1

    def _forget(self, durable_index: int) -> None:
        """Drop trash records of what is swept for good."""
        rows: list[tuple[bytes, None]] = []
        for _ in range(len(self._swept)):
            if not self._may_forget or len(rows) >= SWEEP_ROWS_PER_STEP:
                break
            _, dead = self._swept.popleft()
            keys = drop_trash(self._tip, dead)
            if keys is None:  # written again, by an entry applied anew
                self._swept.append((self._next_checkpoint(), dead))
                continue
            self._known.discard(dead)
            rows += [(key, None) for key in keys]
        if rows:
            mark = self._high_water.row(durable_index)
            self._slot.submit(lambda: self._engine.write([mark, *rows]))

    # -- collections ------------------------------------------------------------------------------

    def _delete_parts(self, dead: _Parts, durable_index: int) -> None:
        """Delete some rows of a dead collection."""
        lo, hi = part_bounds(dead.kinds[-1], dead.id)
        place = dead.place or lo
        mark = self._high_water.row(durable_index)

        def work() -> list[bytes]:
            keys = self._engine.scan_keys(place, hi, SWEEP_ROWS_PER_STEP)
            if keys:
                self._engine.write([mark, *((key, None) for key in keys)])
            return keys

        def then(keys: list[bytes]) -> None:
            self.rows_deleted += len(keys)
            if len(keys) == SWEEP_ROWS_PER_STEP:
                dead.place = keys[-1] + b"\0"
                return
            dead.kinds.pop()
            dead.place = b""
            if not dead.kinds:
                self._collections.remove(dead)
                if dead.id in self._known:
                    self._swept.append((self._next_checkpoint(), dead.id))

        self._slot.submit(work, then)

    # -- values -----------------------------------------------------------------------------------

    def _may_delete(self) -> bool:
        """Bring a value that no reply reads to the front; whether there is something to delete."""
        for _ in range(len(self._values)):
            if not self._is_read(self._values[0].id):
                return True
            self._values.rotate(-1)
        return not self._values and bool(self._heads)

    def _delete_rows(self, durable_index: int) -> None:
        """Write one batch of deletions: chunks first, the heads that led to them in the last."""
        keys: list[bytes] = []
        left = SWEEP_ROWS_PER_STEP
        while self._values and left > 0 and not self._is_read(self._values[0].id):
            value = self._values[0]
            count = min(left, value.count - value.at)
            keys += kill_chunks(self._tip, value.id, value.at, count)
            value.at += count
            left -= max(count, 1)
            if value.at == value.count:
                self._values.popleft()
                if value.id in self._known:
                    self._swept.append((self._next_checkpoint(), value.id))
        if not self._values and self._heads:
            keys += self._heads
            self._heads = None
        self.rows_deleted += len(keys)
        mark = self._high_water.row(durable_index)
        rows = [(key, None) for key in keys]
        self._slot.submit(lambda: self._engine.write([mark, *rows]))

    # -- generations ------------------------------------------------------------------------------

    def _sweep_generation(self, dead: _Generation) -> None:
        match dead.stage:
            case Stage.CHECKPOINT:
                if self._checkpointer.finished >= dead.barrier:
                    dead.stage = Stage.MEMORY
                elif len(self._generations) > 1:
                    self._generations.rotate(-1)
            case Stage.MEMORY:
                if free_generation(self._tip, dead.id, SWEEP_BUCKETS_PER_STEP):
                    dead.stage = Stage.ROWS
            case Stage.ROWS:
                self._read_heads(dead)
            case Stage.COMPACT if dead.ranges:
                lo, hi = dead.ranges.pop()
                self._slot.submit(lambda: self._engine.compact_range(lo, hi))
            case Stage.COMPACT:
                self._generations.remove(dead)
                self._swept.append((self._next_checkpoint(), dead.id))

    def _read_heads(self, dead: _Generation) -> None:
        lo, hi = dead.place, head_end(dead.id)

        def then(rows: list[Row]) -> None:
            if not rows:
                self._measure(dead)
                return
            dead.place = rows[-1][0] + b"\0"
            self._heads, values, collections = dead_heads(rows)
            self._collections.extend(_Parts(id_, list(PARTS)) for id_ in collections)
            self._values.extend(_Chunks(id_, chunk_count(length)) for id_, length in values)

        self._slot.submit(lambda: self._engine.scan(lo, hi, SWEEP_ROWS_PER_STEP), then)

    def _measure(self, dead: _Generation) -> None:
        lo, hi = head_start(dead.id, 0), head_end(dead.id)

        def then(ranges: list[tuple[bytes, bytes]]) -> None:
            dead.ranges = ranges
            dead.stage = Stage.COMPACT

        self._slot.submit(
            lambda: list(compaction_ranges(self._engine, lo, hi, COMPACTION_STEP_BYTES)), then
        )


def chunk_count(length: int) -> int:
    """Return how many chunks a value of `length` bytes has."""
    return -(-length // CHUNK_BYTES)
