"""All orders in which the steps of several actors can follow each other, by number."""

from collections.abc import Iterator, Sequence
from math import factorial

Order = tuple[str, ...]


def count(actors: Sequence[Sequence[str]]) -> int:
    """Return how many orders there are: each actor's steps stay in order."""
    total = factorial(sum(map(len, actors)))
    for steps in actors:
        total //= factorial(len(steps))
    return total


def order_at(actors: Sequence[Sequence[str]], number: int) -> Order:
    """Return the order of a number below count(); neighbours share their beginnings."""
    left = [list(steps) for steps in actors]
    order = []
    while any(left):
        for steps in left:
            if not steps:
                continue
            step = steps.pop(0)
            below = count(left)
            if number < below:
                order.append(step)
                break
            number -= below
            steps.insert(0, step)
    return tuple(order)


def orders(actors: Sequence[Sequence[str]], limit: int) -> Iterator[Order]:
    """Yield all orders, or `limit` of them at equal distances."""
    total = count(actors)
    wanted = min(limit, total) if limit else total
    for i in range(wanted):
        yield order_at(actors, i * total // wanted)
