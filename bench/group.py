"""A group of three on this machine, beside etcd's, a single node, and itself in other ways.

`python -m bench.group` prints the tables; docs/BENCHMARKS.md says how to read them.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from bench import groups, machine, ratio, report, servers, workloads
from bench.groups import Etcd, Group
from bench.servers import Process, Server, ServerError
from bench.stats import geometric_mean, median, median_interval, spread
from bench.workloads import Row

Cluster = Group | Etcd
ROUNDS_MIN = 7  # fewer give no verdict
DEPTHS = (1, 16)
PROBE_REQUESTS = 500  # times the depth
MOVES_MAX = 5  # of leaders, while one depth is measured; a round in which one moved is repeated
SET = Row("SET", ("-t", "set"), True, {})
GET = Row("GET", ("-t", "get"), False, {})


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds, each with two slices of everything, and seconds per slice."""

    rounds: int
    seconds: float


@dataclass(frozen=True)
class Contender:
    """Something that takes load. run: depth, requests -> requests/s.

    parts: returns the processes by the part that they play, the one that executes first.
    """

    name: str
    run: Callable[[int, int], float]
    parts: Callable[[], Mapping[str, Process]]


@dataclass(frozen=True)
class Comparison:
    """Of two contenders by name. limits: depth -> the least that their ratio should be."""

    ours: str
    rival: str
    limits: dict[int, float]


@dataclass(frozen=True)
class Slice:
    """One run of one contender: requests/s, CPU time per request by part in microseconds."""

    rate: float
    cpu_us: dict[str, float]


@dataclass
class Measured:
    """All slices of the contenders of one section at one depth; two per round of each."""

    depth: int
    slices: dict[str, list[Slice]] = field(default_factory=dict)
    spins: list[float] = field(default_factory=list)
    stolen: float = 0.0  # share of the elapsed time
    foreign: float = 0.0  # CPUs
    moves: int = 0  # rounds that were repeated, since a leader had moved

    def rates(self, name: str) -> list[float]:
        """Return the rate of a contender in each round."""
        rates = [one.rate for one in self.slices[name]]
        return [geometric_mean(rates[i : i + 2]) for i in range(0, len(rates), 2)]

    def ratios(self, comparison: Comparison) -> list[float]:
        """Return the ratio of each round."""
        pairs = zip(self.rates(comparison.ours), self.rates(comparison.rival), strict=True)
        return [ours / rival for ours, rival in pairs]

    def cpu_us(self, name: str) -> dict[str, float]:
        """Return the CPU time per request of each part."""
        parts = self.slices[name][0].cpu_us
        return {part: median([one.cpu_us[part] for one in self.slices[name]]) for part in parts}

    def noise(self) -> list[str]:
        """Return why the machine was too restless to judge; empty when it was calm."""
        checks = (
            ("processor speed varies", spread(self.spins), ratio.SPIN_SPREAD_MAX),
            ("stolen time", self.stolen, ratio.STOLEN_MAX),
            ("CPUs used by others", self.foreign, ratio.FOREIGN_MAX),
        )
        return [f"{what} {value:.0%}" for what, value, limit in checks if value > limit]

    def verdict(self, comparison: Comparison) -> str:
        """Return `reached`, `missed`, or why neither can be said."""
        limit = comparison.limits.get(self.depth)
        if limit is None:
            return "-"
        ratios = self.ratios(comparison)
        if len(ratios) < ROUNDS_MIN:
            return "too few runs"
        if reasons := self.noise():
            return "noisy: " + ", ".join(reasons)
        return "reached" if median(ratios) >= limit else "missed"


def at(
    name: str,
    server: Callable[[], Server],
    row: Row,
    parts: Callable[[], Mapping[str, Process]],
) -> Contender:
    """Return a contender that redis-benchmark loads at what `server` returns."""

    def run(depth: int, requests: int) -> float:
        return workloads.run(server(), row, depth, requests)

    return Contender(name, run, parts)


def run_slice(contender: Contender, depth: int, requests: int) -> Slice:
    """Measure one slice."""
    parts = contender.parts()
    before = {part: process.cpu_seconds() for part, process in parts.items()}
    rate = contender.run(depth, requests)
    cpu_us = {
        part: (process.cpu_seconds() - before[part]) * 1e6 / requests
        for part, process in parts.items()
    }
    return Slice(rate, cpu_us)


