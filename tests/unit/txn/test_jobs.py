"""Jobs beside the sequencer: when they go on, what they answer, and that they let go."""

from types import SimpleNamespace

import pytest

from kvnode.txn.jobs import Jobs
from tests.support.local import S_READY, LocalNode
from tests.support.resp import decode, encode


class Executor:
    """Runs its work when the test says so."""

    def __init__(self):
        self.queue = []

    def submit(self, work, completion):
        self.queue.append((work, completion))

    def run(self):
        while self.queue:
            work, completion = self.queue.pop(0)
            completion(work(), None)


class Rig:
    def __init__(self):
        self.node, self.executor = LocalNode(), Executor()
        replica = SimpleNamespace(sequencer=self.node.sequencer, tip=self.node.tip)
        self.jobs = Jobs(replica, self.node.engine, self.executor)
        self.session = self.node.session()
        self.ask = self.node.client().ask

    def begin(self, *command):
        self.session.feed(encode(*command))
        self.node.run_pass(self.session)
        for session, args in self.node.sequencer.take_jobs():
            self.jobs.start(session, args)

    def step(self, *, is_closed=False):
        self.node.sequencer.begin(self.node.clock.now_ms)
        has_more = self.jobs.step(lambda session: is_closed)
        self.node.sequencer.end()
        return has_more


@pytest.fixture
def rig():
    return Rig()


def test_a_computation_waits_on_its_thread(rig):
    a, b = b"ab" * 900, b"ba" * 900
    rig.ask("MSET", "a", a, "b", b)
    rig.begin("LCS", "a", "b", "LEN")
    assert not rig.step(), "nothing to do until it is computed"
    assert not rig.step()
    assert len(rig.executor.queue) == 1
    rig.executor.run()
    rig.step()
    assert not rig.jobs
    assert rig.session.state == S_READY
    rig.node.commit()
    assert decode(rig.session.take()) == 1799


def test_its_reply_waits_for_what_it_read(rig):
    writer = rig.node.session()
    writer.feed(encode("MSET", "a", b"ab" * 900, "b", b"ab" * 900))
    rig.session.feed(encode("LCS", "a", "b", "LEN"))
    rig.node.run_pass(writer, rig.session)
    for session, args in rig.node.sequencer.take_jobs():
        rig.jobs.start(session, args)
    rig.step()
    rig.executor.run()
    rig.step()
    assert rig.session.take() == b""
    rig.node.commit()
    assert decode(rig.session.take()) == 1800


def test_keys_of_a_snapshot_behind_a_fence(rig):
    names = [b"k%d" % i for i in range(300)]
    rig.ask("MSET", *[part for name in names for part in (name, b"v")])
    rig.node.cool()
    rig.begin("KEYS", "k*")
    assert rig.step(), "its fence is not committed"
    assert not rig.executor.queue
    rig.node.commit()
    while rig.jobs:
        rig.ask("DEL", *names[:3])
        rig.ask("SET", "k:later", "1")
        rig.step()
        rig.executor.run()
    rig.node.commit()
    keys = decode(rig.session.take())
    assert set(names[3:]) <= set(keys) <= {*names, b"k:later"}
    assert len(keys) in (297, 298, 300), "one point in time"
    assert rig.node.tip.statistics()["pins"] == 0


def test_a_client_that_left_lets_go(rig):
    rig.ask("MSET", "a", b"ab" * 900, "b", b"ba" * 900)
    rig.begin("LCS", "a", "b")
    rig.step()
    rig.step(is_closed=True)
    assert not rig.jobs
    rig.executor.run()
