"""What other clients notice of commands over millions of elements: `python -m bench.holdup`.

A client in a process of its own sends GET and SET at a fixed rate, on a schedule, while one command
runs, and until what it leaves behind is swept. docs/BENCHMARKS.md says how to read it.
"""

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from bench import load, machine, report, servers
from bench.load import NS_PER_MS, Gaps, Result
from bench.servers import Server

RATE = 500.0
CONNECTIONS = 4
KEYS = 1000
BEFORE_SECONDS = 0.5  # of the probe, before the command is sent
LIMIT_MS = 20  # a request may take so long, or IDLE_FACTOR times the longest with nothing going on
IDLE_FACTOR = 2
GAP_MS = 3  # a shorter standstill of the machine is scheduling
SLOW_MS = 5
PER_COMMAND = 2000  # elements written at once while loading

Words = tuple[str | bytes | int, ...]


@dataclass(frozen=True)
class Scenario:
    """One row: `commands` run one after another, as one EXEC if there are several."""

    name: str
    commands: Callable[[], Iterable[Words]]
    loads: tuple[tuple[str, str, int], ...] = ()  # command, key, elements; loaded before


@dataclass
class Row:
    """What the probe saw of one scenario."""

    name: str
    result: Result
    gaps: Gaps
    command_seconds: float
    pass_ms: float | None
    missed: list[str] = field(default_factory=list)

    @property
    def worst_ms(self) -> float:
        """The slowest request, without what the machine's own pauses took of it."""
        slow = load.own_pauses(self.result, self.gaps, 0)
        calm = min(self.result.histogram().get_max_value() / NS_PER_MS, SLOW_MS)
        return max([net for _, net in slow], default=calm)


def scenarios(scale: float) -> list[Scenario]:
    """Return all rows; scale: of the numbers of elements."""
    million, half, third = (int(n * scale) for n in (1_000_000, 500_000, 300_000))

    def one(*words: str | int) -> Callable[[], Iterable[Words]]:
        return lambda: [words]

    def sets() -> Iterable[Words]:
        return [("SET", f"many:{i}", f"value:{i}") for i in range(int(100_000 * scale))]

    return [
        Scenario("nothing", lambda: []),
        Scenario(
            f"SUNIONSTORE of {million + half}",
            one("SUNIONSTORE", "union", "set", "other"),
            (("SADD", "set", million), ("SADD", "other", half)),
        ),
        Scenario(f"SINTERSTORE of {million}", one("SINTERSTORE", "common", "set", "union")),
        Scenario(f"COPY of a set of {million}", one("COPY", "set", "copy")),
        Scenario(f"DEL of a set of {million}", one("DEL", "copy")),
        Scenario(f"RENAME over a set of {million + half}", one("RENAME", "common", "union")),
        Scenario(
            f"SORT STORE of {half}",
            one("SORT", "list", "STORE", "sorted"),
            (("RPUSH", "list", half),),
        ),
        Scenario(
            f"LREM of {third} in {million}",
            one("LREM", "long", 0, "dead"),
            (("RPUSH dead", "long", million),),
        ),
        Scenario(f"DEL of a list of {million - third}", one("DEL", "long")),
        Scenario(
            f"ZUNIONSTORE of {half}",
            one("ZUNIONSTORE", "zunion", 1, "zset"),
            (("ZADD", "zset", half),),
        ),
        Scenario(f"DEL of a sorted set of {half}", one("DEL", "zunion")),
        Scenario(
            f"COPY of a hash of {million} with deadlines",
            one("COPY", "hash", "hash2"),
            (("HSET", "hash", million), ("HEXPIRE", "hash", 100)),
        ),
        Scenario(f"PEXPIRE that meets a hash of {million}", one("PEXPIRE", "hash", 1)),
        Scenario(f"EXEC of {int(100_000 * scale)} SET", sets),
        Scenario("FLUSHALL of all that is left", one("FLUSHALL")),
    ]


def elements(command: str, first: int, end: int) -> list[str | int]:
    """Return the arguments of a command that writes elements [first, end)."""
    words: list[str | int] = []
    for i in range(first, end):
        if command == "ZADD":
            words += [i * 7919 % 1_000_003, f"member:{i}"]
        elif command == "HSET":
            words += [f"field:{i}", "value"]
        elif command == "RPUSH dead":
            words.append("dead" if i % 10 < 3 else f"element:{i}")
        elif command == "RPUSH":
            words.append(i * 7919 % 1_000_003)
        else:
            words.append(f"member:{i}")
    return words


def fill(server: Server, command: str, key: str, count: int) -> None:
    """Write a collection; or deadlines of some of its fields, where the server knows these."""
    if command == "HEXPIRE":
        if server.name == "kvnode":
            fields = [f"field:{i}" for i in range(count)]
            server.client.execute_command(command, key, 100_000, "FIELDS", count, *fields)
        return
    for first in range(0, count, PER_COMMAND):
        words = elements(command, first, min(count, first + PER_COMMAND))
        server.client.execute_command(command.split()[0], key, *words)


