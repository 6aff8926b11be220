"""A store without a server: entries go straight into the tip, everything else is production code.

Committed versions come from hand-made payloads (tip.replay). What the log has synced is stated by
the test, and both the log and the engine lose the rest in a crash. `states[i]` is what a reader
must see when entries up to i are applied.
"""

import random
from dataclasses import dataclass, field

from kvnode._core.keys import split_head
from kvnode._core.upkeep import NEWEST, PRESENT, UNKNOWN, head_key, record_at, scan_at

from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.executor import StepExecutor
from kvnode.storage.fetch import Fetcher
from kvnode.storage.local import HighWater, Position, open_facts
from kvnode.storage.memory import MemoryEngine
from kvnode.storage.recovery import recover
from kvnode.storage.snapshot import SnapshotReader

GENERATION = 1
IDENTITY = bytes(range(16))
HASH_KEY = bytes(range(16, 32))
TS_STEP = 10

State = dict[bytes, bytes]  # record key -> value


def varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def put(key: bytes, value: bytes) -> bytes:
    return b"\x01" + varint(len(key)) + key + varint(len(value)) + value


def delete(key: bytes) -> bytes:
    return b"\x02" + varint(len(key)) + key


def u64(n: int) -> bytes:
    return n.to_bytes(8, "big")


def string_value(data: bytes, expire_at: int = 0) -> bytes:
    """The value of a head that is a string."""
    if expire_at:
        return b"\x01\x80" + u64(expire_at) + data
    return b"\x01\x00" + data


def chunked_value(value_id: int, length: int) -> bytes:
    """The value of a head whose string is in chunks."""
    return b"\x02\x00" + u64(value_id) + u64(length)


def generation_record(generation: int, keys: int = 0) -> bytes:
    return put(b"G" + u64(generation), u64(keys) + u64(0))


def database_record(db: int, generation: int) -> bytes:
    return put(b"D" + bytes((db,)), u64(generation))


@dataclass
class Entry:
    index: int
    commit_ts: int
    payload: bytes


@dataclass
class Pin:
    commit_ts: int
    state: State


@dataclass
class Bugs:
    """Planted bugs, each of which a test must find."""

    checkpoint: type[Checkpointer] = Checkpointer
    fetcher: type[Fetcher] = Fetcher
    high_water: type[HighWater] = HighWater
    is_at_speculative: bool = False


