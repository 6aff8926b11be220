"""Ratios of throughput, kvnode to redis-server, from interleaved slices of one run.

`python -m bench.ratio` prints the table; docs/BENCHMARKS.md says how to read it.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from bench import machine, report, servers, workloads
from bench.servers import Process, Server
from bench.stats import geometric_mean, median, median_interval, spread
from bench.workloads import ROWS, Row

QUADRUPLES_MIN = 9  # fewer give no verdict
TOLERANCE = 0.03  # a ratio counts as reached when it is at least the target less this
SPIN_SPREAD_MAX = 0.05  # the processor itself: frequency, a neighbour on the same core
STOLEN_MAX = 0.01  # share of the elapsed time taken by the hypervisor
FOREIGN_MAX = 0.10  # CPUs used by processes that are no part of the run
RIVAL_SPREAD_MAX = 0.15  # of the rival's slices
PROBE_REQUESTS = 5_000
PROBE_REQUESTS_ALONE = 500


@dataclass(frozen=True)
class Plan:
    """How much is measured: quadruples per row, and seconds per slice."""

    quadruples: int
    seconds: float


@dataclass(frozen=True)
class Slice:
    """One run of redis-benchmark against one server."""

    rate: float  # requests/s
    cpu_us: float  # of the server, per request
    syncs: float | None  # per 1,000 requests; None where the server does not count them


@dataclass
class Measured:
    """All slices of one row at one pipeline depth."""

    row: Row
    depth: int
    ours: list[Slice] = field(default_factory=list)
    rivals: list[Slice] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)  # one per quadruple
    spins: list[float] = field(default_factory=list)
    stolen: float = 0.0  # share of the elapsed time
    foreign: float = 0.0  # CPUs

    @property
    def target(self) -> float:
        return self.row.targets[self.depth]

    @property
    def scenario(self) -> str:
        return f"{self.row.name} P={self.depth}"

    def noise(self) -> list[str]:
        """Return why the machine was too restless to judge; empty when it was calm."""
        checks = (
            ("processor speed varies", spread(self.spins), SPIN_SPREAD_MAX),
            ("stolen time", self.stolen, STOLEN_MAX),
            ("CPUs used by others", self.foreign, FOREIGN_MAX),
            (
                "rival's rate varies",
                spread([slice.rate for slice in self.rivals]),
                RIVAL_SPREAD_MAX,
            ),
        )
        return [f"{what} {value:.0%}" for what, value, limit in checks if value > limit]

    def verdict(self) -> str:
        """Return `reached`, `missed`, or why neither can be said."""
        if len(self.ratios) < QUADRUPLES_MIN:
            return "too few runs"
        if reasons := self.noise():
            return "noisy: " + ", ".join(reasons)
        return "reached" if median(self.ratios) >= self.target - TOLERANCE else "missed"


def requests_for(server: Server, row: Row, depth: int, seconds: float) -> int:
    """Return how many requests take about `seconds`; asking also warms the server up."""
    probe = PROBE_REQUESTS_ALONE if row.clients == 1 else PROBE_REQUESTS * min(depth, 16)
    workloads.prepare(server, row, probe)
    rate = workloads.run(server, row, depth, probe)
    step = row.clients * depth
    return max(1, round(rate * seconds / step)) * step


def run_slice(server: Server, row: Row, depth: int, requests: int) -> Slice:
    """Measure one slice: rate, CPU time and syncs per request."""
    workloads.prepare(server, row, requests)
    syncs = server.counter("log_fsyncs")
    cpu = server.cpu_seconds()
    rate = workloads.run(server, row, depth, requests)
    cpu = server.cpu_seconds() - cpu
    if syncs is not None:
        syncs = (server.counter("log_fsyncs") or 0) - syncs
    per_thousand = None if syncs is None else syncs * 1000 / requests
    return Slice(rate, cpu * 1e6 / requests, per_thousand)


def own_cpu_seconds(processes: Sequence[Process]) -> float:
    """Return the CPU time of this process, the clients it ran, and the servers."""
    times = os.times()
    clients = times.user + times.system + times.children_user + times.children_system
    return clients + sum(server.cpu_seconds() for server in processes)


def measure(rival: Server, ours: Server, row: Row, depth: int, plan: Plan) -> Measured:
    """Run the quadruples rival, ours, ours, rival: a drift of the machine cancels in each."""
    measured = Measured(row, depth)
    requests = {
        server.name: requests_for(server, row, depth, plan.seconds) for server in (rival, ours)
    }
    before, own = machine.usage(), own_cpu_seconds((rival, ours))
    for _ in range(plan.quadruples):
        measured.spins.append(machine.spin_seconds())
        rates: dict[str, list[float]] = {rival.name: [], ours.name: []}
        for server in (rival, ours, ours, rival):
            one = run_slice(server, row, depth, requests[server.name])
            (measured.ours if server is ours else measured.rivals).append(one)
            rates[server.name].append(one.rate)
        measured.ratios.append(geometric_mean(rates[ours.name]) / geometric_mean(rates[rival.name]))
    used = machine.usage().since(before)
    measured.stolen = used.stolen / used.at
    measured.foreign = (used.busy - (own_cpu_seconds((rival, ours)) - own)) / used.at
    return measured


def cells(measured: Measured) -> list[str]:
    """Return the row of the table."""
    low, high = median_interval(measured.ratios)
    syncs = [one.syncs for one in measured.ours if one.syncs is not None]
    return [
        measured.scenario,
        report.count(median([one.rate for one in measured.ours])),
        report.count(median([one.rate for one in measured.rivals])),
        f"{median(measured.ratios):.2f}",
        f"{low:.2f}–{high:.2f}",  # noqa: RUF001
        f"{measured.target:.1f}",
        measured.verdict(),
        f"{median([one.cpu_us for one in measured.ours]):.2f}",
        f"{median([one.cpu_us for one in measured.rivals]):.2f}",
        f"{median(syncs):.1f}" if syncs else "-",
    ]


def history(measured: Measured, names: tuple[str, str]) -> dict[str, object]:
    """Return the fields of the row's line in the history."""
    low, high = median_interval(measured.ratios)
    return {
        "servers": names,
        "clients": measured.row.clients,
        "depth": measured.depth,
        "quadruples": len(measured.ratios),
        "ratio": median(measured.ratios),
        "ratio_low": low,
        "ratio_high": high,
        "target": measured.target,
        "verdict": measured.verdict(),
        "ratios": measured.ratios,
        "spin_spread": spread(measured.spins),
        "stolen": measured.stolen,
        "foreign": measured.foreign,
        "rival_spread": spread([one.rate for one in measured.rivals]),
        "ours": [asdict(one) for one in measured.ours],
        "rivals": [asdict(one) for one in measured.rivals],
    }


