"""The Raft state machine, sans IO: ticks, messages and reports go in, `ready()` says what to do.

It knows no clock, no disk, no network and no entries: entries are formed by the sequencer, written
by the log, and known here by position (term, index) only. Asynchronous storage: the own disk is one
voter whose match moves when a sync is reported (etcd-raft, "writing to leader's disk in parallel").

The driver's loop, in this order, is what makes it safe:
    while core.has_ready():
        r = core.ready()
        1. stop what depends on leadership if r.role is no longer LEADER
        2. make r.hard_state durable, if it is not None
        3. send r.messages
        4. if r.fence_index: append an empty entry (r.term, r.fence_index), then note_appended
        5. let entries up to r.committed take effect
        core.advance(r)

Invariants
  1. Nothing that follows from a term or vote leaves in `ready` before that hard state was in the
     same or an earlier `ready`; the own vote counts only when `advance` says it is durable.
  2. `committed` never goes back, and only entries of the own term are committed by counting.
  3. A leader serves only after an entry of its own term is committed.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import Enum

from kvnode.raft.log_terms import LogTerms
from kvnode.raft.messages import (
    NO_NODE,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from kvnode.raft.quorum import VoteResult, committed_index, majority, vote_result


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Ready:
    """What the driver has to do now, in the order of the fields."""

    role: Role
    term: int
    leader: int  # NO_NODE when unknown
    hard_state: HardState | None  # to be made durable before anything below; None: unchanged
    messages: tuple[Message, ...]
    fence_index: int  # a new leader's empty entry stands here; 0 = none to append
    committed: int


class RaftCore:
    """One node of one Raft group."""

    def __init__(
        self,
        node_id: int,
        voters: Collection[int],
        hard_state: HardState,
        log: LogTerms,
        *,
        committed: int,
        random_ticks: Callable[[int], int],
        election_ticks: int = 10,
        heartbeat_ticks: int = 1,
    ) -> None:
        """log: everything in it is durable. committed: known from a checkpoint, or 0.

        random_ticks: n -> one of 0..n-1, so that candidates do not collide for ever.
        """
        assert node_id != NO_NODE
        assert log.base_index <= committed <= log.last_index
        assert hard_state.term >= log.last_term, "the hard state is older than the log"
        assert 0 < heartbeat_ticks < election_ticks
        self.node_id = node_id
        self.voters = frozenset(voters)
        self.log = log
        self.role = Role.FOLLOWER
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.leader = NO_NODE
        self.committed = committed
        self._random_ticks = random_ticks
        self._election_ticks = election_ticks
        self._heartbeat_ticks = heartbeat_ticks
        self._durable = hard_state
        self._synced_index = log.last_index  # of the own log
        self._match: dict[int, int] = {}  # leader: highest index known durable, by node
        self._votes: dict[int, bool] = {}
        self._active: set[int] = set()  # leader: who answered since the last quorum check
        self._fence_index = 0  # leader: its first entry, the empty one
        self._fence_wanted = False  # the driver has yet to append it
        self._messages: list[Message] = []
        self._reported: Ready | None = None
        self._ticks = 0
        self._timeout = 0
        self._check_ticks = 0  # leader: since the last quorum check
        # A restarted node may have promised the leader's lease before: it votes for nobody until
        # one election timeout has passed (hard case 14).
        self._quiet_ticks = 0
        self._reset_timer()

    # -- what goes in ---------------------------------------------------------------------------

    def tick(self) -> None:
        """One unit of time has passed."""
        self._ticks += 1
        self._quiet_ticks += 1
        if self.role is Role.LEADER:
            self._check_quorum()
            if self.role is Role.LEADER and self._ticks >= self._heartbeat_ticks:
                self._ticks = 0
                self._send_heartbeats()
        elif self._ticks >= self._timeout:
            self.campaign()

    def campaign(self) -> None:
        """Ask for leadership: first whether it could be had, without touching the term."""
        if self.role is Role.LEADER or self.node_id not in self.voters:
            return
        self._become_pre_candidate()
        self._record_vote(self.node_id, True)

    def step(self, message: Message) -> None:
        """Handle a message of another node."""
        assert message.target == self.node_id
        if message.term > self.term and self._raises_term(message):
            self._become_follower(
                message.term, message.source if isinstance(message, Heartbeat) else NO_NODE
            )
        if message.term < self.term:
            self._answer_stale(message)
            return
        match message:
            case PreVote():
                self._on_pre_vote(message)
            case Vote():
                self._on_vote(message)
            case PreVoteReply() if self.role is Role.PRE_CANDIDATE:
                self._record_vote(message.source, message.granted)
            case VoteReply() if self.role is Role.CANDIDATE:
                self._record_vote(message.source, message.granted)
            case Heartbeat():
                self._on_heartbeat(message)
            case HeartbeatReply() if self.role is Role.LEADER:
                self._active.add(message.source)

    def note_appended(self, term: int, first: int, last: int) -> None:
        """Entries first..last of `term` were handed to the log. They are not durable yet."""
        assert term <= self.term
        assert first > self.committed, "a committed entry is never replaced"
        self.log.append(term, first, last)
        self._synced_index = min(self._synced_index, first - 1)

    def note_synced(self, term: int, index: int) -> None:
        """The own log is durable up to (term, index). Once per completed sync.

        A report about an entry that a newer term has replaced since says nothing (hard case 11d).
        """
        if self.log.term(index) != term or index <= self._synced_index:
            return
        self._synced_index = index
        if self.role is Role.LEADER:
            self._match[self.node_id] = index
            self._maybe_commit()

    # -- what comes out -------------------------------------------------------------------------

    @property
    def is_serving(self) -> bool:
        """Whether this node is the leader and knows everything that was ever committed."""
        return self.role is Role.LEADER and self.committed >= self._fence_index

    def has_ready(self) -> bool:
        return self._messages != [] or self._state() != self._reported

    def ready(self) -> Ready:
        """Return what is to be done; `advance` confirms it."""
        state = self._state()
        return Ready(
            state.role,
            state.term,
            state.leader,
            state.hard_state,
            tuple(self._messages),
            state.fence_index,
            state.committed,
        )

    def advance(self, done: Ready) -> None:
        """All of `done` was done; its hard state is durable."""
        del self._messages[: len(done.messages)]
        if done.fence_index:
            assert self.log.last_index >= done.fence_index, "the empty entry was not appended"
            self._fence_wanted = False
        self._reported = replace(done, hard_state=None, messages=(), fence_index=0)
        if done.hard_state is not None:
            self._durable = done.hard_state
            # Only now does the own vote count: before, a crash could have taken it back.
            if self.role is Role.CANDIDATE and done.hard_state.vote == self.node_id:
                self._record_vote(self.node_id, True)

    # -- roles ----------------------------------------------------------------------------------

    def _become_follower(self, term: int, leader: int) -> None:
        if term > self.term:
            self.term, self.vote = term, NO_NODE
        self.role = Role.FOLLOWER
        self.leader = leader
        self._match.clear()
        self._fence_wanted = False
        self._reset_timer()

    def _become_pre_candidate(self) -> None:
        self.role = Role.PRE_CANDIDATE
        self.leader = NO_NODE
        self._votes.clear()
        self._reset_timer()
        for voter in self._peers():
            self._messages.append(
                PreVote(self.node_id, voter, self.term + 1, self.log.last_index, self.log.last_term)
            )

    def _become_candidate(self) -> None:
        self.role = Role.CANDIDATE
        self.term += 1
        self.vote = self.node_id
        self._votes.clear()
        self._reset_timer()
        for voter in self._peers():
            self._messages.append(
                Vote(self.node_id, voter, self.term, self.log.last_index, self.log.last_term)
            )

    def _become_leader(self) -> None:
        self.role = Role.LEADER
        self.leader = self.node_id
        self._match = {self.node_id: self._synced_index}
        self._fence_index = self.log.last_index + 1
        self._fence_wanted = True
        self._active.clear()
        self._check_ticks = 0
        self._reset_timer()
        self._send_heartbeats()

    # -- messages -------------------------------------------------------------------------------

    def _raises_term(self, message: Message) -> bool:
        """Whether a message of a higher term makes us follow that term."""
        if isinstance(message, PreVote):
            return False  # it only asks
        if isinstance(message, PreVoteReply):
            return not message.granted  # a grant repeats the term that we asked for
        return not (isinstance(message, Vote) and self._is_loyal())

    def _answer_stale(self, message: Message) -> None:
        """Tell a node of an older term ours; otherwise it would never learn it."""
        match message:
            case PreVote():
                self._reply(PreVoteReply, message, False)
            case Vote():
                self._reply(VoteReply, message, False)
            case Heartbeat():
                self._messages.append(HeartbeatReply(self.node_id, message.source, self.term))

    def _on_pre_vote(self, message: PreVote) -> None:
        can_vote = message.term > self.term or self.vote in (NO_NODE, message.source)
        if can_vote and not self._is_loyal() and self._is_up_to_date(message):
            # Granted in the term that was asked about: ours is not touched.
            self._messages.append(PreVoteReply(self.node_id, message.source, message.term, True))
        else:
            self._reply(PreVoteReply, message, False)

    def _on_vote(self, message: Vote) -> None:
        if message.term > self.term:
            return  # loyal to a live leader: the request is as if it never came
        granted = self.vote in (NO_NODE, message.source) and self._is_up_to_date(message)
        granted = granted and not self._is_loyal()
        if granted:
            self.vote = message.source
            self._reset_timer()
        self._reply(VoteReply, message, granted)

    def _on_heartbeat(self, message: Heartbeat) -> None:
        assert self.role is not Role.LEADER, "two leaders in one term"
        self._become_follower(message.term, message.source)
        self._quiet_ticks = 0
        self.committed = max(self.committed, min(message.committed, self._synced_index))
        self._messages.append(HeartbeatReply(self.node_id, message.source, self.term))

    def _is_up_to_date(self, message: PreVote | Vote) -> bool:
        return self.log.is_up_to_date(message.last_index, message.last_term)

    def _is_loyal(self) -> bool:
        """Whether a leader was heard, or this node started, less than an election timeout ago."""
        return self.role is Role.LEADER or self._quiet_ticks < self._election_ticks

    def _reply(
        self, kind: type[PreVoteReply] | type[VoteReply], message: Message, granted: bool
    ) -> None:
        self._messages.append(kind(self.node_id, message.source, self.term, granted))

    def _send_heartbeats(self) -> None:
        for voter in self._peers():
            committed = min(self.committed, self._match.get(voter, 0))
            self._messages.append(Heartbeat(self.node_id, voter, self.term, committed))

    def _check_quorum(self) -> None:
        """Step down when a majority was silent for an election timeout (thesis 6.2)."""
        self._check_ticks += 1
        if self._check_ticks < self._election_ticks:
            return
        self._check_ticks = 0
        alive = len(self._active & self.voters) + (self.node_id in self.voters)
        self._active.clear()
        if alive < majority(self.voters):
            self._become_follower(self.term, NO_NODE)

    # -- votes and commits ----------------------------------------------------------------------

    def _record_vote(self, voter: int, granted: bool) -> None:
        self._votes.setdefault(voter, granted)
        result = vote_result(self.voters, self._votes)
        if result is VoteResult.LOST:
            self._become_follower(self.term, NO_NODE)
        elif result is VoteResult.WON and self.role is Role.PRE_CANDIDATE:
            self._become_candidate()
        elif result is VoteResult.WON:
            self._become_leader()

    def _maybe_commit(self) -> None:
        """Commit what a majority has; by counting only entries of the own term (thesis 3.6.2)."""
        index = committed_index(self.voters, self._match)
        if index > self.committed and self.log.term(index) == self.term:
            self.committed = index

    # -- odds and ends --------------------------------------------------------------------------

    def _peers(self) -> list[int]:
        return sorted(self.voters - {self.node_id})

    def _reset_timer(self) -> None:
        self._ticks = 0
        self._timeout = self._election_ticks + self._random_ticks(self._election_ticks)

    def _state(self) -> Ready:
        """Return what `ready` would say, without messages."""
        hard_state = HardState(self.term, self.vote)
        return Ready(
            self.role,
            self.term,
            self.leader,
            None if hard_state == self._durable else hard_state,
            (),
            self._fence_index if self._fence_wanted else 0,
            self.committed,
        )
