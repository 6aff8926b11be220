"""Bugs on purpose in what stands between Raft and memory, each of which the simulation must notice.

Each is a function that breaks one rule, by a pytest MonkeyPatch. Those of Raft alone are in
tests/sim/raft/planted.py; a few of them show here as well.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kvnode.raft.core import RaftCore
from kvnode.raft.ready import Role
from kvnode.server.data import DataDirectory
from kvnode.server.rebuilding import Rebuilding
from kvnode.storage import image_receiving, image_sending
from kvnode.storage.local import rows_of_image
from kvnode.storage.log import SegmentWriter
from kvnode.txn import replica
from kvnode.txn.replica import Replica
from kvnode.txn.state import State
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


def reads_without_confirmation(patch: Patch) -> None:
    """A leader answers reads because it thinks that it leads."""

    def confirm(self):
        self.sequencer.confirm(self.sequencer.unconfirmed())

    patch.setattr(Replica, "_ask_fence", confirm)


def confirms_the_newest_pass(patch: Patch) -> None:
    """A round confirms what arrived after it began."""
    request_read = Replica.request_read

    def ask(self, done):
        def late(is_confirmed):
            if is_confirmed and self.is_executing:
                self.sequencer.confirm(self.sequencer.unconfirmed())

        request_read(self, late)

    patch.setattr(Replica, "request_read", ask)


def forgets_h_of_images(patch: Patch) -> None:
    """An image is said to be whole at A (hard case 3)."""
    facts = image_sending.ImageFacts
    patch.setattr(image_sending, "ImageFacts", lambda at, high, *rest: facts(at, at.index, *rest))


def forgets_h_of_the_store(patch: Patch) -> None:
    """The own store is said to be whole at A (hard case 3)."""
    open_tip = DataDirectory.build_state

    def whole(self, *args, **options):
        self.facts = replace(self.facts, highest_index=0)
        return open_tip(self, *args, **options)

    patch.setattr(DataDirectory, "build_state", whole)


def keeps_its_hash_key(patch: Patch) -> None:
    """An image's rows are read with the hash key that the directory had."""

    def rows(identity, group, hash_key, *rest):
        return rows_of_image(identity, group, bytes(16), *rest)

    patch.setattr(image_receiving, "rows_of_image", rows)


def rebuilds_at_once(patch: Patch) -> None:
    """Calls of the old state are under way when the store is replaced."""
    ask = Rebuilding.ask

    def now(self, image):
        ask(self, image)
        self._left = 0
        self._passed = lambda result, error: None

    patch.setattr(Rebuilding, "ask", now)


def takes_entries_for_an_old_state(patch: Patch) -> None:
    """What a state that is over has asked for is given to the next one."""
    read = Replica._read_for_applying

    def for_any(self, last):
        host, submit = self._host, self._host.read_entries

        def read_entries(first, last, term, bytes_max, done):
            def arrived(entries):
                self._is_reading = False
                self._arrived = list(entries)

            submit(first, last, term, bytes_max, arrived)

        host.read_entries = read_entries
        try:
            read(self, last)
        finally:
            del host.read_entries

    patch.setattr(Replica, "_read_for_applying", for_any)


def forgets_votes(patch: Patch) -> None:
    """Term and vote are not made durable (hard case 12)."""
    patch.setattr(GroupNode, "store_hard_state", lambda self, term, vote: None)


def log_is_never_synced(patch: Patch) -> None:
    """The log says that it is synced when it is written (hard case 11)."""
    patch.setattr(SegmentWriter, "sync", lambda self: None)


def forgets_the_membership(patch: Patch) -> None:
    """A checkpoint of a group that grew says nothing of its members."""
    at = Replica._membership_at
    founding: dict[int, bytes] = {}

    def old(self, index):
        return founding.setdefault(id(self), at(self, index))

    patch.setattr(Replica, "_membership_at", old)


def expires_on_followers(patch: Patch) -> None:
    """Followers delete what is past its deadline by their own clock (hard case 15)."""
    background = State.background
    patch.setattr(State, "background", lambda self, now_ms, _: background(self, now_ms, True))


def ignores_identities(patch: Patch) -> None:
    """A node that lost its directory counts as who it was (hard case 13)."""
    start = RaftCore.__init__

    def begin(self, *args, **options):
        start(self, *args, **options)
        membership = type(self.membership)
        patch.setattr(
            membership, "recognizes", lambda self, node_id, identity: bool(self.member(node_id))
        )

    patch.setattr(RaftCore, "__init__", begin)


def all_planted() -> list[Callable[[Patch], None]]:
    return [
        value
        for name, value in globals().items()
        if callable(value)
        and getattr(value, "__module__", "") == __name__
        and value.__code__.co_varnames[:1] == ("patch",)
    ]
