"""What queues leave behind: memory, rows and bytes on disk after many elements went through.

`python -m bench.queues`; docs/BENCHMARKS.md says how to read it.
"""

import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
import redis

from bench import machine, report, servers
from bench.servers import Server
from kvnode.storage.engine import options_for
from kvnode.storage.leveldb import LevelDBEngine

PER_COMMAND = 100  # elements of one RPUSH or LPOP
PER_PIPELINE = 500  # jobs of one pipeline
BACKLOG_SHARE = 0.2  # of the elements stand in the queue at the height
CHECKPOINTS = 10  # while the elements go through
PAYLOAD = b"x" * 100
DELAYED = 10  # one job in so many is delayed at first
CACHE_BYTES = 256 * 2**20
SETTLE_SECONDS = 30.0
LEFT_BYTES_MAX = 64 * 2**10  # of the tip's memory, at the end above the start
LEFT_ROWS_MAX = 60  # of LevelDB: those of the node itself are about 40
# Rows that a queue which is empty has none of.
PARTS = {"I": "items", "K": "claims", "E": "deltas", "F": "fields", "M": "members", "T": "trash"}


@dataclass
class State:
    """What a node holds once it is at rest."""

    tip_bytes: int
    tip_records: int
    rss_bytes: int


def rest(server: Server) -> State:
    """Make checkpoints until nothing changes any more, and return what is left in memory."""
    deadline = time.monotonic() + SETTLE_SECONDS
    last = -1
    while time.monotonic() < deadline:
        server.client.save()
        time.sleep(0.3)  # the sweepers' rounds
        fields = server.info()
        if fields["cache_bytes"] == last and not fields["trash_being_swept"]:
            break
        last = fields["cache_bytes"]
    return State(fields["cache_bytes"], fields["cache_records"], server.memory_bytes())


