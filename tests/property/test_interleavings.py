"""All orders of steps of a writer, a transaction, checkpoints, sweepers, snapshot readers, eviction
and crashes on small collections: no snapshot ever changes, and the end is that of a model.

    KVNODE_ORDERS=0 pytest tests/property/test_interleavings.py     all orders of the small mixes

KVNODE_ORDERS bounds the orders of each test; those that run are spread over all.
"""

import os
from collections.abc import Callable
from itertools import product

import pytest

from kvnode._core import invariants
from kvnode._core.keys import PARTS
from kvnode.base.errors import CorruptionError, InvariantError
from kvnode.base.limits import SMALL_COLLECTION_ELEMENTS
from kvnode.server.local import START_MS
from kvnode.storage.sweep import _Parts
from tests.sim.interleave import Case, World
from tests.sim.orders import Order, orders
from tests.support.rewriting import Row, rewrite_rows, split_head

ORDERS = int(os.environ.get("KVNODE_ORDERS", "20"))
DEADLINE = START_MS + 1501

CASES = {
    "stack": Case(  # takes positions again, and passes a claim on the way
        before=(("RPUSH", "k", "a", "b", "c", "d", "e"), ("LREM", "k", 1, "b")),
        batches=(
            (("LPOP", "k"), ("LPUSH", "k", "x")),
            (("LPOP", "k", 2), ("LREM", "k", 1, "d")),
            (("LPUSH", "k", "y", "z", "w"), ("RPOP", "k")),
        ),
        script=(("LRANGE", "k", 0, 0), ("RPUSH", "k", "$")),
    ),
    "queue": Case(
        before=(("RPUSH", "k", "a", "b"),),
        batches=(
            (("RPUSH", "k", "c"), ("LPOP", "k")),
            (("LPOP", "k", 2),),
            (("RPUSH", "k", "d", "a"), ("LMOVE", "k", "k", "LEFT", "RIGHT")),
        ),
        script=(("RPUSH", "k", "t"),),
    ),
    "hash": Case(
        before=(
            ("HSET", "k", "f", "1", "g", "2", "stays", "3"),
            ("HPEXPIREAT", "k", DEADLINE, "FIELDS", 1, "g"),
        ),
        batches=(
            (("HPEXPIREAT", "k", DEADLINE, "FIELDS", 1, "f"), ("HSET", "k", "h", "5")),
            (("HDEL", "k", "f"), ("HSET", "k", "g", "6")),
            (("HINCRBY", "k", "f", 7), ("HDEL", "k", "h")),
        ),
        script=(("HGET", "k", "stays"), ("HSET", "k", "copy", "$")),
    ),
    "set": Case(
        before=(("SADD", "k", "a", "b"),),
        batches=(
            (("SADD", "k", "c"), ("SREM", "k", "a")),
            (("SREM", "k", "b"), ("SADD", "k", "a")),
            (("SMOVE", "k", "other", "c"),),
        ),
        script=(("SCARD", "k"), ("SADD", "k", "$")),
        keys=("k", "other"),
    ),
    "zset": Case(
        before=(("ZADD", "k", 1, "l", 2, "m", 3, "n"),),
        batches=(
            (("ZADD", "k", 4, "l"), ("ZADD", "k", 0, "o")),
            (("ZREM", "k", "m"), ("ZINCRBY", "k", -5, "n")),
            (("ZPOPMAX", "k"), ("ZADD", "k", 9, "m")),
        ),
        script=(("ZCARD", "k"), ("ZADD", "k", "$", "t")),
    ),
    "emptied": Case(  # empty by its last element, and made anew as something else
        before=(("RPUSH", "k", "a"), ("SADD", "s", "a")),
        batches=(
            (("LPOP", "k"), ("SREM", "s", "a")),
            (("RPUSH", "k", "b"), ("HSET", "s", "f", "1")),
            (("LPOP", "k"), ("HDEL", "s", "f"), ("ZADD", "k", 1, "m")),
        ),
        script=(("LPUSH", "q", "t"), ("RPOPLPUSH", "q", "r")),
        keys=("k", "s", "q", "r"),
    ),
    "deleted": Case(
        before=(("RPUSH", "k", "a", "b"), ("HSET", "h", "f", "1")),
        batches=(
            (("DEL", "k", "h"),),
            (("RPUSH", "k", "c"), ("HSET", "h", "g", "2")),
            (("SET", "k", "string"), ("DEL", "h"), ("SADD", "h", "x")),
        ),
        script=(("EXISTS", "k"), ("SET", "mark", "$")),
        keys=("k", "h", "mark"),
    ),
    "renamed": Case(
        before=(("RPUSH", "k", "a", "b"), ("SADD", "s", "x")),
        batches=(
            (("RENAME", "k", "n"), ("RPUSH", "n", "c")),
            (("RPUSH", "k", "d"), ("RENAME", "s", "n")),
            (("SADD", "n", "y"), ("COPY", "n", "s"), ("SREM", "s", "x")),
        ),
        script=(("RENAMENX", "k", "t"),),
        keys=("k", "n", "s", "t"),
    ),
    "flushed": Case(
        before=(("RPUSH", "k", "a", "b"), ("HSET", "h", "f", "1")),
        batches=(
            (("RPUSH", "k", "c"), ("FLUSHDB",)),
            (("RPUSH", "k", "d"), ("HSET", "h", "f", "2")),
            (("FLUSHDB",), ("SADD", "h", "x")),
        ),
        script=(("DBSIZE",), ("SET", "mark", "$")),
        keys=("k", "h", "mark"),
    ),
    "deltas": Case(  # after a restart: collections in LevelDB, their later changes in the log
        before=(("RPUSH", "k", "a", "b"), ("SADD", "s", "x")),
        prepare=("C", "v", "l", "x"),
        batches=(
            (("RPUSH", "k", "c"), ("SADD", "s", "y"), ("LPOP", "k")),
            (("RPUSH", "k", "d"), ("SREM", "s", "x")),
            (("LPOP", "k", 2), ("SADD", "s", "z")),
        ),
        script=(("LLEN", "k"), ("SADD", "s", "$")),
        keys=("k", "s"),
    ),
}

