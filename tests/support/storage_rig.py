"""A store without a server: entries go straight into the tip, everything else is production code.

Committed versions come from hand-made payloads (tip.apply). What the log has synced is stated by
the test, and both the log and the engine lose the rest in a crash. `states[i]` is what a reader
must see when entries up to i are applied.
"""

import random
from dataclasses import dataclass, field, replace

from kvnode._core import invariants
from kvnode._core.keys import HEAD, split_expiry, split_head
from kvnode._core.pinned import NEWEST, PRESENT, UNKNOWN, record_at, scan_at
from kvnode._core.upkeep import database_generations, head_key, stored_value
from kvnode.storage.checkpoint import Checkpointer
from kvnode.storage.executor import StepExecutor
from kvnode.storage.expiry import ExpirySweeper
from kvnode.storage.fetch import Fetcher
from kvnode.storage.history import HistorySweeper
from kvnode.storage.local import HighWater, Position, open_facts
from kvnode.storage.memory import MemoryEngine
from kvnode.storage.recovery import recover
from kvnode.storage.snapshot import SnapshotReader
from kvnode.storage.sweep import TrashSweeper

GENERATION = 1  # the first
CHUNKED_BYTES = 40_000  # a value of three chunks, by its stated length
IDENTITY = bytes(range(16))
HASH_KEY = bytes(range(16, 32))
TS_STEP = 10

State = dict[bytes, bytes]  # record key -> value
CHUNKED = b"chunked"  # stands for a value in chunks


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


def deadline_of(value: bytes) -> int:
    """The deadline in a head's value, ms, 0 = none."""
    return int.from_bytes(value[2:10]) if value[1] & 0x80 else 0


def value_id_of(value: bytes | None) -> int | None:
    """The id of a head's value in chunks."""
    return int.from_bytes(value[2:10]) if value is not None and value[0] == 2 else None


def chunk_key(value_id: int, number: int) -> bytes:
    return b"C" + u64(value_id) + number.to_bytes(4)


def trash_key(dead: int) -> bytes:
    return b"T" + u64(dead)


def generation_record(generation: int, state: State) -> bytes:
    """The counts of a generation's keys and of those with a deadline."""
    prefix = b"H" + u64(generation)
    deadlines = [deadline_of(value) for key, value in state.items() if key[:9] == prefix]
    counts = u64(len(deadlines)) + u64(sum(map(bool, deadlines)))
    return put(b"G" + u64(generation), counts)


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
    sweeper: type[TrashSweeper] = TrashSweeper


