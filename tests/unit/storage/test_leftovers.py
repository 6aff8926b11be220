"""Collections that die: whatever crashes lie between, no row and no record of them stays."""

import random

import pytest

from kvnode._core.keys import PENDING
from kvnode.storage.memory import MemoryEngine
from tests.sim.node import SimNode, new_node
from tests.support.leftovers import leftovers
from tests.support.local import pipeline

ROUNDS = 40
KEYS = ("a", "b")
MANY = 200  # more than what is read with the head


def ask(node: SimNode, *commands: tuple) -> None:
    node.settle(node.session(), pipeline(*commands))


def sweep(node: SimNode, rounds: int = 40) -> None:
    """Let the sweepers work while no checkpoint is made."""
    for _ in range(rounds):
        node.sync()
        node.run_pass(lambda: node.housekeeping.step(node.now_ms, is_serving=True))
        node.step_threads()


def settle(node: SimNode) -> None:
    """Let the sweepers do all that they find to do."""
    for _ in range(8):
        node.upkeep(30)
        node.checkpoint()


def test_a_cold_list_that_the_replayed_log_empties():
    """Replay meets only deltas of it and its death; its items are in LevelDB."""
    node = new_node()
    ask(node, ("RPUSH", "a", *range(MANY)))
    node.checkpoint()
    for count in (1, 1, MANY):
        ask(node, ("LPOP", "a", count))
    node = node.kill()
    sweep(node, 1)  # memory is freed before the death is in LevelDB
    settle(node)
    assert leftovers(node.engine) == []


def test_deltas_that_wait_for_a_checkpoint_while_their_collection_is_swept():
    node = new_node()
    ask(node, ("RPUSH", "a", *range(MANY)))
    node.checkpoint()
    ask(node, ("LPOP", "a", 1))
    node = node.kill()
    ask(node, ("DEL", "a"))
    sweep(node)
    settle(node)
    assert leftovers(node.engine) == []


def words(draw: random.Random) -> tuple:
    key = draw.choice(KEYS)
    count = draw.choice([1, 3, MANY])
    names = [draw.randrange(MANY) for _ in range(count)]
    pairs = [word for name in names for word in (name, name)]
    return draw.choice(
        [
            ("RPUSH", key, *names),
            ("LPUSH", key, *names),
            ("LPOP", key, count),
            ("RPOP", key, MANY),
            ("LREM", key, 0, names[0]),
            ("SADD", key, *names),
            ("SREM", key, *range(count)),
            ("SPOP", key, count),
            ("HSET", key, *pairs),
            ("HDEL", key, *names),
            ("ZADD", key, *pairs),
            ("ZPOPMIN", key, count),
            ("DEL", key),
            ("DEL", key),
            ("RENAME", key, draw.choice(KEYS)),
            ("COPY", key, draw.choice(KEYS), "REPLACE"),
            ("SET", key, "v"),
            ("FLUSHALL",) if draw.random() < 0.2 else ("TYPE", key),
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_nothing_stays_whatever_happens(seed: int) -> None:
    draw = random.Random(seed)
    node = new_node(seed)
    for _ in range(ROUNDS):
        ask(node, *(words(draw) for _ in range(draw.randint(1, 4))))
        step = draw.randrange(7)
        if step == 0:
            node.checkpoint()
        elif step == 1:
            node.evict()
        elif step == 2:
            node = draw.choice([node.crash, node.kill])()
        elif step == 3:
            node.upkeep(draw.randrange(8), calls=draw.randrange(4))  # a part of a checkpoint
        elif step == 4:
            node.replica.request_checkpoint(lambda _: None)
        elif step == 5:
            sweep(node, draw.randrange(8))
    settle(node)
    assert leftovers(node.engine) == []


def test_leftovers_are_noticed():
    """A member of a collection that no head names, and a record of one that is never published."""
    engine = MemoryEngine()
    engine.write([(b"M" + bytes(16) + b"m", bytes(10)), (bytes([PENDING]) + bytes(8), bytes(10))])
    assert leftovers(engine) == ["collection 0 has rows and no key", "0 is pending for ever"]
