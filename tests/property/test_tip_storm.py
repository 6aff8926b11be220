"""Random commands of several clients while records are flushed, evicted, fetched late, pinned and
committed late: every reply is that of a calm node that ran the same commands in the same order.
"""

import random
from dataclasses import dataclass, field

import pytest

from kvnode._core import upkeep
from kvnode._core.session import Session
from kvnode._core.tip import Tip
from kvnode.storage import parts
from kvnode.storage.local import CheckpointRecord, LocalFacts, Position
from kvnode.storage.recovery import recover
from kvnode.storage.snapshot import SnapshotReader
from tests.sim.workload import HASHES, KEYS, LISTS, RARE, SETS, ZSETS, Workload
from tests.support.contents import Contents, Elements, contents, replay
from tests.support.local import HASH_KEY, S_PARKED, S_READY, TERM, Fetch, LocalNode
from tests.support.resp import encode
from tests.support.snapshots import value_at

SEEDS = 40
BUG_SEEDS = 300
STEPS = 150
CLIENTS = 3


@dataclass
class Pin:
    """A pinned snapshot and what was committed when it was taken."""

    commit_ts: int
    now_ms: int
    expected: Contents
    generations: list[int]


@dataclass
class Storm:
    """A node in trouble, and the order in which it executed commands."""

    rng: random.Random
    watches: bool
    bug: str = ""  # planted
    node: LocalNode = field(default_factory=LocalNode)
    executed: list[tuple[int, int, bytes]] = field(default_factory=list)
    fetches: list[Fetch] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    checkpoint: Position | None = None  # A of the running one
    undone: int = 0  # EXECs
    last: CheckpointRecord = field(default_factory=lambda: CheckpointRecord(Position(0, 0, 0), 1))
    highest: int = 0

    def __post_init__(self) -> None:
        # Without WATCH or without FLUSHDB and SWAPDB: these may break a watch without need.
        self.workload = Workload(self.rng, watches=self.watches, rare=() if self.watches else RARE)
        self.sessions = [self.node.session() for _ in range(CLIENTS)]
        self.output = {session.id: b"" for session in self.sessions}
        self.sent: dict[int, list[bytes]] = {session.id: [] for session in self.sessions}
        rewrite_lists(self.node)
        self.node.dispatch.slow_micros = 0
        self.node.dispatch.on_slow = self._note

    def _note(self, session, args: list[bytes], micros: int) -> None:
        if not session.in_exec:
            self.executed.append((session.id, self.node.view.now_ms, encode(*args)))

    def step(self) -> None:
        steps = [self.send, self.commit, self.begin_fetch, self.end_fetch, self.flush, self.evict]
        rare = [self.pin, self.unpin, self.wait, self.begin_checkpoint, self.forget, self.cool]
        self.rng.choices(steps + rare, [12, 5, 5, 6, 6, 2, 1, 1, 2, 1, 2, 2])[0]()
        for session in self.sessions:
            self.output[session.id] += session.take()

    def send(self) -> None:
        senders = self.rng.sample(self.sessions, self.rng.randint(1, CLIENTS))
        is_alone = len(senders) == 1 and not senders[0].input_bytes
        for session in senders:
            script = [encode(*words) for words in self.workload.script()]
            is_alone &= script[0] == encode("MULTI")
            self.sent[session.id] += script
            session.feed(b"".join(script))
        if is_alone:
            self._send_alone(senders[0])
        else:
            self.node.run_pass(*senders)

    def _send_alone(self, session: Session) -> None:
        """Run one MULTI ... EXEC in a pass. If it parks, nothing of it stays."""
        node = self.node
        before, entries = self._state(), len(node.entries)
        node.run_pass(session)
        if session.state == S_PARKED:
            assert self._state() == before
            assert len(node.entries) == entries
            self.undone += 1

    def _state(self) -> dict:
        """Return the tip without what may go at any time: versions that a durable one hides, and
        dead collections.
        """
        upkeep.sweep_collections(self.node.tip, 1000)
        state = self.node.dump()
        durable = self.node.tip.durable
        for table in state["tables"].values():
            for _, versions in table["entries"].values():
                newer = sum(version[0] > durable for version in versions)
                del versions[newer + 1 :]
        return state

    def commit(self) -> None:
        self.node.commit(self.rng.choice([1, 2, None]))

    def begin_fetch(self) -> None:
        fetch = self.node.begin_fetch()
        if fetch.sessions:
            self.fetches.append(fetch)
            if self.rng.random() < 0.5:
                self.node.read(fetch)

    def end_fetch(self) -> None:
        if self.fetches:
            self.node.end_fetch(self.fetches.pop(self.rng.randrange(len(self.fetches))))
        self.node.run_pass()

    def flush(self) -> None:
        if self.checkpoint is None:
            return
        if self.node.tip.flush_left():
            self.highest = self.node.sequencer.durable_index
            self.node.flush_slice(self.rng.choice([1, 5, 50]))
            if self.bug == "elements have no history":
                lost = self.node.engine.scan_keys(b"YM", b"YN", 1000)
                self.node.engine.write([(key, None) for key in lost])
        else:
            self.node.tip.end_checkpoint()
            if self.bug != "the store is not synced":
                self.node.engine.compact_memtable()
            if self.bug == "A is where the checkpoint ends":
                sequencer = self.node.sequencer
                self.checkpoint = Position(sequencer.durable_index, TERM, self.node.tip.durable)
            self.last = CheckpointRecord(self.checkpoint, self.node.view.first_unused_id)
            self.checkpoint = None

    def begin_checkpoint(self) -> None:
        if self.checkpoint is None:
            sequencer = self.node.sequencer
            self.checkpoint = Position(sequencer.durable_index, TERM, self.node.tip.durable)
            self.node.tip.begin_checkpoint()

    def evict(self) -> None:
        if self.rng.random() < 0.3:
            self.node.evict()
        else:
            self.node.tip.evict(0, self.rng.choice([10, 1000]))

    def forget(self) -> None:
        """From here on a key that is not in memory may be in the engine."""
        self.node.tip.set_resident(self.node.tip.current_generation(self.rng.randrange(3)), False)

    def cool(self) -> None:
        """All that can leave memory leaves it."""
        self.node.commit()
        self.begin_checkpoint()
        while self.checkpoint is not None:
            self.flush()
        self.node.evict()

    def wait(self) -> None:
        self.node.clock.advance(self.rng.choice([0, 1, 20, -5]))

    def pin(self) -> None:
        node = self.node
        ts = node.tip.pin()
        committed = replay([entry for entry in node.entries if entry[0] <= ts], HASH_KEY)
        self.pins.append(
            Pin(ts, ts >> 16, contents(committed), upkeep.database_generations(committed))
        )
        if self.bug == "pins hold nothing":
            self.node.tip.unpin(ts)

    def unpin(self) -> None:
        if self.pins:
            pin = self.pins.pop(self.rng.randrange(len(self.pins)))
            self.compare(pin)
            if self.bug != "pins hold nothing":
                self.node.tip.unpin(pin.commit_ts)

    def compare(self, pin: Pin) -> None:
        """Every key reads at the pin as it was committed then."""
        reader = SnapshotReader(self.node.tip, self.node.engine, pin.commit_ts, pin.now_ms)
        for db in range(3):
            found = {}
            for key in KEYS + SETS + HASHES + ZSETS + LISTS:
                record = upkeep.head_key(self.node.tip, pin.generations[db], key)
                value = reader.get(record)
                if value is not None:
                    found[key] = self.read_at(reader, value)
            expected = pin.expected.databases[db]
            assert found == {key: value.data for key, value in expected.items()}

    def read_at(self, reader: SnapshotReader, value: bytes) -> bytes | tuple[int, Elements]:
        """Return what a key holds at a pin, in the form of a Value's data."""

        def between() -> None:
            if self.rng.random() < 0.3:
                self.cool()  # what has left the tip by now is in LevelDB

        return value_at(reader, value, between)

    def calm_down(self) -> None:
        """End what is under way."""
        for _ in range(100):
            self.begin_fetch()
            while self.fetches:
                self.end_fetch()
            self.node.run_pass()
            self.node.commit()
            for session in self.sessions:
                self.output[session.id] += session.take()
            if all(session.state == S_READY for session in self.sessions) and not any(
                session.input_bytes for session in self.sessions
            ):
                return
        raise AssertionError("some command never ends")


