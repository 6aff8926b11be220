"""Recovery: from LevelDB and the log to a tip that may be served.

LevelDB shows the state at A mixed with effects of entries up to H. Replaying the log from A heals
that, and every hole that a power failure left in what LevelDB had not made durable: records carry
their commit_ts, so a replayed version never replaces a newer one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kvnode._core.keys import (
    CHUNK,
    COUNTER,
    DATABASE,
    DELTA,
    GENERATION,
    LIBRARY,
    PENDING,
    SCRIPT,
    TRASH,
    head_end,
    head_start,
    kind_bounds,
)
from kvnode._core.tip import Tip
from kvnode._core.upkeep import database_generations, meta_value
from kvnode.base.errors import CorruptionError
from kvnode.base.limits import RECOVERY_ROWS_PER_READ
from kvnode.storage.engine import Engine
from kvnode.storage.local import HighWater, LocalFacts, Position

IDS_COUNTER = b"Nids"

ReplayedEntry = tuple[int, int, int, bytes]  # term, index, commit_ts, payload


@dataclass(frozen=True, slots=True)
class Recovered:
    """A node's state as of its last committed entry."""

    tip: Tip
    last: Position
    next_id: int  # first id of generations and values that nothing uses
    high_water: HighWater
    orphans: list[int]  # generations in memory that no record names: for the sweeper
    replayed_entries: int


def recover(engine: Engine, facts: LocalFacts, entries: Iterable[ReplayedEntry]) -> Recovered:
    """Build the tip: meta records from LevelDB, then `entries`, all committed ones after A.

    Raises CorruptionError when log and LevelDB do not fit together; nothing is changed by then.
    """
    has_chunks = bool(engine.scan_keys(*kind_bounds(CHUNK), limit=1))
    tip = Tip(facts.hash_key, not has_chunks)
    for kind in (GENERATION, DATABASE, COUNTER, TRASH, PENDING, SCRIPT, LIBRARY):
        _load(engine, tip, kind)
    tip.has_delta_rows = bool(engine.scan_keys(*kind_bounds(DELTA), limit=1))
    tip.fresh_id = max(facts.checkpoint.next_id, 1)
    last, count = _replay(tip, facts, entries)
    tip.finish_replay()
    if last.index < facts.highest_index:
        raise CorruptionError(
            f"LevelDB shows effects of entry {facts.highest_index}, the log ends at {last.index}: "
            "entries are missing. Restore the data directory from a backup"
        )
    tip.watermark = tip.durable = last.commit_ts
    for generation in database_generations(tip):
        if generation is None:
            continue
        if not engine.scan_keys(head_start(generation, 0), head_end(generation), 1):
            tip.set_resident(generation, True)
    ids = meta_value(tip, IDS_COUNTER)
    next_id = max(int.from_bytes(ids or b""), facts.checkpoint.next_id, 1)
    return Recovered(tip, last, next_id, HighWater(facts.highest_index), _find_orphans(tip), count)


def _find_orphans(tip: Tip) -> list[int]:
    """Return generations that live in no database and in no trash record.

    The log from A on may write into a generation whose sweep had ended before the crash.
    """
    current = database_generations(tip)
    return [
        generation
        for generation in tip.generation_ids()
        if generation not in current
        and meta_value(tip, bytes((TRASH,)) + generation.to_bytes(8)) is None
    ]


def _load(engine: Engine, tip: Tip, kind: int) -> None:
    lo, hi = kind_bounds(kind)
    while True:
        rows = engine.scan(lo, hi, RECOVERY_ROWS_PER_READ)
        for key, envelope in rows:
            tip.load(key, envelope)
        if len(rows) < RECOVERY_ROWS_PER_READ:
            return
        lo = rows[-1][0] + b"\0"


def _replay(tip: Tip, facts: LocalFacts, entries: Iterable[ReplayedEntry]) -> tuple[Position, int]:
    """Apply the entries after A in order; return the last position and how many there were."""
    last = facts.checkpoint.at
    count = 0
    for term, index, commit_ts, payload in entries:
        if facts.is_fresh:
            raise CorruptionError(
                f"the log has entry {index} but LevelDB is empty: one of them is not of this node"
            )
        if index != last.index + 1 or term < last.term or commit_ts <= last.commit_ts:
            raise CorruptionError(
                f"log entry (index {index}, term {term}, time {commit_ts}) cannot follow "
                f"(index {last.index}, term {last.term}, time {last.commit_ts})"
            )
        tip.durable = commit_ts  # replaced versions go at once: nobody has a pin yet
        tip.replay(payload, commit_ts)
        last = Position(index, term, commit_ts)
        count += 1
    return last, count
