"""The Raft state machine, sans IO: ticks, messages and reports go in, `ready()` says what to do.

It knows no clock, no disk, no network and no entries: entries are formed by the sequencer, written
by the log, and known here by position (term, index) only. Asynchronous storage: the own disk is one
voter whose match moves when a sync is reported (etcd-raft, "writing to leader's disk in parallel").

The driver's loop, in this order, is what makes it safe:
    while core.has_ready():
        r = core.ready()
        1. stop what depends on leadership if r.role is no longer LEADER
        2. make r.hard_state durable, if it is not None
        3. do r.stores, in order: hand entries to the log, receive and install images
        4. send r.messages; then r.bulk, with the bytes of its entries; nothing overtakes in bulk
        5. if r.fence_index: append an empty entry (r.term, r.fence_index), then note_appended
        6. if r.membership: append an entry with it, then note_appended(..., membership)
        7. begin to send an image to each of r.snapshots: snapshot_started
        8. let entries up to r.committed take effect; serve r.reads; execute, unless r.is_paused
        core.advance(r)
What was appended must be told before the next message goes in: it may be about to be replaced.

Invariants
  1. Nothing that follows from a term or vote leaves in `ready` before that hard state was in the
     same or an earlier `ready`; the own vote counts only when `advance` says it is durable.
  2. A leader serves only after an entry of its own term is committed.

What only a leader knows is in leadership.py, what a follower does in following.py, the own log in
own_log.py.
"""

from collections.abc import Callable, Sequence

from kvnode.raft.following import Following
from kvnode.raft.leadership import Leadership
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Change, ChangeRefused, Membership, MembershipLog
from kvnode.raft.messages import (
    NO_NODE,
    Append,
    HardState,
    Heartbeat,
    HeartbeatReply,
    LeaderMessage,
    Message,
    PreVote,
    PreVoteReply,
    ReadReply,
    ReadRequest,
    Reply,
    Snapshot,
    SnapshotOffer,
    TimeoutNow,
    Vote,
    VoteReply,
)
from kvnode.raft.own_log import OwnLog
from kvnode.raft.quorum import VoteResult, joint_result
from kvnode.raft.reads import Tickets
from kvnode.raft.ready import Outbox, Ready, Role, State


