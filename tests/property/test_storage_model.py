"""The store against a dict: random entries, checkpoints, crashes, evictions, fetches and pins."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, rule

from kvnode._core.keys import split_head
from kvnode.base.errors import CorruptionError, InvariantError
from kvnode.storage.fetch import Fetcher
from kvnode.storage.leveldb import LevelDBEngine
from kvnode.storage.local import HighWater, open_facts
from kvnode.storage.memory import MemoryEngine
from kvnode.storage.sweep import Stage, TrashSweeper
from tests.support.storage_rig import CHUNKED, HASH_KEY, IDENTITY, Bugs, Rig, string_value

NAMES = [b"k%d" % i for i in range(12)]
SEEDS = 600  # random runs; each planted bug must be found within them
LEVELDB_SEEDS = 5
STEPS = 200


class Walk:
    """Random steps over a Rig, from one source of choices."""

    def __init__(self, rig: Rig, rng: random.Random) -> None:
        self.rig = rig
        self.rng = rng
        self.count = 0
        self.page = None

    def write(self) -> None:
        names = self.rng.sample(NAMES, self.rng.choice((1, 1, 2, 5)))
        changes: dict[bytes, bytes | None] = {}
        for name in names:
            self.count += 1
            changes[name] = self.value()
        self.rig.write(changes)

    def value(self) -> bytes | None:
        kind = self.rng.choice(("string", "string", "deadline", "chunks", "nothing"))
        if kind == "string":
            return string_value(b"v%d" % self.count)
        if kind == "deadline":
            at = self.rig.now_ms + self.rng.choice((100, 2000, 50_000))
            return string_value(b"v%d" % self.count, at)
        return CHUNKED if kind == "chunks" else None

    def move(self) -> None:
        self.rig.move(*self.rng.sample(NAMES, 2))

    def flush(self) -> None:
        self.rig.flush_database(self.rng.choice((None, self.rng.choice(NAMES))))

    def pass_time(self) -> None:
        self.rig.now_ms += self.rng.choice((10, 1000, 20_000))

    def step_trash(self) -> None:
        self.rig.step_trash()

    def step_expiry(self) -> None:
        if self.rng.random() < 0.3:
            self.rig.expiry.rewind()
        self.rig.step_expiry()

    def step_history(self) -> None:
        self.rig.history.step()

    def settle(self) -> None:
        self.page = None
        self.rig.settle()
        self.rig.check_store()
        self.rig.check_now()

    def sync(self) -> None:
        self.rig.sync()

    def checkpoint(self) -> None:
        if self.rig.checkpointer.is_running:
            self.rig.step_checkpoint()
        else:
            self.rig.begin_checkpoint()

    def write_store(self) -> None:
        self.rig.writer.step()

    def read_store(self) -> None:
        self.rig.reader.step()

    def evict(self) -> None:
        self.rig.tip.evict(0, self.rng.choice((10, 1000)))

    def fetch(self) -> None:
        keys = [self.rig.key(name) for name in self.rng.sample(NAMES, 3)]
        generation = self.rig.generation
        ranges = [(generation, self.rng.getrandbits(53) << 11, 2), (generation, 0, 3)]
        self.rig.fetcher.start(keys, ranges[: self.rng.randint(0, 2)], ["session"])

    def finish_fetches(self) -> None:
        self.rig.finish_fetches()

    def pin(self) -> None:
        if len(self.rig.pins) < 4:
            self.rig.pin()

    def unpin(self) -> None:
        if self.rig.pins:
            self.page = None
            self.rig.unpin(self.rng.randrange(len(self.rig.pins)))

    def check_pins(self) -> None:
        for pin in self.rig.pins:
            self.rig.check_pin(pin, self.rng.randint(1, 5))

    def begin_page(self) -> None:
        """Read the tip's part of a page of keys; LevelDB's part comes later."""
        if self.rig.pins:
            pin = self.rng.choice(self.rig.pins)
            generations = [split_head(key)[0] for key in pin.state if key[:1] == b"H"]
            if generations:
                reader = self.rig.snapshot(pin)
                self.page = pin, reader, reader.begin_keys(generations[0], 0, 100)

    def finish_page(self) -> None:
        if self.page is not None:
            (pin, reader, page), self.page = self.page, None
            found = page.finish(page.read() if page.read is not None else None)
            keys = reader.visible_keys(found).keys
            assert set(keys) == {split_head(key)[2] for key in pin.state if key[:1] == b"H"}

    def check_now(self) -> None:
        self.rig.check_now()

    def crash(self) -> None:
        self.page = None
        self.rig.crash(self.rng)
        self.rig.check_now()

    def start_with_short_log(self) -> None:
        """A log that ends before H is refused; one that does not is the truth."""
        rig = self.rig
        facts = open_facts(rig.engine, identity=IDENTITY, hash_key=HASH_KEY)
        kept = self.rng.randint(min(facts.checkpoint.at.index, rig.synced), rig.last_index)
        image = Rig.__new__(Rig)
        image.bugs = rig.bugs
        image.engine = MemoryEngine(rig.engine._table.rows)
        image.now_ms, image.next_id = rig.now_ms, rig.next_id
        image.log_first, image.log = rig.log_first, rig.log[: kept - rig.log_first + 1]
        image.states = rig.states[: kept + 1]
        try:
            image.start()
        except CorruptionError:
            assert kept < rig.synced
        else:
            image.check_now()

    STEPS = {
        "write": 30,
        "sync": 12,
        "checkpoint": 25,
        "write_store": 15,
        "read_store": 10,
        "evict": 10,
        "fetch": 8,
        "finish_fetches": 8,
        "pin": 4,
        "unpin": 3,
        "check_pins": 3,
        "begin_page": 3,
        "finish_page": 3,
        "check_now": 2,
        "crash": 2,
        "move": 3,
        "flush": 2,
        "pass_time": 5,
        "step_trash": 15,
        "step_expiry": 12,
        "step_history": 5,
        "settle": 1,
        "start_with_short_log": 2,
    }

    def run(self, steps: int) -> None:
        names = list(self.STEPS)
        for name in self.rng.choices(names, list(self.STEPS.values()), k=steps):
            getattr(self, name)()
        self.check_pins()
        self.check_now()
        self.crash()
        self.settle()
        self.crash()


class StorageMachine(RuleBasedStateMachine):
    """The same steps, chosen and shrunk by hypothesis."""

    def __init__(self) -> None:
        super().__init__()
        self.walk = Walk(Rig(), random.Random(0))

    @rule(name=st.sampled_from(list(Walk.STEPS)), seed=st.integers(0, 1 << 16))
    def step(self, name: str, seed: int) -> None:
        self.walk.rng.seed(seed)
        getattr(self.walk, name)()

    def teardown(self) -> None:
        self.walk.check_pins()
        self.walk.check_now()
        self.walk.crash()


StorageMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestStorage = StorageMachine.TestCase


@pytest.mark.parametrize("first_seed", range(0, SEEDS, 300))
def test_random_walks(first_seed):
    for seed in range(first_seed, first_seed + 300):
        Walk(Rig(), random.Random(seed)).run(STEPS)


class KilledLevelDB(LevelDBEngine):
    """A kill of the process keeps what was written."""

    def crash(self, survives):
        self.close()
        return KilledLevelDB(self._path)


class KilledWalk(Walk):
    def start_with_short_log(self) -> None:
        """Only a twin can be copied while it is open."""


@pytest.mark.parametrize("seed", range(LEVELDB_SEEDS))
def test_random_walks_over_leveldb(seed, tmp_path):
    rig = Rig(KilledLevelDB(str(tmp_path / "db")))
    KilledWalk(rig, random.Random(seed)).run(STEPS)
    rig.engine.close()


# -- planted bugs ---------------------------------------------------------------------------------


class NoCompaction(MemoryEngine):
    """Takes the sync of the last write for a sync of all."""

    def compact_memtable(self) -> None:
        pass

    def crash(self, survives):
        return NoCompaction(super().crash(survives)._table.rows, log_file_bytes=300)


class NoHighWater(HighWater):
    def row(self, index: int):
        return super().row(0)


class EarlyRelease(Fetcher):
    """Does not keep what is written while a fetch is under way."""

    def _submit(self, fetch, work, part) -> None:
        super()._submit(fetch, work, part)
        if fetch.epoch:
            self._tip.end_fetch(fetch.epoch)
            fetch.epoch = 0

    def release(self, fetch) -> None:
        fetch.epoch = self._tip.begin_fetch()
        super().release(fetch)


class HastySweeper(TrashSweeper):
    """Reads the heads of a dead generation before LevelDB has the last word on them."""

    def _add_generation(self, generation: int) -> None:
        super()._add_generation(generation)
        self._generations[-1].stage = Stage.ROWS


PLANTED = {
    "A is a speculative index": lambda: Rig(bugs=Bugs(is_at_speculative=True)),
    "no compaction before A": lambda: Rig(engine=NoCompaction(log_file_bytes=300)),
    "H is not stored": lambda: Rig(bugs=Bugs(high_water=NoHighWater)),
    "a fetched absence hides a write": lambda: Rig(bugs=Bugs(fetcher=EarlyRelease)),
    "a dead generation is read too early": lambda: Rig(bugs=Bugs(sweeper=HastySweeper)),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(bug):
    for seed in range(SEEDS):
        try:
            Walk(PLANTED[bug](), random.Random(seed)).run(STEPS)
        except (AssertionError, CorruptionError, InvariantError):
            return
    pytest.fail(f"{bug}: not found in {SEEDS} walks")
