"""Bugs on purpose in what stands between Raft and memory, each of which the simulation must notice.

Each is a function that breaks one rule, by a pytest MonkeyPatch. Those of Raft alone are in
tests/sim/raft/planted.py; a few of them show here as well.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kvnode.raft.leadership import Leadership
from kvnode.raft.messages import ReadReply
from kvnode.raft.ready import Role
from kvnode.raft.wire import encode_membership
from kvnode.server import data, images
from kvnode.server.data import DataDirectory
from kvnode.server.rebuilding import Rebuilding
from kvnode.storage.log import SegmentWriter
from kvnode.txn import replica
from kvnode.txn.pending_reads import PendingReads
from kvnode.txn.replica import Replica
from kvnode.txn.state import State
from tests.sim.group import directory
from tests.sim.group.node import GroupNode

Patch = pytest.MonkeyPatch


def applies_what_is_not_committed(patch: Patch) -> None:
    patch.setattr(Replica, "_appliable", property(lambda self: self.raft.synced_index))


def applies_what_is_not_synced(patch: Patch) -> None:
    """Committed by others, and on the way to the own disk (hard case 2)."""
    patch.setattr(Replica, "_appliable", property(lambda self: self.raft.committed))


def starts_with_the_whole_log(patch: Patch) -> None:
    """A restarted member of a group counts all of its log as committed."""
    build = DataDirectory.build_state

    def all_of_it(self, *args, **options):
        return build(self, *args, **(options | {"is_all_committed": True}))

    patch.setattr(DataDirectory, "build_state", all_of_it)


def serves_as_soon_as_elected(patch: Patch) -> None:
    """A leader executes before what is in its log is committed and applied."""
    apply = Replica.apply

    def at_once(self):
        apply(self)
        is_leader = self.raft.role is Role.LEADER and self.log.last_term == self.raft.term
        if is_leader and not self.is_executing and not self._is_over:
            self._begin_executing()

    patch.setattr(Replica, "apply", at_once)


def acknowledges_alone(patch: Patch) -> None:
    """A leader's own disk is enough for an OK."""
    on_stable = Replica._on_stable

    def commit_synced(self, term, index):
        on_stable(self, term, index)
        return min(index, self.sequencer.last_index)

    patch.setattr(Replica, "_on_stable", commit_synced)


def releases_at_step_down(patch: Patch) -> None:
    """Held replies leave when leadership is lost."""
    stop = Replica._stop_executing

    def release(self):
        self.sequencer.commit_to(self.sequencer.last_index)
        stop(self)

    patch.setattr(Replica, "_stop_executing", release)


def says_not_done_of_writes(patch: Patch) -> None:
    """A deposed leader says TRYAGAIN of what others may have."""
    patch.setattr(replica, "UNCERTAIN", replica.NOT_DONE)


def keeps_memory_at_step_down(patch: Patch) -> None:
    """A deposed leader goes on with what may never be committed in memory."""
    end = Replica._end_state

    def keep(self, image):
        if image is not None:
            end(self, image)

    patch.setattr(Replica, "_end_state", keep)


def rebuilds_at_once(patch: Patch) -> None:
    """Calls of the old state are under way when the store is replaced."""
    ask = Rebuilding.ask

    def now(self, image):
        ask(self, image)
        self._left = 0
        self._passed = lambda result, error: None

    patch.setattr(Rebuilding, "ask", now)


def forgets_votes(patch: Patch) -> None:
    """Term and vote are not made durable (hard case 12)."""
    patch.setattr(GroupNode, "store_hard_state", lambda self, term, vote: None)


def log_is_never_synced(patch: Patch) -> None:
    """The log says that it is synced when it is written (hard case 11)."""
    patch.setattr(SegmentWriter, "sync", lambda self: None)


def expires_on_followers(patch: Patch) -> None:
    """Followers delete what is past its deadline by their own clock (hard case 15)."""
    background = State.background
    patch.setattr(State, "background", lambda self, now_ms, _: background(self, now_ms, True))