class RaftCore:
    """One node of one Raft group."""

    def __init__(
        self,
        node_id: int,
        memberships: MembershipLog,
        hard_state: HardState,
        log: LogTerms,
        *,
        committed: int,
        random_ticks: Callable[[int], int],
        identity: bytes = b"",
        instance: int = 0,
        high_water: int = 0,
        election_ticks: int = 10,
        heartbeat_ticks: int = 1,
        now_ms: Callable[[], int] = lambda: 0,
        lease_ms: int = 0,
        fit: Callable[[int, int], int] = lambda first, last: last,
    ) -> None:
        """log, memberships: all in them is durable. committed: known from a checkpoint, or 0.

        random_ticks: n -> one of 0..n-1, so that candidates do not collide for ever.
        identity: of the data directory. instance: as in ReadRequest. high_water: as in Snapshot.
        now_ms: counts suspend, as CLOCK_BOOTTIME; lease_ms: from reads.lease_ms; 0: no leases.
        fit: (first, last) -> the last index up to which entries fit into one message.
        """
        assert node_id != NO_NODE
        assert hard_state.term >= log.last_term, "the hard state is older than the log"
        assert 0 < heartbeat_ticks < election_ticks
        self.node_id = node_id
        self.role = Role.FOLLOWER
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.leader = NO_NODE
        self.leadership: Leadership | None = None
        self._identity = identity
        self._outbox = Outbox()
        self._own = OwnLog(log, memberships, committed)
        self._tickets = Tickets(instance, high_water, self._outbox.reads)
        self._following = Following(node_id, self._own, self._outbox, self._tickets)
        self._random_ticks = random_ticks
        self._election_ticks = election_ticks
        self._heartbeat_ticks = heartbeat_ticks
        self._now_ms = now_ms
        self._lease_ms = lease_ms
        self._fit = fit
        self._durable = (hard_state.term, hard_state.vote)
        self._votes: dict[int, bool] = {}
        self._reported: State | None = None
        self._ticks = 0
        self._timeout = 0
        # A restarted node may have promised the leader's lease before: it votes for nobody until
        # one election timeout has passed (hard case 14).
        self._quiet_ticks = 0
        self._reset_timer()

    @property
    def log(self) -> LogTerms:
        return self._own.terms

    @property
    def memberships(self) -> MembershipLog:
        return self._own.memberships

    @property
    def membership(self) -> Membership:
        return self._own.memberships.current

    @property
    def committed(self) -> int:
        return self._own.committed

    @property
    def synced_index(self) -> int:
        """Of the own log."""
        return self._own.synced_index

    # -- what goes in ---------------------------------------------------------------------------

    def tick(self) -> None:
        """One unit of time has passed since the last call, or more: none is ever made up for.

        After a pause, ticks in quick succession would end a promise before its time (see reads.py).
        """
        self._quiet_ticks += 1
        if self.leadership is not None:
            self.leadership.tick()
            self._look_at_leadership()
            return
        self._ticks += 1
        if self._ticks >= self._timeout:
            self._time_out()
        elif self._tickets.are_waiting:
            self._ask_reads()  # again: the request or its answer may be lost

    def campaign(self) -> None:
        """Ask for leadership: first whether it could be had, without touching the term.

        Not while it may have promised a leader's lease: its own vote would break that, too.
        """
        is_bound = self._is_loyal() and self.membership.voters != {self.node_id}
        if self.role is Role.LEADER or is_bound or not self._can_campaign:
            return
        self._become_pre_candidate()
        self._record_vote(self.node_id, True)

    def step(self, message: Message, identity: bytes = b"") -> None:
        """Handle a message of another node, of the given identity."""
        assert message.target == self.node_id
        if isinstance(message, Reply) and not self.membership.recognizes(message.source, identity):
            return
        if message.term > self.term and self._raises_term(message):
            is_from_leader = isinstance(message, LeaderMessage)
            self._become_follower(message.term, message.source if is_from_leader else NO_NODE)
        if message.term < self.term:
            self._answer_stale(message)
        elif isinstance(message, LeaderMessage):
            self._on_leader_message(message)
        elif self.leadership is not None and not isinstance(message, PreVote | Vote):
            self.leadership.on_message(message)
            self._look_at_leadership()
        else:
            self._on_election_message(message)

    def note_appended(
        self, term: int, first: int, last: int, membership: Membership | None = None
    ) -> None:
        """Entries first..last of `term` were handed to the log. They are not durable yet.

        membership: in the entry at `last`, as `ready` asked for.
        """
        assert term <= self.term
        self._own.append(term, first, last, () if membership is None else ((last, membership),))
        if self.leadership is not None:
            self.leadership.appended(membership)
            self._look_at_leadership()

    def note_synced(self, term: int, index: int) -> None:
        """The own log is durable up to (term, index). Once per completed sync.

        A report about an entry that a newer term has replaced since says nothing (hard case 11d).
        """
        if not self._own.note_synced(term, index):
            return
        if self.leadership is not None:
            self.leadership.synced()
            self._look_at_leadership()
        else:
            self._following.synced(self.leader, self.term)

    def note_compacted(self, index: int) -> None:
        """A checkpoint covers entries up to `index`, and the log has let them go."""
        self._own.compact(index)

    def request_read(self) -> int:
        """All that arrived up to now wants to read: return the ticket under which it may."""
        ticket = self._tickets.issue()
        if self.leadership is not None:
            self.leadership.read(self._read_request(self.node_id))
        elif self.leader == NO_NODE:
            self._tickets.fail()
        elif self._tickets.is_idle:
            self._ask_reads()
        return ticket

    def propose_change(self, changes: Sequence[Change]) -> None:
        """Change the membership. Raises ChangeRefused; then nothing was done."""
        self._require_leadership().propose(changes)

    def transfer(self, target: int) -> None:
        """Hand leadership to `target`. The driver has stopped executing. Raises ChangeRefused."""
        self._require_leadership().begin_transfer(target)

    def snapshot_started(self, target: int, snapshot: Snapshot) -> bool:
        """Chunks of this image will be sent to `target`; False: it does not need one any more."""
        return self.leadership is not None and self.leadership.note_snapshot(target, snapshot)

    def snapshot_received(self, snapshot: Snapshot) -> None:
        """All of the image is here, checked and durable, but not in use yet."""
        if self.leadership is None:  # a leader has all that is committed
            self._following.received(snapshot, self.leader, self.term)

    def note_lost(self, peer: int) -> None:
        """The link to `peer` broke, or an image did not get there: what was on its way is lost."""
        if self.leadership is not None:
            self.leadership.note_lost(peer)

    # -- what comes out -------------------------------------------------------------------------

    @property
    def is_serving(self) -> bool:
        """Whether this node is the leader and knows everything that was ever committed."""
        return self.leadership is not None and self.leadership.is_serving

    @property
    def uses_leases(self) -> bool:
        """Whether there may be a lease at all."""
        return self._lease_ms > 0

    @property
    def has_lease(self) -> bool:
        """Whether reads need no round now. Ask after the bytes of a request were received."""
        return self.leadership is not None and self.leadership.has_lease

    @property
    def needed_from(self) -> int | None:
        """Entries behind this index should be kept: see Replication.needed_from()."""
        return None if self.leadership is None else self.leadership.replication.needed_from()

    def has_ready(self) -> bool:
        if self.leadership is not None:
            self.leadership.flush()
        return (
            bool(self._outbox)
            or self._state() != self._reported
            or self._durable != (self.term, self.vote)
        )

    def ready(self) -> Ready:
        """Return what is to be done; `advance` confirms it."""
        if self.leadership is not None:
            self.leadership.flush()
        role, term, leader, committed, fence, membership, is_paused = self._state()
        is_durable = self._durable == (term, self.vote)
        hard_state = None if is_durable else HardState(term, self.vote)
        work = self._outbox.contents()
        return Ready(role, term, leader, hard_state, committed, fence, membership, is_paused, *work)

    def advance(self, done: Ready) -> None:
        """All of `done` was done; its hard state is durable."""
        self._outbox.drop(done)
        if done.fence_index:
            assert self.log.last_index >= done.fence_index, "the empty entry was not appended"
            if self.leadership is not None and self.leadership.term == done.term:
                self.leadership.is_fence_wanted = False
        if self.leadership is not None and done.membership is not None:
            assert self.leadership.wanted is not done.membership, "the membership was not appended"
        self._reported = done.state_after()
        if done.hard_state is not None:
            self._durable = (done.hard_state.term, done.hard_state.vote)
            # Only now does the own vote count: before, a crash could have taken it back.
            if self.role is Role.CANDIDATE and self._durable == (self.term, self.node_id):
                self._record_vote(self.node_id, True)

    # -- roles ----------------------------------------------------------------------------------

    def _become_follower(self, term: int, leader: int) -> None:
        if (term, leader) != (self.term, self.leader):
            self._tickets.fail()
        if term > self.term:
            self.term, self.vote = term, NO_NODE
            self._own.new_term()
        self.role = Role.FOLLOWER
        self.leader = leader
        if self.leadership is not None:
            self.leadership = None
            self._outbox.forget_entries()
        self._reset_timer()

    def _become_pre_candidate(self) -> None:
        self._become_follower(self.term, NO_NODE)
        self.role = Role.PRE_CANDIDATE
        self._votes.clear()
        for voter in self._other_voters():
            self._outbox.messages.append(
                PreVote(self.node_id, voter, self.term + 1, self.log.last_index, self.log.last_term)
            )

    def _become_candidate(self, *, is_transfer: bool = False) -> None:
        self._become_follower(self.term + 1, NO_NODE)
        self.role = Role.CANDIDATE
        self.vote = self.node_id
        self._votes.clear()
        last = (self.log.last_index, self.log.last_term)
        for voter in self._other_voters():
            self._outbox.messages.append(Vote(self.node_id, voter, self.term, *last, is_transfer))

    def _become_leader(self) -> None:
        self.role = Role.LEADER
        self.leader = self.node_id
        self._reset_timer()
        self.leadership = Leadership(
            self.node_id,
            self.term,
            self._own,
            self._outbox,
            self._tickets,
            election_ticks=self._election_ticks,
            heartbeat_ticks=self._heartbeat_ticks,
            now_ms=self._now_ms,
            lease_ms=self._lease_ms,
            fit=self._fit,
        )

    def _look_at_leadership(self) -> None:
        """It may be over."""
        if self.leadership is not None and self.leadership.is_over:
            self._become_follower(self.term, NO_NODE)

    def _require_leadership(self) -> Leadership:
        if self.leadership is None:
            raise ChangeRefused("this node does not lead")
        return self.leadership

    # -- elections ------------------------------------------------------------------------------

    def _raises_term(self, message: Message) -> bool:
        """Whether a message of a higher term makes us follow that term."""
        if isinstance(message, PreVote):
            return False  # it only asks
        if isinstance(message, PreVoteReply):
            return not message.granted  # a grant repeats the term that we asked for
        return not (isinstance(message, Vote) and self._is_loyal_to_other(message))

    def _answer_stale(self, message: Message) -> None:
        """Tell a node of an older term ours; otherwise it would never learn it."""
        match message:
            case PreVote():
                self._reply(PreVoteReply, message, False)
            case Vote():
                self._reply(VoteReply, message, False)
            case LeaderMessage():
                self._outbox.messages.append(
                    HeartbeatReply(self.node_id, message.source, self.term)
                )

    def _on_election_message(self, message: Message) -> None:
        match message:
            case PreVote():
                self._on_pre_vote(message)
            case Vote():
                self._on_vote(message)
            case PreVoteReply() if self.role is Role.PRE_CANDIDATE:
                self._record_vote(message.source, message.granted)
            case VoteReply() if self.role is Role.CANDIDATE:
                self._record_vote(message.source, message.granted)

    def _on_pre_vote(self, message: PreVote) -> None:
        can_vote = message.term > self.term or self.vote in (NO_NODE, message.source)
        if can_vote and not self._is_loyal() and self._would_vote(message):
            # Granted in the term that was asked about: ours is not touched.
            self._outbox.messages.append(
                PreVoteReply(self.node_id, message.source, message.term, True)
            )
        else:
            self._reply(PreVoteReply, message, False)

    def _on_vote(self, message: Vote) -> None:
        if message.term > self.term:
            return  # loyal to a live leader: the request is as if it never came
        granted = self.vote in (NO_NODE, message.source) and self._would_vote(message)
        granted = granted and not self._is_loyal_to_other(message)
        if granted:
            self.vote = message.source
            self._reset_timer()
        self._reply(VoteReply, message, granted)

    def _would_vote(self, message: PreVote | Vote) -> bool:
        return self.log.is_up_to_date(message.last_index, message.last_term)

    def _is_loyal(self) -> bool:
        """Whether a leader was heard, or this node started, less than an election timeout ago."""
        return self.role is Role.LEADER or self._quiet_ticks < self._election_ticks

    def _is_loyal_to_other(self, message: Vote) -> bool:
        return self._is_loyal() and not message.is_transfer

    @property
    def _can_campaign(self) -> bool:
        """Whether this directory is a voter, as far as its own log knows (hard case 13).

        In a membership that may not be committed yet, or in one before: else the others might have
        to wait for a node that has the longest log, and is on its way out (thesis 4.2.2).
        It answers others in any case. They know better whether that counts, and it may have to
        learn from them that it was added again.
        """
        return any(
            membership.is_voter(self.node_id)
            and membership.recognizes(self.node_id, self._identity)
            for membership in self.memberships.since(self.committed)
        )

    def _record_vote(self, voter: int, granted: bool) -> None:
        self._votes.setdefault(voter, granted)
        result = joint_result(self.membership.quorums, self._votes)
        if result is VoteResult.LOST:
            self._become_follower(self.term, NO_NODE)
        elif result is VoteResult.WON and self.role is Role.PRE_CANDIDATE:
            self._become_candidate()
        elif result is VoteResult.WON:
            self._become_leader()

    def _time_out(self) -> None:
        """No leader was heard for too long."""
        if self._can_campaign:
            self.campaign()
        else:
            self._become_follower(self.term, NO_NODE)

    # -- following ------------------------------------------------------------------------------

    def _on_leader_message(self, message: LeaderMessage) -> None:
        assert self.role is not Role.LEADER, "two leaders in one term"
        self._become_follower(message.term, message.source)
        self._quiet_ticks = 0
        match message:
            case Heartbeat():
                self._following.on_heartbeat(message)
            case Append():
                self._following.on_append(message)
            case SnapshotOffer():
                self._following.on_offer(message)
            case ReadReply() if message.instance == self._tickets.instance:
                self._following.commit_stated(message.index)
                self._tickets.done(message.ticket, message.index)
                if self._tickets.are_waiting and self._tickets.is_idle:
                    self._ask_reads()
            case TimeoutNow() if self._can_campaign:
                self._become_candidate(is_transfer=True)

    # -- odds and ends --------------------------------------------------------------------------

    def _reply(
        self, kind: type[PreVoteReply] | type[VoteReply], message: Message, granted: bool
    ) -> None:
        self._outbox.messages.append(kind(self.node_id, message.source, self.term, granted))

    def _ask_reads(self) -> None:
        if self.leader != NO_NODE:
            self._outbox.messages.append(self._read_request(self.leader))

    def _read_request(self, target: int) -> ReadRequest:
        ticket = self._tickets.ask()
        return ReadRequest(self.node_id, target, self.term, ticket, self._tickets.instance)

    def _other_voters(self) -> list[int]:
        membership = self.membership
        return [peer for peer in membership.peers(self.node_id) if membership.is_voter(peer)]

    def _reset_timer(self) -> None:
        self._ticks = 0
        self._timeout = self._election_ticks + self._random_ticks(self._election_ticks)

    def _state(self) -> State:
        """Return what `ready` would say, without what is in the outbox."""
        fence_index, membership, is_paused = 0, None, False
        if self.leadership is not None:
            fence_index, membership, is_paused = self.leadership.wishes
        return (
            self.role,
            self.term,
            self.leader,
            self._own.committed,
            fence_index,
            membership,
            is_paused,
        )
