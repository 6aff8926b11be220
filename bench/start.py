"""Time from starting a killed node until it serves, with a given amount of data.

`python -m bench.start`; docs/BENCHMARKS.md says how to read it.
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from bench import load, machine, report, servers
from bench.servers import POLL_SECONDS, READY_SECONDS, Server, ServerError
from bench.stats import median

READY_SECONDS_MAX = 5.0
CONNECTIONS = 50
WINDOW = 8
CHECKED_KEYS = 100
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def drop_page_cache() -> None:
    """Make the next reads come from the disk. Needs root; raises PermissionError without."""
    DROP_CACHES.write_text("1")


def check(server: Server, keys: int, value_bytes: int) -> None:
    """Read some keys, the last ones written among them. Raises ServerError when one is gone."""
    numbers = [*random.Random(1).sample(range(keys), min(keys, CHECKED_KEYS)), keys - 1]
    for number in numbers:
        value = server.client.get(f"key:{number:012}")
        if value is None or len(value) != value_bytes:
            raise ServerError(f"{server.name}: key:{number:012} is not what was written")


def ready_seconds(server: Server) -> float:
    """Return the seconds from the process's start to its first answer to a command."""
    while time.monotonic() - server.began < READY_SECONDS:
        try:
            server.wait_ready()
            server.client.get("key:000000000000")
            return time.monotonic() - server.began
        except servers.NOT_READY:
            time.sleep(POLL_SECONDS)
    raise ServerError(f"{server.name} was not ready after {READY_SECONDS} s{server.tail()}")


def fill(server: Server, keys: int, value_bytes: int, seed: int) -> None:
    """Write all keys."""
    load.run(
        port=server.port,
        requests=keys,
        keys=keys,
        sequential=True,
        writes=100,
        value_bytes=value_bytes,
        connections=CONNECTIONS,
        window=WINDOW,
        seed=seed,
    )


@click.command()
@click.option("--megabytes", default=1000, show_default=True, help="Bytes of values, in 10^6.")
@click.option("--value-bytes", default=1000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--cold", is_flag=True, help="Empty the page cache before each start (root).")
@click.option("--dir", "parent", default=None, type=click.Path(path_type=Path, exists=True))
@click.option("--server", "kind", type=click.Choice(["kvnode", "redis"]), default="kvnode")
@click.option("--gate", is_flag=True, help="Fail when a start took too long.")
def main(
    megabytes: int,
    value_bytes: int,
    rounds: int,
    cold: bool,
    parent: Path | None,
    kind: str,
    gate: bool,
) -> None:
    """Kill a loaded server and measure how long it takes to serve again.

    Before each round all keys are written again, so that there is a log to recover.
    """
    keys = megabytes * 1_000_000 // value_bytes
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
    server = servers.start(kind, directory / kind)
    times = []
    try:
        for number in range(rounds):
            fill(server, keys, value_bytes, number)
            server.kill()
            if cold:
                drop_page_cache()
            server = server.restart()
            times.append(ready_seconds(server))
            check(server, keys, value_bytes)
            report.progress(f"round {number + 1}: ready after {times[-1]:.2f} s")
    finally:
        server.stop()
        shutil.rmtree(directory)
    verdict = "reached" if max(times) <= READY_SECONDS_MAX else "MISSED"
    report.say(
        f"{machine.processor()}, commit {machine.commit()}, {kind}, {megabytes} MB, "
        f"{'cold' if cold else 'warm'} page cache\n"
    )
    report.say(
        f"ready after {median(times):.2f} s (median of {rounds}), at most {max(times):.2f} s"
        f"\n{verdict}: limit {READY_SECONDS_MAX:.0f} s"
    )
    report.remember(
        "start",
        {
            "server": kind,
            "megabytes": megabytes,
            "value_bytes": value_bytes,
            "cold": cold,
            "seconds": times,
            "verdict": verdict,
        },
    )
    if gate and verdict != "reached":
        sys.exit(1)


if __name__ == "__main__":
    main()
