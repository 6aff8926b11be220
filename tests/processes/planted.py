"""A kvnode of a group with a deliberate bug, to show that tests see such bugs; or a small bound.

python -m tests.processes.planted PLANT serve ...
"""

import sys
from collections.abc import Callable

from kvnode.__main__ import main
from kvnode.base.limits import MIB
from kvnode.server import reactor_bounds
from kvnode.txn.replica import Replica


def reads_without_fence() -> None:
    """A leader answers reads without asking whether it still leads."""

    def confirm_at_once(replica: Replica) -> None:
        if unconfirmed := replica.sequencer.unconfirmed():
            replica.sequencer.confirm(unconfirmed)

    Replica._ask_fence = confirm_at_once


def acknowledged_alone() -> None:
    """A leader counts as committed what only its own log has."""
    on_stable = Replica._on_stable

    def on_own_disk(replica: Replica, term: int, index: int) -> int:
        committed = on_stable(replica, term, index)
        return index if replica.is_executing else committed

    Replica._on_stable = on_own_disk


def little_log_is_kept() -> None:
    """No bug: for a node that gets an image 2 MiB of log are kept, and clients wait past that."""
    reactor_bounds.CATCH_UP_LOG_BYTES_SOFT = 1 * MIB
    reactor_bounds.CATCH_UP_LOG_BYTES_MAX = 2 * MIB


PLANTS: dict[str, Callable[[], None]] = {
    plant.__name__: plant for plant in (reads_without_fence, acknowledged_alone, little_log_is_kept)
}

if __name__ == "__main__":
    PLANTS[sys.argv.pop(1)]()
    main(prog_name="kvnode")
