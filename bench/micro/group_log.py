"""Times the log of a group against a plain one: `python -m bench.micro.group_log`."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable

import click

from bench import report
from kvnode._core.logwriter import LogSink, LogWriter
from kvnode._core.replicated_log import ReplicatedLog
from kvnode.base.limits import SEGMENT_BYTES
from kvnode.storage.disk import OsDisk
from kvnode.storage.log_reading import LogReading
from kvnode.storage.log_recovery import recover_log

ID_SEED = 7
BYTES_PER_ROUND = 64 << 20
ENTRIES_MAX = 200_000
READ_BYTES = 1 << 20


def open_writer(directory: str) -> LogWriter:
    """Return a writer that never syncs unasked: what is timed is the producer's side."""
    recovered = recover_log(
        OsDisk(), directory, checkpoint_index=0, segment_bytes=SEGMENT_BYTES, id_seed=ID_SEED
    )
    return LogWriter(
        directory, recovered.start, segment_bytes=SEGMENT_BYTES, id_seed=ID_SEED, mode="no"
    )


def group_log(writer: LogWriter) -> ReplicatedLog:
    log = ReplicatedLog(writer)
    log.is_alone = False
    return log


def append_ns(make: Callable[[LogWriter], LogSink], payload: bytes) -> float:
    """Return the thread time of one append, Python's own cost of it included."""
    count = min(ENTRIES_MAX, BYTES_PER_ROUND // len(payload))
    with tempfile.TemporaryDirectory() as directory:
        writer = open_writer(f"{directory}/log")
        log = make(writer)
        started = time.thread_time_ns()
        for index in range(1, count + 1):
            log.append(1, index, index, payload)
        taken = time.thread_time_ns() - started
        writer.close()
    return taken / count


def reading_row(payload: bytes) -> list[str]:
    """Read a whole log from its segments, as a peer far behind has it read."""
    count = min(ENTRIES_MAX, BYTES_PER_ROUND // len(payload))
    with tempfile.TemporaryDirectory() as directory:
        writer = open_writer(f"{directory}/log")
        for index in range(1, count + 1):
            writer.append(1, index, index, payload)
        writer.close()
        reading = LogReading(OsDisk(), f"{directory}/log")
        calls, at = 0, 1
        started = time.perf_counter()
        while at <= count:
            at += len(reading.read(at, min(count, at + 1023), 1, READ_BYTES))
            calls += 1
        taken = time.perf_counter() - started
    per_second = count * len(payload) / taken / 1e6
    return [f"{len(payload)} B", f"{taken / calls * 1e6:,.0f}", f"{per_second:,.0f}"]


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Alternating; medians count.")
def main(rounds: int) -> None:
    """Print nanoseconds per append, and how fast segments are read back."""
    rows, reads = [], []
    for size in (100, 1000, 16_384):
        payload = os.urandom(size)
        makers = (lambda writer: writer, ReplicatedLog, group_log)
        times = [[append_ns(make, payload) for make in makers] for _ in range(rounds)]
        plain, alone, group = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(row[2] / row[0] for row in times)
        rows.append(
            [f"{size} B", f"{plain:,.0f}", f"{alone:,.0f}", f"{group:,.0f}", f"{ratio:.2f}"]
        )
        reads.append(reading_row(payload))
    header = ["ns/append", "writer", "group of one", "with ring", "ratio"]
    report.say(report.table(header, rows))
    report.say()
    report.say(report.table(["read back", "us/call", "MB/s"], reads))


if __name__ == "__main__":
    main()
