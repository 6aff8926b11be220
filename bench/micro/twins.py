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
    """Functions in both forms, and what they are asked.

    of: these functions, as words. Each that keys, sortable, deltas and claims show is in some
    operation.
    """

    name: str
    of: str
    native: Act
    naive: Act
    arguments: Sequence[Any]


def same_calls(
    native: Any, naive: Any, rows: Sequence[tuple[str, str, Sequence[Any]]]
) -> list[Operation]:
    """Make an operation of each (name, function, tuples of its arguments)."""

    def call(module: Any, function: str) -> Act:
        chosen = getattr(module, function)
        return lambda arguments: chosen(*arguments)

    short = native.__name__.rpartition(".")[2]
    return [
        Operation(
            name, f"{short}.{function}", call(native, function), call(naive, function), arguments
        )
        for name, function, arguments in rows
    ]


def key_operations(draw: random.Random) -> list[Operation]:
    """Keys of all records, built and read, and the bounds of their ranges."""
    numbers = [(draw.getrandbits(63), draw.getrandbits(63)) for _ in range(CALLS)]
    names = [draw.randbytes(16) for _ in range(CALLS)]
    pairs = list(zip(numbers, names, strict=True))
    heads = [naive_keys.head_start(*two) + name for two, name in pairs]
    members = [b"M" + head[1:] for head in heads]
    expiries = [naive_keys.expiry_key(keys.EXPIRY, *two, name) for two, name in pairs]
    olds = [(head, two[0]) for head, (two, _) in zip(heads, pairs, strict=True)]
    scores = [naive_keys.score_key(member, member[9:17]) for member in members]
    orders = [(keys.MEMBER if n % 2 else keys.ITEM, *two) for n, two in enumerate(numbers)]
    ones = [two[:1] for two in numbers]
    return same_calls(
        keys,
        naive_keys,
        [
            ("key of a head", "head_start", numbers),
            ("end of a generation", "head_end", ones),
            ("parts of a head's key", "split_head", [(head,) for head in heads]),
            ("key of a deadline", "expiry_key", [(keys.EXPIRY, *two, name) for two, name in pairs]),
            ("start of deadlines", "expiry_start", [(keys.FIELD_EXPIRY, *one) for one in ones]),
            ("parts of a deadline's key", "split_expiry", [(key,) for key in expiries]),
            ("key of an older version", "history_of", olds),
            (
                "parts of an older version's key",
                "split_history",
                [(naive_keys.history_of(*old),) for old in olds],
            ),
            ("start of a table's history", "history_start", orders),
            ("start of a table's records", "order_start", orders),
            ("bounds of a kind", "kind_bounds", [(kind,) for kind in keys.PARTS]),
            ("bounds of a table", "part_bounds", [two[:2] for two in orders]),
            ("order of a record", "record_order", [(member,) for member in members]),
            ("key of an own fact", "local_key", [(name,) for name in names]),
            ("key of a score", "score_key", [(member, member[9:17]) for member in members]),
            ("start of scores", "score_bound", [(two[0], name) for two, name in pairs]),
            ("bound of a score's key", "bound_of_score", [(key,) for key in scores]),
        ],
    )


def sortable_operations(draw: random.Random) -> list[Operation]:
    """Numbers that sort as bytes."""
    doubles = [draw.uniform(-1e9, 1e9) for _ in range(CALLS)]
    integers = [draw.getrandbits(64) - (1 << 63) for _ in range(CALLS)]
    orders = [naive_sortable.double_order(value) for value in doubles]
    return [
        Operation(
            "order of a double",
            "sortable.double_order",
            sortable.double_order,
            naive_sortable.double_order,
            doubles,
        ),
        Operation(
            "double of an order",
            "sortable.order_double",
            sortable.order_double,
            naive_sortable.order_double,
            orders,
        ),
        Operation(
            "sortable double",
            "sortable.double_bytes",
            sortable.double_bytes,
            lambda value: naive_keys.u64(naive_sortable.double_order(value)),
            doubles,
        ),
        Operation(
            "double, read",
            "sortable.bytes_double",
            sortable.bytes_double,
            lambda data: naive_sortable.order_double(naive_keys.number(data)),
            [naive_keys.u64(order) for order in orders],
        ),
        Operation(
            "sortable integer",
            "sortable.integer_bytes",
            sortable.integer_bytes,
            lambda value: naive_keys.u64(naive_sortable.integer_order(value)),
            integers,
        ),
        Operation(
            "integer, read",
            "sortable.bytes_integer",
            sortable.bytes_integer,
            lambda data: naive_sortable.order_integer(naive_keys.number(data)),
            [naive_keys.u64(naive_sortable.integer_order(value)) for value in integers],
        ),
    ]


def delta_operations(draw: random.Random) -> list[Operation]:
    """Metadata of a collection as sums of what each batch changed."""
    changes = [tuple(draw.randrange(-9, 10) for _ in range(4)) for _ in range(DELTAS)]
    readers = sorted(draw.sample(range(DELTAS // 2), DELTAS // 16))
    base = (1_000, 0, 1_000, 0)

    def fill(log: Any) -> Any:
        for number, change in enumerate(changes, 1):
            log.add(number, change)
        return log

    def shorten(log: Any, last: int) -> Any:
        log.merge(readers, DELTAS // 2)
        log.fold(readers[0])
        return log.at(max(last, DELTAS // 2)), log.at(readers[-1])

    native, naive = fill(deltas.DeltaLog(base)), fill(naive_deltas.DeltaLog(base))
    times = [draw.randrange(DELTAS + 1) for _ in range(CALLS // 10)]
    logs = deltas.DeltaLog, naive_deltas.DeltaLog
    return [
        Operation(
            f"metadata at a time, {DELTAS} deltas", "DeltaLog.at", native.at, naive.at, times
        ),
        Operation(
            f"{DELTAS} deltas and their sum",
            "DeltaLog.add DeltaLog.at",
            lambda time: fill(deltas.DeltaLog(base)).at(time),
            lambda time: fill(naive_deltas.DeltaLog(base)).at(time),
            times[: CALLS // 100],
        ),
        Operation(
            f"{DELTAS} deltas, merged and folded",
            "DeltaLog.add DeltaLog.merge DeltaLog.fold DeltaLog.at",
            lambda time: shorten(fill(deltas.DeltaLog(base)), time),
            lambda time: shorten(fill(naive_deltas.DeltaLog(base)), time),
            times[: CALLS // 100],
        ),
        Operation("metadata as bytes", "DeltaLog.encode", logs[0].encode, logs[1].encode, changes),
        Operation(
            "metadata, read",
            "DeltaLog.decode",
            logs[0].decode,
            logs[1].decode,
            [logs[1].encode(change) for change in changes],
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

    def drop(window: Any, drops: int) -> Any:
        for number in range(drops):
            if number % 2:
                window.drop_front()
            else:
                window.drop_back()
        return window.runs(), window.position_of(0)

    return [
        Operation(
            f"position of an index, {RUNS} runs",
            "Window.position_of",
            native.position_of,
            naive.position_of,
            some,
        ),
        Operation(
            f"index of a position, {RUNS} runs",
            "Window.index_of",
            native.index_of,
            naive.index_of,
            places,
        ),
        Operation(
            f"{RUNS} runs, dropped from both ends",
            "Window.drop_front Window.drop_back Window.runs",
            lambda drops: drop(claims.Window(0, runs), drops),
            lambda drops: drop(naive_claims.Claims(0, runs), drops),
            range(RUNS),
        ),
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
            "OrderedMembers.rank",
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