def requests_for(contender: Contender, depth: int, seconds: float) -> int:
    """Return how many requests take about `seconds`; asking also warms everything up."""
    step = workloads.CLIENTS * depth
    rate = contender.run(depth, max(PROBE_REQUESTS, workloads.CLIENTS) * depth)
    return max(1, round(rate * seconds / step)) * step


def measure(
    contenders: Sequence[Contender],
    clusters: Sequence[Cluster],
    others: Sequence[Process],
    depth: int,
    plan: Plan,
) -> Measured:
    """Run rounds of all contenders, there and back: a drift of the machine cancels in each.

    clusters, others: all that runs. Raises ServerError when leaders move too often.
    """
    measured = Measured(depth, {contender.name: [] for contender in contenders})
    requests = {one.name: requests_for(one, depth, plan.seconds) for one in contenders}
    processes = [*others, *(node for cluster in clusters for node in cluster.nodes)]
    find_leaders(clusters)
    before, own = machine.usage(), ratio.own_cpu_seconds(processes)
    while len(measured.spins) < plan.rounds:
        spin = machine.spin_seconds()
        order = (*contenders, *reversed(contenders))
        slices = [(one.name, run_slice(one, depth, requests[one.name])) for one in order]
        if find_leaders(clusters):
            measured.moves += 1
            if measured.moves > MOVES_MAX:
                raise ServerError(f"leaders have moved {measured.moves} times: too restless")
            continue
        measured.spins.append(spin)
        for name, one in slices:
            measured.slices[name].append(one)
    used = machine.usage().since(before)
    measured.stolen = used.stolen / used.at
    measured.foreign = (used.busy - (ratio.own_cpu_seconds(processes) - own)) / used.at
    return measured


def find_leaders(clusters: Sequence[Cluster]) -> bool:
    """Find out who leads; return whether any leader is another one than before."""
    before = [cluster.leader for cluster in clusters]
    for cluster in clusters:
        cluster.find_leader()
    return before != [cluster.leader for cluster in clusters]


def load_keys(server: Server) -> None:
    """Write every key that a read may ask for."""
    value = b"x" * workloads.VALUE_BYTES
    workloads.write(server.client, [(f"key:{i:012}", value) for i in range(workloads.KEYS)])


Section = tuple[list[Measured], list[Comparison]]


def measure_writes(directory: Path, depths: Sequence[int], plan: Plan) -> Section:
    """Compare SET at the leader with etcd, with a single node, and with SET at a follower."""
    comparisons = [
        Comparison("SET", "SET single node", {16: 0.4}),
        Comparison("SET at a follower", "SET", {16: 0.6}),
    ]
    clusters: list[Cluster] = []
    others: list[Server] = []
    try:
        group = Group("group", directory / "group")
        clusters.append(group)
        single = servers.start_kvnode(directory / "single", name="single node")
        others.append(single)
        contenders = [
            at("SET", lambda: group.leader, SET, group.parts),
            at("SET at a follower", lambda: group.follower, SET, group.parts),
            at("SET single node", lambda: single, SET, lambda: {"single": single}),
        ]
        if groups.etcd_missing() is None:
            etcd = Etcd(directory)
            clusters.append(etcd)
            contenders.append(Contender("put etcd", etcd.put, etcd.parts))
            comparisons.insert(0, Comparison("SET", "put etcd", {1: 2.0, 16: 4.0}))
        results = [measure(contenders, clusters, others, depth, plan) for depth in depths]
    finally:
        for started in (*clusters, *others):
            started.stop()
    return results, comparisons


