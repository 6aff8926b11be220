"""A store under a fuzzy checkpoint, its sender, a receiver, and a link between them that fails.

The store is that of a node whose entry i sets one key. Slices write newest values with H, a record
moves A, as checkpoint.py does it; so an image is right if the entries from A to H, applied on its
rows, give the state at H, and if its rows are those of the moment at which it was taken.
"""

import random
from collections import deque

from kvnode.base.errors import RemoteProtocolError
from kvnode.storage import image_sending
from kvnode.storage.executor import StepExecutor
from kvnode.storage.image import (
    KINDS_LEFT_OUT,
    Chunk,
    ImageFacts,
    ImageMessage,
    decode,
    encode,
)
from kvnode.storage.image_receiving import ImageReceiver
from kvnode.storage.image_sending import ImageSender
from kvnode.storage.local import CheckpointRecord, HighWater, Position, join_group, open_facts
from kvnode.storage.memory import MemoryEngine

TERM = 3
SOURCE = 1
IDENTITY = b"receiver's dir.."
HASH_KEY = b"hash of the keys"
GROUP = b"id of the group."
KEYS = 60


class Store:
    """The sender's node: entries, a tip, LevelDB."""

    def __init__(self, rng: random.Random, value_bytes: int = 40) -> None:
        self._rng = rng
        self._value_bytes = value_bytes
        self.engine = MemoryEngine()
        open_facts(self.engine, identity=b"the sender's dir", hash_key=HASH_KEY)
        join_group(self.engine, GROUP)
        self.engine.write([(b"Yold version", b"of a pin")])
        self.entries: list[tuple[bytes, bytes]] = []
        self._at = 0  # of the running checkpoint
        self._dirty: list[bytes] = []
        self._high_water = HighWater(0)
        self._is_checkpointed = False
        while not self._is_checkpointed or len(self.entries) < 300 or rng.random() < 0.95:
            self.step()

    def state(self, index: int) -> dict[bytes, bytes]:
        """Return the rows after entry `index`."""
        return dict(self.entries[:index])

    def step(self) -> None:
        """An entry, and a little of the checkpoint."""
        name = self._rng.randrange(KEYS)
        value = self._rng.randbytes(self._rng.randrange(self._value_bytes))
        self.entries.append((b"HIZ"[name % 3 :][:1] + b"key %d" % name, value))
        if not self._dirty:
            self._at = len(self.entries)
            self._dirty = sorted(self.state(self._at))
        elif self._rng.random() < 0.7:
            durable = len(self.entries)
            slice_, self._dirty = self._dirty[:7], self._dirty[7:]
            state = self.state(durable)
            rows = [(key, state[key]) for key in slice_]
            self.engine.write([*rows, self._high_water.row(durable)])
            if not self._dirty:
                self.engine.compact_memtable()
                members = b"members at %d" % self._at
                record = CheckpointRecord(position(self._at), 1000 + self._at, members)
                self.engine.write(record.rows(), sync=True)
                self._is_checkpointed = True


def position(index: int) -> Position:
    return Position(index, TERM, 7 * index)


class Incoming:
    """The receiver's incoming store, in memory."""

    def __init__(self) -> None:
        self.engine: MemoryEngine | None = None
        self.made = 0

    def make(self) -> MemoryEngine:
        assert self.engine is None, "the last one was not removed"
        self.engine = MemoryEngine()
        self.made += 1
        return self.engine

    def remove(self) -> None:
        self.engine = None


