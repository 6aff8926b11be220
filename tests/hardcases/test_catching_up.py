"""A node that gets an image while clients write: what it lacks stays, or it would never be done."""

from itertools import count
from typing import Any

import pytest

from kvnode.base.limits import KIB
from kvnode.base.resp import encode
from kvnode.raft.membership import AddLearner, Member
from kvnode.raft.progress import ProgressState
from kvnode.raft.replication import Replication
from kvnode.server import images as server_images
from kvnode.storage.image_sending import ImageSender
from tests.sim.group import directory
from tests.sim.group.cluster import Cluster
from tests.sim.group.node import GroupNode

NEW = 4
VALUE = b"x" * 2000
WRITES_MS = 2
CHECKPOINTS_MS = 2  # what catches up has to be quicker, or the log is kept for it
RING_BYTES = 128 * KIB  # what comes in 130 ms
SILENCE_MS = 800


class Busy:
    """A group of three without faults, a client that writes all the time, and a fourth node."""

    def __init__(self, first: int = 0) -> None:
        """first: seed, or the next one that suits."""
        self.world = next(world for world in map(Cluster, count(first)) if self._suits(world))
        self.world.heal()
        self.world.wait(lambda: "" if self.world.leader() is not None else "nobody leads")
        self.session = self.leader.clients.admit()
        self.wait(300)
        self._write()
        self._checkpoint()
        self.wait(200)

    @staticmethod
    def _suits(world: Cluster) -> bool:
        return world.nodes[1].raft.membership.voters == frozenset((1, 2, 3))

    @property
    def leader(self) -> GroupNode:
        leader = self.world.leader()
        assert leader is not None
        return leader

    def _write(self) -> None:
        self.world.after(WRITES_MS, self._write)
        self.world.network.to_node(self.leader, self.session, encode("SET", "k", VALUE))

    def _checkpoint(self) -> None:
        self.world.after(CHECKPOINTS_MS, self._checkpoint)
        self.world._checkpoint(self.leader)

    def add(self, silence_ms: int = SILENCE_MS) -> None:
        """Add the fourth node, which does nothing for long once an image is on its way."""
        member = Member(NEW, self.world.homes[NEW].identity)
        self.world._propose(self.leader, AddLearner(member, True))
        while not self.leader.networked.images.is_receiving(NEW):
            self.wait(1)
        self.world.paused[NEW] = self.world.now + silence_ms

    def wait(self, ms: float) -> None:
        self.world._run_until(self.world.now + ms)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Busy:
    monkeypatch.setattr(directory, "RING_BYTES", RING_BYTES)
    return Busy()


def test_hard_case_33_a_node_that_has_an_image_needs_no_other(busy: Busy) -> None:
    busy.add()
    busy.wait(2 * SILENCE_MS)
    assert busy.world.installs == 1
    assert NEW in busy.leader.raft.membership.voters


def test_hard_case_33_cut_beneath_it_the_log_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: only an image that is on its way keeps the log. It takes luck to miss it."""

    def of_images(self: Replication) -> int | None:
        images = [
            progress.snapshot_index
            for progress in self.progress.values()
            if progress.state is ProgressState.SNAPSHOT
        ]
        return min(images, default=None)

    monkeypatch.setattr(directory, "RING_BYTES", RING_BYTES)
    monkeypatch.setattr(Replication, "needed_from", of_images)
    for first in range(0, 300, 30):
        busy = Busy(first)
        busy.add()
        busy.wait(2 * SILENCE_MS)
        if busy.world.installs > 1:
            return
    pytest.fail("one image was enough")


def test_hard_case_33_how_much_log_is_kept_is_known(busy: Busy) -> None:
    """Clients are slowed down by it: see Reactor.needed_bytes."""
    assert busy.leader.replica.needed_bytes is None
    busy.add()
    busy.wait(SILENCE_MS)
    needed = busy.leader.replica.needed_bytes
    assert needed is not None
    assert busy.leader.sequencer.payload_bytes - needed > SILENCE_MS // WRITES_MS * len(VALUE)
    busy.wait(SILENCE_MS)
    assert busy.leader.replica.needed_bytes is None


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The ids of all images that are made."""
    made: list[bytes] = []

    class Counted(ImageSender):
        def __init__(self, image_id: bytes, *parts: Any, **options: Any) -> None:
            made.append(image_id)
            super().__init__(image_id, *parts, **options)

    monkeypatch.setattr(server_images, "ImageSender", Counted)
    return made


def break_link(busy: Busy) -> None:
    """Add the fourth node, and break its link to the leader while it gets the image."""
    busy.add(silence_ms=0)
    while not busy.leader.networked.images._senders[NEW].is_connected:
        busy.wait(0.2)
    busy.world.network.cut_link(busy.leader.node_id, NEW)
    busy.wait(SILENCE_MS)


def test_hard_case_33_where_a_link_breaks_the_image_goes_on(
    busy: Busy, images: list[bytes]
) -> None:
    break_link(busy)
    assert len(images) == busy.world.installs == 1
    assert NEW in busy.leader.raft.membership.voters


def test_hard_case_33_images_that_begin_anew_are_seen(
    busy: Busy, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a broken link costs an image."""
    monkeypatch.setattr(server_images.Images, "_may_go_on", lambda self, peer: False)
    break_link(busy)
    assert len(images) > 1
