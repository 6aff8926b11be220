"""A life begins with an entry of its own: it is applied, so it has to be synced in any mode."""

import random

from kvnode.storage.memory import MemoryEngine
from tests.sim.disk import SimDisk
from tests.sim.node import SimNode
from tests.support.resp import encode


class Beginning(SimNode):
    """A node that has asked for leadership, and no more."""

    def _lead(self) -> None:
        self.replica.lead()


def test_what_is_not_synced_is_not_applied() -> None:
    node = Beginning(SimDisk(), MemoryEngine(), random.Random(1), is_relaxed=True)
    node.write()
    assert (node.replica.is_serving, node.sequencer.durable_index) == (False, 0)
    node.sync()
    assert (node.replica.is_serving, node.sequencer.durable_index) == (True, 1)


def test_from_there_on_what_is_written_is_answered() -> None:
    node = Beginning(SimDisk(), MemoryEngine(), random.Random(1), is_relaxed=True)
    node.sync()
    node.run_pass(node.sequencer.create_databases)
    session = node.session()
    session.feed(encode("SET", "a", "1"))
    node.serve(session)
    node.write()
    assert session.take() == b"+OK\r\n"
    assert node.sequencer.durable_index == 1
    node.sync()
    assert node.sequencer.durable_index == node.sequencer.last_index == node.sequencer.committed