class Stream:
    """One image from a store to a receiver, by steps of chance.

    faults: what the link does with a message, by name and chance: lose, repeat, swap, damage, cut
    the link; lives: the receiver's process dies.
    """

    def __init__(
        self,
        rng: random.Random,
        faults: dict[str, float],
        *,
        value_bytes: int = 40,
    ) -> None:
        self.rng = rng
        self._faults = faults
        self.store = Store(rng, value_bytes)
        self._reader, self._writer = StepExecutor(), StepExecutor()
        self.moment: dict[bytes, bytes] = {}  # the sender's rows when the snapshot was taken
        self.sender = ImageSender(
            rng.randbytes(16),
            self.store.engine,
            self._reader,
            cut_index=0,
            sole_membership=b"that of a group of one",
            now_ms=0,
        )
        self._reader.run()
        assert self.sender.facts is not None
        self.moment = {
            key: value
            for key, value in self.store.engine.scan(b"", None, 1 << 20)
            if key[0] not in KINDS_LEFT_OUT
        }
        self.breaks = self.lives = self.damaged = 0
        self.sizes_max = 0  # bytes that the sender had in memory
        self._there: deque[bytes] = deque()
        self._back: deque[bytes] = deque()
        self._start_receiver()
        self.sender.connect()

    def _start_receiver(self) -> None:
        self.incoming = Incoming()
        self._writer = StepExecutor()
        self.receiver = ImageReceiver(self._writer, self.incoming, IDENTITY)

    @property
    def is_over(self) -> bool:
        return self.sender.is_done or bool(self.sender.failure)

    def run(self, steps_max: int = 20_000) -> None:
        """Step until the image is there."""
        for _ in range(steps_max):
            if self.is_over:
                return
            self.step()
        raise AssertionError("the image does not get there")

    def step(self) -> None:
        """Let one thing happen, or something fail."""
        if self.rng.random() < self._faults.get("lives", 0):
            self.lives += 1
            self._start_receiver()
            self._break_link()
        match self.rng.randrange(7):
            case 0:
                self.store.step()
            case 1:
                self._reader.step()
            case 2:
                self._writer.step()
            case 3:
                self._deliver(self._there, self._to_receiver)
            case 4:
                self._deliver(self._back, self._to_sender)
            case 5:
                self._go_on()
            case 6 if self.rng.random() < 0.3:
                facts = self.sender.facts
                assert facts is not None
                self.receiver.expect(SOURCE, facts.at.index, facts.at.term, 0)
        self._measure()

    def _go_on(self) -> None:
        self.sender.step(0)
        self.receiver.step(0)
        if (message := self.sender.take()) is not None:
            self._there.append(encode(message))
        if (reply := self.receiver.take()) is not None:
            self._back.append(encode(reply[1]))
        is_idle = not (self._there or self._back or len(self._reader) or len(self._writer))
        if "lose" in self._faults and is_idle and message is None and reply is None:
            self._break_link()  # what was lost is missed

    def _deliver(self, link: deque[bytes], take) -> None:
        if not link:
            return
        data = link.popleft()
        match self._fault():
            case "lose":
                return
            case "repeat":
                link.appendleft(data)
            case "swap" if link:
                data, link[0] = link[0], data
            case "damage":
                at = self.rng.randrange(len(data))
                data = data[:at] + bytes([data[at] ^ 1 << self.rng.randrange(8)]) + data[at + 1 :]
                self.damaged += 1
            case "cut":
                self._break_link()
                return
        try:
            take(decode(data))
        except RemoteProtocolError:
            self._break_link()

    def _fault(self) -> str:
        chance = self.rng.random()
        for name in ("lose", "repeat", "swap", "damage", "cut"):
            chance -= self._faults.get(name, 0)
            if chance < 0:
                return name
        return ""

    def _to_receiver(self, message: ImageMessage) -> None:
        self.receiver.receive(SOURCE, message, 0)

    def _to_sender(self, message: ImageMessage) -> None:
        self.sender.receive(message, 0)

    def _break_link(self) -> None:
        self.breaks += 1
        self._there.clear()
        self._back.clear()
        self.sender.disconnect()
        self.sender.connect()

    def _measure(self) -> None:
        sender = self.sender
        kept = sum(len(chunk.data) for chunk in sender._kept if isinstance(chunk, Chunk))
        self.sizes_max = max(self.sizes_max, kept + len(sender._unsent))
        assert len(self._there) <= image_sending.IMAGE_WINDOW_CHUNKS + 3
        assert len(self._writer) <= image_sending.IMAGE_WINDOW_CHUNKS + 3

    def check(self) -> None:
        """The image is there; raise AssertionError unless it is right."""
        assert self.sender.is_done, self.sender.failure
        facts, engine = self.receiver.received, self.incoming.engine
        assert facts is not None
        assert engine is not None
        survivor = engine.crash(lambda file, batch: False)  # it counts on nothing to be synced
        local = open_facts(survivor, identity=bytes(16), hash_key=bytes(16))
        assert not local.is_fresh
        assert (local.identity, local.hash_key) == (IDENTITY, HASH_KEY)
        assert (local.checkpoint.at, local.highest_index) == (facts.at, facts.high_water)
        assert local.checkpoint.next_id == facts.next_id == 1000 + facts.at.index
        assert facts.membership == b"members at %d" % facts.at.index
        rows = {
            key: value
            for key, value in survivor.scan(b"", None, 1 << 20)
            if key[:1] not in (b"L", b"Y")
        }
        assert rows == self.moment
        check_state(rows, facts, self.store)


def check_state(rows: dict[bytes, bytes], facts: ImageFacts, store: Store) -> None:
    """The rows and the entries up to H make the state at H."""
    state = rows | dict(store.entries[facts.at.index : facts.high_water])
    assert state == store.state(facts.high_water), f"not the state at {facts.high_water}"


def stream(rng: random.Random, **options) -> Stream:
    """Return a finished stream with faults of any number of kinds, or the one that gave up."""
    kinds = [kind for kind in ("lose", "repeat", "swap", "damage", "cut") if rng.random() < 0.5]
    faults = {kind: rng.choice([0.002, 0.02]) for kind in kinds}
    if rng.random() < 0.3:
        faults["lives"] = 0.0005
    found = Stream(rng, faults, **options)
    found.run()
    return found
