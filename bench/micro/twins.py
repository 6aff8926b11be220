"""Times the native parts with an interface of their own against their naive twins of the tests.

`python -m bench.micro.twins`. What is compared are calls from Python, whose own cost is in both.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from bench import report
from bench.stats import median
from kvnode._core import claims, deltas, keys, ordered, sortable
from tests.reference import claims as naive_claims
from tests.reference import deltas as naive_deltas
from tests.reference import keys as naive_keys
from tests.reference import ordered as naive_ordered
from tests.reference import sortable as naive_sortable

SEED = 23
CALLS = 2_000  # arguments of an operation
DELTAS = 256  # of a collection, not folded
RUNS = 64  # of dead positions in a list
RUN_POSITIONS = 8  # from one run to the next; the first of them are dead
MEMBERS = 1_000  # of a sorted set
ROUNDS = 5

Act = Callable[[Any], object]


class TwinError(Exception):
    """Native code and its twin answered differently; the message shows to what."""


@dataclass(frozen=True)
class Operation:
    """One function in both forms, and what it is asked."""

    name: str
    native: Act
    naive: Act
    arguments: Sequence[Any]


def key_operations(draw: random.Random) -> list[Operation]:
    """Keys of heads, built and read; of rows of deadlines and of older versions."""
    parts = [(draw.getrandbits(64), draw.getrandbits(64), draw.randbytes(16)) for _ in range(CALLS)]
    heads = [naive_keys.head_start(*part[:2]) + part[2] for part in parts]
    versions = [(head, draw.getrandbits(64)) for head in heads]
    return [
        Operation(
            "key of a head",
            lambda part: keys.head_start(*part[:2]) + part[2],
            lambda part: naive_keys.head_start(*part[:2]) + part[2],
            parts,
        ),
        Operation("parts of a head's key", keys.split_head, naive_keys.split_head, heads),
        Operation(
            "key of a deadline",
            lambda part: keys.expiry_key(keys.EXPIRY, *part),
            lambda part: naive_keys.expiry_key(keys.EXPIRY, *part),
            parts,
        ),
        Operation(
            "key of an older version",
            lambda version: keys.history_of(*version),
            lambda version: naive_keys.history_of(*version),
            versions,
        ),
    ]


def sortable_operations(draw: random.Random) -> list[Operation]:
    """Numbers that sort as bytes."""
    doubles = [draw.uniform(-1e9, 1e9) for _ in range(CALLS)]
    integers = [draw.getrandbits(64) - (1 << 63) for _ in range(CALLS)]
    return [
        Operation(
            "sortable double",
            sortable.double_bytes,
            lambda value: naive_keys.u64(naive_sortable.double_order(value)),
            doubles,
        ),
        Operation(
            "sortable integer",
            sortable.integer_bytes,
            lambda value: naive_keys.u64(naive_sortable.integer_order(value)),
            integers,
        ),
    ]


def delta_operations(draw: random.Random) -> list[Operation]:
    """Metadata of a collection as sums of what each batch changed."""
    changes = [tuple(draw.randrange(-9, 10) for _ in range(4)) for _ in range(DELTAS)]
    base = (1_000, 0, 1_000, 0)

    def fill(log: Any) -> Any:
        for number, change in enumerate(changes, 1):
            log.add(number, change)
        return log

    native, naive = fill(deltas.DeltaLog(base)), fill(naive_deltas.DeltaLog(base))
    times = [draw.randrange(DELTAS + 1) for _ in range(CALLS // 10)]
    return [
        Operation(f"metadata at a time, {DELTAS} deltas", native.at, naive.at, times),
        Operation(
            f"{DELTAS} deltas and their sum",
            lambda time: fill(deltas.DeltaLog(base)).at(time),
            lambda time: fill(naive_deltas.DeltaLog(base)).at(time),
            times[: CALLS // 100],
        ),
    ]


def claim_operations(draw: random.Random) -> list[Operation]:
    """Elements of a list with holes."""
    starts = range(1, RUNS * RUN_POSITIONS, RUN_POSITIONS)
    runs = [(start, draw.randrange(1, RUN_POSITIONS)) for start in starts]
    native, naive = claims.Window(0, runs), naive_claims.Claims(0, runs)
    dead = {start + i for start, count in runs for i in range(count)}
    living = [place for place in range(RUNS * RUN_POSITIONS) if place not in dead]
    some = [draw.randrange(len(living)) for _ in range(CALLS // 100)]
    places = [living[index] for index in some]
    return [
        Operation(
            f"position of an index, {RUNS} runs", native.position_of, naive.position_of, some
        ),
        Operation(f"index of a position, {RUNS} runs", native.index_of, naive.index_of, places),
    ]


def order_operations(draw: random.Random) -> list[Operation]:
    """Members of a sorted set by rank."""
    pairs = [(float(draw.getrandbits(40)), b"member:%d" % n) for n in range(MEMBERS)]
    native, naive = ordered.OrderedMembers(), naive_ordered.OrderedMembers()
    for pair in pairs:
        native.add(*pair)
        naive.add(*pair)
    some = draw.sample(pairs, CALLS // 10)
    return [
        Operation(
            f"rank among {MEMBERS} members",
            lambda pair: native.rank(*pair),
            lambda pair: naive.rank(*pair),
            some,
        ),
    ]


def operations() -> list[Operation]:
    """Return all operations; the same on every call."""
    draw = random.Random(SEED)
    return [
        *key_operations(draw),
        *sortable_operations(draw),
        *delta_operations(draw),
        *claim_operations(draw),
        *order_operations(draw),
    ]


def compare(operation: Operation) -> None:
    """Raise TwinError unless both forms answer all arguments alike."""
    for argument in operation.arguments:
        answers = operation.native(argument), operation.naive(argument)
        if answers[0] != answers[1]:
            raise TwinError(f"{operation.name} of {argument!r}: {answers[0]!r}, {answers[1]!r}")


def nanoseconds(act: Act, arguments: Sequence[Any]) -> float:
    """Return the time of one call, Python's own cost of it included."""
    started = time.perf_counter_ns()
    for argument in arguments:
        act(argument)
    return (time.perf_counter_ns() - started) / len(arguments)


def measure(operation: Operation, rounds: int) -> list[str]:
    """Return a row of the table: medians of alternating rounds, and the median of their ratios."""
    times = [
        (
            nanoseconds(operation.native, operation.arguments),
            nanoseconds(operation.naive, operation.arguments),
        )
        for _ in range(rounds)
    ]
    ratio = median([naive / native for native, naive in times])
    natives, naives = (median(list(column)) for column in zip(*times, strict=True))
    return [operation.name, f"{natives:,.0f}", f"{naives:,.0f}", f"{ratio:,.1f}"]


@click.command()
@click.option("--rounds", default=ROUNDS, show_default=True)
def main(rounds: int) -> None:
    """Print nanoseconds per operation of both, and how many times faster the native one is."""
    gc.disable()  # what one operation leaves behind is not the next one's cost
    rows = []
    for operation in operations():
        compare(operation)
        rows.append(measure(operation, rounds))
    report.say(report.table(["ns/op", "native", "naive", "ratio"], rows))


if __name__ == "__main__":
    main()
