"""Latency at half of the maximum load while a checkpoint and LevelDB's compaction run.

`python -m bench.openloop`; docs/BENCHMARKS.md says how to read it.
"""

import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import click
import redis

from bench import load, machine, report, servers
from bench.load import NS_PER_MS, Gaps, Result
from bench.servers import Server

PAUSE_MS_MAX = 100
SLOW_MS = 50  # requests past this are kept with their times, to be compared with the machine's
GAP_MS = 5  # a shorter standstill of the machine is scheduling
LOAD_WINDOW = 16
LOAD_CONNECTIONS = 16
MAXIMUM_SECONDS_MIN = 1.0
SAVE_EVERY_SECONDS = 5.0
QUANTILES = (50.0, 99.0, 99.9)


def compactions(directory: Path) -> int:
    """Count the compactions that LevelDB's own logs in `directory` tell of."""
    logs = [*directory.rglob("LOG"), *directory.rglob("LOG.old")]
    return sum(log.read_text(errors="replace").count("Compacted ") for log in logs)


class Checkpoints:
    """Asks for a checkpoint again and again while the load runs, and counts those that ended."""

    def __init__(self, server: Server, every_seconds: float) -> None:
        self.ended = 0
        self._client = redis.Redis(port=server.port)
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Checkpoints":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _saving(self) -> bool:
        return bool(int(self._client.info("persistence").get("rdb_bgsave_in_progress", 0)))

    def _run(self) -> None:
        asked = False
        while not self._stop.wait(self._every_seconds):
            if asked and self._saving():
                continue
            self.ended += asked
            try:
                self._client.bgsave()
                asked = True
            except redis.ResponseError:  # one that the server began by itself is as good
                asked = False
        if asked and not self._saving():
            self.ended += 1


def maximum_rate(server: Server, options: dict[str, Any], seconds: float) -> float:
    """Return the rate of a closed loop with one request outstanding on each connection."""
    return load.run(port=server.port, seconds=seconds, **options).rate


def latency_cells(result: Result, *kinds: str) -> list[str]:
    """Return the quantiles and the maximum in ms."""
    histogram = result.histogram(*kinds)
    values = [histogram.get_value_at_percentile(quantile) for quantile in QUANTILES]
    values.append(histogram.get_max_value())
    return [f"{value / NS_PER_MS:.2f}" for value in values]


def judge(result: Result, gaps: Gaps, limit_ms: float) -> str:
    """Return the sentence about pauses."""
    own = load.own_pauses(result, gaps, limit_ms)
    if result.unanswered:
        return f"MISSED: {result.unanswered} requests were never answered"
    if own:
        worst = max(net for _, net in own)
        return f"MISSED: {len(own)} pauses over {limit_ms:.0f} ms, the longest {worst:.0f} ms"
    excused = sum(pause.worst > limit_ms * NS_PER_MS for pause in result.pauses)
    also = f"; {excused} were the machine's own" if excused else ""
    return f"reached: no pause over {limit_ms:.0f} ms{also}"


def measure(
    server: Server, options: dict[str, Any], rate: float, seconds: float, spin: bool, uniform: bool
) -> tuple[Result, Gaps, int, int]:
    """Run the fixed rate; return what was seen, and how many checkpoints and compactions ran."""
    before = compactions(server.directory)
    every = min(SAVE_EVERY_SECONDS, seconds / 3)
    with load.control(GAP_MS, spin) as gaps, Checkpoints(server, every) as checkpoints:
        result = load.run(
            port=server.port,
            rate=rate,
            seconds=seconds,
            slow_ms=SLOW_MS,
            uniform=uniform,
            **options,
        )
    return result, gaps, checkpoints.ended, compactions(server.directory) - before


def tell(result: Result, gaps: Gaps, rate: float, saves: int, compacted: int) -> str:
    """Print the report; return its verdict."""
    verdict = judge(result, gaps, PAUSE_MS_MAX)
    header = ["ms", "p50", "p99", "p99.9", "max"]
    rows = [[kind, *latency_cells(result, kind)] for kind in ("read", "write")]
    rows.append(["all", *latency_cells(result)])
    report.say(report.table(header, rows))
    machine_ms = max((end - start for start, end in gaps.gaps), default=0) / NS_PER_MS
    report.say(
        f"\noffered {report.count(rate)}/s, answered {report.count(result.rate)}/s; "
        f"{saves} checkpoints and {compacted} compactions ended meanwhile; "
        f"{len(gaps.gaps)} pauses of the machine over {GAP_MS} ms, the longest "
        f"{machine_ms:.0f} ms\n{verdict}"
    )
    return verdict


@click.command()
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--rate", default=0.0, help="Requests/s; half of the measured maximum if 0.")
@click.option("--connections", default=50, show_default=True)
@click.option("--writes", default=50, show_default=True, help="Percent of SET; the rest is GET.")
@click.option("--keys", default=2_000_000, show_default=True)
@click.option("--value-bytes", default=100, show_default=True)
@click.option("--uniform", is_flag=True, help="Equal distances instead of a Poisson process.")
@click.option("--spin", is_flag=True, help="Let the control spin instead of ticking each ms.")
@click.option("--quick", is_flag=True, help="Few keys and seconds: does it all run?")
@click.option("--dir", "parent", default=None, type=click.Path(path_type=Path, exists=True))
@click.option("--server", "kind", type=click.Choice(["kvnode", "redis"]), default="kvnode")
@click.option("--gate", is_flag=True, help="Fail when there was a pause.")
def main(
    seconds: float,
    rate: float,
    connections: int,
    writes: int,
    keys: int,
    value_bytes: int,
    uniform: bool,
    spin: bool,
    quick: bool,
    parent: Path | None,
    kind: str,
    gate: bool,
) -> None:
    """Measure latency at a fixed rate with checkpoints and compactions running."""
    if quick:
        seconds, keys = 2.0, 20_000
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
    shape: dict[str, Any] = {"keys": keys, "value_bytes": value_bytes}
    options: dict[str, Any] = shape | {"connections": connections, "writes": writes}
    server = servers.start(kind, directory / kind)
    try:
        load.run(
            port=server.port,
            requests=keys,
            sequential=True,
            writes=100,
            window=LOAD_WINDOW,
            connections=LOAD_CONNECTIONS,
            **shape,
        )
        maximum = maximum_rate(server, options, max(MAXIMUM_SECONDS_MIN, seconds / 10))
        rate = rate or maximum / 2
        result, gaps, saves, compacted = measure(server, options, rate, seconds, spin, uniform)
    finally:
        server.stop()
        shutil.rmtree(directory)
    report.say(
        f"{machine.processor()}, commit {machine.commit()}, {kind}, {connections} clients, "
        f"{keys} keys, maximum {report.count(maximum)}/s\n"
    )
    verdict = tell(result, gaps, rate, saves, compacted)
    report.remember(
        "openloop",
        {
            "server": kind,
            "maximum": maximum,
            "offered": rate,
            "writes_percent": writes,
            "keys": keys,
            "checkpoints": saves,
            "compactions": compacted,
            "verdict": verdict,
            "histogram": result.histogram().encode().decode(),
        },
    )
    if gate and not verdict.startswith("reached"):
        sys.exit(1)


if __name__ == "__main__":
    main()
