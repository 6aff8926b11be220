"""The machine: what it is, how fast its disk syncs, and whether it is calm enough to judge."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT
from bench.stats import median

SPIN_ROUNDS = 5  # the best of so many counts: being scheduled away is not a slower processor
SPIN_STEPS = 200_000
SYNC_ROUNDS = 50
SYNC_BYTES = 4096


def commit() -> str:
    """Return the short hash of the checked-out commit, with `+` when the tree is changed."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def processor() -> str:
    """Return the processor's name and the number of CPUs that this process may use."""
    name = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{len(os.sched_getaffinity(0))} x {name}"


def sync_micros(directory: Path) -> float:
    """Return the median time in microseconds of a 4 KiB write with fdatasync in `directory`."""
    path = directory / "sync-probe"
    block = b"\0" * SYNC_BYTES
    times = []
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, block * SYNC_ROUNDS, 0)  # allocated: only data is synced below
        os.fsync(descriptor)
        for number in range(SYNC_ROUNDS):
            began = time.perf_counter()
            os.pwrite(descriptor, block, number * SYNC_BYTES)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(times) * 1e6


def spin_seconds() -> float:
    """Return the time of a fixed amount of computing: it changes only when the processor does."""
    best = float("inf")
    for _ in range(SPIN_ROUNDS):
        began = time.perf_counter()
        total = 0
        for step in range(SPIN_STEPS):
            total += step
        best = min(best, time.perf_counter() - began)
    return best


@dataclass(frozen=True)
class Usage:
    """CPU time since boot, in seconds over all CPUs."""

    busy: float  # in processes; interrupts are not counted, they serve everybody
    stolen: float  # taken by the hypervisor
    at: float

    def since(self, before: "Usage") -> "Usage":
        """Return the usage between `before` and this moment; `at` becomes the elapsed time."""
        return Usage(self.busy - before.busy, self.stolen - before.stolen, self.at - before.at)


def usage() -> Usage:
    """Read /proc/stat."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    ticks = [int(field) for field in fields]
    second = os.sysconf("SC_CLK_TCK")
    user, nice, system, stolen = ticks[0], ticks[1], ticks[2], ticks[7]
    return Usage((user + nice + system) / second, stolen / second, time.monotonic())