LARGE = Case(  # more than is read along with a head: DEL leaves it in LevelDB
    before=(("SADD", "k", *range(SMALL_COLLECTION_ELEMENTS + 2)),),
    batches=((("DEL", "k"),), (("SADD", "k", "x"),)),
)

MIXES = {  # steps of each actor, see World
    "snapshot": ("www", "ppuu", "ccc"),
    "crash": ("vvv", "l", "ccc", "x"),
    "kill": ("vvv", "l", "ccc", "k"),
    "joined": ("jjj", "l", "pu", "x"),
    "eviction": ("www", "f", "C", "e", "pu"),
    "cold": ("pu", "Cewf", "be"),
    "second checkpoint": ("Cvv", "l", "ccc", "k"),
    "killed cold": ("Cevf", "bb", "k"),
    "sweep": ("www", "bb", "C", "pu"),
    "transaction": ("ww", "oooo", "C", "e"),
    "all": ("www", "f", "cccc", "bb", "e", "pu", "ooo", "x"),
}


def explore(case: Case, mix: tuple[str, ...], limit: int, planted=None) -> None:
    """Run orders of a mix. What was compared once after the same steps is not compared again."""
    before: Order = ()
    for order in orders(_fitting(case, mix), limit):
        shared = 0
        while shared < len(before) and order[shared] == before[shared]:
            shared += 1
        world = World(case, planted) if planted else World(case)
        done = 0
        try:
            for done, name in enumerate(order, 1):
                world.step(name)
                if done > shared:
                    world.compare()
            world.finish()
        except BaseException as error:
            error.add_note(f"steps {''.join(order[:done])} of {''.join(order)}")
            raise
        before = order


def _fitting(case: Case, mix: tuple[str, ...]) -> list[str]:
    """Return the actors of a mix with no more batches than the case has left."""
    left = len(case.batches) - case.prepare.count("v")
    return [steps[:left] if steps[0] in "wvj" else steps for steps in mix]


@pytest.mark.parametrize(("case", "mix"), [*product(CASES, MIXES), ("large", "cold")])
def test_no_order_changes_a_snapshot_or_the_end(case, mix):
    explore(CASES.get(case, LARGE), MIXES[mix], ORDERS)


# -- what the comparison is worth ---------------------------------------------------------------


def fold_past_pins(world: World) -> None:
    """Nobody who sums deltas up looks at pins."""
    tip = world.node.tip
    world.step_p = lambda: (World.step_p(world), tip.unpin(world.pins[-1].commit_ts))
    world.step_u = lambda: world.pins.clear()


def sweep_at_once(world: World) -> None:
    """What is dead at the tip is swept, whether its death is durable or seen by a pin, or not."""
    node = world.node
    sweeper = node.housekeeping.trash

    def look() -> None:
        for table in invariants.dump(node.tip)["tables"].values():
            for record in table["entries"]:
                if record[:1] == b"T":
                    sweeper._collections.append(_Parts(int.from_bytes(record[1:]), list(PARTS)))

    sweeper._look_for_trash = look


def count_deltas_twice(world: World) -> None:
    """Heads do not say what their bases hold already."""

    def change(row: Row) -> list[Row]:
        key, envelope = row
        if key[:1] == b"H" and envelope is not None:
            start, body = split_head(envelope)
            envelope = start + bytes(8) + body[8:]
        return [(key, envelope)]

    rewrite_rows(world.node.engine, change)


def drop_rows(world: World, is_lost: Callable[[bytes, bytes | None], bool]) -> None:
    rewrite_rows(world.node.engine, lambda row: [] if is_lost(*row) else [row])


def keep_claims(world: World) -> None:
    """Claims that ends of a list have come to stay in LevelDB."""
    drop_rows(world, lambda key, envelope: key[:1] == b"K" and envelope is None)


def forget_elements(world: World) -> None:
    """Elements count as flushed, and are evicted, but LevelDB never gets them."""
    drop_rows(world, lambda key, envelope: key[:1] in b"IFM")


@pytest.mark.parametrize(
    ("bug", "case", "mix"),
    [
        (fold_past_pins, "queue", "snapshot"),
        (sweep_at_once, "large", "cold"),
        (sweep_at_once, "deleted", "killed cold"),
        (count_deltas_twice, "zset", "second checkpoint"),
        (keep_claims, "stack", "crash"),
        (forget_elements, "set", "eviction"),
    ],
)
def test_a_planted_bug_is_found(bug, case, mix):
    with pytest.raises((AssertionError, InvariantError, CorruptionError)):
        explore(CASES.get(case, LARGE), MIXES[mix], 0, bug)
