"""A kvnode of a group with a deliberate bug, to show that the tests see such bugs.

python -m tests.processes.planted PLANT serve ...
"""

import sys
from collections.abc import Callable

from kvnode.__main__ import main
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


PLANTS: dict[str, Callable[[], None]] = {
    bug.__name__: bug for bug in (reads_without_fence, acknowledged_alone)
}

if __name__ == "__main__":
    PLANTS[sys.argv.pop(1)]()
    main(prog_name="kvnode")
