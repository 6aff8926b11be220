"""Score rows in a checkpoint: members whose old score only LevelDB knows.

A score row follows from the row of its member and changes in the same write. As a rule the tip
knows the score that LevelDB has. What the log brought while the member was not in memory, at a
restart or on a follower, is written without it; then the old row is read just before it goes.
"""

from collections.abc import Sequence

from kvnode._core.keys import score_key
from kvnode._core.upkeep import stored_value
from kvnode.storage.engine import Reader, Row

SCORE_BYTES = 8  # value of a sorted set's member; a set's has none


def with_old_scores(reader: Reader, rows: list[Row], blind: Sequence[bytes]) -> list[Row]:
    """Return the rows of a slice behind the deletions of the score rows that they replace.

    blind: record keys of the members to look up. On the writer's thread.
    """
    if not blind:
        return rows
    old: list[Row] = []
    for key, envelope in zip(blind, reader.get_many(blind), strict=True):
        score = stored_value(envelope) if envelope is not None else b""
        if len(score) == SCORE_BYTES:
            old.append((score_key(key, score), None))
    return old + rows
