"""Whether a node sweeps what its crashes have left: rows that no key has, ids nobody sweeps."""

import time
from pathlib import Path

from kvnode.storage.leveldb import LevelDBEngine
from tests.support.leftovers import leftovers
from tests.support.resp import Connection

QUIET_LOOKS = 3  # in a row without trash: what is buried is known by the next
LOOK_SECONDS = 0.15  # longer than a round of the node's regular work
SWEPT_SECONDS_MAX = 20.0


def leftovers_of(directory: Path) -> list[str]:
    """Return the leftovers in a node's directory. Requires: nobody has it open."""
    engine = LevelDBEngine(str(directory / "db"))
    try:
        return leftovers(engine)
    finally:
        engine.close()


def wait_swept(connection: Connection) -> None:
    """Return once the node has swept all that is dead. Raises TimeoutError."""
    deadline = time.monotonic() + SWEPT_SECONDS_MAX
    quiet = 0
    while quiet < QUIET_LOOKS:
        connection.call("SAVE")
        time.sleep(LOOK_SECONDS)
        lines = connection.call("INFO", "kvnode").split(b"\r\n")
        quiet = quiet + 1 if b"trash_being_swept:0" in lines else 0
        if time.monotonic() > deadline:
            raise TimeoutError(f"trash is not swept in {SWEPT_SECONDS_MAX} s")
