"""The rows of the ratio table: what is asked, of which rival, and the ratio aimed at."""

import csv
import io
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from bench import load, scripts
from bench.servers import Server

CLIENTS = 50
VALUE_BYTES = 64
KEYS = 100_000
BIG_VALUE_BYTES = 16 * 1024
BIG_KEYS = 2_000
PRELOAD_BATCH = 1_000
RANDOM = "__rand_int__"  # redis-benchmark puts twelve digits in its place
MEMBER = f"element:{RANDOM}"
ADDED, POPPED, SCORES = "zset:added", "zset:popped", "zset:scores"
EMPTIED = "set:popped"
HASH_FIELDS = 100  # of the hash, and members of the set, that are read
QUEUE, PAGES = "list:queue", "list:pages"
PAGE_ELEMENTS = 600  # of the list that LRANGE reads


class WorkloadError(Exception):
    """redis-benchmark failed, or reads would not hit; the message says which."""


@dataclass(frozen=True)
class Row:
    """One kind of request.

    command: the end of redis-benchmark's command line. durable: whether the rival syncs its log.
    targets: pipeline depth -> ratio kvnode / rival aimed at. pops: a collection that the requests
    empty, an element each; it is filled before every slice. group: instead of the command a MULTI,
    so many SETs and an EXEC, from our own load generator: redis-benchmark has no such thing.
    """

    name: str
    command: Sequence[str]
    durable: bool
    targets: Mapping[int, float]
    clients: int = CLIENTS
    keys: int = KEYS
    pops: str = ""
    group: int = 0


ROWS = (
    Row("GET", ("-t", "get"), False, {1: 1.0, 16: 1.2, 64: 1.5}),
    Row("SET", ("-t", "set"), True, {1: 1.0, 16: 1.5, 64: 1.5}),
    Row("INCR", ("-t", "incr"), True, {1: 1.0, 16: 1.5, 64: 1.5}),
    Row("MSET-10", ("-t", "mset"), True, {1: 1.0, 16: 1.0}),
    Row("GET-16K", ("GET", f"big:{RANDOM}"), False, {1: 1.0, 16: 1.0}, keys=BIG_KEYS),
    Row("SADD", ("-t", "sadd"), True, {1: 1.0, 16: 1.3, 64: 1.3}),
    Row("HSET", ("-t", "hset"), True, {1: 1.0, 16: 1.3, 64: 1.3}),
    Row("SPOP", ("SPOP", EMPTIED), True, {1: 1.0, 16: 1.3, 64: 1.3}, pops=EMPTIED),
    Row("HGET", ("HGET", "hash", "f50"), False, {1: 1.0, 16: 1.0, 64: 1.0}),
    Row("SISMEMBER", ("SISMEMBER", "set", "f50"), False, {1: 1.0, 16: 1.0, 64: 1.0}),
    Row("HGETALL-100", ("HGETALL", "hash"), False, {1: 0.8, 16: 0.8}),
    Row("ZADD", ("ZADD", ADDED, RANDOM, MEMBER), True, {1: 1.0, 16: 1.3, 64: 1.3}),
    Row("ZPOPMIN", ("ZPOPMIN", POPPED), True, {1: 1.0, 16: 1.3, 64: 1.3}, pops=POPPED),
    Row("ZSCORE", ("ZSCORE", SCORES, MEMBER), False, {1: 1.0, 16: 1.0, 64: 1.0}),
    Row("ZRANGE-100", ("ZRANGE", SCORES, "0", "99"), False, {1: 0.8, 16: 0.8}),
    Row("LPUSH", ("LPUSH", "list:pushed", MEMBER), True, {1: 1.0, 16: 1.3, 64: 1.3}),
    Row("RPUSH", ("RPUSH", "list:pushed", MEMBER), True, {1: 1.0, 16: 1.3, 64: 1.3}),
    Row("LPOP", ("LPOP", QUEUE), True, {1: 1.0, 16: 1.3, 64: 1.3}, pops=QUEUE),
    Row("RPOP", ("RPOP", QUEUE), True, {1: 1.0, 16: 1.3, 64: 1.3}, pops=QUEUE),
    Row("LLEN", ("LLEN", PAGES), False, {1: 1.0, 16: 1.0, 64: 1.0}),
    Row("LRANGE-100", ("LRANGE", PAGES, "0", "99"), False, {1: 0.8, 16: 0.8}),
    Row("LRANGE-300", ("LRANGE", PAGES, "0", "299"), False, {1: 0.8, 16: 0.8}),
    Row("LRANGE-600", ("LRANGE", PAGES, "0", "599"), False, {1: 0.8, 16: 0.8}),
    Row("EVALSHA-GET", scripts.READ.command(f"key:{RANDOM}"), False, {1: 1.0, 16: 1.0}),
    Row("EVALSHA-INCR", scripts.COUNT.command(f"counter:{RANDOM}"), True, {1: 1.0, 16: 1.0}),
    Row("EVALSHA-LIMIT", scripts.LIMIT.command(f"limit:{RANDOM}"), True, {1: 1.0, 16: 1.0}),
    Row("EVALSHA-JOB", scripts.job_command(), True, {1: 1.0, 16: 1.0}),
    Row("MULTI-5", (), True, {1: 1.0, 16: 1.0}, group=5),
    Row("SET-ALONE", ("-t", "set"), True, {1: 0.9}, clients=1),
)


