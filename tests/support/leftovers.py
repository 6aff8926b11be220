"""What a store holds for nobody: rows of collections that no key has, ids that nobody sweeps."""

from kvnode._core.keys import HEAD, PARTS, PENDING, TRASH, kind_bounds
from kvnode._core.upkeep import stored_collection
from kvnode.storage.engine import Reader

ALL = 1 << 30  # rows


def unnamed(engine: Reader) -> set[int]:
    """Return the ids of collections that have rows and are no key's value."""
    keys = [key for kind in PARTS for key in engine.scan_keys(*kind_bounds(kind), ALL)]
    stored = (stored_collection(row) for _, row in engine.scan(*kind_bounds(HEAD), ALL))
    return {int.from_bytes(key[1:9]) for key in keys} - {c.id for c in stored if c is not None}


def leftovers(engine: Reader) -> list[str]:
    """Return what is left of what is gone, in sentences.

    Requires: all is flushed and swept.
    """
    wrong = [f"collection {id_} has rows and no key" for id_ in sorted(unnamed(engine))]
    for kind, what in ((PENDING, "pending"), (TRASH, "trash")):
        keys = engine.scan_keys(*kind_bounds(kind), ALL)
        wrong += [f"{int.from_bytes(key[1:9])} is {what} for ever" for key in keys]
    return wrong
