"""A follower applies what a leader commits, between checkpoints, evictions, sweeps and restarts.

At equal index both show the same, and whenever it is elected it serves what a node that recovered
the same log serves.
"""

import random
from collections.abc import Callable
from functools import partial

import pytest

from kvnode._core import invariants
from kvnode._core.keys import EXPIRY, FIELD_EXPIRY
from kvnode._core.upkeep import head_key
from kvnode.base.errors import InvariantError, KvnodeError
from kvnode.storage import recovery
from kvnode.storage.memory import MemoryEngine
from tests.sim.disk import SimDisk
from tests.sim.follower import FollowerNode
from tests.sim.node import SimNode, new_node
from tests.sim.workload import HASHES, KEYS, LISTS, SETS, ZSETS, Workload
from tests.support.contents import DELETE, Contents, contents, operations
from tests.support.leftovers import leftovers
from tests.support.resp import encode
from tests.support.score_rows import check_score_rows, check_windows

SEEDS = 40
BUG_SEEDS = 60
STEPS = 160
TURN_SEEDS = 15
TURNS = 5
CLIENTS = 3
COMMANDS_AFTER = 40  # that a new leader and its twin are asked
NAMES = [*KEYS, *SETS, *HASHES, *ZSETS, *LISTS]
SWEEP_ROUNDS_MAX = 30
FAR_MS = 60_000  # past every deadline


