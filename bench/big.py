"""Loading more data than memory holds, then random reads over all of it.

`python -m bench.big`; docs/BENCHMARKS.md says how to read it.
"""

import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import click

from bench import load, machine, report, servers
from bench.load import NS_PER_MS, Gaps, Result
from bench.openloop import GAP_MS, PAUSE_MS_MAX, SLOW_MS, compactions, latency_cells
from bench.servers import Server
from bench.stats import median

MAXMEMORY = "512mb"
RSS_BYTES_MAX = 1 << 30
FIRST_SECONDS = 60  # the rate of this time is what later rates are compared with
SLOWEST_SHARE_MIN = 1 / 3
WINDOW_SECONDS = 5  # rates are compared over so many seconds: one second alone is noise
CONNECTIONS = 50
LOAD_WINDOW = 16  # outstanding requests per connection while loading
READ_WINDOW = 16
SAMPLE_SECONDS = 0.1


class Memory:
    """Samples the resident anonymous memory of a server; `worst` is the most it had, in bytes."""

    def __init__(self, server: Server) -> None:
        self.worst = 0
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.worst = max(self.worst, self._server.memory_bytes())


@dataclass
class Loading:
    """What loading showed, and what of it was not reached."""

    result: Result
    gaps: Gaps
    rss_bytes: int
    missed: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Fill `missed` with a sentence per limit that was not kept."""
        own = load.own_pauses(self.result, self.gaps, PAUSE_MS_MAX)
        if own:
            worst = max(net for _, net in own)
            self.missed.append(f"{len(own)} stalls over {PAUSE_MS_MAX} ms, up to {worst:.0f} ms")
        first, slowest = rates(self.result)
        if slowest < first * SLOWEST_SHARE_MIN:
            self.missed.append(
                f"the rate fell to {slowest / first:.2f} of its first {FIRST_SECONDS} s"
            )
        if self.rss_bytes > RSS_BYTES_MAX:
            self.missed.append(f"RssAnon rose to {report.mib(self.rss_bytes)}")


def rates(result: Result) -> tuple[float, float]:
    """Return replies/s of the first minute, and of the slowest WINDOW_SECONDS.

    A load that ends within two minutes is compared with its first half instead.
    """
    seconds = result.replies_by_second
    if len(seconds) < WINDOW_SECONDS:
        return result.rate, result.rate
    first = seconds[: min(FIRST_SECONDS, len(seconds) // 2)]
    windows = [
        sum(seconds[start : start + WINDOW_SECONDS]) / WINDOW_SECONDS
        for start in range(len(seconds) - WINDOW_SECONDS + 1)
    ]
    return sum(first) / len(first), min(windows)


def fill(server: Server, keys: int, value_bytes: int, write: str | None = None) -> Loading:
    """Send `write`, or else SET, once for each key, in order of their numbers."""

    def on_second(result: Result) -> None:
        second = len(result.replies_by_second)
        if second % 10 == 0:
            report.progress(
                f"{second} s: {report.count(sum(result.replies_by_second))} keys, "
                f"{report.count(median(result.replies_by_second[-10:]))}/s, "
                f"RssAnon {report.mib(server.memory_bytes())}"
            )

    with load.control(GAP_MS) as gaps, Memory(server) as memory:
        result = load.run(
            on_second,
            port=server.port,
            requests=keys,
            keys=keys,
            sequential=True,
            write=write,
            writes=100,
            value_bytes=value_bytes,
            connections=CONNECTIONS,
            window=LOAD_WINDOW,
            slow_ms=SLOW_MS,
        )
    loading = Loading(result, gaps, memory.worst)
    loading.judge()
    return loading


def read(server: Server, keys: int, seconds: float) -> tuple[Result, float | None, int]:
    """GET random keys; return what was seen, the cache's hit ratio and the most memory."""
    fields = ("cache_hits", "cache_misses")
    before = [server.counter(name) for name in fields]
    with Memory(server) as memory:
        result = load.run(
            port=server.port,
            seconds=seconds,
            keys=keys,
            writes=0,
            connections=CONNECTIONS,
            window=READ_WINDOW,
            seed=7,
        )
    after = [server.counter(name) for name in fields]
    if None in before or None in after:
        return result, None, memory.worst
    hits, misses = ((b or 0) - (a or 0) for a, b in zip(before, after, strict=True))
    return result, hits / max(1, hits + misses), memory.worst


@click.command()
@click.option("--keys", default=20_000_000, show_default=True)
@click.option("--value-bytes", default=100, show_default=True)
@click.option("--maxmemory", default=MAXMEMORY, show_default=True)
@click.option("--read-seconds", default=30.0, show_default=True)
@click.option("--dir", "parent", default=None, type=click.Path(path_type=Path, exists=True))
@click.option("--server", "kind", type=click.Choice(["kvnode", "redis"]), default="kvnode")
@click.option("--gate", is_flag=True, help="Fail when a limit was not kept.")
def main(
    keys: int,
    value_bytes: int,
    maxmemory: str,
    read_seconds: float,
    parent: Path | None,
    kind: str,
    gate: bool,
) -> None:
    """Load KEYS keys with bounded memory, then read them at random."""
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
    server = servers.start(kind, directory / kind, ["--maxmemory", maxmemory])
    try:
        loading = fill(server, keys, value_bytes)
        compacted = compactions(server.directory)
        reads, hit_ratio, read_rss = read(server, keys, read_seconds)
    finally:
        server.stop()
        shutil.rmtree(directory)
    if reads.nulls:
        loading.missed.append(f"{reads.nulls} keys were not found")
    first, slowest = rates(loading.result)
    worst_ms = loading.result.histogram().get_max_value() / NS_PER_MS
    report.say(
        f"{machine.processor()}, commit {machine.commit()}, {kind}, {keys} keys, "
        f"values of {value_bytes} bytes, maxmemory {maxmemory}\n"
    )
    hits = "-" if hit_ratio is None else f"{hit_ratio:.3f}"
    rows = [
        ["loading, whole run", f"{report.count(loading.result.rate)}/s"],
        ["first minute", f"{report.count(first)}/s"],
        [f"slowest {WINDOW_SECONDS} s", f"{report.count(slowest)}/s"],
        ["slowest request", f"{worst_ms:.0f} ms"],
        ["compactions while loading", str(compacted)],
        [
            "RssAnon at most, loading / reading",
            f"{report.mib(loading.rss_bytes)} / {report.mib(read_rss)}",
        ],
        ["random GET", f"{report.count(reads.rate)}/s"],
        ["GET p50 / p99 / p99.9 / max", " / ".join(latency_cells(reads)) + " ms"],
        ["GET answered from memory", hits],
    ]
    report.say(report.table(["", kind], rows))
    verdict = "MISSED: " + "; ".join(loading.missed) if loading.missed else "reached"
    report.say(f"\n{verdict}")
    report.remember(
        "big",
        {
            "server": kind,
            "keys": keys,
            "value_bytes": value_bytes,
            "rate": loading.result.rate,
            "rate_first": first,
            "rate_slowest": slowest,
            "replies_by_second": loading.result.replies_by_second,
            "worst_ms": worst_ms,
            "rss_bytes": loading.rss_bytes,
            "rss_bytes_reading": read_rss,
            "get_rate": reads.rate,
            "get_hit_ratio": hit_ratio,
            "verdict": verdict,
        },
    )
    if gate and loading.missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