def measure_reads(directory: Path, depths: Sequence[int], plan: Plan) -> Section:
    """Compare GET at the leader with that of a leader with leases, and with GET at a follower."""
    comparisons = [
        Comparison("GET", "GET with leases", {1: 0.6, 16: 0.9}),
        Comparison("GET at a follower", "GET", {16: 0.6}),
    ]
    clusters: list[Group] = []
    try:
        for name, lease_reads in (("asking", "no"), ("leasing", "yes")):
            clusters.append(Group(name, directory / name, ["--lease-reads", lease_reads]))
            load_keys(clusters[-1].leader)
        group, leasing = clusters
        contenders = [
            at("GET", lambda: group.leader, GET, group.parts),
            at("GET at a follower", lambda: group.follower, GET, group.parts),
            at("GET with leases", lambda: leasing.leader, GET, leasing.parts),
        ]
        results = [measure(contenders, clusters, (), depth, plan) for depth in depths]
    finally:
        for one in clusters:
            one.stop()
    return results, comparisons


def ratio_cells(measured: Measured, comparison: Comparison) -> list[str]:
    """Return the row of a comparison."""
    ratios = measured.ratios(comparison)
    low, high = median_interval(ratios)
    limit = comparison.limits.get(measured.depth)
    return [
        f"{comparison.ours} / {comparison.rival} P={measured.depth}",
        report.count(median(measured.rates(comparison.ours))),
        report.count(median(measured.rates(comparison.rival))),
        f"{median(ratios):.2f}",
        f"{low:.2f}–{high:.2f}",  # noqa: RUF001
        f"{spread(ratios):.0%}",
        "-" if limit is None else f"{limit:.1f}",
        measured.verdict(comparison),
    ]


def cpu_cells(measured: Measured, name: str) -> list[str]:
    """Return the row of a contender: CPU time per request of each part."""
    times = [f"{micros:.2f}" for micros in measured.cpu_us(name).values()]
    return [f"{name} P={measured.depth}", times[0], times[1] if len(times) > 1 else "-"]


def remember(measured: Measured, comparisons: Sequence[Comparison]) -> None:
    """Append a section at one depth to the history."""
    report.remember(
        f"group P={measured.depth}",
        {
            **asdict(measured),
            "ratios": {f"{c.ours} / {c.rival}": measured.ratios(c) for c in comparisons},
            "verdicts": {f"{c.ours} / {c.rival}": measured.verdict(c) for c in comparisons},
        },
    )


@click.command()
@click.option("--depths", default="", help="Comma-separated pipeline depths; all when not given.")
@click.option("--rounds", default=ROUNDS_MIN, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Length of a slice.")
@click.option("--quick", is_flag=True, help="One round of short slices: does it all run?")
@click.option(
    "--dir",
    "parent",
    default=None,
    type=click.Path(path_type=Path, exists=True),
    help="Where the data goes, etcd's too; decides which disk is measured.",
)
@click.option("--gate", is_flag=True, help="Fail when a limit is missed.")
def main(
    depths: str, rounds: int, seconds: float, quick: bool, parent: Path | None, gate: bool
) -> None:
    """Measure a group of three beside its rivals and print the tables."""
    if reason := servers.redis_missing():
        report.say(f"skipped: {reason}, so there is nothing that makes load")
        return
    if reason := groups.etcd_missing():
        report.say(f"without etcd: {reason}\n")
    chosen = [int(depth) for depth in depths.split(",")] if depths else list(DEPTHS)
    plan = Plan(1, 0.1) if quick else Plan(rounds, seconds)
    directory = Path(tempfile.mkdtemp(prefix="kvnode-bench-", dir=parent))
    try:
        sync = machine.sync_micros(directory)
        sections = [
            measure_section(directory, chosen, plan)
            for measure_section in (measure_writes, measure_reads)
        ]
    finally:
        shutil.rmtree(directory)
    report.say(
        f"{machine.processor()}, 4 KiB write with fdatasync {sync:.0f} µs, "
        f"commit {machine.commit()}, {plan.rounds} rounds of 2 x {plan.seconds} s each\n"
    )
    ratios, times, missed = [], [], False
    for results, comparisons in sections:
        for measured in results:
            remember(measured, comparisons)
            ratios += [ratio_cells(measured, one) for one in comparisons]
            times += [cpu_cells(measured, name) for name in measured.slices]
            missed = missed or any(measured.verdict(one) == "missed" for one in comparisons)
    header = ["", "first/s", "second/s", "ratio", "95 %", "spread", "at least", "verdict"]
    report.say(report.table(header, ratios) + "\n")
    report.say(report.table(["CPU µs/op", "leader or single", "a follower"], times))
    if gate and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