@dataclass
class Rig:
    engine: MemoryEngine = field(default_factory=lambda: MemoryEngine(log_file_bytes=300))
    bugs: Bugs = field(default_factory=Bugs)

    def __post_init__(self) -> None:
        self.log: list[Entry] = []  # from log_first on
        self.log_first = 1
        self.synced = 0  # index
        self.states: list[State] = [{}]
        self.pins: list[Pin] = []
        self.generation = GENERATION
        self.next_id = GENERATION + 1
        self.now_ms = 1_000_000
        self.start()
        self.apply(database_record(0, GENERATION) + put(b"Nids", u64(self.next_id)), {})
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
        recovered = replace(recovered, high_water=self.bugs.high_water(facts.highest_index))
        assert recovered.last.index == self.last_index
        self.tip = recovered.tip
        self.writer, self.reader = StepExecutor(), StepExecutor()
        self.checkpointer = self.bugs.checkpoint(
            self.tip,
            self.engine,
            self.writer,
            last=facts.checkpoint,
            high_water=recovered.high_water,
        )
        self.fetcher = self.bugs.fetcher(self.tip, self.engine, [self.reader])
        self.trash = self.bugs.sweeper(
            self.tip,
            self.engine,
            self.writer,
            self.checkpointer,
            recovered.high_water,
            is_staged=lambda _: False,
            is_read=lambda _: False,
        )
        self.expiry = ExpirySweeper(self.tip, self.engine, self.reader, self.writer)
        self.history = HistorySweeper(self.tip, self.engine, self.writer)
        self.generation = database_generations(self.tip)[0] or GENERATION
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
        state = dict(self.state)
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        payload += generation_record(self.generation, state)
        index = self.last_index + 1
        self.log.append(Entry(index, index * TS_STEP, payload))
        self.states.append(state)
        self.tip.apply(payload, index * TS_STEP)

    @property
    def state(self) -> State:
        """What is to be seen now."""
        return self.states[self.last_index]

    def key(self, user_key: bytes) -> bytes:
        return head_key(self.tip, self.generation, user_key)

    def write(self, changes: dict[bytes, bytes | None]) -> None:
        """Commit an entry that sets (or with None deletes) user keys, in memory or not.

        CHUNKED as a value makes one in chunks.
        """
        records: dict[bytes, bytes | None] = {}
        payload = b""
        self.require([self.key(name) for name in changes])
        for name, value in changes.items():
            key = self.key(name)
            dead = value_id_of(self.state.get(key))
            if dead is not None:
                payload += put(trash_key(dead), b"C" + u64(CHUNKED_BYTES))
                records |= {k: None for k in self.state if k[:9] == b"C" + u64(dead)}
            if value == CHUNKED:
                value = chunked_value(self.next_id, CHUNKED_BYTES)
                for number in range(3):
                    key_of_chunk = chunk_key(self.next_id, number)
                    records[key_of_chunk] = b"part %d" % number
                    payload += put(key_of_chunk, b"part %d" % number)
                self.next_id += 1
            records[key] = value
            payload += delete(key) if value is None else put(key, value)
        self.apply(payload, records)

    def move(self, source: bytes, target: bytes) -> None:
        """Commit an entry that gives the value of one key to another, absent one."""
        keys = [self.key(source), self.key(target)]
        self.require(keys)
        value = self.state.get(keys[0])
        if value is not None and keys[1] not in self.state:
            self.apply(delete(keys[0]) + put(keys[1], value), {keys[0]: None, keys[1]: value})

    def flush_database(self, kept: bytes | None = None) -> None:
        """Commit an entry that gives the database a new generation; `kept` moves into it."""
        old, new = self.generation, self.next_id
        moved = None
        if kept is not None:
            self.require([self.key(kept)])
            moved = self.state.get(self.key(kept))
        source = self.key(kept or b"")
        self.next_id += 1
        self.generation = new
        payload = database_record(0, new)
        payload += put(trash_key(old), b"G") + put(b"Nids", u64(self.next_id))
        changes: dict[bytes, bytes | None] = dict.fromkeys(self.state)
        if moved is not None:
            payload += delete(source) + put(self.key(kept or b""), moved)
            left = {key: value for key, value in self.state.items() if key != source}
            payload += generation_record(old, left)
            id_ = value_id_of(moved)
            for key in list(changes):
                if key[:1] == b"C" and key[1:9] == u64(id_ or 0):
                    del changes[key]
            changes[self.key(kept or b"")] = moved
        self.apply(payload, changes)

    # -- background work --------------------------------------------------------------------------

    def step_trash(self) -> None:
        self.trash.step(self.synced)

    def step_expiry(self) -> None:
        """What the sweeper names is in memory, and the sequencer judges it by its own time."""
        gone: dict[bytes, bytes | None] = {}
        for generation, name in self.expiry.step(self.now_ms):
            key = head_key(self.tip, generation, name)
            assert generation != self.generation or record_at(self.tip, key, NEWEST)[0] != UNKNOWN
            value = self.state.get(key)
            if value is not None and 0 < deadline_of(value) <= self.now_ms:
                gone[name] = None
        if gone:
            self.write(gone)

    def settle(self) -> None:
        """Let all background work come to its end."""
        while self.pins:
            self.unpin(0)
        for _ in range(6):
            self.sync()
            self.checkpoint()
            self.expiry.rewind()
            for _ in range(60):
                self.step_trash()
                self.step_expiry()
                self.history.step()
                self.writer.run()
                self.reader.run()
                self.finish_fetches()
                self.sync()

    def check_store(self) -> None:
        """After settle(): LevelDB has what is to be seen, and nothing beside it."""
        kinds: dict[bytes, dict[bytes, bytes]] = {}
        for key, value in self.engine.scan(b"", None, 1 << 20):
            kinds.setdefault(key[:1], {})[key] = value
        seen = kinds.pop(b"H", {}) | kinds.pop(b"C", {})
        assert seen.keys() == self.state.keys()
        assert {key: stored_value(row) for key, row in seen.items()} == self.state
        assert kinds.keys() <= {b"D", b"G", b"N", b"L", b"X"}
        assert kinds[b"G"].keys() == {b"G" + u64(self.generation)}
        deadlines = {key: deadline_of(v) for key, v in self.state.items() if key[:1] == b"H"}
        rows: dict[tuple[int, bytes], int] = {}
        for key in kinds.get(b"X", {}):
            at, generation, name = split_expiry(key)
            rows.setdefault((generation, name), at)
        for key, deadline in deadlines.items():
            if deadline:
                generation, _, name = split_head(key)
                assert rows[generation, name] <= deadline
        assert self.tip.generation_ids() == [self.generation]

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
            state = self.state
            for key in fetch.keys:
                if key[:9] != b"H" + u64(self.generation):
                    continue  # flushed meanwhile: nobody asks for it again
                status, value = record_at(self.tip, key, NEWEST)
                assert status != UNKNOWN
                assert (value if status == PRESENT else None) == state.get(key)
            for wanted, stored in fetch.ranges.items():
                if wanted[0] == self.generation:
                    self.check_range(wanted, stored, state)
            self.fetcher.release(fetch)

    def check_range(self, wanted, stored, state: State) -> None:
        """Merge a fetched range with the tip as SCAN does."""
        generation, from_hash, _ = wanted
        end = 1 << 64 if stored.is_done else stored.next_hash
        names = {(hash_, name) for hash_, name, _ in stored.rows}
        at: int | None = from_hash
        while at is not None and at < end:
            rows, at, _ = scan_at(self.tip, HEAD, generation, at, 10, NEWEST, False)
            for hash_, key, status, _ in rows:
                if hash_ < end:
                    (names.add if status == PRESENT else names.discard)((hash_, split_head(key)[2]))
        heads = (split_head(key) for key in state if key[:1] == b"H")
        expected = {
            (hash_, name)
            for owner, hash_, name in heads
            if owner == generation and from_hash <= hash_ < end
        }
        assert names == expected

    def check_now(self) -> None:
        """Everything reads as the newest applied entry says."""
        invariants.check(self.tip)
        keys = self.reachable(self.generation) | self.state.keys()
        self.require(list(keys))
        for key in keys:
            status, value = record_at(self.tip, key, NEWEST)
            assert (value if status == PRESENT else None) == self.state.get(key)

    def reachable(self, generation: int) -> set[bytes]:
        """Heads of a generation that lately were there. What is dead nobody asks for by its id."""
        prefix = b"H" + u64(generation)
        return {key for state in self.states[-30:] for key in state if key[:9] == prefix}

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
        (generation,) = {split_head(k)[0] for k in pin.state if k[:1] == b"H"} or {0}
        reader = self.snapshot(pin)
        for key in self.reachable(generation) | pin.state.keys():
            assert reader.get(key) == pin.state.get(key)
        at: int | None = 0
        names = []
        while at is not None:
            page = reader.keys_step(generation, at, count)
            names += page.keys
            at = page.next_hash
        assert len(names) == len(set(names))
        assert set(names) == {split_head(key)[2] for key in pin.state if key[:1] == b"H"}