def pass_elements(server: Server, count: int, checkpoint_every: int) -> None:
    """Push and pop `count` elements: the queue grows, stays long, and runs empty."""
    client, height = server.client, int(count * BACKLOG_SHARE)
    pushed = popped = 0
    while popped < count:
        pipeline = client.pipeline(transaction=False)
        pops = 0
        for _ in range(PER_PIPELINE // PER_COMMAND):
            if pushed < count:
                words = [b"%d:%s" % (pushed + i, PAYLOAD) for i in range(PER_COMMAND)]
                pipeline.rpush("queue", *words)
                pushed += PER_COMMAND
                if pushed % checkpoint_every < PER_COMMAND:
                    pipeline.bgsave()
            if pushed >= min(height, count) and popped < count:
                pipeline.lpop("queue", PER_COMMAND)
                pops += 1
        replies = pipeline.execute(raise_on_error=False)
        for batch in (reply for reply in replies if isinstance(reply, list)):
            for element in batch:
                if int(element.split(b":")[0]) != popped:
                    raise servers.ServerError(f"{element[:20]!r} came instead of {popped}")
                popped += 1


def pass_jobs(server: Server, count: int, checkpoint_every: int) -> None:
    """Jobs as BullMQ and Celery have them: each with a hash, moved from list to list, removed."""
    client = server.client
    for first in range(0, count, PER_PIPELINE):
        numbers = range(first, min(first + PER_PIPELINE, count))
        pipeline = client.pipeline(transaction=False)
        for n in numbers:
            pipeline.hset(f"job:{n}", mapping={"data": PAYLOAD, "tries": 0, "state": "new"})
            if n % DELAYED == 0:
                pipeline.zadd("delayed", {f"{n}": n})
            else:
                pipeline.rpush("wait", n)
        pipeline.execute()
        due = client.zpopmin("delayed", len(numbers))
        if due:
            client.rpush("wait", *(member for member, _ in due))
        pipeline = client.pipeline(transaction=False)
        for _ in numbers:
            pipeline.lmove("wait", "active", "LEFT", "RIGHT")
        taken = pipeline.execute()
        # They end in another order than they began: in the middle of the list of active ones.
        pipeline = client.pipeline(transaction=False)
        for n in sorted(taken, key=lambda n: int(n) * 7919 % len(taken)):
            job = f"job:{n.decode()}"
            pipeline.hincrby(job, "tries", 1)
            pipeline.hset(job, "state", "done")
            pipeline.lrem("active", 1, n)
            pipeline.delete(job)
        replies = pipeline.execute()
        if replies[2::4] != [1] * len(taken):
            raise servers.ServerError("LREM did not find a job that was taken")
        if first // checkpoint_every != (first + PER_PIPELINE) // checkpoint_every:
            try:
                client.bgsave()
            except redis.ResponseError as error:  # one is under way
                if "in progress" not in str(error):
                    raise


def count_rows(directory: Path) -> Counter[str]:
    """Return the rows of LevelDB by kind. REQUIRES: the node has ended."""
    engine = LevelDBEngine(str(directory / "db"), options_for(CACHE_BYTES))
    rows = Counter(chr(key[0]) for key, _ in engine.scan(b"", b"\xff", 1 << 30))
    engine.compact_range(b"", b"\xff")
    engine.close()
    return rows


def directory_bytes(directory: Path) -> int:
    """Return the bytes of the files of LevelDB."""
    return sum(path.stat().st_size for path in (directory / "db").iterdir())


@dataclass
class Outcome:
    """states: (name, seconds, state) at the start and after each kind of traffic.

    rows: of LevelDB by kind.   left: what should not be there, in words.
    """

    states: list[tuple[str, float, State]]
    rows: Counter[str]
    disk_bytes: int
    left: list[str]


def measure(elements: int, jobs: int) -> Outcome:
    """Send so much through a node of its own. Raises ServerError when something came wrong."""
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-"))
    data = directory / "kvnode"
    server = servers.start_kvnode(data, ["--maxmemory", str(CACHE_BYTES)])
    left: list[str] = []
    try:
        before = rest(server)
        states = [("at the start", 0.0, before)]
        for name, pass_through, count in (
            ("elements", pass_elements, elements),
            ("jobs", pass_jobs, jobs),
        ):
            began = time.perf_counter()
            pass_through(server, count, max(count // CHECKPOINTS, PER_PIPELINE))
            seconds = time.perf_counter() - began
            after = rest(server)
            states.append((f"{report.count(count)} {name}", seconds, after))
            if after.tip_bytes > before.tip_bytes + LEFT_BYTES_MAX:
                left.append(f"{after.tip_bytes - before.tip_bytes} bytes of memory, {name}")
        server.stop()
        kinds = count_rows(data)
        size = directory_bytes(data)
    finally:
        server.stop()
        shutil.rmtree(directory)
    left += [f"{kinds[kind]} rows of {name}" for kind, name in PARTS.items() if kinds[kind]]
    if sum(kinds.values()) > LEFT_ROWS_MAX:
        left.append(f"{sum(kinds.values())} rows")
    return Outcome(states, kinds, size, left)


@click.command()
@click.option("--elements", default=1_000_000, show_default=True)
@click.option("--jobs", default=200_000, show_default=True)
@click.option("--gate", is_flag=True, help="Fail when something is left.")
def main(elements: int, jobs: int, gate: bool) -> None:
    """Send ELEMENTS through a list and JOBS through the structures of a job queue."""
    found = measure(elements, jobs)
    rows = [row(*state) for state in found.states]
    report.say(f"{machine.processor()}, commit {machine.commit()}\n")
    report.say(report.table(["", "seconds", "tip", "records", "RssAnon"], rows))
    report.say(
        f"\nrows of LevelDB {dict(found.rows)}, {found.disk_bytes / 1024:.0f} KiB after compaction"
    )
    report.say(f"left: {'; '.join(found.left) or 'nothing'}")
    report.remember(
        "queues",
        {
            "elements": elements,
            "jobs": jobs,
            "rows": dict(found.rows),
            "bytes": found.disk_bytes,
            "left": found.left,
        },
    )
    if gate and found.left:
        sys.exit(1)


def row(name: str, seconds: float, state: State) -> list[str]:
    """Return a row of the report."""
    return [
        name,
        f"{seconds:.1f}",
        f"{state.tip_bytes / 1024:.0f} KiB",
        str(state.tip_records),
        report.mib(state.rss_bytes),
    ]


if __name__ == "__main__":
    main()
