"""Recovery: from LevelDB and the log to a tip that may be served.

LevelDB shows the state at A mixed with effects of entries up to H. Applying the log from A heals
that, and every hole that a power failure left in what LevelDB had not made durable: records carry
their commit_ts, so a version applied again never replaces a newer one. Entries are applied here as
they are on a follower, see Sequencer.apply(); until those up to H are, nobody may read.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kvnode._core.keys import (
    CHUNK,
    COUNTER,
    DATABASE,
    DELTA,
    GENERATION,
    HEAD,
    LIBRARY,
    PENDING,
    REQUEST,
    SCRIPT,
    TRASH,
    head_end,
    kind_bounds,
)
from kvnode._core.tip import Tip
from kvnode._core.upkeep import meta_value
from kvnode.base.errors import CorruptionError
from kvnode.base.limits import RECOVERY_ROWS_PER_READ
from kvnode.storage.engine import Engine
from kvnode.storage.local import HighWater, LocalFacts, Position

IDS_COUNTER = b"Nids"

ReplayedEntry = tuple[int, int, int, bytes]  # term, index, commit_ts, payload


@dataclass(frozen=True, slots=True)
class Recovered:
    """A node's state as of `last`."""

    tip: Tip
    last: Position
    next_id: int  # first id of generations and values that nothing up to `last` uses
    high_water: HighWater
    replayed_entries: int = 0


def open_tip(engine: Engine, facts: LocalFacts) -> Recovered:
    """Return the state at A without any entry: the caller applies those behind it, in order.

    Raises CorruptionError, StorageIOError.
    """
    has_chunks = bool(engine.scan_keys(*kind_bounds(CHUNK), limit=1))
    tip = Tip(facts.hash_key, not has_chunks)
    tip.note_stored_generations(_stored_generations(engine))
    for kind in (GENERATION, DATABASE, COUNTER, TRASH, PENDING, REQUEST, SCRIPT, LIBRARY):
        _load(engine, tip, kind)
    tip.has_delta_rows = bool(engine.scan_keys(*kind_bounds(DELTA), limit=1))
    at = facts.checkpoint.at
    # The counter's row may be of an entry behind A, and is not brought by that entry again then:
    # so up to there no collection counts as made by the entry that names it.
    tip.fresh_id = next_id(tip, facts)
    tip.mixed_until = facts.highest_index if facts.highest_index > at.index else 0
    tip.watermark = tip.durable = at.commit_ts
    return Recovered(tip, at, next_id(tip, facts), HighWater(facts.highest_index))


def next_id(tip: Tip, facts: LocalFacts) -> int:
    """Return the first id that neither A nor what was applied since uses."""
    ids = meta_value(tip, IDS_COUNTER)
    return max(int.from_bytes(ids or b""), facts.checkpoint.next_id, 1)


def recover(engine: Engine, facts: LocalFacts, entries: Iterable[ReplayedEntry]) -> Recovered:
    """Return the state of a group of one: that at A, and `entries`, all committed ones after it.

    Raises CorruptionError when log and LevelDB do not fit together; nothing is changed by then.
    """
    opened = open_tip(engine, facts)
    tip = opened.tip
    last, count = _replay(tip, facts, entries)
    if last.index < facts.highest_index:
        raise CorruptionError(
            f"LevelDB shows effects of entry {facts.highest_index}, the log ends at {last.index}: "
            "entries are missing. Restore the data directory from a backup"
        )
    tip.mixed_until = 0
    return Recovered(tip, last, next_id(tip, facts), opened.high_water, count)


def _stored_generations(engine: Engine) -> list[int]:
    """Return the generations of which LevelDB has a head: those of databases, and dead ones."""
    found = []
    lo, hi = kind_bounds(HEAD)
    while keys := engine.scan_keys(lo, hi, limit=1):
        found.append(int.from_bytes(keys[0][1:9]))
        lo = head_end(found[-1])
    return found


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
        tip.durable = commit_ts  # what it replaces goes at once: nobody has a pin yet
        tip.apply(payload, commit_ts)
        last = Position(index, term, commit_ts)
        count += 1
    return last, count
