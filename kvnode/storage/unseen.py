"""Rows in a checkpoint that replace what only LevelDB knows.

As a rule the tip knows what LevelDB has of a record that it writes. What the log brought while that
was not in memory, at a restart or on a follower, is written without it; then the writer looks:

  - for the old score of a member, since its score row is another row. It follows from the row of
    its member and changes in the same write;
  - for items outside of a list's ends, and for deltas that its new head holds, when the head before
    it has never been seen.
"""

from collections.abc import Sequence

from kvnode._core.keys import DELTA, ITEM, part_bounds, score_key
from kvnode._core.upkeep import stored_value
from kvnode.base.limits import UNSEEN_ROWS_PER_WRITE
from kvnode.storage.engine import Reader, Row

SCORE_BYTES = 8  # value of a sorted set's member; a set's has none


def with_old_rows(
    reader: Reader, rows: list[Row], blind: Sequence[bytes], seen: dict[int, bool]
) -> list[Row]:
    """Return the rows of a slice behind the deletions of the rows that they replace.

    blind: as take_blind() returns it. seen: takes the collections that were looked for, and whether
    nothing is left. On the writer's thread.
    """
    if not blind:
        return rows
    old: list[Row] = []
    members = [key for key in blind if key[0] != ITEM]
    for key, envelope in zip(members, reader.get_many(members), strict=True):
        score = stored_value(envelope) if envelope is not None else b""
        if len(score) == SCORE_BYTES:
            old.append((score_key(key, score), None))
    for key in blind:
        if key[0] == ITEM:
            found, seen[int.from_bytes(key[1:9])] = _unseen(reader, key)
            old += [(row, None) for row in found]
    return old + rows


def _unseen(reader: Reader, key: bytes) -> tuple[list[bytes], bool]:
    """Return some rows that a collection's head tells nothing of, and whether these are all.

    key: ITEM, id, low, high (positions), commit_ts up to which its head holds the deltas.
    """
    id_ = int.from_bytes(key[1:9])
    items, folded = part_bounds(ITEM, id_), int.from_bytes(key[25:33])
    deltas = part_bounds(DELTA, id_)[0]
    found: list[bytes] = []
    for lo, hi in (
        (items[0], items[0] + key[9:17]),
        (items[0] + key[17:25], items[1]),
        (deltas, deltas + (folded + 1).to_bytes(8)),
    ):
        found += reader.scan_keys(lo, hi, UNSEEN_ROWS_PER_WRITE - len(found))
        if len(found) >= UNSEEN_ROWS_PER_WRITE:
            return found, False
    return found, True
