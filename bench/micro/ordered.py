"""Times the ordered members by size, against a sorted list: `python -m bench.micro.ordered`."""

import gc
import random
from typing import Any

import click

from bench import report
from bench.micro.twins import nanoseconds
from kvnode._core import ordered
from tests.reference import ordered as naive_ordered

SEED = 21
SEARCHES = 10_000
TWIN_MEMBERS_MAX = 5_000  # its searches are linear


def measure(members: Any, pairs: list) -> list[float]:
    """Return the times of adding all pairs in their order, and of the other operations."""
    draw = random.Random(SEED)
    add = nanoseconds(lambda pair: members.add(*pair), pairs)
    some = draw.sample(pairs, min(SEARCHES, len(pairs)))
    ranks = [draw.randrange(len(pairs)) for _ in some]
    return [
        add,
        nanoseconds(lambda pair: members.rank(*pair), some),
        nanoseconds(members.at, ranks),
        nanoseconds(lambda rank: members.range(rank, 100), ranks),
        nanoseconds(lambda pair: members.discard(*pair), some),
    ]


def figures(times: list[float]) -> list[str]:
    return [f"{value:,.0f}" for value in times]


def random_pairs(count: int, scores: int) -> list[tuple[float, bytes]]:
    """Return distinct pairs in no order; `scores`: how many different ones."""
    draw = random.Random(SEED)
    return [(float(draw.randrange(scores)), b"member:%d" % n) for n in range(count)]


@click.command()
@click.option("--members", default=200_000, show_default=True, help="Of the largest tree.")
def main(members: int) -> None:
    """Print nanoseconds per operation."""
    gc.disable()  # what one operation leaves behind is not the next one's cost
    rows = []
    for name, count, scores in (
        ("distinct scores", TWIN_MEMBERS_MAX, 1 << 40),
        ("distinct scores", members, 1 << 40),
        ("one score", members, 1),
    ):
        pairs = random_pairs(count, scores)
        rows.append(
            [f"tree, {count:,} of {name}", *figures(measure(ordered.OrderedMembers(), pairs))]
        )
        if count <= TWIN_MEMBERS_MAX:
            twin = measure(naive_ordered.OrderedMembers(), pairs)
            rows.append([f"list, {count:,} of {name}", *figures(twin)])
    ascending = [(float(n), b"m") for n in range(members)]
    tree = ordered.OrderedMembers()
    rows.append([f"tree, {members:,} ascending", *figures(measure(tree, ascending))])
    report.say(report.table(["ns/op", "add", "rank", "at", "range of 100", "discard"], rows))


if __name__ == "__main__":
    main()