class Pair:
    """A leader, a follower, and what the leader showed at each index at which it was quiet."""

    def __init__(self, rng: random.Random, bug: str = "") -> None:
        self.rng, self.bug = rng, bug
        self.leader = new_node(rng.getrandbits(32), steps_max=500)
        self.follower = new_follower(rng.getrandbits(32))
        self.shown: dict[int, Contents] = {}
        self.workload = Workload(rng)
        self.sessions = [self.leader.session() for _ in range(CLIENTS)]
        plant(bug, self.follower)

    def step(self) -> None:
        rng = self.rng
        steps: list[tuple[int, Callable[[], object]]] = [
            (20, self.write),
            (4, self.large),
            (2, self.pass_time),
            (10, self.receive),
            (16, lambda: self.apply(rng.choice([1, 2, 9, 1000]))),
            (6, lambda: self.follower.step_threads(rng.choice([1, 1, 5]))),
            (8, self.background),
            (2, lambda: self.follower.replica.request_checkpoint(lambda ok: None)),
            (1, self.checkpoint),
            (3, self.follower.evict),
            (4, self.fetch),
            (1, self.restart),
        ]
        rng.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()
        if not self.follower.tip.mixed_until:
            self.follower.check()
        check_score_rows(self.follower.engine, is_swept=True)

    # -- the leader -------------------------------------------------------------------------------

    def write(self) -> None:
        session = self.rng.choice(self.sessions)
        script = b"".join(encode(*words) for words in self.workload.script())
        self.leader.settle(session, script)
        self.note()

    def large(self) -> None:
        """What is written in steps, ahead of its key: large values, publications."""
        rng, ask = self.rng, self.leader.ask
        rng.choice(
            [
                lambda: ask("SET", rng.choice(KEYS), rng.randbytes(1) * 300_000),
                lambda: ask("DEL", rng.choice(NAMES)),
                lambda: ask("APPEND", rng.choice(KEYS), b"x" * 200_000),
                lambda: ask("RPUSH", rng.choice(LISTS), *(b"%d" % i for i in range(700))),
                lambda: ask("SADD", rng.choice(SETS), *(b"%d" % i for i in range(700))),
                lambda: ask("ZADD", rng.choice(ZSETS), *(b"%d" % (i // 2) for i in range(1400))),
                lambda: ask("SUNIONSTORE", rng.choice(SETS), *SETS),
                lambda: ask("ZUNIONSTORE", rng.choice(ZSETS), 2, *rng.sample(ZSETS, 2)),
                lambda: ask("COPY", rng.choice(HASHES), rng.choice(HASHES), "REPLACE"),
                lambda: ask("LTRIM", rng.choice(LISTS), 300, -5),
                lambda: ask("SORT", rng.choice(LISTS), "ALPHA", "STORE", rng.choice(LISTS)),
                lambda: ask("FLUSHALL"),
            ]
        )()
        self.note()

    def pass_time(self) -> None:
        self.leader.upkeep(self.rng.randrange(1, 8), ms=self.rng.choice([1, 20, 500]))
        if self.rng.random() < 0.3:
            self.leader.checkpoint()
            self.leader.evict()
        self.note()

    def note(self) -> None:
        """Remember what the leader shows, now that nothing is under way."""
        self.leader.sync()
        sequencer = self.leader.sequencer
        assert sequencer.committed == sequencer.last_index
        self.shown[sequencer.committed] = contents(self.leader.tip, self.leader.engine)
        self.follower.now_ms = self.leader.now_ms

    # -- the follower -----------------------------------------------------------------------------

    def receive(self) -> None:
        first = self.follower.received + 1
        last = self.leader.sequencer.committed
        last = self.rng.choice([last, min(last, first + 3)])
        self.follower.receive(self.entries(first, last))

    def entries(self, first: int, last: int) -> list[tuple[int, int, int, bytes]]:
        term = self.leader.sequencer.term
        return [(term, index, *self.leader.entries[index]) for index in range(first, last + 1)]

    def apply(self, count: int) -> None:
        node = self.follower
        before = list(node.unapplied)[:count]
        node.apply(count)
        if before:
            spoil(self.bug, node, before)
            assert node.sequencer.applied == before[-1][1]
            self.compare()

    def compare(self) -> None:
        node = self.follower
        if node.tip.mixed_until:
            return
        check_windows(node.tip, node.engine)
        shown = self.shown.get(node.sequencer.applied)
        if shown is not None:
            assert contents(node.tip, node.engine) == shown

    def background(self) -> None:
        self.follower.background()
        self.follower.serve()

    def checkpoint(self) -> None:
        self.follower.checkpoint()

    def fetch(self) -> None:
        """Records come into memory as if somebody read them: at any time after H."""
        tip, rng = self.follower.tip, self.rng
        if tip.mixed_until or not tip.has_databases():
            return
        generation = tip.current_generation(rng.randrange(3))
        keys = [head_key(tip, generation, name) for name in rng.sample(NAMES, 4)]
        known = list(invariants.dump(tip)["collections"])
        loads = rng.sample(known, min(2, len(known)))
        self.follower.replica.state.fetcher.start(keys, loads, [lambda: None])

    def restart(self) -> None:
        self.follower = self.follower.kill() if self.rng.random() < 0.5 else self.follower.crash()
        plant(self.bug, self.follower)

    # -- the end ----------------------------------------------------------------------------------

    def elect(self) -> None:
        """The follower leads, and answers as one that recovered the same log from nothing."""
        rng, node = self.rng, self.follower
        self.receive()
        twin = new_follower(0)
        twin.now_ms = node.now_ms
        twin.receive(self.entries(1, node.received))
        late = rng.choice([0, 0, min(3, len(node.unapplied))])
        node.lead(late)
        twin.lead()
        node.check()
        clients = [(node.session(), twin.session()) for _ in range(CLIENTS)]
        workload = Workload(rng)
        for _ in range(COMMANDS_AFTER):
            client, other = rng.choice(clients)
            script = b"".join(encode(*words) for words in workload.script())
            assert node.settle(client, script) == twin.settle(other, script)
            if rng.random() < 0.1:
                node.evict()
        node.check()
        self.expire(node, twin)
        self.leave_nothing(node)

    def expire(self, node: SimNode, twin: SimNode) -> None:
        """All deadlines pass, and nobody looks: nothing that has one is left."""
        node.upkeep(60, ms=FAR_MS // 30)
        twin.upkeep(60, ms=FAR_MS // 30)
        left = contents(node.tip, node.engine)
        assert left.databases == contents(twin.tip, twin.engine).databases
        assert all(volatile == 0 for _, volatile in left.counts.values())

    def leave_nothing(self, node: SimNode) -> None:
        """Everything is deleted and swept: LevelDB is empty."""
        node.ask("FLUSHALL")
        for _ in range(SWEEP_ROUNDS_MAX):
            node.upkeep(20, ms=1000)
            node.checkpoint()
            node.evict()
            if not leftovers(node.engine):
                break
        assert not leftovers(node.engine)


def new_follower(seed: int) -> FollowerNode:
    return FollowerNode(SimDisk(), MemoryEngine(), random.Random(seed), steps_max=500)


# -- bugs -----------------------------------------------------------------------------------------


def plant(bug: str, node: FollowerNode) -> None:
    """Break one rule of a follower's life."""
    if bug == "trash is forgotten":
        node.housekeeping.trash._look_for_trash = lambda: None
    elif bug == "deadlines have no rows":
        write, kinds = node.engine.write, {EXPIRY, FIELD_EXPIRY}

        def without_deadlines(rows, sync=False):
            write([row for row in rows if row[1] is None or row[0][0] not in kinds], sync=sync)

        node.engine.write = without_deadlines
    elif bug == "what LevelDB is ahead by is not known":
        node.tip.mixed_until = 0
    elif bug == "a follower buries what is pending":
        step = node.housekeeping.step
        node.housekeeping.step = lambda now_ms, is_serving: step(now_ms, is_serving=True)


def spoil(bug: str, node: FollowerNode, applied: list) -> None:
    """Do wrong after entries were applied."""
    if bug == "everything counts as new":
        node.tip.fresh_id = 1
    elif bug == "a delta counts twice":
        _, _, commit_ts, payload = applied[-1]
        again = b""
        for op, key, value in operations(payload):
            if op != DELETE and key[:1] == b"E":
                key = key[:9] + (commit_ts + 1).to_bytes(8)
                again += b"\x01" + bytes([len(key)]) + key + bytes([len(value)]) + value
        if again:
            node.tip.durable = commit_ts + 1
            node.tip.apply(again, commit_ts + 1)


BUGS = [
    "everything counts as new",
    "a stored generation counts as complete",
    "a delta counts twice",
    "deadlines have no rows",
    "trash is forgotten",
    "a follower buries what is pending",
    "what LevelDB is ahead by is not known",
]


def run(seed: int, bug: str = "") -> None:
    pair = Pair(random.Random(seed), bug)
    for _ in range(pair.rng.randrange(STEPS)):
        pair.step()
    pair.elect()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_follower_shows_what_its_leader_showed_and_can_take_over(seed):
    run(seed)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, monkeypatch):
    if bug == "a stored generation counts as complete":
        monkeypatch.setattr(recovery, "_stored_generations", lambda engine: [])
    for seed in range(BUG_SEEDS):
        try:
            run(seed, bug)
        except (AssertionError, KeyError, InvariantError, KvnodeError):
            return
    pytest.fail("not found")


# -- turns ----------------------------------------------------------------------------------------


def take_turns(seed: int, *, knows_own_ids: bool = True) -> None:
    """Two nodes lead in turn, without a restart; the one that follows shows the same in the end."""
    rng = random.Random(seed)
    leader, follower = (new_follower(seed) for _ in range(2))
    workload = Workload(rng)
    for _ in range(TURNS):
        late = min(rng.randrange(3), len(leader.unapplied))
        leader.lead(late)
        for _ in range(rng.randrange(30)):
            script = b"".join(encode(*words) for words in workload.script())
            leader.settle(leader.session(), script)
            rng.choice([leader.evict, leader.checkpoint, partial(leader.upkeep, 3), int])()
        leader.sync()
        term, first = leader.sequencer.term, follower.received + 1
        last = leader.sequencer.committed
        follower.receive([(term, i, *leader.entries[i]) for i in range(first, last + 1)])
        follower.now_ms = leader.now_ms
        while follower.unapplied:
            follower.apply(rng.randrange(1, 20))
            rng.choice([follower.evict, follower.checkpoint, follower.background, int])()
        assert contents(follower.tip, follower.engine) == contents(leader.tip, leader.engine)
        follower.check()
        check_score_rows(follower.engine, is_swept=True)
        leader.step_down()
        leader, follower = follower, leader
        if not knows_own_ids:
            follower.sequencer.view.set_next_id(1)


@pytest.mark.parametrize("seed", range(TURN_SEEDS))
def test_nodes_lead_in_turn(seed):
    take_turns(seed)


def test_who_forgets_what_it_made_as_a_leader_is_found():
    for seed in range(BUG_SEEDS):
        try:
            take_turns(seed, knows_own_ids=False)
        except (AssertionError, KeyError, InvariantError, KvnodeError):
            return
    pytest.fail("not found")
