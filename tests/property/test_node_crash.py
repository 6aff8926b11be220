"""Lives of a whole node on simulated parts: whenever power fails or the process is killed, the next
life shows exactly the entries up to some point at or after all that was acknowledged.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from kvnode.base.errors import InvariantError, KvnodeError
from kvnode.server.local import HASH_KEY
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.local import CheckpointRecord, Position
from kvnode.storage.memory import MemoryEngine
from tests.sim.node import SimNode, new_node
from tests.sim.workload import Workload
from tests.support.contents import contents, replay
from tests.support.resp import decode, encode
from tests.support.score_rows import check_score_rows, check_windows

SEEDS = 40
BUG_SEEDS = 100
LIVES = 4
STEPS = 80  # of a life, at most
CLIENTS = 3
COUNTERS_DB = 7
RARE = (("FLUSHDB",), ("SWAPDB", "0", "1"), ("SWAPDB", "1", "2"))


@dataclass
class Lives:
    """A node through its lives, and what its clients know of it."""

    rng: random.Random
    bug: str = ""
    acknowledged: int = 0  # index: clients have seen effects of entries up to it
    counted: list[int] = field(default_factory=lambda: [0] * CLIENTS)  # INCRs acknowledged
    sent: list[int] = field(default_factory=lambda: [0] * CLIENTS)  # INCRs sent

    def __post_init__(self) -> None:
        self.is_relaxed = not self.bug and self.rng.random() < 0.3
        self.workload = Workload(self.rng, rare=RARE)
        self._begin(new_node(self.rng.getrandbits(32), is_relaxed=self.is_relaxed))

    def _begin(self, node: SimNode) -> None:
        self.node = node
        self.sessions = [node.session() for _ in range(CLIENTS)]
        self.counters = [node.session() for _ in range(CLIENTS)]
        for session in self.counters:
            node.settle(session, encode("SELECT", COUNTERS_DB))
        self.acknowledged = node.sequencer.committed
        plant(self.bug, node)

    def step(self) -> None:
        node, rng = self.node, self.rng
        steps = [
            (12, self.send),
            (8, self.count),
            (3, lambda: node.write(rng.choice([1, 2, None]))),
            (6, lambda: node.sync(rng.choice([1, 2, None]))),
            (8, lambda: node.step_threads(rng.choice([1, 1, 5]))),
            (6, node.serve),
            (8, node.background),
            (2, lambda: node.replica.request_checkpoint(lambda ok: None)),
            (2, node.evict),
            (2, self.wait),
            (1, self.list_keys),
        ]
        rng.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()
        self.read()
        node.check()
        check_score_rows(node.engine, is_swept=True)

    def send(self) -> None:
        session = self.rng.choice(self.sessions)
        session.feed(b"".join(encode(*words) for words in self.workload.script()))
        self.node.serve(session)

    def list_keys(self) -> None:
        session = self.rng.choice(self.sessions)
        session.feed(encode("KEYS", "*"))
        self.node.serve(session)

    def count(self) -> None:
        """A client whose key nobody else writes."""
        i = self.rng.randrange(CLIENTS)
        self.sent[i] += 1
        self.counters[i].feed(encode("INCR", f"counter{i}"))
        self.node.serve(self.counters[i])

    def read(self) -> None:
        """Clients take what may leave: it counts as acknowledged from here on."""
        output = b"".join(session.take() for session in self.sessions)
        for i, session in enumerate(self.counters):
            data = session.take()
            output += data
            if data:
                self.counted[i] = int(data.split(b"\r\n")[-2][1:])
        if output:
            self.acknowledged = self.node.sequencer.committed

    def wait(self) -> None:
        self.node.now_ms += self.rng.choice([0, 1, 20, 500])

    def end(self) -> None:
        """The life ends, the next one begins, and is compared with what clients know."""
        is_kill = self.rng.random() < 0.4
        known = self.acknowledged
        if self.is_relaxed and not is_kill:
            known = self.node.sequencer.synced
        node = self.node.kill() if is_kill else self.node.crash()
        last = node.recovered.last.index
        assert last >= known, f"entry {known} was acknowledged, the log ends at {last}"
        node.check()
        check_score_rows(node.engine, is_swept=True)
        check_windows(node.tip, node.engine)
        entries = [node.entries[index] for index in sorted(node.entries)]
        assert contents(node.tip, node.engine) == contents(replay(entries, HASH_KEY))
        reader = node.session()
        node.settle(reader, encode("SELECT", COUNTERS_DB))
        for i in range(CLIENTS):
            value = int(decode(node.settle(reader, encode("GET", f"counter{i}"))) or 0)
            assert value <= self.sent[i]
            assert value >= self.counted[i] or (self.is_relaxed and not is_kill)
            self.sent[i] = self.counted[i] = value
        self._begin(node)


class BlindEngine:
    """An engine in which nobody finds a record by its key."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine

    def get_many(self, keys: Sequence[bytes]) -> list[None]:
        return [None] * len(keys)

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


def plant(bug: str, node: SimNode) -> None:
    """Break one rule of the storage layer."""
    checkpointer, log = node.checkpointer, node.log
    if bug == "the log is not synced":
        log._writer.sync = lambda: None
    elif bug == "the store is not synced":
        node.engine.compact_memtable = lambda: None
    elif bug == "A is where the checkpoint ends":

        def write_record(record: CheckpointRecord) -> None:
            at = Position(node.sequencer.durable_index, node.sequencer.term, node.tip.durable)
            Checkpointer._write_record(checkpointer, CheckpointRecord(at, record.next_id))

        checkpointer._write_record = write_record
    elif bug == "the log is cut when the checkpoint begins":

        def begin(at: Position, next_id: int, membership: bytes) -> None:
            log.cut(at.index)
            Checkpointer.begin(checkpointer, at, next_id, membership)

        checkpointer.begin = begin
    elif bug == "old scores are not looked up":
        checkpointer._engine = BlindEngine(node.engine)
    else:
        assert not bug


def run(seed: int, bug: str = "") -> None:
    lives = Lives(random.Random(seed), bug)
    for _ in range(LIVES):
        for _ in range(lives.rng.randrange(STEPS)):
            lives.step()
        lives.end()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_acknowledged_is_lost_and_nothing_is_invented(seed):
    run(seed)


@pytest.mark.parametrize(
    "bug",
    [
        "the log is not synced",
        "the store is not synced",
        "A is where the checkpoint ends",
        "the log is cut when the checkpoint begins",
        "old scores are not looked up",
    ],
)
def test_a_planted_bug_is_found(bug):
    for seed in range(BUG_SEEDS):
        try:
            run(seed, bug)
        except (AssertionError, KeyError, InvariantError, KvnodeError):
            return
    pytest.fail("not found")
