"""What is written to LevelDB gets there otherwise: planted bugs of the flush."""

from collections.abc import Callable

from kvnode._core.upkeep import stored_value
from kvnode.storage.memory import MemoryEngine
from tests.support.contents import HAS_DEADLINE

Row = tuple[bytes, bytes | None]


def rewrite_rows(engine: MemoryEngine, change: Callable[[Row], list[Row]]) -> None:
    """change: a row, None in the place of what is deleted -> what is written for it."""
    write = engine.write

    def altered(rows: list[Row], *, sync: bool = False) -> None:
        write([new for row in rows for new in change(row)], sync=sync)

    engine.write = altered  # type: ignore[method-assign]


def split_head(envelope: bytes) -> tuple[bytes, bytes]:
    """Return a collection's head up to its id, and what follows: folded-through u64, the base."""
    value = stored_value(envelope)
    at = len(envelope) - len(value) + (18 if value[1] & HAS_DEADLINE else 10)
    return envelope[:at], envelope[at:]