def preload(server: Server) -> None:
    """Write every key that a row may ask for, under the names that redis-benchmark makes.

    Raises WorkloadError when the server does not hold them afterwards.
    """
    value, big = b"x" * VALUE_BYTES, b"x" * BIG_VALUE_BYTES
    write(server.client, [(f"key:{number:012}", value) for number in range(KEYS)])
    write(server.client, [(f"counter:{number:012}", b"0") for number in range(KEYS)])
    write(server.client, [(f"big:{number:012}", big) for number in range(BIG_KEYS)])
    names = [f"f{number}" for number in range(HASH_FIELDS)]
    server.client.hset("hash", mapping=dict.fromkeys(names, value))
    server.client.sadd("set", *names)
    for name in (ADDED, SCORES):
        fill(server.client, name, KEYS)
    fill_list(server.client, PAGES, PAGE_ELEMENTS)
    for script in scripts.ALL:
        server.client.script_load(script.text)
    held = int(server.client.dbsize())
    if held != 2 * KEYS + BIG_KEYS + 5:
        raise WorkloadError(f"{server.name} holds {held} keys after loading")


def write(client: "redis.Redis", pairs: Sequence[tuple[str, bytes]]) -> None:
    """SET all pairs, pipelined."""
    for first in range(0, len(pairs), PRELOAD_BATCH):
        pipeline = client.pipeline(transaction=False)
        for key, value in pairs[first : first + PRELOAD_BATCH]:
            pipeline.set(key, value)
        pipeline.execute()


def fill(client: "redis.Redis", name: str, members: int) -> None:
    """Make a set, or a sorted set with scores in another order than the names of its members."""
    client.delete(name)
    for first in range(0, members, PRELOAD_BATCH):
        last = min(first + PRELOAD_BATCH, members)
        if name == EMPTIED:
            client.sadd(name, *(f"element:{i:012}" for i in range(first, last)))
            continue
        client.zadd(name, {f"element:{i:012}": i * 7919 % members for i in range(first, last)})


def fill_list(client: "redis.Redis", name: str, elements: int) -> None:
    """Make a list of so many elements."""
    client.delete(name)
    for first in range(0, elements, PRELOAD_BATCH):
        last = min(first + PRELOAD_BATCH, elements)
        client.rpush(name, *(f"element:{i:012}" for i in range(first, last)))


def prepare(server: Server, row: Row, requests: int) -> None:
    """Give a row that empties something enough for so many requests."""
    if row.pops:
        (fill_list if row.pops == QUEUE else fill)(server.client, row.pops, requests)


def run(server: Server, row: Row, depth: int, requests: int) -> float:
    """Run the row's requests against `server`; return requests per second.

    Raises WorkloadError when it fails or reports an error reply.
    """
    if row.group:
        shape = {"connections": row.clients, "window": depth, "value_bytes": VALUE_BYTES}
        grouped = load.run(
            port=server.port, requests=requests, keys=row.keys, group=row.group, **shape
        )
        return grouped.rate
    command = ["redis-benchmark", "-p", str(server.port), "--csv", "-n", str(requests)]
    command += ["-c", str(row.clients), "-P", str(depth), "-d", str(VALUE_BYTES)]
    command += ["-r", str(row.keys), *row.command]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace")
    lines = list(csv.DictReader(io.StringIO(ran.stdout)))
    if ran.returncode or len(lines) != 1:
        said = (ran.stderr or ran.stdout).strip()
        raise WorkloadError(f"redis-benchmark {row.name} P={depth} on {server.name}: {said}")
    return float(lines[0]["rps"])
