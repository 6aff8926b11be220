"""Bugs on purpose in what stands between Raft and memory, each of which the simulation must notice.

Each is a function that breaks one rule, by a pytest MonkeyPatch. Those of Raft alone are in
tests/sim/raft/planted.py; a few of them show here as well.
"""

from collections.abc import Callable

import pytest

from kvnode.raft.ready import Role
from kvnode.server.data import DataDirectory
from kvnode.server.rebuilding import Rebuilding
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


def all_planted() -> list[Callable[[Patch], None]]:
    return [
        value
        for name, value in globals().items()
        if callable(value)
        and getattr(value, "__module__", "") == __name__
        and value.__code__.co_varnames[:1] == ("patch",)
    ]
