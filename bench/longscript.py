"""Latency of other clients while a script runs for ten seconds, and what redis-server does then.

`python -m bench.longscript`; docs/BENCHMARKS.md says how to read it.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import redis

from bench import ROOT, load, machine, plot, report, servers
from bench.load import NS_PER_MS, Result
from bench.openloop import maximum_rate
from bench.servers import Server

RATIO_MAX = 2.0  # p99 beside a script, to that beside a foreign process
BEFORE_SECONDS = 3  # of load, before the busy time begins, and after it
NICE = 19
PICTURE = ROOT / "docs" / "long-script.svg"
SCRIPT = """
local n = 0
for round = 1, tonumber(ARGV[1]) do
    for i = 1, 1000 do n = n + i % 7 end
    redis.call('GET', KEYS[1])
end
redis.call('SET', KEYS[2], n)
return n
"""
PROBE_ROUNDS = 20_000
ENDLESS = 10**12  # rounds
HOG = [sys.executable, "-c", "while True: pass"]


@dataclass
class Phase:
    """What one run saw. busy: seconds of the load's schedule, begin and end of the busy time."""

    name: str
    rate: float
    result: Result
    busy: tuple[float, float]

    def quantile_ms(self, percentile: float) -> float:
        """Return a quantile of what was due in the whole seconds of the busy time."""
        first = int(self.busy[0]) + 1
        return self._of(range(first, max(int(self.busy[1]), first + 1)), percentile)

    def calm_ms(self, percentile: float) -> float:
        """The same of the seconds before."""
        return self._of(range(1, int(self.busy[0])), percentile)

    def _of(self, seconds: range, percentile: float) -> float:
        value = self.result.histogram_of(seconds).get_value_at_percentile(percentile)
        return float(value) / NS_PER_MS

    def by_second(self, percentile: float) -> list[tuple[float, float]]:
        """Return (second, ms) for each second in which requests were due."""
        seconds = sorted(self.result.buckets_by_second)
        return [
            (float(second), self._of(range(second, second + 1), percentile)) for second in seconds
        ]


def run_script(server: Server, rounds: int) -> None:
    """Run the script to its end."""
    client = redis.Redis(port=server.port, socket_timeout=None)
    client.eval(SCRIPT, 2, "key:000000000000", "script:result", rounds)
    client.close()


def run_and_kill(server: Server, seconds: float) -> None:
    """Run the script until it is killed."""
    killer = threading.Timer(seconds, server.client.script_kill)
    killer.start()
    with contextlib.suppress(redis.ResponseError):
        run_script(server, ENDLESS)
    killer.join()


def rounds_for(server: Server, seconds: float) -> int:
    """Return how many rounds take so long; of a server whose scripts cannot be killed."""
    began = time.monotonic()
    run_script(server, PROBE_ROUNDS)
    return round(PROBE_ROUNDS * seconds / (time.monotonic() - began))


def run_hog(seconds: float) -> None:
    """Run a foreign process that computes as long, at the lowest priority."""
    hog = subprocess.Popen(HOG, preexec_fn=lambda: os.nice(NICE) and None)
    time.sleep(seconds)
    hog.kill()
    hog.wait()


def measure(
    name: str,
    server: Server,
    rate: float,
    seconds: float,
    shape: dict[str, Any],
    busy: Callable[[], None],
) -> Phase:
    """Offer a load, and let something be busy in its midst."""
    times: list[float] = []

    def work() -> None:
        time.sleep(BEFORE_SECONDS)
        times.append(time.monotonic())
        busy()
        times.append(time.monotonic())

    thread = threading.Thread(target=work)
    began = time.monotonic()
    thread.start()
    total = seconds + 2 * BEFORE_SECONDS
    result = load.run(port=server.port, rate=rate, seconds=total, by_second=True, **shape)
    thread.join()
    end = min(times[1] - began, total)
    return Phase(name, rate, result, (times[0] - began, end))


def rows(phases: list[Phase]) -> list[list[str]]:
    """Return the rows of the table."""
    return [
        [
            phase.name,
            report.count(phase.rate),
            f"{phase.calm_ms(99):.2f}",
            *(f"{phase.quantile_ms(percentile):.2f}" for percentile in (50, 99, 99.9, 100)),
            f"{phase.busy[1] - phase.busy[0]:.1f}",
        ]
        for phase in phases
    ]


