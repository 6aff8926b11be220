"""An image of a whole node under load is, with the entries from A to H, the node's state at H.

`KVNODE_NODE_IMAGES=500` takes more of them.
"""

import os
import random

import pytest

from kvnode._core import invariants
from kvnode._core.keys import HISTORY, LOCAL, MEMBER
from kvnode.base.errors import InvariantError, KvnodeError
from kvnode.server.local import HASH_KEY
from kvnode.storage import image, image_sending
from kvnode.storage.executor import StepExecutor
from kvnode.storage.image_receiving import ImageReceiver
from kvnode.storage.image_sending import ImageSender
from kvnode.storage.local import join_group, open_facts
from kvnode.storage.recovery import recover
from tests.property.test_node_crash import Lives
from tests.sim.image import GROUP, IDENTITY, SOURCE, Incoming
from tests.support.contents import contents, replay
from tests.support.score_rows import check_score_rows

COUNT = int(os.environ.get("KVNODE_NODE_IMAGES", "40"))
BUG_COUNT = 100
MEMBERSHIP = b"this node alone"


def run(seed: int) -> bool:
    """Take an image while a workload goes on; return whether it had parts of later entries."""
    lives = Lives(random.Random(seed))
    rng = lives.rng
    join_group(lives.node.engine, GROUP)
    for _ in range(rng.randrange(100)):
        lives.step()
    if rng.random() < 0.5:
        lives.end()  # a node that was recovered
        for _ in range(rng.randrange(100)):
            lives.step()
    node = lives.node
    while not node.checkpointer.last.at.index:
        lives.step()
    for _ in range(rng.randrange(100)):
        lives.step()
    reader, writer, incoming = StepExecutor(), StepExecutor(), Incoming()
    sender = ImageSender(
        rng.randbytes(16),
        node.engine,
        reader,
        cut_index=node.checkpointer.last.at.index,
        sole_membership=MEMBERSHIP,
        now_ms=0,
    )
    reader.run()
    facts = sender.facts
    receiver = ImageReceiver(writer, incoming, IDENTITY)
    receiver.expect(SOURCE, facts.at.index, facts.at.term, 0)
    sender.connect()
    while not sender.is_done:
        lives.step()
        sender.step(0)
        reader.step()
        writer.step()
        if (message := sender.take()) is not None:
            receiver.receive(SOURCE, message, 0)
        if (reply := receiver.take()) is not None:
            sender.receive(reply[1], 0)
    assert receiver.received == facts
    engine = incoming.engine.crash(lambda file, batch: False)
    local = open_facts(engine, identity=bytes(16), hash_key=bytes(16))
    assert (local.checkpoint.at, local.highest_index) == (facts.at, facts.high_water)
    assert facts.high_water <= node.sequencer.committed
    for end in (facts.high_water, node.sequencer.last_index):
        entries = [
            (facts.at.term, index, *node.entries[index])
            for index in range(facts.at.index + 1, end + 1)
        ]
        recovered = recover(engine, local, entries)
        invariants.check(recovered.tip)
        expected = replay([node.entries[index] for index in range(1, end + 1)], HASH_KEY)
        assert contents(recovered.tip, engine) == contents(expected)
    check_score_rows(engine, is_swept=True)
    return facts.high_water > facts.at.index


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small chunks and reads, so that much happens meanwhile."""
    monkeypatch.setattr(image, "IMAGE_CHUNK_BYTES", 2000)
    monkeypatch.setattr(image_sending, "IMAGE_CHUNK_BYTES", 2000)
    monkeypatch.setattr(image_sending, "IMAGE_ROWS_PER_READ", 20)


def test_images_are_the_state_at_h():
    mixed = sum(run(seed) for seed in range(COUNT))
    assert mixed > COUNT / 4


def _h_is_a(monkeypatch):
    opened = ImageSender._opened

    def planted(self, facts):
        object.__setattr__(facts, "highest_index", 0)
        opened(self, facts)

    monkeypatch.setattr(ImageSender, "_opened", planted)


def _reads_the_present(monkeypatch):
    parts = image_sending._Source.parts

    def planted(self):
        self._reader = self._engine
        return parts(self)

    monkeypatch.setattr(image_sending._Source, "parts", planted)


def _leaves_out_members(monkeypatch):
    monkeypatch.setattr(image_sending, "KINDS_LEFT_OUT", (LOCAL, HISTORY, MEMBER))


@pytest.mark.parametrize("plant", [_h_is_a, _reads_the_present, _leaves_out_members])
def test_planted(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises((AssertionError, KeyError, InvariantError, KvnodeError)):  # noqa: PT012
        for seed in range(BUG_COUNT):
            run(seed)
