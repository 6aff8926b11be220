"""One node's part in its group: Raft, the log, and the state that committed entries make. Sans-IO.

The host (server/, or a simulation) delivers messages, ticks and completions, runs passes, and
calls `background` regularly; everything here happens on the sequencer's thread.

A state **applies** committed entries from the own log as long as it follows, those only that are
synced there. A leader **executes**: what its sequencer forms is in memory before it is in the log.
It begins when the first entry of its term, and all before it, is committed and applied; it ends
with the leadership, and the state with it: entries of its own may be lost, so memory is built anew
from the last checkpoint and the log. An image that replaces the store ends a state as well.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from kvnode._core.replicated_log import ReplicatedLog
from kvnode.base.limits import APPLY_BYTES_PER_STEP
from kvnode.raft.core import RaftCore
from kvnode.raft.membership import Change, ChangeRefused, Member, Membership
from kvnode.raft.messages import NO_NODE, Append, Message, ReadReply, Snapshot
from kvnode.raft.ready import Install, Ready, Receive, Role, Store, Write
from kvnode.raft.wire import check_entries, encode_membership, encode_membership_entry
from kvnode.storage.local import CheckpointRecord
from kvnode.txn.host import Host
from kvnode.txn.log_bytes import LogBytes
from kvnode.txn.pending_reads import PendingReads
from kvnode.txn.sending import EntrySender, LogEntry
from kvnode.txn.state import State

TIMESTAMP_COUNTER_BITS = 16  # commit_ts = ms << 16 | counter

UNCERTAIN = b"UNCERTAIN leadership was lost: this command may or may not have been done"
NOT_DONE = b"TRYAGAIN leadership was lost: nothing of this command is done"
UNBLOCKED = (
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)


class Replica:
    """The replicated state of a node and what keeps it going."""

    def __init__(self, raft: RaftCore, log: ReplicatedLog, state: State, host: Host) -> None:
        self.raft = raft
        self.log = log
        self.state = state
        self.before_log_cut: Callable[[], None] = lambda: None  # failures on purpose
        self.is_executing = False  # the sequencer forms entries
        self._host = host
        self._is_over = False  # the state is to be thrown away, and is not yet
        self._installed: Snapshot | None = None
        self._told = raft.log.last_index  # entries up to here are known to Raft
        self._is_reading = False  # entries that are to be applied
        self._arrived: list[LogEntry] = []  # those that were read
        self._term = 0  # in which it executes, or did last
        self._sender = EntrySender(log, host, raft)
        self._reads = PendingReads()
        self._log_bytes = LogBytes(self.applied)
        self._fenced_pass = 0  # the newest for which a confirmation was asked
        self._leader = (Role.FOLLOWER, raft.term, NO_NODE)
        self._is_paused = False
        self._successor = NO_NODE  # to whom leadership goes once nothing is held any more
        log.is_alone = False  # until it executes: what is appended before has to be applied
        self._connect(state)

    # -- the state's own, for the host ----------------------------------------------------------

    @property
    def sequencer(self) -> Any:
        return self.state.sequencer

    @property
    def tip(self) -> Any:
        return self.state.tip

    @property
    def view(self) -> Any:
        return self.state.view

    @property
    def is_serving(self) -> bool:
        """Whether commands may run."""
        return bool(self.sequencer.serving)

    @property
    def applied(self) -> int:
        """Index up to which entries took effect in the state."""
        return int(self.sequencer.applied)

    @property
    def has_more(self) -> bool:
        """Whether entries wait to be applied that are at hand: call apply()."""
        if self._is_over or self._is_reading or self.is_executing:
            return False
        return bool(self._arrived) or self.applied < self._appliable

    # -- what goes in ---------------------------------------------------------------------------

    def lead(self) -> None:
        """Ask for leadership; the only voter has it at once."""
        self.raft.campaign()
        self.run()

    def tick(self) -> None:
        """Raft's unit of time has passed."""
        self._tell_appended()
        self.raft.tick()
        self._reads.tick()
        self.run()

    def step(self, message: Message, identity: bytes) -> None:
        """Handle a message of another node; call run() after the last of several.

        Raises RemoteProtocolError for entries that are malformed; nothing of them was done.
        """
        if isinstance(message, Append):
            # What Raft accepts must be stored, so it is looked at before Raft hears of it.
            assert isinstance(message.payload, bytes)
            check_entries(message, message.payload)
        self._tell_appended()
        self.raft.step(message, identity)
        if isinstance(message, ReadReply) and message.source == self.raft.leader:
            # What it reads next has passed its deadline if it has at the leader.
            self._host.raise_floor(message.time_ms)

    def note_lost(self, peer: int) -> None:
        """A link broke, or could not take more."""
        self._sender.forget(peer)
        self.raft.note_lost(peer)

    def image_begun(self, peer: int, snapshot: Snapshot) -> bool:
        """The image for a peer is ready to be sent; False: it does not need it any more."""
        self._tell_appended()
        is_wanted = self.raft.snapshot_started(peer, snapshot)
        self.run()
        return is_wanted

    def image_received(self, snapshot: Snapshot) -> bool:
        """An image that was expected is here, whole and durable; False: nobody needs it any more,
        since entries came first."""
        self.run()  # what came before it is stored
        self.raft.snapshot_received(snapshot)
        is_needed = any(isinstance(store, Install) for store in self.raft.ready().stores)
        self.run()
        return is_needed

    def propose_change(self, changes: Sequence[Change]) -> None:
        """Change the membership. Raises ChangeRefused."""
        self._tell_appended()
        self.raft.propose_change(changes)
        self.run()

    def transfer(self, target: int) -> None:
        """Hand leadership to another voter. Raises ChangeRefused.

        From here on input waits; what was answered leaves first, so nobody gets an error for it.
        """
        if not self.is_executing or target not in self.raft.membership.voters:
            raise ChangeRefused(f"this node does not lead, or node {target} is not a voter")
        if self._successor or self._is_paused:
            raise ChangeRefused("leadership is being transferred")
        self._successor = target
        self.run()

    def abort_transfer(self) -> bool:
        """Go on to lead, if the successor was not told yet; False: none is under way."""
        was_wanted, self._successor = self._successor, NO_NODE
        self.run()
        return was_wanted != NO_NODE

    def _begin_transfer(self) -> None:
        target, self._successor = self._successor, NO_NODE
        with suppress(ChangeRefused):  # the membership has changed meanwhile
            self.raft.transfer(target)

    def force_alone(self, raft: RaftCore) -> None:
        """Go on with `raft`, in which this node is the only voter, and lead at once.

        What is in the own log counts, whatever others have. Raises ChangeRefused.
        """
        if self.raft.leader != NO_NODE or self._is_over:
            raise ChangeRefused("there is a leader, or the node is busy with another change")
        if self.raft.synced_index < self.log.last_index:
            raise ChangeRefused("the log is being written; try again")
        self._sender = EntrySender(self.log, self._host, raft)
        self.raft = raft
        self._reads.fail()
        self.lead()
        assert raft.leadership is not None, "the only voter leads at once"
        raft.leadership.restate_membership()
        self.run()

    def request_read(self, done: Callable[[bool], None]) -> None:
        """Call done(True) once this state shows all that was committed when this was called.

        done(False): leadership changed, or this node is far behind; ask again.
        """
        self._tell_appended()
        self._reads.add(self.raft.request_read(), done)

    def _on_stable(self, term: int, index: int) -> int:
        """The own log has (term, index), once per completed sync; return what of the sequencer's
        is committed."""
        self._tell_appended()
        self.raft.note_synced(term, index)
        self.run()
        return self.raft.committed if self.is_executing else self.sequencer.committed

    def _tell_appended(self) -> None:
        last = self.log.last_index
        if last > self._told:
            first, self._told = self._told + 1, last
            self.raft.note_appended(self.log.last_term, first, last)

    # -- Raft -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what Raft asks for, in the order in which it is safe (raft/core.py)."""
        self._tell_appended()
        raft = self.raft
        while raft.has_ready():
            ready = raft.ready()
            if self.is_executing and (ready.role is not Role.LEADER or ready.term != self._term):
                self._stop_executing()
            if self._waits_for_install(ready):
                return
            if ready.hard_state is not None:
                self._host.store_hard_state(ready.hard_state.term, ready.hard_state.vote)
            for store in ready.stores:
                self._store(store)
            for message in ready.messages:
                if isinstance(message, ReadReply):
                    message = replace(message, time_ms=self._host.now_ms())
                self._host.send(message)
            for append in ready.bulk:
                self._sender.send(append)
            if ready.fence_index:
                self._append(b"", ready.term)
                assert self.log.last_index == ready.fence_index, "not the first of its term"
                self._tell_appended()
            if ready.membership is not None:
                self._append_membership(ready.membership, ready.term)
            for peer in ready.snapshots:
                self._begin_image(peer)
            self._note_role(ready)
            self._reads.settle(ready.reads)
            self._answer_reads()
            raft.advance(ready)
            self._is_paused = ready.is_paused
        self.apply()

    def _begin_image(self, peer: int) -> None:
        """An image is as of a checkpoint, of which a young group has none."""

        def begin(is_there: bool) -> None:
            if is_there:
                self._host.begin_image(peer)

        if self.state.checkpointer.last.at.index:
            begin(True)
        else:
            self.state.request_checkpoint(begin)

    def _waits_for_install(self, ready: Ready) -> bool:
        """Whether an image has to be put in place before anything else of `ready` is done."""
        images = [store.snapshot for store in ready.stores if isinstance(store, Install)]
        if not images or self._installed == images[-1]:
            return False
        assert isinstance(ready.stores[0], Install), "what came before an image is stored already"
        self._end_state(images[-1])
        return True

    def _note_role(self, ready: Ready) -> None:
        leader = (ready.role, ready.term, ready.leader)
        if leader != self._leader:
            self._leader = leader
            self._sender.clear()
            self._host.role_changed(*leader)

    def _store(self, store: Store) -> None:
        match store:
            case Write(message, first):
                assert isinstance(message.payload, bytes)
                begin = message.previous_index + 1
                self.log.store(first, message.entry_term, message.payload, begin=begin)
                self._told = self.log.last_index
            case Receive(source, snapshot):
                self._host.expect_image(source, snapshot)
            case Install(snapshot):
                assert snapshot == self._installed
                self._told = self.log.last_index

    def _append(self, payload: bytes, term: int) -> int:
        """Append an entry of this leadership; return its index."""
        if self.is_executing:
            return int(self.sequencer.propose(payload))
        index = self.log.last_index + 1
        now_ts = self._host.now_ms() << TIMESTAMP_COUNTER_BITS
        self.log.append(term, index, max(now_ts, self.log.last_ts + 1), payload)
        return index

    def _append_membership(self, membership: Membership, term: int) -> None:
        self._tell_appended()
        if len(membership.members) > 1:
            self._end_solitude()
        index = self._append(encode_membership_entry(membership), term)
        if index > self._told + 1:  # a batch that was open came before it
            self.raft.note_appended(term, self._told + 1, index - 1)
        self._told = index
        self.raft.note_appended(term, index, index, membership)

    def _end_solitude(self) -> None:
        """There are others: from here on entries are kept for them, and reads need them."""
        self.log.is_alone = False
        self.sequencer.is_alone = False

    # -- the state ------------------------------------------------------------------------------

    @property
    def _appliable(self) -> int:
        return min(self.raft.committed, self.raft.synced_index)

    def apply(self) -> None:
        """Let committed entries take effect: a bounded step, see has_more. Between passes."""
        if self.is_executing:
            self.sequencer.commit_to(self.raft.committed)
            self._pause(self._is_paused or self._successor != NO_NODE)
            if self._successor and not self.sequencer.holds_output():
                self._begin_transfer()
                self.run()
            return
        if self._is_over or self._is_reading:
            return
        last = self._appliable
        if self.applied < last:
            entries, self._arrived = self._arrived, []
            entries = entries or self.log.take(self.applied + 1, last, APPLY_BYTES_PER_STEP)
            if entries:
                self.sequencer.apply_many(entries)
                self._log_bytes.note(self.applied, self.sequencer.payload_bytes)
            else:
                self._read_for_applying(last)
        self._answer_reads()
        if self.raft.is_serving and self.applied == self.log.last_index and not self._is_reading:
            self._begin_executing()

    def _read_for_applying(self, last: int) -> None:
        state = self.state
        self._is_reading = True

        def done(entries: Sequence[LogEntry]) -> None:
            if self.state is state and not self._is_over:
                self._is_reading = False
                self._arrived = list(entries)

        first = self.applied + 1
        term = self.raft.log.term(first)
        assert term is not None, "what is not applied stays in the log"
        last = min(last, self.raft.log.term_end(first))
        self._host.read_entries(first, last, term, APPLY_BYTES_PER_STEP, done)

    def _begin_executing(self) -> None:
        assert not self.tip.mixed_until, "a leader has all that its store shows"
        self._term = self.raft.term
        self.sequencer.lead(self.raft.term, self.log.last_index, self.log.last_ts)
        is_alone = len(self.raft.membership.members) == 1
        self.log.is_alone = self.sequencer.is_alone = is_alone
        self.is_executing = True
        self._fenced_pass = self.sequencer.passes
        self.sequencer.serving = True
        self._host.execution_begins()
        self._pause(self._is_paused)

    def _pause(self, is_paused: bool) -> None:
        """Execute nothing while leadership is handed over: clients' input waits."""
        if self.sequencer.serving is not is_paused:
            return
        self.sequencer.serving = not is_paused
        if not is_paused:
            self._host.execution_goes_on()

    def _stop_executing(self) -> None:
        """Leadership is lost: what is held is not known to be done, and never will be."""
        self.is_executing = False
        self._successor = NO_NODE
        self._host.execution_ends()
        is_clean = self.sequencer.step_down(UNCERTAIN, NOT_DONE, UNBLOCKED)
        self._host.execution_ended()
        if not is_clean or self.applied < self.sequencer.committed:
            self._end_state(None)

    def _end_state(self, image: Snapshot | None) -> None:
        if not self._is_over:
            self._is_over = True
            self.state.abandon()
        self._host.rebuild(image)

    def adopt(self, state: State, image: Snapshot | None = None) -> None:
        """A state was built at the checkpoint, after `image` was put in place if there was one."""
        self.state = state
        self._log_bytes = LogBytes(self.applied)
        self._is_over = False
        self._is_reading = False
        self._arrived = []
        if image is not None:
            self._installed = image
            self._told = self.log.last_index
        self._connect(state)
        self.run()

    def _connect(self, state: State) -> None:
        state.sequencer.on_stable = self._on_stable
        state.sequencer.serving = False
        state.sequencer.is_alone = self.log.is_alone
        if self.raft.uses_leases:
            state.sequencer.has_lease = lambda: self.raft.has_lease
        state.on_checkpoint = self._on_checkpoint
        state.membership_at = self._membership_at

    # -- reads ----------------------------------------------------------------------------------

    def _ask_fence(self) -> None:
        """Input of passes waits for a confirmation of leadership: one round for all of them."""
        unconfirmed = self.sequencer.unconfirmed()
        if unconfirmed <= self._fenced_pass:
            return
        self._fenced_pass = unconfirmed
        sequencer = self.sequencer

        def confirmed(is_confirmed: bool) -> None:
            if is_confirmed and sequencer is self.sequencer and self.is_executing:
                sequencer.confirm(unconfirmed)

        self.request_read(confirmed)

    def _answer_reads(self) -> None:
        """Answer those that may see the state as it is."""
        if not self._is_over and not self.tip.mixed_until:  # else the store may show more
            self._reads.answer(self.log.last_index if self.is_executing else self.applied)

    # -- passes and background ------------------------------------------------------------------

    def completions_due(self) -> None:
        """Blocking calls have ended and were delivered: go on with what waited. In a pass."""
        if not self._is_over:
            self.state.completions_due()

    def after_pass(self) -> None:
        """A pass has ended."""
        if self._is_over:
            return
        self.state.after_pass()
        if not self.is_executing:
            self.apply()
        elif not self.log.is_alone:
            self._log_bytes.note(self.sequencer.last_index, self.sequencer.payload_bytes)
            self._ask_fence()
            self.run()

    def background(self, now_ms: int) -> bool:
        """Checkpoint, expiry, sweep: a bounded step of each, in a pass; True: there is more."""
        if self._is_over:
            return False
        return self.state.background(now_ms, self.is_serving)

    def request_checkpoint(self, done: Callable[[bool], None]) -> bool:
        """Have a checkpoint made of everything up to now; see State."""
        return self.state.request_checkpoint(done)

    @property
    def needed_bytes(self) -> int | None:
        """From which byte on, as the sequencer counts, nodes that get images need the log."""
        needed_from = self.raft.needed_from if self.is_executing else None
        return None if needed_from is None else self._log_bytes.at(needed_from)

    def _membership_at(self, index: int) -> bytes:
        membership = self.raft.memberships.at(index)
        if membership.members == (Member(self.raft.node_id),):
            return b""  # it never was in a group with others
        return encode_membership(membership)

    def _on_checkpoint(self, record: CheckpointRecord) -> None:
        """Let the log before a checkpoint go, but for what others still need of it."""
        self.before_log_cut()
        index = record.at.index
        needed_from = self.raft.needed_from
        if needed_from is not None:
            index = min(index, needed_from)
        leadership = self.raft.leadership
        slowest = None if leadership is None else leadership.replication.slowest_match()
        if slowest is not None:
            index = min(index, max(slowest, self.log.first_kept - 1))
        self.log.inner.cut(index)
        self._log_bytes.forget_before(index)
        if index > self.raft.log.base_index:
            self.raft.note_compacted(index)

    def statistics(self) -> dict[str, Any]:
        """Counters for INFO."""
        return self.state.statistics()
