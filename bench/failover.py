"""How long clients of a group wait when its leader dies, and when it hands leadership over.

`python -m bench.failover`; docs/BENCHMARKS.md says how to read it.
"""

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click

from bench import report
from bench.stats import median
from tests.processes import group as groups
from tests.processes.group import Group, wait_for
from tests.processes.workload import Client, load

FIRST_SECONDS_MAX = 30.0  # until a write is acknowledged again
WRITERS = 4  # on each node
ANSWERS = 200  # before and after each fault
KEY = b"set"
MS = 1e6  # ns


class Writer(Client):
    """Adds to a set what nobody else adds: in the end all that was acknowledged must be there."""

    def act(self) -> None:
        value = self.unique()
        self.say("add", KEY, value, b"SADD", KEY, value)


ROLES = (Writer,) * WRITERS


@dataclass
class Found:
    """waits_ms: of each fault.   pauses_ms: longest between two answers to one client, of each.

    errors: what clients were told, by kind, and connections that ended.
    """

    waits_ms: list[float] = field(default_factory=list)
    pauses_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def fields(self) -> dict[str, object]:
        return {"waits_ms": self.waits_ms, "pauses_ms": self.pauses_ms, "errors": dict(self.errors)}


def kill(group: Group, found: Found) -> None:
    """Kill the leader under load; then nothing that was acknowledged may be missing."""
    with load(group, ROLES) as workload:
        workload.wait_progress(ANSWERS)
        leader = group.wait_agreed()
        survivors = [client for client in workload.clients if client.node is not leader]
        before = {client: len(client.operations) for client in survivors}
        leader.kill()
        killed = time.monotonic_ns()

        def first() -> int | None:
            """Return when the first write that was sent later was acknowledged."""
            later = [op for c in survivors for op in c.operations[before[c] :] if op.is_done]
            return min((op.ended for op in later if op.begun >= killed), default=None)

        found.waits_ms.append((wait_for("a write", first, FIRST_SECONDS_MAX) - killed) / MS)
        workload.wait_progress(ANSWERS)
        leader.start()
        leader.wait_ready()
        group.wait_caught_up(leader)
    found.errors += workload.codes()


def hand_over(group: Group, found: Found) -> None:
    """Have the leader hand over to another node."""
    with load(group, ROLES) as workload:
        workload.wait_progress(ANSWERS)
        leader = group.wait_agreed()
        target = group.others(leader)[0]
        for client in workload.clients:
            client.longest_ns = 0
        began = time.monotonic_ns()
        leader.ask("KVNODE", "TRANSFER", target.node_id)
        found.waits_ms.append((time.monotonic_ns() - began) / MS)
        workload.wait_progress(ANSWERS)
        found.pauses_ms.append(max(client.longest_ns for client in workload.clients) / MS)
    found.errors += workload.codes()


def share(values: list[float], limit: float) -> str:
    return f"{sum(value <= limit for value in values)} of {len(values)}"


@click.command()
@click.option("--kills", default=50, show_default=True)
@click.option("--transfers", default=50, show_default=True)
def main(kills: int, transfers: int) -> None:
    """Measure both on one group of three nodes."""
    killed, handed = Found(), Found()
    with (
        tempfile.TemporaryDirectory(prefix="failover-") as directory,
        groups.running(Path(directory, "nodes")) as group,
    ):
        for number in range(transfers):
            hand_over(group, handed)
            report.progress(f"transfer {number}: {handed.pauses_ms[-1]:.0f} ms")
        for number in range(kills):
            kill(group, killed)
            report.progress(f"kill {number}: {killed.waits_ms[-1]:.0f} ms")
    if kills:
        report.say(
            f"leader killed: first acknowledged write after {median(killed.waits_ms):.0f} ms "
            f"(median), {max(killed.waits_ms):.0f} ms (most); "
            f"within 1 s {share(killed.waits_ms, 1000)}, 2 s {share(killed.waits_ms, 2000)}; "
            f"no acknowledged write lost; clients met {dict(killed.errors)}"
        )
        report.remember("failover/kill", killed.fields())
    if transfers:
        report.say(
            f"leadership handed over: longest pause of a client {median(handed.pauses_ms):.0f} ms "
            f"(median), {max(handed.pauses_ms):.0f} ms (most); "
            f"within 100 ms {share(handed.pauses_ms, 100)}; clients met {dict(handed.errors)}"
        )
        report.remember("failover/transfer", handed.fields())


if __name__ == "__main__":
    main()
