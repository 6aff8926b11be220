"""Collections larger than memory: filling one key, working on it at random, and deleting it.

`python -m bench.big_collections`; docs/BENCHMARKS.md says how to read it.
"""

import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import redis

from bench import load, machine, report, servers
from bench.big import CONNECTIONS, WINDOW_SECONDS, Memory, fill, rates
from bench.load import NS_PER_MS
from bench.openloop import GAP_MS, PAUSE_MS_MAX, SLOW_MS, latency_cells
from bench.servers import Server

MAXMEMORY = "512mb"
VALUE_BYTES = 64
MEMBER = "member:" + "." * 45 + "{id}"  # 64 bytes
READ_BYTES = 1 << 20
SWEPT_RECORDS_MAX = 1_000  # that a node without data holds in memory: some dozens
SWEEP_SECONDS_MAX = 120.0
PROBE_SECONDS = 5.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Phase:
    """Requests of one kind, sent for some seconds.

    new: they name elements that are not there, from the first number past the last one on.
    window: outstanding on each connection; with a long answer more would only queue.
    """

    name: str
    command: str
    new: bool = False
    window: int = 16


@dataclass(frozen=True)
class Collection:
    """One type: what fills it, what is done with it, and the command of its SCAN."""

    load: str
    phases: Sequence[Phase]
    scan: str = ""


COLLECTIONS = {
    "list": Collection(
        "RPUSH big {value}",
        (
            Phase("LINDEX", "LINDEX big {n}"),
            Phase("LRANGE of 100, anywhere", "LRANGE big {n} {end}", window=1),
            Phase("LSET", "LSET big {n} {value}"),
            Phase("RPUSH", "RPUSH big {value}"),
            Phase("LPUSH", "LPUSH big {value}"),
            Phase("RPOP", "RPOP big"),
            Phase("LPOP", "LPOP big"),
        ),
    ),
    "hash": Collection(
        "HSET big field:{id} {value}",
        (
            Phase("HGET", "HGET big field:{id}"),
            Phase("HSET of a field", "HSET big field:{id} {value}"),
            Phase("HSET of a new field", "HSET big field:{id} {value}", new=True),
            Phase("HRANDFIELD", "HRANDFIELD big"),
        ),
        "HSCAN",
    ),
    "set": Collection(
        f"SADD big {MEMBER}",
        (
            Phase("SISMEMBER", f"SISMEMBER big {MEMBER}"),
            Phase("SADD of a member", f"SADD big {MEMBER}"),
            Phase("SADD of a new member", f"SADD big {MEMBER}", new=True),
            Phase("SRANDMEMBER", "SRANDMEMBER big"),
            Phase("SPOP", "SPOP big"),
        ),
        "SSCAN",
    ),
    "zset": Collection(
        f"ZADD big {{mixed}} {MEMBER}",
        (
            Phase("ZSCORE", f"ZSCORE big {MEMBER}"),
            Phase("ZADD of a member", f"ZADD big {{random}} {MEMBER}"),
            Phase("ZADD of a new member", f"ZADD big {{random}} {MEMBER}", new=True),
            Phase("ZRANGE of 100, lowest", "ZRANGE big 0 99", window=1),
            Phase("ZRANGE of 100, highest", "ZRANGE big -100 -1", window=1),
            Phase(
                "ZRANGEBYSCORE of 100, anywhere",
                "ZRANGEBYSCORE big {random} +inf LIMIT 0 100",
                window=1,
            ),
            Phase("ZPOPMIN", "ZPOPMIN big"),
        ),
        "ZSCAN",
    ),
}


@dataclass
class Seen:
    """What one phase showed. pauses_ms: requests that took so much more than the median."""

    rate: float
    latencies: list[str]
    worst_pause_ms: float
    rss_bytes: int


def work(server: Server, phase: Phase, elements: int, seconds: float) -> Seen:
    """Send the requests of a phase. Raises LoadError when one is answered with an error."""
    with load.control(GAP_MS) as gaps, Memory(server) as memory:
        result = load.run(
            port=server.port,
            seconds=seconds,
            keys=elements,
            first_key=elements if phase.new else None,
            write=phase.command,
            writes=100,
            value_bytes=VALUE_BYTES,
            connections=CONNECTIONS,
            window=phase.window,
            slow_ms=SLOW_MS,
            seed=7,
        )
    usual_ms = result.histogram().get_value_at_percentile(50) / NS_PER_MS
    own = load.own_pauses(result, gaps, PAUSE_MS_MAX + usual_ms)
    worst = max((net for _, net in own), default=0.0)
    return Seen(result.rate, latency_cells(result), worst, memory.worst)


def scan(server: Server, command: str, elements: int, seconds: float) -> float:
    """Walk over the collection with one connection, not longer than `seconds`; elements/s.

    Replies are not parsed: values have no line ends, so a reply is over after so many of them.
    """
    cursor, seen, began = b"0", 0, time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        while time.perf_counter() - began < seconds and seen < elements:
            connection.sendall(b"%s big %s COUNT 1000\r\n" % (command.encode(), cursor))
            data = b""
            while True:
                data += connection.recv(READ_BYTES)
                lines = data.split(b"\r\n", 4)  # *2, length, cursor, *count, elements
                if len(lines) == 5 and lines[4].count(b"\n") == 2 * int(lines[3][1:]):
                    break
                if data.startswith(b"-"):
                    raise servers.ServerError(f"{command} was answered {data[:80]!r}")
            cursor = lines[2]
            seen += int(lines[3][1:]) // (1 if command == "SSCAN" else 2)
            if cursor == b"0":
                break
    return seen / (time.perf_counter() - began)