def reads_without_a_round(patch: Patch) -> None:
    """A node that thinks that it leads answers reads of all nodes at once."""

    def read(self, request):
        index = self._own.committed
        if not self.is_serving:
            self._reads.add(request)
        elif request.source == self.node_id:
            self._tickets.done(request.ticket, index)
        else:
            here, there = self.node_id, request.source
            reply = ReadReply(here, there, self.term, request.ticket, request.instance, index)
            self._outbox.messages.append(reply)

    patch.setattr(Leadership, "read", read)


def reads_what_is_not_applied(patch: Patch) -> None:
    """A follower answers a read as soon as the leader has said up to where it has to see."""
    answer = PendingReads.answer
    patch.setattr(PendingReads, "answer", lambda self, applied: answer(self, 1 << 62))


def reads_from_a_mixed_store(patch: Patch) -> None:
    """A follower reads a store of which nobody knows yet that it shows too much."""

    def answer(self):
        if not self._is_over:
            self._reads.answer(self.log.last_index if self.is_executing else self.applied)

    patch.setattr(Replica, "_answer_reads", answer)


def lease_is_too_long(patch: Patch) -> None:
    """A leader relies on the others for longer than they wait (hard case 14)."""
    patch.setattr(directory, "lease_ms", lambda election_ticks, tick_ms: 1000)


def ignores_what_the_store_shows(patch: Patch) -> None:
    """Entries are applied on an image as if it did not hold parts of them (hard case 3)."""
    open_tip = data.open_tip

    def unmixed(engine, facts):
        opened = open_tip(engine, facts)
        opened.tip.mixed_until = 0
        return opened

    patch.setattr(data, "open_tip", unmixed)


def images_end_at_their_beginning(patch: Patch) -> None:
    """An image says that it holds nothing behind its position (hard case 3)."""
    snapshot_of = images.snapshot_of

    def unaware(facts):
        return replace(snapshot_of(facts), high_water=facts.at.index)

    install = DataDirectory.install
    patch.setattr(images, "snapshot_of", unaware)

    def without(self, facts):
        install(self, facts)
        self.facts = replace(self.facts, highest_index=facts.at.index)

    patch.setattr(DataDirectory, "install", without)


def keeps_own_hash_key(patch: Patch) -> None:
    """Rows of an image are looked for with the key of the own directory."""
    install = DataDirectory.install

    def keep(self, facts):
        own = self.facts.hash_key
        install(self, facts)
        self.facts = replace(self.facts, hash_key=own)

    patch.setattr(DataDirectory, "install", keep)


def applies_what_was_read_for_another_state(patch: Patch) -> None:
    """Entries that were read for one state are applied to the one in its place."""
    connect = Replica._connect

    def read(self, last):
        def done(entries):
            self._is_reading = False
            self._arrived = self.left_over = list(entries)

        first = self.applied + 1
        last = min(last, self.raft.log.term_end(first))
        self._is_reading = True
        self._host.read_entries(first, last, self.raft.log.term(first), 1 << 20, done)

    def go_on(self, state):
        connect(self, state)
        self._arrived = self.left_over

    patch.setattr(Replica, "left_over", [], raising=False)
    patch.setattr(Replica, "_read_for_applying", read)
    patch.setattr(Replica, "_connect", go_on)


def forgets_memberships(patch: Patch) -> None:
    """Checkpoints and images say that the group is as it was founded."""

    def as_founded(self, index):
        return encode_membership(self.raft.memberships.at(0))

    patch.setattr(Replica, "_membership_at", as_founded)


def all_planted() -> list[Callable[[Patch], None]]:
    return [
        value
        for name, value in globals().items()
        if callable(value)
        and getattr(value, "__module__", "") == __name__
        and value.__code__.co_varnames[:1] == ("patch",)
    ]
