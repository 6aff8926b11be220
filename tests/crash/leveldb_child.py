"""A process that opens a LevelDB engine, tells what is in it, and writes on until it is killed.

    python -m tests.crash.leveldb_child DIRECTORY FIRST SEED

Value n of key n % KEYS is written in the order of n, from FIRST on. Prints `row KEY N` for what it
found, `ready`, then `sent N` before a batch up to N and `durable N` after a compaction.
"""

import sys
from random import Random

from kvnode.storage.engine import EngineOptions
from kvnode.storage.leveldb import LevelDBEngine
from tests.crash.log_child import say

KEYS = 400
# Small files: they are switched, merged and deleted all the time.
OPTIONS = EngineOptions(write_buffer_bytes=128 * 1024, table_bytes=128 * 1024)


def main(directory: str, first: int, seed: int) -> None:
    """Report, then write until killed."""
    random = Random(seed)
    engine = LevelDBEngine(directory, OPTIONS)
    for key, value in engine.scan(b"", None, KEYS + 1):
        number, _, padding = value.partition(b":")
        assert padding.strip(b"x") == b"", "a value that nobody wrote"
        say(f"row {int(key)} {int(number)}")
    say("ready")
    while True:
        last = first + random.choice([1, 20, 200])
        say(f"sent {last}")
        rows = [
            (b"%06d" % (n % KEYS), b"%d:" % n + b"x" * random.randrange(2000))
            for n in range(first, last + 1)
        ]
        engine.write(rows, sync=random.random() < 0.1)
        first = last + 1
        if random.random() < 0.2:
            engine.compact_memtable()
            say(f"durable {last}")
        if random.random() < 0.02:
            engine.compact_range(b"", b"~")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
