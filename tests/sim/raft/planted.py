"""Bugs on purpose, each of which the simulated cluster must notice.

Each is a function that breaks one rule, by a pytest MonkeyPatch.
"""

from dataclasses import replace

import pytest

from kvnode.raft import core, leadership, membership
from kvnode.raft.core import RaftCore
from kvnode.raft.following import Following
from kvnode.raft.leadership import Leadership
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership, MembershipLog
from kvnode.raft.messages import Append, HardState, ReadRequest
from kvnode.raft.own_log import OwnLog
from kvnode.raft.quorum import committed_index, joint_index
from kvnode.raft.reads import Tickets
from kvnode.raft.rounds import Rounds
from tests.sim.raft import node

Patch = pytest.MonkeyPatch


def forgets_its_vote(patch: Patch) -> None:
    """A restarted node remembers the term, not the vote."""
    start = RaftCore.__init__

    def begin(self, node_id, memberships, hard_state, *args, **options):
        start(self, node_id, memberships, HardState(hard_state.term), *args, **options)

    patch.setattr(RaftCore, "__init__", begin)


def votes_for_all(patch: Patch) -> None:
    """A node votes for everybody who asks."""
    vote = RaftCore._on_vote

    def on_vote(self, message):
        self.vote = 0
        vote(self, message)

    patch.setattr(RaftCore, "_on_vote", on_vote)


def ignores_logs_in_votes(patch: Patch) -> None:
    """A candidate with an old log gets votes."""
    patch.setattr(LogTerms, "is_up_to_date", lambda self, index, term: True)


def acknowledges_unsynced(patch: Patch) -> None:
    """Followers acknowledge what is in the page cache."""
    patch.setattr(OwnLog, "match", property(lambda self: self.verified_index))

    def on_append(self, message: Append) -> None:
        take(self, message)
        self.acknowledge(message.source, message.term)

    take = Following.on_append
    patch.setattr(Following, "on_append", on_append)


def leader_counts_unsynced(patch: Patch) -> None:
    """The leader counts its own log before its disk has it."""
    appended = Leadership.appended

    def note(self, entry):
        appended(self, entry)
        self.replication.match[self.node_id] = self._own.terms.last_index
        self._maybe_commit()

    patch.setattr(Leadership, "appended", note)


def believes_late_reports(patch: Patch) -> None:
    """A sync report counts for an entry that was replaced, and came back."""
    note_synced = OwnLog.note_synced

    def note(self, term, index):
        self._cut_term = 0
        return note_synced(self, term, index)

    patch.setattr(OwnLog, "note_synced", note)


def commits_old_terms(patch: Patch) -> None:
    """Entries of earlier terms are committed by counting (figure 3.7)."""
    maybe_commit = Leadership._maybe_commit

    def commit(self):
        index = joint_index(self.membership.quorums, self.replication.match)
        self._own.commit(index)
        maybe_commit(self)

    patch.setattr(Leadership, "_maybe_commit", commit)


def takes_any_append(patch: Patch) -> None:
    """A follower does not look at what is before the entries that it gets."""
    accept = OwnLog.accept

    def take(self, message):
        term = self.terms.term(message.previous_index)
        if term is not None and term <= message.entry_term:
            message = replace(message, previous_term=term)
        return accept(self, message)

    patch.setattr(OwnLog, "accept", take)


def commits_unverified(patch: Patch) -> None:
    """A follower commits what the leader calls committed, whether it is the same here or not."""

    def commit_stated(self, stated=0):
        self._stated = max(self._stated, stated)
        self._own.commit(min(self._stated, self._own.synced_index))

    patch.setattr(Following, "commit_stated", commit_stated)


def trusts_heartbeats(patch: Patch) -> None:
    """What the leader states in a heartbeat is committed, if there is anything here."""
    on_heartbeat = Following.on_heartbeat

    def believe(self, message):
        self._own.commit(min(message.committed, self._own.synced_index))
        on_heartbeat(self, message)

    patch.setattr(Following, "on_heartbeat", believe)


def commit_goes_back(patch: Patch) -> None:
    def commit(self, index):
        self.committed = index

    patch.setattr(OwnLog, "commit", commit)


def reads_without_round(patch: Patch) -> None:
    """The leader serves reads because it thinks that it leads."""

    def read(self, request: ReadRequest) -> None:
        if self.is_serving and request.source == self.node_id:
            self._tickets.done(request.ticket, self._own.committed)
        else:
            self._reads.add(request)

    patch.setattr(Leadership, "read", read)