@dataclass
class Rig:
    engine: MemoryEngine = field(default_factory=lambda: MemoryEngine(log_file_bytes=300))
    bugs: Bugs = field(default_factory=Bugs)

    def __post_init__(self) -> None:
        self.log: list[Entry] = []  # from log_first on
        self.log_first = 1
        self.synced = 0  # index
        self.states: list[State] = [{}]
        self.keys: dict[bytes, bytes] = {}  # user key -> record key
        self.pins: list[Pin] = []
        self.start()
        first = database_record(0, GENERATION) + generation_record(GENERATION)
        self.apply(first + put(b"Nids", u64(2)), {})
        self.sync()

    # -- start and end ----------------------------------------------------------------------------

    def start(self) -> None:
        facts = open_facts(self.engine, identity=IDENTITY, hash_key=HASH_KEY)
        assert self.log_first <= facts.checkpoint.at.index + 1
        entries = [
            (1, e.index, e.commit_ts, e.payload)
            for e in self.log
            if e.index > facts.checkpoint.at.index
        ]
        recovered = recover(self.engine, facts, entries)
        assert recovered.last.index == self.last_index
        self.tip = recovered.tip
        self.writer, self.reader = StepExecutor(), StepExecutor()
        self.checkpointer = self.bugs.checkpoint(
            self.tip,
            self.engine,
            self.writer,
            last=facts.checkpoint,
            high_water=self.bugs.high_water(facts.highest_index),
        )
        self.fetcher = self.bugs.fetcher(self.tip, self.engine, [self.reader])
        self.synced = self.last_index  # recovery made it all durable
        self.pins = []

    @property
    def last_index(self) -> int:
        return self.log_first + len(self.log) - 1

    def crash(self, rng: random.Random) -> None:
        """Lose power: unsynced entries and unsynced writes go, each or not."""
        kept = rng.randint(self.synced, self.last_index)
        del self.log[kept - self.log_first + 1 :]
        del self.states[kept + 1 :]
        chance = rng.choice((0.0, 0.3, 0.9, 1.0))
        self.engine = self.engine.crash(lambda file, batch: rng.random() < chance)
        self.start()

    # -- entries ----------------------------------------------------------------------------------

    def apply(self, payload: bytes, changes: dict[bytes, bytes | None]) -> None:
        """Commit an entry that makes `changes` to the records a reader may see."""
        state = dict(self.states[self.last_index])
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        index = self.last_index + 1
        self.log.append(Entry(index, index * TS_STEP, payload))
        self.states.append(state)
        self.tip.replay(payload, index * TS_STEP)

    def key(self, user_key: bytes, generation: int = GENERATION) -> bytes:
        return head_key(self.tip, generation, user_key)

    def write(self, changes: dict[bytes, bytes | None], generation: int = GENERATION) -> None:
        """Commit an entry that sets (or with None deletes) user keys, in memory or not."""
        records = {self.key(name, generation): value for name, value in changes.items()}
        self.require(list(records))
        payload = b"".join(
            delete(key) if value is None else put(key, value) for key, value in records.items()
        )
        self.apply(payload, dict(records))

    def sync(self) -> None:
        self.synced = self.last_index
        self.tip.durable = self.synced * TS_STEP

    # -- checkpoints ------------------------------------------------------------------------------

    def begin_checkpoint(self) -> None:
        index = self.last_index if self.bugs.is_at_speculative else self.synced
        self.checkpointer.begin(Position(index, 1, self.tip.durable), 2)

    def step_checkpoint(self) -> bool:
        """Go on with the checkpoint; True when it ended and the log was cut."""
        record = self.checkpointer.step(self.synced)
        if record is None:
            return False
        gone = record.at.index + 1 - self.log_first
        del self.log[:gone]
        self.log_first += gone
        return True

    def checkpoint(self) -> None:
        """Run a whole checkpoint."""
        self.finish_checkpoint()
        self.begin_checkpoint()
        self.finish_checkpoint()

    def finish_checkpoint(self) -> None:
        while self.checkpointer.is_running:
            self.step_checkpoint()
            self.writer.run()

    # -- reads ------------------------------------------------------------------------------------

    def require(self, keys: list[bytes]) -> None:
        """Bring records into memory, as a parked command does."""
        missing = [key for key in keys if record_at(self.tip, key, NEWEST)[0] == UNKNOWN]
        if missing:
            self.fetcher.start(missing, [], ["require"])
            self.reader.run()
            self.finish_fetches()

    def finish_fetches(self) -> None:
        """Take fetches that are ready; what they brought must be the truth of now."""
        for fetch in self.fetcher.take_ready():
            state = self.states[self.last_index]
            for key in fetch.keys:
                status, value = record_at(self.tip, key, NEWEST)
                assert status != UNKNOWN
                assert (value if status == PRESENT else None) == state.get(key)
            for wanted, stored in fetch.ranges.items():
                self.check_range(wanted, stored, state)
            self.fetcher.release(fetch)

    def check_range(self, wanted, stored, state: State) -> None:
        """Merge a fetched range with the tip as SCAN does."""
        generation, from_hash, _ = wanted
        end = 1 << 64 if stored.is_done else stored.next_hash
        names = {(hash_, name) for hash_, name, _ in stored.rows}
        at: int | None = from_hash
        while at is not None and at < end:
            rows, at, _ = scan_at(self.tip, generation, at, 10, NEWEST)
            for hash_, name, status, _ in rows:
                if hash_ < end:
                    (names.add if status == PRESENT else names.discard)((hash_, name))
        heads = (split_head(key) for key in state if key[:1] == b"H")
        expected = {
            (hash_, name)
            for owner, hash_, name in heads
            if owner == generation and from_hash <= hash_ < end
        }
        assert names == expected

    def check_now(self) -> None:
        """Everything reads as the newest applied entry says."""
        state = self.states[self.last_index]
        self.require(list(self.states[-1].keys() | self.seen_keys()))
        for key in self.seen_keys():
            status, value = record_at(self.tip, key, NEWEST)
            assert (value if status == PRESENT else None) == state.get(key)

    def seen_keys(self) -> set[bytes]:
        return {key for state in self.states[-30:] for key in state}

    # -- pins -------------------------------------------------------------------------------------

    def pin(self) -> None:
        commit_ts = self.tip.pin()
        self.pins.append(Pin(commit_ts, self.states[commit_ts // TS_STEP]))

    def unpin(self, number: int) -> None:
        self.tip.unpin(self.pins.pop(number).commit_ts)

    def snapshot(self, pin: Pin) -> SnapshotReader:
        return SnapshotReader(self.tip, self.engine, pin.commit_ts, 0)

    def check_pin(self, pin: Pin, count: int = 3) -> None:
        """Gets and a scan of keys at a pin show the state that was pinned."""
        reader = self.snapshot(pin)
        for key in self.seen_keys() | pin.state.keys():
            assert reader.get(key) == pin.state.get(key)
        at: int | None = 0
        names = []
        while at is not None:
            page = reader.keys_step(GENERATION, at, count)
            names += page.keys
            at = page.next_hash
        assert len(names) == len(set(names))
        heads = (split_head(key) for key in pin.state if key[:1] == b"H")
        assert set(names) == {name for owner, _, name in heads if owner == GENERATION}
