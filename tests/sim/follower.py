"""A node that follows: its own disk and engine get another node's committed entries, in steps that
the test chooses, until it leads a group of one that goes on from there.
"""

from collections import deque
from collections.abc import Iterable

from kvnode.raft.core import RaftCore
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership, MembershipLog
from kvnode.raft.messages import HardState
from kvnode.storage.local import LocalFacts
from kvnode.storage.recovery import Recovered, ReplayedEntry, open_tip
from tests.sim.node import SimNode


class FollowerNode(SimNode):
    """A SimNode that begins at A and applies what receive() brought; lead() makes it serve.

    unapplied: committed and synced here, not applied yet.
    """

    def _state(self, facts: LocalFacts, entries: Iterable[ReplayedEntry]) -> Recovered:
        self.is_leading = False
        self.term = 0
        self.unapplied: deque[ReplayedEntry] = deque(entries)
        return open_tip(self.engine, facts)

    def _lead(self) -> None:
        """Nobody has elected it yet, and its Raft knows nothing of what comes meanwhile."""
        self.replica.state.on_checkpoint = lambda record: self.log.cut(record.at.index)

    @property
    def received(self) -> int:
        """Index of the newest entry in the own log."""
        return max(self.entries, default=0)

    def receive(self, entries: Iterable[ReplayedEntry]) -> None:
        """Take committed entries into the log, and sync it."""
        for term, index, commit_ts, payload in entries:
            assert index == self.received + 1
            if term > self.term:
                self.term = term
                self.hard_state.store(term, 0)
            self.replicated.append(term, index, commit_ts, payload)
            self.unapplied.append((term, index, commit_ts, payload))
        self.log.complete()

    def apply(self, count: int) -> None:
        """Apply up to `count` of the entries received."""
        count = min(count, len(self.unapplied))
        self.sequencer.apply_many([self.unapplied.popleft() for _ in range(count)])

    def write(self, n: int | None = None) -> None:
        if self.is_leading:
            super().write(n)

    def sync(self, n: int | None = None) -> None:
        if self.is_leading:
            super().sync(n)

    def lead(self, late: int = 0) -> None:
        """Be elected; the last `late` entries are applied as the election goes on."""
        self.apply(len(self.unapplied) - late)
        last = self.received
        term = max(self.term, self.replica.raft.term)
        raft = RaftCore(
            1,
            MembershipLog(Membership.of_voters([1])),
            HardState(term),
            LogTerms([(0, 0), (1, term)] if last else [(0, 0)], last),
            committed=last,
            random_ticks=lambda n: self.rng.randrange(n),
        )
        self.replica.raft = raft
        self.replica._told = last
        self.is_leading = True
        self.replica.lead()
        self.unapplied.clear()  # the replica applies what is left of them
        while not self.replica.is_serving:
            self.sync()
            self.replica.apply()
        if not self.tip.has_databases():
            self.run_pass(self.sequencer.create_databases)
            self.sync()

    def step_down(self) -> None:
        """Somebody else is elected, when all of this leadership is committed: memory stays."""
        assert self.sequencer.committed == self.sequencer.last_index
        state = self.replica.state
        self.replica._stop_executing()
        assert self.replica.state is state
        self.is_leading = False
