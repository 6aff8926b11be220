"""The native programs of bench/native: built on demand, run, and their lines read."""

import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench import OUT

NATIVE = Path(__file__).resolve().parent / "native"
LATENCY_NS_MAX = 3600 * 10**9
LATENCY_DIGITS = 3
NS_PER_MS = 1_000_000


class LoadError(Exception):
    """A native program failed to build or to run; the message is what it said."""


def build(name: str, shared: bool = False) -> Path:
    """Compile bench/native/NAME.c unless that was done after its last change; return the result.

    `shared` makes a library of it instead of a program. Raises LoadError.
    """
    source, built = NATIVE / f"{name}.c", OUT / (f"{name}.so" if shared else name)
    sources = [source, *NATIVE.glob("*.h")]
    if built.exists() and built.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return built
    OUT.mkdir(exist_ok=True)
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(built), str(source), "-lm", "-pthread"]
    if shared:
        command += ["-shared", "-fPIC"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise LoadError("gcc is not installed") from None
    except subprocess.CalledProcessError as error:
        raise LoadError(error.stderr) from None
    return built


@dataclass(frozen=True)
class Pause:
    """A time in which requests were slow; all in ns of CLOCK_MONOTONIC.

    `worst_start` and `worst_end` are the sending (by schedule) and the answer of the slowest.
    """

    start: int
    end: int
    worst_start: int
    worst_end: int

    @property
    def worst(self) -> int:
        return self.worst_end - self.worst_start


@dataclass
class Result:
    """What one run of the load generator saw."""

    replies_by_second: list[int] = field(default_factory=list)
    worst_ns_by_second: list[int] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    buckets: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    buckets_by_second: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    elapsed_ns: int = 0
    sent: int = 0
    replies: int = 0
    errors: int = 0
    nulls: int = 0
    unanswered: int = 0

    @property
    def rate(self) -> float:
        """Replies per second over the whole run."""
        return self.replies / (self.elapsed_ns / 1e9)

    def histogram(self, *kinds: str) -> HdrHistogram:
        """Return the latencies in ns of `read`s, `write`s or, without an argument, of both."""
        histogram = HdrHistogram(1, LATENCY_NS_MAX, LATENCY_DIGITS)
        for kind in kinds or ("read", "write"):
            for value, count in self.buckets.get(kind, []):
                histogram.record_value(value, count)
        return histogram

    def histogram_of(self, seconds: Iterable[int]) -> HdrHistogram:
        """Return the latencies in ns of what was due in some seconds; needs `by_second`."""
        histogram = HdrHistogram(1, LATENCY_NS_MAX, LATENCY_DIGITS)
        for second in seconds:
            for value, count in self.buckets_by_second.get(second, []):
                histogram.record_value(value, count)
        return histogram

    def take(self, line: str) -> None:
        """Add one line of the program's output; see bench/native/loadgen.c."""
        kind, *words = line.split()
        if kind == "hist":
            self.buckets.setdefault(words[0], []).append((int(words[1]), int(words[2])))
            return
        numbers = [int(word) for word in words]
        if kind == "due":
            self.buckets_by_second.setdefault(numbers[0], []).append((numbers[1], numbers[2]))
        elif kind == "second":
            self.replies_by_second.append(numbers[1])
            self.worst_ns_by_second.append(numbers[2])
        elif kind == "pause":
            self.pauses.append(Pause(*numbers))
        elif kind == "total":
            self.elapsed_ns, self.sent, self.replies = numbers[:3]
            self.errors, self.nulls, self.unanswered = numbers[3:]


def run(on_second: Callable[[Result], None] | None = None, **options: object) -> Result:
    """Run the load generator to its end.

    Options are those of its command line with `_` for `-`; True stands for a flag.
    `on_second` is called with the result so far after each second.
    Raises LoadError when it fails or the server answers with an error.
    """
    command = [str(build("loadgen"))]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name.replace('_', '-')}")
        elif value is not False and value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    result = Result()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            result.take(line)
            if on_second is not None and line.startswith("second"):
                on_second(result)
        said = process.stderr.read().strip()
    if process.returncode or result.errors:
        raise LoadError(said or f"loadgen ended with {process.returncode}")
    return result


@dataclass
class Gaps:
    """Pauses of the machine as (start, end) in ns of CLOCK_MONOTONIC, from every CPU."""

    gaps: list[tuple[int, int]] = field(default_factory=list)

    def overlap(self, start: int, end: int) -> int:
        """Return for how many ns of [start, end) at least one CPU stood still."""
        total, covered = 0, start
        for low, high in sorted(self.gaps):
            low, high = max(low, covered), min(high, end)
            if low < high:
                total += high - low
                covered = high
        return total


@contextmanager
def control(gap_ms: int, spin: bool = False) -> Iterator[Gaps]:
    """Record the machine's own pauses of more than `gap_ms` while the block runs."""
    tick_us = 0 if spin else 1000
    command = [str(build("control")), "--tick-us", str(tick_us), "--gap-ms", str(gap_ms)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    seen = Gaps()

    def read(lines: Iterable[str]) -> None:
        for line in lines:
            _, _, start, end = line.split()
            seen.gaps.append((int(start), int(end)))

    reader = threading.Thread(target=read, args=(process.stdout,))
    reader.start()
    try:
        yield seen
    finally:
        process.stdin.close()
        process.wait()
        reader.join()
        process.stdout.close()


def own_pauses(result: Result, gaps: Gaps, limit_ms: float) -> list[tuple[float, float]]:
    """Return the pauses that remain the server's, as (worst latency, its own part of it) in ms.

    From the slowest request of each pause the time in which the machine stood still is taken
    off; what then exceeds `limit_ms` counts.
    """
    own = []
    for pause in result.pauses:
        net = pause.worst - gaps.overlap(pause.worst_start, pause.worst_end)
        if net > limit_ms * NS_PER_MS:
            own.append((pause.worst / NS_PER_MS, net / NS_PER_MS))
    return own
