"""Whether a history of transactions, each of which appends its number to lists, is serializable.

Every list in the end is the order of those that appended to it. So each read says whose appends it
saw, and whose not; who depends on whom must have no cycle, time included: what had ended before
another began comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

READ, APPEND = "r", "a"
Operation = tuple[str, str]  # READ or APPEND, and a key


@dataclass
class Transaction:
    """One of a history. began, ended: moments; results: what its reads saw, in order."""

    number: int
    operations: Sequence[Operation]
    began: int
    ended: int = 0
    results: list[list[int]] = field(default_factory=list)


def faults(history: Sequence[Transaction], final: dict[str, list[int]]) -> list[str]:
    """Return what is wrong with a history; nothing: it is strictly serializable."""
    found = []
    appended = {(t.number, key) for t in history for kind, key in t.operations if kind == APPEND}
    for key, numbers in final.items():
        if len(set(numbers)) != len(numbers):
            found.append(f"{key} holds an append twice: {numbers}")
        for number in numbers:
            if (number, key) not in appended:
                found.append(f"{key} holds {number}, which nobody appended")
    for number, key in sorted(appended):
        if number not in final.get(key, []):
            found.append(f"the append of {number} to {key} is lost")
    before: dict[int, set[int]] = {t.number: set() for t in history}
    for numbers in final.values():
        for first, second in pairwise(numbers):
            before.get(second, set()).add(first)
    for t in history:
        found += _read_edges(t, final, before)
    for t in history:
        for other in history:
            if other.ended < t.began:
                before[t.number].add(other.number)
    for number, others in before.items():
        others.discard(number)
    try:
        tuple(TopologicalSorter(before).static_order())
    except CycleError as cycle:
        found.append(f"these depend on each other: {cycle.args[1]}")
    return found


def _read_edges(
    t: Transaction, final: dict[str, list[int]], before: dict[int, set[int]]
) -> list[str]:
    """Add who comes before whom by the reads of one; return what it cannot have seen."""
    found, mine, results = [], set(), iter(t.results)
    for kind, key in t.operations:
        if kind == APPEND:
            mine.add(key)
            continue
        seen, order = next(results), final.get(key, [])
        if seen != order[: len(seen)]:
            found.append(f"{t.number} saw {seen} of {key}, which became {order}")
            continue
        if key in mine and (not seen or seen[-1] != t.number):
            found.append(f"{t.number} does not see its own append to {key}: {seen}")
        others = [number for number in seen if number != t.number]
        if others:
            before[t.number].add(others[-1])
        if len(seen) < len(order):
            before.setdefault(order[len(seen)], set()).add(t.number)
    return found