def rewrite_lists(node: LocalNode) -> None:
    """Have LINSERT and LREM write lists anew that they otherwise change."""
    node.view.list_shift_max, node.view.list_runs_max = 2, 1


def run(seed: int, bug: str = "") -> None:
    """Run a storm and compare it with a calm node, at the end and after a crash."""
    storm = Storm(random.Random(seed), watches=seed % 4 == 0, bug=bug)
    for _ in range(STEPS):
        storm.step()
    storm.calm_down()
    calm, output = run_calmly(storm)
    assert output == storm.output
    assert visible(storm.node, calm.clock.now_ms) == visible(calm, calm.clock.now_ms)
    for pin in storm.pins:
        storm.compare(pin)
    replayed = contents(replay(storm.node.entries, HASH_KEY))
    assert replayed == storm.node.visible()
    compare_after_a_crash(storm, replayed)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replies_and_contents_are_those_of_a_calm_node(monkeypatch, seed):
    if seed % 3 == 0:  # elements are read one by one, not with their head
        monkeypatch.setattr(parts, "SMALL_COLLECTION_ELEMENTS", 2)
    run(seed)


@pytest.mark.parametrize(
    "bug",
    [
        "pins hold nothing",
        "elements have no history",
        "the store is not synced",
        "A is where the checkpoint ends",
    ],
)
def test_a_planted_bug_is_found(bug):
    for seed in range(BUG_SEEDS):
        try:
            run(seed, bug)
        except (AssertionError, KeyError):
            return
    pytest.fail("not found")