def reads_join_a_round(patch: Patch) -> None:
    """A read is served by the answers to a round that began before it arrived."""
    confirm = leadership.ReadQueue.confirm

    def late(self, number):
        self.begin(number, self.committed)
        return confirm(self, number)

    begin = leadership.ReadQueue.begin

    def remember(self, number, committed):
        self.committed = committed
        begin(self, number, committed)

    patch.setattr(leadership.ReadQueue, "committed", 0, raising=False)
    patch.setattr(leadership.ReadQueue, "begin", remember)
    patch.setattr(leadership.ReadQueue, "confirm", late)


def reads_before_the_fence(patch: Patch) -> None:
    """A new leader serves before an entry of its own term is committed."""
    patch.setattr(Leadership, "is_serving", property(lambda self: True))


def answers_to_a_former_life(patch: Patch) -> None:
    """A restarted node takes answers to what it asked before."""
    start = RaftCore.__init__

    def begin(self, *args, **options):
        start(self, *args, **(options | {"instance": 0}))

    patch.setattr(RaftCore, "__init__", begin)


def ignores_high_water(patch: Patch) -> None:
    """An image is read before what it holds in part was applied on it (hard case 3)."""
    nothing = property(lambda self: 0, lambda self, value: None)
    patch.setattr(Tickets, "high_water", nothing, raising=False)


def lease_is_too_long(patch: Patch) -> None:
    patch.setattr(node, "lease_ms", lambda election_ticks, tick_ms: 2 * election_ticks * tick_ms)


def lease_from_the_answer(patch: Patch) -> None:
    """The lease begins when the round is answered, not when it began."""
    confirm = Leadership._confirm

    def late(self):
        confirmed = self._rounds.confirmed
        confirm(self)
        if self._rounds.confirmed > confirmed:
            self._rounds.confirmed_at_ms = self._now_ms()

    patch.setattr(Leadership, "_confirm", late)


def lease_survives_transfer(patch: Patch) -> None:
    """TimeoutNow is sent, and the lease kept (hard case 14)."""
    step = Leadership._step_transfer

    def keep(self, transfer):
        step(self, transfer)
        self._is_lease_given_up = False

    patch.setattr(Leadership, "_step_transfer", keep)


def votes_right_after_start(patch: Patch) -> None:
    """A restarted node has forgotten that it heard the leader (hard case 14)."""
    start = RaftCore.__init__

    def begin(self, *args, **options):
        start(self, *args, **options)
        self._quiet_ticks = self._election_ticks

    patch.setattr(RaftCore, "__init__", begin)


def no_joint_membership(patch: Patch) -> None:
    """Voters change in one step, however many (thesis 4.3)."""

    def at_once(old, steps, caught_up):
        new = change(old, steps, caught_up)
        return new.leave_joint() if new.is_joint else new

    change = membership.change
    patch.setattr(leadership, "change", at_once)
    patch.setattr(
        leadership, "promote", lambda old, ready: membership.promote(old, ready).leave_joint()
    )


def new_voters_decide_alone(patch: Patch) -> None:
    """A joint membership asks the new voters only."""
    patch.setattr(
        leadership, "joint_index", lambda quorums, match: committed_index(quorums[0], match)
    )
    patch.setattr(
        core, "joint_result", lambda quorums, votes: core_joint_result(quorums[:1], votes)
    )


core_joint_result = core.joint_result


def learners_count(patch: Patch) -> None:
    """Learners are asked as voters are."""
    patch.setattr(Membership, "quorums", property(lambda self: (self.voters | self.learners,)))


def ignores_identities(patch: Patch) -> None:
    """A node that lost its directory counts as who it was (hard case 13)."""
    patch.setattr(
        Membership, "recognizes", lambda self, node_id, identity: self.member(node_id) is not None
    )


def keeps_cut_memberships(patch: Patch) -> None:
    """The membership of a log tail stays when the tail goes (hard case 33)."""

    def truncate(self, first):
        while self.index >= first and len(self._entries) > 1:
            _, cut = self._entries.pop()
            self._entries[-1] = (self._entries[-1][0], cut)

    patch.setattr(MembershipLog, "truncate", truncate)


def one_answer_is_a_quorum(patch: Patch) -> None:
    """A round is confirmed by the first answer."""
    patch.setattr(Rounds, "confirm", confirm_first)


def confirm_first(self, quorums):
    number = max((n for peer, n in self._answered.items() if peer != self._node_id), default=0)
    if number <= self.confirmed:
        return False
    self.confirmed = number
    while self._begun_at and self._begun_at[0][0] <= number:
        self.confirmed_at_ms = self._begun_at.popleft()[1]
    return True


def all_planted() -> list:
    return [
        value
        for name, value in globals().items()
        if callable(value)
        and getattr(value, "__module__", "") == __name__
        and value.__code__.co_varnames[:1] == ("patch",)
    ]
