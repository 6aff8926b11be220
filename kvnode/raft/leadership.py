"""What a node knows and does while it leads, and forgets when it does not.

Invariants
  1. Only entries of the own term are committed by counting.
  2. Nothing is promised (reads, lease, changes of the membership) before the fence, the first
     entry of the own term, is committed: only then is it known what is (thesis 6.4).
  3. At most one membership is not committed.
  4. Once TimeoutNow has left, the lease is given up for good: the message may arrive at any time,
     and whoever votes then does not protect this leader (hard case 14).
"""

from collections.abc import Callable, Sequence

from kvnode.raft.membership import Change, ChangeRefused, Membership, change, promote
from kvnode.raft.messages import (
    AppendReject,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadReply,
    ReadRequest,
    Snapshot,
    TimeoutNow,
)
from kvnode.raft.own_log import OwnLog
from kvnode.raft.quorum import joint_index
from kvnode.raft.reads import ReadQueue, Tickets
from kvnode.raft.ready import Outbox
from kvnode.raft.replication import Replication
from kvnode.raft.rounds import Rounds
from kvnode.raft.transfer import Transfer


class Leadership:
    """The leader of `term`. It is over when `is_over` says so."""

    def __init__(
        self,
        node_id: int,
        term: int,
        own: OwnLog,
        outbox: Outbox,
        tickets: Tickets,
        *,
        election_ticks: int,
        heartbeat_ticks: int,
        now_ms: Callable[[], int],
        lease_ms: int,
        fit: Callable[[int, int], int],
    ) -> None:
        self.node_id = node_id
        self.term = term
        self.is_over = False
        self.fence_index = own.terms.last_index + 1  # of the empty entry
        self.is_fence_wanted = True  # the driver has yet to append it
        self.wanted: Membership | None = None  # the driver has yet to append it
        self.transfer: Transfer | None = None
        self.replication = Replication(node_id, term, own, outbox, fit)
        self._own = own
        self._outbox = outbox
        self._tickets = tickets
        self._rounds = Rounds(node_id)
        self._reads = ReadQueue()
        self._election_ticks = election_ticks
        self._heartbeat_ticks = heartbeat_ticks
        self._now_ms = now_ms
        self._lease_ms = lease_ms
        self._is_lease_given_up = False
        self._ticks = 0
        self._check_ticks = 0
        self._check_round = 0  # confirmed at the last quorum check
        self._is_dirty = True  # there may be something to send
        self.begin_round()

    @property
    def is_serving(self) -> bool:
        return self._own.committed >= self.fence_index

    @property
    def wishes(self) -> tuple[int, Membership | None, bool]:
        """Return fence_index, membership and is_paused of a Ready; first of all the fence."""
        if self.is_fence_wanted:
            return self.fence_index, None, False
        return 0, self.wanted, self.transfer is not None

    @property
    def membership(self) -> Membership:
        return self._own.memberships.current

    @property
    def has_lease(self) -> bool:
        """Whether no other node can lead at this moment. Ask after a request was received."""
        return (
            self.is_serving
            and not self._is_lease_given_up
            and self._rounds.confirmed > 0
            and self._now_ms() - self._rounds.confirmed_at_ms < self._lease_ms
        )

    # -- time -----------------------------------------------------------------------------------

    def tick(self) -> None:
        self._check_quorum()
        if self.is_over:
            return
        self._ticks += 1
        if self._ticks >= self._heartbeat_ticks:
            self.begin_round()
        if self.transfer is not None and self.transfer.tick():
            self.transfer = None
        self.replication.tick(self._election_ticks)
        self._change_membership()

    def _check_quorum(self) -> None:
        """Step down when no round succeeded for an election timeout (thesis 6.2)."""
        self._check_ticks += 1
        if self._check_ticks < self._election_ticks:
            return
        self._check_ticks = 0
        self.is_over = self._rounds.confirmed == self._check_round
        self._check_round = self._rounds.confirmed

    def begin_round(self) -> None:
        """Send heartbeats to all. What is committed is stated as far as the peer has it."""
        self._ticks = 0
        number = self._rounds.begin(self._now_ms())
        if self.is_serving:
            self._reads.begin(number, self._own.committed)
        for peer in self.membership.peers(self.node_id):
            committed = min(self._own.committed, self.replication.match.get(peer, 0))
            self._outbox.messages.append(
                Heartbeat(self.node_id, peer, self.term, committed, number)
            )
        self._confirm()

    # -- messages -------------------------------------------------------------------------------

    def on_message(self, message: Message) -> None:
        if isinstance(message, ReadRequest):
            self.read(message)
        if message.source not in self.replication.progress:
            return
        self._is_dirty = True
        match message:
            case HeartbeatReply():
                self._rounds.answered(message.source, message.round)
                if self.replication.answered_heartbeat(message.source, message.match):
                    self._maybe_commit()
                self._confirm()
            case AppendReply():
                if self.replication.acknowledged(message.source, message.match):
                    self._maybe_commit()
            case AppendReject():
                self.replication.rejected(message)

    def flush(self) -> None:
        """Send entries. Not before the fence is there: it goes with the first message."""
        if self._is_dirty and not self.is_fence_wanted:
            self._is_dirty = False
            self.replication.flush(self._own.committed)

    # -- the own log ----------------------------------------------------------------------------

    def appended(self, membership: Membership | None) -> None:
        self._is_dirty = True
        if membership is not None:
            assert membership == self.wanted, "nobody else makes memberships"
            self.wanted = None
            self.replication.follow(membership)
            self._confirm()
            self._maybe_commit()

    def synced(self) -> None:
        self.replication.match[self.node_id] = self._own.synced_index
        self._maybe_commit()

    def _maybe_commit(self) -> None:
        """Commit what a majority has; by counting only entries of the own term (thesis 3.6.2)."""
        index = joint_index(self.membership.quorums, self.replication.match)
        if index > self._own.committed and self._own.terms.term(index) == self.term:
            self._own.commit(index)
            self._change_membership()
            self._begin_reads()
        if self.transfer is not None:
            self._step_transfer(self.transfer)

    # -- reads ----------------------------------------------------------------------------------

    def read(self, request: ReadRequest) -> None:
        self._reads.add(request)
        self._begin_reads()

    def _begin_reads(self) -> None:
        if self.is_serving and self._reads.wants_round:
            self.begin_round()

    def _confirm(self) -> None:
        """Serve the reads whose round a quorum has answered."""
        if not self._rounds.confirm(self.membership.quorums):
            return
        for request, index in self._reads.confirm(self._rounds.confirmed):
            if request.source == self.node_id:
                self._tickets.done(request.ticket, index)
            else:
                self._outbox.messages.append(
                    ReadReply(
                        self.node_id,
                        request.source,
                        self.term,
                        request.ticket,
                        request.instance,
                        index,
                    )
                )
        self._begin_reads()

    # -- membership and transfer ----------------------------------------------------------------

    @property
    def _is_changing(self) -> bool:
        return self.wanted is not None or self._own.memberships.index > self._own.committed

    def propose(self, changes: Sequence[Change]) -> None:
        """Change the membership. Raises ChangeRefused."""
        if not self.is_serving:
            raise ChangeRefused("the leader does not know yet what is committed")
        if self._is_changing or self.membership.is_joint:
            raise ChangeRefused("another change of the membership is under way")
        if self.transfer is not None:
            raise ChangeRefused("leadership is being transferred")
        self.wanted = change(self.membership, changes, self.replication.caught_up())

    def restate_membership(self) -> None:
        """Have the membership appended as it is: it holds here without standing in the log."""
        self.wanted = self.membership

    def begin_transfer(self, target: int) -> None:
        """Hand over to `target`. Raises ChangeRefused."""
        if not self.is_serving:
            raise ChangeRefused("the leader does not know yet what is committed")
        if target == self.node_id or target not in self.membership.voters:
            raise ChangeRefused(f"node {target} is not another voter")
        if self._is_changing or self.transfer is not None:
            raise ChangeRefused("a change of the membership or a transfer is under way")
        self.transfer = Transfer(target, self._election_ticks)
        self._step_transfer(self.transfer)

    def _step_transfer(self, transfer: Transfer) -> None:
        match = self.replication.match.get(transfer.target, 0)
        if transfer.is_due(match, self._own.committed, self._own.terms.last_index):
            transfer.is_sent = True
            self._is_lease_given_up = True
            self._outbox.messages.append(TimeoutNow(self.node_id, transfer.target, self.term))

    def _change_membership(self) -> None:
        """Take the next step of a change, once the last one is committed (thesis 4.3)."""
        membership = self.membership
        if not (
            membership.is_joint or membership.promotable or self.node_id not in membership.voters
        ):
            return  # nothing to do, as a rule
        if not self.is_serving or self._is_changing or self.transfer is not None:
            return
        if membership.is_joint:
            self.wanted = membership.leave_joint()
        elif not membership.is_voter(self.node_id):
            self._step_down()
        elif membership.promotable:
            caught_up = membership.promotable & set(self.replication.caught_up())
            if caught_up:
                self.wanted = promote(membership, caught_up)

    def _step_down(self) -> None:
        """The membership without this node is committed: its work is done (thesis 4.2.2).

        Who has the most is asked to take over, so that nobody has to wait for an election.
        """
        self.is_over = True
        target = max(
            sorted(self.membership.voters), key=lambda peer: self.replication.match.get(peer, 0)
        )
        self._outbox.messages.append(TimeoutNow(self.node_id, target, self.term))

    # -- snapshots ------------------------------------------------------------------------------

    def note_snapshot(self, peer: int, snapshot: Snapshot) -> bool:
        """An image is on its way to `peer`; False if it does not need one any more."""
        return self.replication.note_snapshot(peer, snapshot)

    def note_lost(self, peer: int) -> None:
        """What was on its way to `peer` is lost. It is tried again when it answers."""
        if peer in self.replication.progress:
            self.replication.progress[peer].lost()
