"""OBJECT ENCODING of hashes, sets and sorted sets against a real redis-server, if one is installed.

Its sets know no listpack before 7.2, so the node's limit for these is 0.
"""

import random

import pytest

from tests.support import process
from tests.support.local import LocalNode
from tests.support.resp import encode

SEEDS = 25
STEPS = 100
LIMITS = {
    "hash-max-listpack-entries": 3,
    "hash-max-listpack-value": 4,
    "zset-max-listpack-entries": 3,
    "zset-max-listpack-value": 4,
    "set-max-intset-entries": 3,
}
KEYS = ("k", "l", "m")


@pytest.fixture(scope="module")
def redis():
    if process.redis_server_path() is None:
        pytest.skip("redis-server is not installed")
    with process.running("redis") as server:
        connection = server.connect()
        for name, limit in LIMITS.items():
            connection.send(encode("CONFIG", "SET", name, limit))
            connection.receive()
        yield connection
        connection.close()


def small_node():
    node = LocalNode()
    for name, limit in LIMITS.items():
        setattr(node.view, name.replace("-max", "").replace("-", "_"), limit)
    node.view.set_listpack_entries = 0
    return node


def words(rng):
    """Return a random command on hashes, sets and sorted sets of a few short or longer elements."""
    key, other, third = rng.choice(KEYS), rng.choice(KEYS), rng.choice(KEYS)
    # All different: from 7.2 on Redis makes a new collection for as many as the command names.
    names = [str(name) for name in rng.sample(range(9), rng.randint(1, 4))]
    if rng.random() < 0.15:
        names.append(rng.choice(("word", "words", "1" * 5)))
    pairs = [word for name in names for word in (name, rng.choice(("v", "four", "value")))]
    scored = [word for name in names for word in (str(rng.randrange(5)), name)]
    return rng.choice(
        (
            ("HSET", key, *pairs),
            ("HSETNX", key, names[-1], "value"),
            ("HINCRBY", key, names[0], rng.choice((1, 12345))),
            ("HDEL", key, *names),
            ("SADD", key, *names),
            ("SREM", key, *names),
            ("SMOVE", key, other, names[0]),
            ("SUNIONSTORE", key, other, third),
            ("SINTERSTORE", key, other, third),
            ("SDIFFSTORE", key, other, third),
            ("ZADD", key, *scored),
            ("ZINCRBY", key, 1, names[-1]),
            ("ZREM", key, *names),
            ("ZREMRANGEBYRANK", key, 0, 1),
            ("ZUNIONSTORE", key, 2, other, third),
            ("ZINTERSTORE", key, 2, other, third),
            ("ZDIFFSTORE", key, 2, other, third),
            ("ZRANGESTORE", key, other, 0, -1),
            ("COPY", key, other, "REPLACE") if key != other else ("TYPE", key),
            ("RENAME", key, other),
            ("DEL", key),
        )
    )


def difference(redis, node, seed):
    """Return the first command after which an encoding is another one, and what both say."""
    rng, ours = random.Random(seed), node.client()
    redis.send(encode("FLUSHALL"))
    redis.receive()
    for _ in range(STEPS):
        command = words(rng)
        asked = [command, *(("OBJECT", "ENCODING", key) for key in KEYS)]
        redis.send(b"".join(encode(*each) for each in asked))
        theirs = [redis.receive() for _ in asked]
        replies = [ours.ask(*each) for each in asked]
        if replies != theirs:
            return command, theirs, replies
    return None


def test_encodings(redis):
    for seed in range(SEEDS):
        assert difference(redis, small_node(), seed) is None, seed


def test_a_planted_bug_is_found(redis):
    """A limit that is one off."""
    found = []
    for seed in range(SEEDS):
        node = small_node()
        node.view.zset_listpack_entries += 1
        found.append(difference(redis, node, seed))
    assert any(found)