def delete(server: Server) -> tuple[float, float, float]:
    """DEL the key; return its ms, the seconds until all is swept, and the ms of the worst stall.

    The stall is one of GETs that another client sends while the sweep begins.
    """
    began = time.perf_counter()
    server.client.delete("big")
    deleted_ms = (time.perf_counter() - began) * 1000
    with load.control(GAP_MS) as gaps:
        probe = load.run(
            port=server.port, seconds=PROBE_SECONDS, keys=1, writes=0, connections=1, slow_ms=GAP_MS
        )
    worst_ms = max((net for _, net in load.own_pauses(probe, gaps, 0)), default=0.0)
    while time.perf_counter() - began < SWEEP_SECONDS_MAX:
        fields = server.info()
        if fields["cache_records"] <= SWEPT_RECORDS_MAX and not fields["trash_being_swept"]:
            break
        with suppress(redis.ResponseError):  # one is under way
            server.client.bgsave()
        time.sleep(POLL_SECONDS)
    return deleted_ms, time.perf_counter() - began, worst_ms


def measure(
    server: Server, kind: str, elements: int, seconds: float
) -> tuple[list[list[str]], list[str]]:
    """Fill, work and delete; return the rows of the table and what was missed."""
    collection = COLLECTIONS[kind]
    loading = fill(server, elements, VALUE_BYTES, collection.load)
    missed = [f"{kind}: {text}" for text in loading.missed]
    first, slowest = rates(loading.result)
    fields: dict[str, object] = {
        "elements": elements,
        "rate": loading.result.rate,
        "rate_first": first,
        "rate_slowest": slowest,
        "replies_by_second": loading.result.replies_by_second,
        "rss_bytes": loading.rss_bytes,
    }
    rows = [
        row("filling", loading.result.rate, latency_cells(loading.result), loading.rss_bytes),
        row("first minute", first),
        row(f"slowest {WINDOW_SECONDS} s", slowest),
    ]
    for phase in collection.phases:
        report.progress(f"{kind}: {phase.name}")
        try:
            seen = work(server, phase, elements, seconds)
        except load.LoadError as error:
            missed.append(f"{kind}: {phase.name}: {error}")
            continue
        if seen.worst_pause_ms:
            missed.append(f"{kind}: {phase.name} stalled for {seen.worst_pause_ms:.0f} ms")
        rows.append(row(phase.name, seen.rate, seen.latencies, seen.rss_bytes))
        fields[phase.name] = asdict(seen)
    if collection.scan:
        report.progress(f"{kind}: {collection.scan}")
        fields[collection.scan] = rate = scan(server, collection.scan, elements, seconds)
        rows.append(row(f"{collection.scan}, elements", rate))
    report.progress(f"{kind}: DEL")
    deleted_ms, swept, worst_ms = delete(server)
    fields |= {"del_ms": deleted_ms, "swept_seconds": swept, "sweep_worst_ms": worst_ms}
    rows.append(
        [f"DEL {deleted_ms:.1f} ms, swept after {swept:.0f} s", *[""] * 3, f"{worst_ms:.2f}", ""]
    )
    if swept >= SWEEP_SECONDS_MAX:
        missed.append(f"{kind}: not swept after {swept:.0f} s")
    if worst_ms > PAUSE_MS_MAX:
        missed.append(f"{kind}: a GET took {worst_ms:.0f} ms while it was swept")
    report.remember(f"big {kind}", fields | {"missed": missed})
    return rows, missed


def row(
    name: str, rate: float, latencies: Sequence[str] = (), rss_bytes: int | None = None
) -> list[str]:
    """Return a row of the table."""
    cells = [latencies[0], latencies[1], latencies[-1]] if latencies else ["", "", ""]
    return [name, report.count(rate), *cells, "" if rss_bytes is None else report.mib(rss_bytes)]


@click.command()
@click.option("--elements", default=10_000_000, show_default=True)
@click.option("--types", default=",".join(COLLECTIONS), show_default=True)
@click.option("--maxmemory", default=MAXMEMORY, show_default=True)
@click.option("--seconds", default=4.0, show_default=True, help="Length of a phase.")
@click.option("--dir", "parent", default=None, type=click.Path(path_type=Path, exists=True))
@click.option("--gate", is_flag=True, help="Fail when a limit was not kept.")
def main(
    elements: int, types: str, maxmemory: str, seconds: float, parent: Path | None, gate: bool
) -> None:
    """Fill a collection of each type with ELEMENTS elements, work on it, and delete it."""
    report.say(
        f"{machine.processor()}, commit {machine.commit()}, {elements} elements, "
        f"about {VALUE_BYTES} bytes each, maxmemory {maxmemory}"
    )
    missed: list[str] = []
    for kind in types.split(","):
        directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
        server = servers.start_kvnode(directory / kind, ["--maxmemory", maxmemory])
        try:
            rows, limits = measure(server, kind, elements, seconds)
        finally:
            server.stop()
            shutil.rmtree(directory)
        report.say()
        report.say(report.table([kind, "per s", "p50 ms", "p99 ms", "max ms", "RssAnon"], rows))
        missed += limits
    report.say("\nMISSED: " + "; ".join(missed) if missed else "\nreached")
    if gate and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