def verdict(script: Phase, foreign: Phase) -> tuple[float, str]:
    """Return the ratio of the two p99, and the sentence about it."""
    ratio = script.quantile_ms(99) / foreign.quantile_ms(99)
    word = "reached" if ratio <= RATIO_MAX else "MISSED"
    return ratio, f"{word}: p99 beside the script is {ratio:.2f} of that beside the process"


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="For which the script runs.")
@click.option("--connections", default=50, show_default=True)
@click.option("--writes", default=50, show_default=True, help="Percent of SET; the rest is GET.")
@click.option("--keys", default=100_000, show_default=True)
@click.option("--quick", is_flag=True, help="A short script: does it all run?")
@click.option("--picture", default=PICTURE, type=click.Path(path_type=Path), show_default=True)
@click.option("--dir", "parent", default=None, type=click.Path(path_type=Path, exists=True))
@click.option("--gate", is_flag=True, help="Fail when the ratio is missed.")
def main(
    seconds: float,
    connections: int,
    writes: int,
    keys: int,
    quick: bool,
    picture: Path,
    parent: Path | None,
    gate: bool,
) -> None:
    """Compare latency beside a long script with that beside a foreign process, and with Redis."""
    if quick:
        seconds, keys = 2.0, 10_000
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
    shape: dict[str, Any] = {"connections": connections, "writes": writes, "keys": keys}
    phases: list[Phase] = []
    try:
        server = servers.start_kvnode(directory / "kvnode")
        try:
            rate = filled(server, keys, shape) / 2
            phases.append(
                measure(
                    "kvnode, script",
                    server,
                    rate,
                    seconds,
                    shape,
                    lambda: run_and_kill(server, seconds),
                )
            )
            phases.append(
                measure("kvnode, process", server, rate, seconds, shape, lambda: run_hog(seconds))
            )
        finally:
            server.stop()
        if servers.redis_missing() is None:
            options = ["--busy-reply-threshold", "0"]  # else it answers -BUSY after 5 s
            rival = servers.start_redis(directory / "redis", durable=True, options=options)
            try:
                rate = filled(rival, keys, shape) / 2
                rounds = rounds_for(rival, seconds)
                phases.append(
                    measure(
                        "redis, script",
                        rival,
                        rate,
                        seconds,
                        shape,
                        lambda: run_script(rival, rounds),
                    )
                )
            finally:
                rival.stop()
    finally:
        shutil.rmtree(directory)
    tell(phases, seconds, picture)
    if gate and verdict(phases[0], phases[1])[0] > RATIO_MAX:
        sys.exit(1)


def filled(server: Server, keys: int, shape: dict[str, Any]) -> float:
    """Write all keys; return the maximum of a closed loop."""
    load.run(port=server.port, requests=keys, sequential=True, **(shape | {"writes": 100}))
    return maximum_rate(server, shape, 2.0)


def tell(phases: list[Phase], seconds: float, picture: Path) -> None:
    """Print the table, draw the picture, and remember the figures."""
    report.say(f"{machine.processor()}, commit {machine.commit()}\n")
    header = ["ms", "offered/s", "p99 before", "p50", "p99", "p99.9", "max", "busy s"]
    report.say(report.table(header, rows(phases)))
    ratio, sentence = verdict(phases[0], phases[1])
    report.say(f"\n{sentence}")
    plot.write(
        picture,
        f"p99 latency at half load; a script runs for {seconds:.0f} s",
        [(phase.name, phase.by_second(99)) for phase in phases],
        phases[0].busy,
    )
    report.remember(
        "longscript",
        {
            "ratio": ratio,
            "phases": {
                phase.name: {
                    "offered": phase.rate,
                    "busy": phase.busy,
                    "p99": phase.quantile_ms(99),
                    "max": phase.quantile_ms(100),
                    "by_second": phase.by_second(99),
                }
                for phase in phases
            },
        },
    )


if __name__ == "__main__":
    main()
