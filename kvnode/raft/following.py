"""What a node does with the messages of its leader: take entries and images, acknowledge, commit.

Invariants
  1. Acknowledged is only what is durable here and the same as the leader's.
  2. Committed is only what is acknowledged, so a crash takes nothing back that took effect.
"""

from kvnode.raft.messages import (
    NO_NODE,
    Append,
    AppendReject,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Snapshot,
    SnapshotOffer,
)
from kvnode.raft.own_log import OwnLog
from kvnode.raft.reads import Tickets
from kvnode.raft.ready import Install, Outbox, Receive, Write


class Following:
    """Of one node, whoever leads."""

    def __init__(self, node_id: int, own: OwnLog, outbox: Outbox, tickets: Tickets) -> None:
        self._node_id = node_id
        self._own = own
        self._outbox = outbox
        self._tickets = tickets
        self._stated = own.committed  # what leaders said is committed, whether it is here or not

    def on_heartbeat(self, message: Heartbeat) -> None:
        """The leader lives. What it calls committed is not believed further than it is verified:
        what it knows this node to have may be of a life before the directory was lost.
        """
        self.commit_stated(message.committed)
        self._outbox.messages.append(
            HeartbeatReply(
                self._node_id, message.source, message.term, message.round, self._own.match
            )
        )

    def on_append(self, message: Append) -> None:
        first = None if self._own.needs_image else self._own.accept(message)
        if first is None:
            terms = self._own.terms
            hint = terms.last_at_most(message.previous_term, message.previous_index)
            hint_term = terms.term(hint)
            assert hint_term is not None
            self._outbox.messages.append(
                AppendReject(
                    self._node_id,
                    message.source,
                    message.term,
                    message.previous_index,
                    hint,
                    hint_term,
                )
            )
            return
        self.commit_stated(message.committed)
        if first <= message.last_index:
            self._outbox.stores.append(Write(message, first))  # acknowledged when it is synced
        else:
            self.acknowledge(message.source, message.term)

    def on_offer(self, message: SnapshotOffer) -> None:
        if self._needs(message.snapshot):
            self._outbox.stores.append(Receive(message.source, message.snapshot))
        else:
            self._go_on_from(message.snapshot, message.source, message.term)

    def received(self, snapshot: Snapshot, leader: int, term: int) -> None:
        """All of an image is here; a leader may have sent entries meanwhile."""
        if self._needs(snapshot):
            self._own.install(snapshot)
            self._tickets.high_water = max(self._tickets.high_water, snapshot.high_water)
            self._outbox.stores.append(Install(snapshot))
        self._go_on_from(snapshot, leader, term)

    def synced(self, leader: int, term: int) -> None:
        """More of the own log is durable."""
        self.commit_stated()
        self.acknowledge(leader, term)

    def commit_stated(self, stated: int = 0) -> None:
        """What the leader calls committed is so here as far as it is the same, and durable."""
        self._stated = max(self._stated, stated)
        self._own.commit(min(self._stated, self._own.match))

    def acknowledge(self, leader: int, term: int) -> None:
        if leader != NO_NODE:
            self._outbox.messages.append(AppendReply(self._node_id, leader, term, self._own.match))

    def _needs(self, snapshot: Snapshot) -> bool:
        """Whether the log lacks what the image holds, or will never be known to have it."""
        return snapshot.index > self._own.committed and (
            self._own.terms.term(snapshot.index) != snapshot.term
            or not self._own.will_show_durable(snapshot.index)
        )

    def _go_on_from(self, snapshot: Snapshot, leader: int, term: int) -> None:
        self._own.verified_index = max(self._own.verified_index, snapshot.index)
        self.commit_stated(snapshot.index)
        self.acknowledge(leader, term)