def chosen(rows: str, depths: str) -> list[tuple[Row, int]]:
    """Return the (row, pipeline depth) pairs that the options ask for.

    Raises click.UsageError for a name that is no row.
    """
    by_name = {row.name: row for row in ROWS}
    wanted = rows.upper().split(",") if rows else list(by_name)
    if unknown := [name for name in wanted if name not in by_name]:
        raise click.UsageError(f"no row {unknown[0]}; there are {', '.join(by_name)}")
    only = {int(depth) for depth in depths.split(",")} if depths else None
    return [
        (by_name[name], depth)
        for name in wanted
        for depth in by_name[name].targets
        if only is None or depth in only
    ]


def run(
    directory: Path, pairs: Sequence[tuple[Row, int]], plan: Plan, candidate: str
) -> list[Measured]:
    """Start the servers that the pairs need, load them and measure every pair."""
    running: dict[str, Server] = {}

    def server(kind: str, durable: bool) -> Server:
        name = "kvnode" if kind == "kvnode" else f"{kind}-{'always' if durable else 'none'}"
        if name not in running:
            if kind == "kvnode":
                running[name] = servers.start_kvnode(directory / name)
            else:
                running[name] = servers.start_redis(directory / name, durable, name)
            workloads.preload(running[name])
        return running[name]

    results = []
    try:
        for row, depth in pairs:
            rival, ours = server("redis", row.durable), server(candidate, row.durable)
            measured = measure(rival, ours, row, depth, plan)
            results.append(measured)
            report.progress(" ".join(cells(measured)))
            report.remember(
                f"ratio {measured.scenario}", history(measured, (ours.name, rival.name))
            )
    finally:
        for started in running.values():
            started.stop()
    return results


@click.command()
@click.option("--rows", default="", help="Comma-separated names of rows; all when not given.")
@click.option("--depths", default="", help="Comma-separated pipeline depths; all when not given.")
@click.option("--quadruples", default=QUADRUPLES_MIN, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Length of a slice.")
@click.option("--quick", is_flag=True, help="One quadruple of short slices: does it all run?")
@click.option(
    "--dir",
    "parent",
    default=None,
    type=click.Path(path_type=Path, exists=True),
    help="Where the data goes; decides which disk is measured.",
)
@click.option(
    "--candidate",
    type=click.Choice(["kvnode", "redis2"]),
    default="kvnode",
    help="redis2: a second redis-server, to check that the ratio is then 1.",
)
@click.option("--gate", is_flag=True, help="Fail when a row is missed.")
def main(
    rows: str,
    depths: str,
    quadruples: int,
    seconds: float,
    quick: bool,
    parent: Path | None,
    candidate: str,
    gate: bool,
) -> None:
    """Measure kvnode and redis-server side by side and print the table of ratios."""
    if reason := servers.redis_missing():
        report.say(f"skipped: {reason}, so there is nothing to compare with")
        return
    pairs = chosen(rows, depths)
    plan = Plan(1, 0.1) if quick else Plan(quadruples, seconds)
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
    try:
        sync = machine.sync_micros(directory)
        results = run(directory, pairs, plan, candidate)
    finally:
        shutil.rmtree(directory)
    report.say(
        f"{machine.processor()}, 4 KiB write with fdatasync {sync:.0f} µs, "
        f"commit {machine.commit()}, {plan.quadruples} quadruples of 4 x {plan.seconds} s\n"
    )
    header = [
        "",
        f"{candidate}/s",
        "redis/s",
        "ratio",
        "95 %",
        "target",
        "verdict",
        f"{candidate} CPU µs/op",
        "redis CPU µs/op",
        "fsyncs/1000",
    ]
    report.say(report.table(header, [cells(measured) for measured in results]))
    if gate and any(measured.verdict() == "missed" for measured in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