def run_calmly(storm: Storm) -> tuple[LocalNode, dict[int, bytes]]:
    """Run all commands again one by one, in the order of their execution; return all output."""
    calm = LocalNode()
    rewrite_lists(calm)
    sessions = {session.id: calm.session() for session in storm.sessions}
    output = dict.fromkeys(sessions, b"")
    for session_id, now_ms, command in storm.executed:
        calm.clock.now_ms = now_ms
        while storm.sent[session_id]:
            sent = storm.sent[session_id].pop(0)  # those before `command` were queued by MULTI
            output[session_id] += calm.settle(sessions[session_id], sent)
            if sent == command:
                break
    return calm, output


def visible(node: LocalNode, now_ms: int) -> dict:
    """Return all values but those past their deadline, which one access more or less deletes."""
    return {
        db: {key: value for key, value in values.items() if not 0 < value.expire_at <= now_ms}
        for db, values in node.visible().databases.items()
    }


def compare_after_a_crash(storm: Storm, expected: Contents) -> None:
    """What the engine kept and the log from A on give the same contents and counts."""
    rng = storm.rng
    engine = storm.node.engine.crash(lambda file, batch: rng.random() < 0.5)
    facts = LocalFacts(b"i" * 16, HASH_KEY, storm.last, storm.highest, False)
    entries = [
        (TERM, index, commit_ts, payload)
        for index, (commit_ts, payload) in enumerate(storm.node.entries, 1)
        if index > storm.last.at.index
    ]
    recovered = recover(engine, facts, entries)
    tip: Tip = recovered.tip
    assert contents(tip, engine) == expected
    assert recovered.next_id == storm.node.view.first_unused_id
