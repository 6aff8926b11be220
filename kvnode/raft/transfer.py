"""Handing leadership to a chosen node (thesis 3.10).

The driver stops executing first, and tells all that it appended; clients' input waits. When the
target has everything and all of it is committed, the lease is given up and the target is told to
campaign. If that takes longer than an election, the leader goes on as before.
"""


class Transfer:
    """One attempt."""

    def __init__(self, target: int, ticks_max: int) -> None:
        self.target = target
        self.is_sent = False  # the target was told
        self._ticks_left = ticks_max

    def tick(self) -> bool:
        """Return whether the time is up."""
        self._ticks_left -= 1
        return self._ticks_left <= 0

    def is_due(self, match: int, committed: int, last_index: int) -> bool:
        """Whether the target can take over without a loss."""
        return not self.is_sent and match == committed == last_index
