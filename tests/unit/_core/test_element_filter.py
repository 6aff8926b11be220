"""Who adds an element to a collection larger than memory asks LevelDB only if it may be there."""

import random

import pytest

from tests.support.local import LocalNode, pipeline

CACHE_BYTES = 150_000  # about half of NAMES
EVICT_STEPS = 1 << 20
NAMES = 2_000
ADDS = {
    "hash": ("HSET", lambda name: (name, "v")),
    "set": ("SADD", lambda name: (name,)),
    "zset": ("ZADD", lambda name: ("1", name)),
}
REMOVES = {"hash": "HDEL", "set": "SREM", "zset": "ZREM"}
LENGTHS = {"hash": "HLEN", "set": "SCARD", "zset": "ZCARD"}


class CountingNode(LocalNode):
    """A node that counts the records which it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def fetch(self) -> list[bytes]:
        keys = super().fetch()
        self.reads += len(keys)
        return keys

    def shrink(self) -> None:
        """Make a checkpoint and evict down to the cache's size."""
        self.checkpoint(records=1_000)
        self.tip.evict(CACHE_BYTES, EVICT_STEPS)
        self.check()


def add_all(node: LocalNode, kind: str, names: list[int]) -> bytes:
    command, words = ADDS[kind]
    return node.settle(
        node.session(), pipeline(*[(command, "k", *words(f"name:{name}")) for name in names])
    )


@pytest.mark.parametrize("kind", ADDS)
def test_new_elements_are_not_looked_for_on_disk(kind: str) -> None:
    node = CountingNode()
    assert add_all(node, kind, range(NAMES)) == b":1\r\n" * NAMES
    node.shrink()
    assert node.tip.bytes <= CACHE_BYTES
    assert add_all(node, kind, range(NAMES, 2 * NAMES)) == b":1\r\n" * NAMES
    assert node.reads < NAMES // 20
    assert add_all(node, kind, range(0, 2 * NAMES, 7)) == b":0\r\n" * len(range(0, 2 * NAMES, 7))
    assert node.reads > NAMES // 20


@pytest.mark.parametrize("kind", ADDS)
@pytest.mark.parametrize("seed", range(3))
def test_replies_are_those_of_a_set_of_names(kind: str, seed: int) -> None:
    draw = random.Random(seed)
    node, model = CountingNode(), set()
    client = node.client()
    command, words = ADDS[kind]
    for _ in range(60):
        for _ in range(draw.randrange(60)):
            name = f"name:{draw.randrange(400)}"
            if draw.random() < 0.6:
                assert client.ask(command, "k", *words(name)) == (name not in model)
                model.add(name)
            else:
                assert client.ask(REMOVES[kind], "k", name) == (name in model)
                model.discard(name)
        assert client.ask(LENGTHS[kind], "k") == len(model)
        if draw.random() < 0.5:
            node.checkpoint(records=1_000)
        node.tip.evict(draw.choice((20_000, 40_000, 60_000)), EVICT_STEPS)
        node.check()


def test_what_comes_and_goes_does_not_fill_the_filter() -> None:
    """Planted: without a look before it is added, it would grow with each eviction and give up."""
    node = CountingNode()
    add_all(node, "set", range(NAMES))
    node.shrink()
    draw = random.Random(1)
    for _ in range(30):
        names = [f"name:{draw.randrange(NAMES)}" for _ in range(NAMES // 4)]
        node.settle(node.session(), pipeline(*[("SISMEMBER", "k", name) for name in names]))
        node.shrink()
    reads = node.reads
    add_all(node, "set", range(NAMES, NAMES + 1_000))
    assert node.reads - reads < 100