def send(server: Server, commands: Sequence[Words]) -> float:
    """Run a scenario's commands; return how long that took in seconds."""
    began = time.monotonic()
    if len(commands) == 1:
        server.client.execute_command(*commands[0])
    elif commands:
        with server.client.pipeline(transaction=True) as pipeline:
            for words in commands:
                pipeline.execute_command(*words)
            began = time.monotonic()
            pipeline.execute()
    return time.monotonic() - began


def measure(server: Server, scenario: Scenario, seconds: float) -> Row:
    """Load what the scenario needs, then run it beside the probe."""
    for words in scenario.loads:
        fill(server, *words)
    commands = list(scenario.commands())
    server.client.config_resetstat()
    probed: list[Result] = []

    def probe() -> None:
        probed.append(
            load.run(
                port=server.port,
                rate=RATE,
                seconds=seconds,
                keys=KEYS,
                connections=CONNECTIONS,
                slow_ms=SLOW_MS,
                uniform=True,
            )
        )

    with load.control(GAP_MS) as gaps:
        thread = threading.Thread(target=probe)
        thread.start()
        time.sleep(BEFORE_SECONDS)
        took = send(server, commands)
        thread.join()
    longest = server.counter("pass_us_max")
    if not probed:
        raise load.LoadError("the probe failed")
    row = Row(scenario.name, probed[0], gaps, took, None if longest is None else longest / 1000)
    if took > seconds - BEFORE_SECONDS:
        report.progress(f"{scenario.name}: took {took:.1f} s, longer than the probe")
    return row


def tell(server: Server, rows: Sequence[Row]) -> list[str]:
    """Print the table of one server; return the names of the rows past the limit."""
    idle = rows[0].worst_ms
    limit = max(LIMIT_MS, IDLE_FACTOR * idle)
    header = [server.name, "p50", "p99", "max", "less the machine's", "/ nothing", "longest pass"]
    cells, missed = [], []
    for row in rows:
        histogram = row.result.histogram()
        values = [histogram.get_value_at_percentile(50), histogram.get_value_at_percentile(99)]
        values.append(histogram.get_max_value())
        if row.worst_ms > limit:
            missed.append(f"{row.name}: {row.worst_ms:.0f} ms")
        cells.append(
            [
                f"{row.name} ({row.command_seconds:.2f} s)",
                *(f"{value / NS_PER_MS:.2f}" for value in values),
                f"{row.worst_ms:.2f}",
                f"{row.worst_ms / idle:.1f}",
                "-" if row.pass_ms is None else f"{row.pass_ms:.2f}",
            ]
        )
    report.say(report.table(header, cells))
    verdict = "MISSED: " + "; ".join(missed) if missed else "reached"
    report.say(f"\nin ms; limit {limit:.0f}. {verdict}\n")
    report.remember(
        "holdup",
        {
            "server": server.name,
            "limit_ms": limit,
            "worst_ms": {row.name: row.worst_ms for row in rows},
            "pass_ms": {row.name: row.pass_ms for row in rows},
            "missed": missed,
        },
    )
    return missed


@click.command()
@click.option("--scale", default=1.0, show_default=True, help="Of all numbers of elements.")
@click.option("--seconds", default=8.0, show_default=True, help="How long each row is probed.")
@click.option("--only", default="", help="Rows whose name contains this, and `nothing`.")
@click.option("--maxmemory", default="4gb", show_default=True)
@click.option("--dir", "parent", default=None, type=click.Path(path_type=Path, exists=True))
@click.option("--server", "kinds", multiple=True, default=("kvnode",), show_default=True)
@click.option("--gate", is_flag=True, help="Fail when a limit was not kept.")
def main(
    scale: float,
    seconds: float,
    only: str,
    maxmemory: str,
    parent: Path | None,
    kinds: tuple[str, ...],
    gate: bool,
) -> None:
    """Probe a server while commands over millions of elements run."""
    report.say(f"{machine.processor()}, commit {machine.commit()}, {RATE:.0f} requests/s\n")
    missed: list[str] = []
    for kind in kinds:
        directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
        server = servers.start(kind, directory / kind, ["--maxmemory", maxmemory])
        server.client.connection_pool.connection_kwargs["socket_timeout"] = 120
        rows = []
        try:
            for scenario in scenarios(scale):
                if only in scenario.name or scenario.name == "nothing":
                    rows.append(measure(server, scenario, seconds))
                    report.progress(f"{kind}: {scenario.name}: {rows[-1].worst_ms:.1f} ms")
                else:
                    for words in scenario.loads:
                        fill(server, *words)
        finally:
            server.stop()
            shutil.rmtree(directory)
        missed += tell(server, rows)
    if gate and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
