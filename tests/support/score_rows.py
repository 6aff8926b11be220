"""Sorted sets against the engine: score rows, and what the tip takes to be complete."""

from kvnode._core import invariants
from kvnode._core.keys import MEMBER, SCORE, kind_bounds, score_key
from kvnode._core.tip import Tip, score_windows
from kvnode._core.upkeep import stored_value
from kvnode.storage.engine import Engine

SCORE_BYTES = 8
TIME_AND_FLAGS_BYTES = 9  # an envelope without a value
ALL = 1 << 30


def check_score_rows(engine: Engine, *, is_swept: bool = False) -> None:
    """Raise AssertionError unless the score rows are those of the members of sorted sets.

    is_swept: of the dead the score rows go first, so collections without any are left out.
    """
    wanted: dict[int, dict[bytes, bytes]] = {}
    found: dict[int, dict[bytes, bytes]] = {}
    for key, envelope in engine.scan(*kind_bounds(MEMBER), ALL):
        score = stored_value(envelope)
        if len(score) == SCORE_BYTES:
            row = score_key(key, score)
            wanted.setdefault(id_of(key), {})[row] = envelope[:TIME_AND_FLAGS_BYTES]
    for key, envelope in engine.scan(*kind_bounds(SCORE), ALL):
        found.setdefault(id_of(key), {})[key] = envelope
    for id_ in set(wanted) | set(found):
        if is_swept and not found.get(id_):
            continue
        assert found.get(id_) == wanted.get(id_), f"score rows of collection {id_}"


def check_windows(tip: Tip, engine: Engine) -> int:
    """Raise AssertionError if a member is missing where the tip says that none is.

    Returns how many windows there are that are not the whole order.
    """
    tables = invariants.dump(tip)["tables"]
    rows = engine.scan(*kind_bounds(SCORE), ALL)
    count = 0
    for kind, id_ in tables:
        if kind != MEMBER:
            continue
        windows = score_windows(tip, id_)
        count += len(windows) if windows != [(bytes(8), b"\xff" * 8)] else 0
        names = {key[17:] for key in tables[kind, id_]["entries"]}
        for key, _ in rows:
            if id_of(key) == id_ and any(low <= key[9:] < high for low, high in windows):
                assert key[17:] in names, (key, windows)
    return count


def id_of(key: bytes) -> int:
    """Return the id of the collection that a row belongs to."""
    return int.from_bytes(key[1:9])
