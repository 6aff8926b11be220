"""Checks histories of transactions that read lists and append unique values to them.

The idea is Elle's: a list that was read says in which order its values were appended, so reads
recover the order of versions, and with it who depends on whom:

    ww   one's value stands right before the other's
    wr   one has read the other's value as the last
    rw   one's read lacks what the other appended next
    rt   one had ended before the other began, or the same client sent it before

A cycle is an anomaly; without one, the history is strictly serializable.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

NEVER = 1 << 62  # the end of what has no reply
KINDS = ("ww", "wr", "rw", "rt")

Value = bytes
Edges = dict[int, dict[int, str]]  # from, to: the kind


@dataclass
class Transaction:
    """What took effect together, if it did.

    operations: ("append", key, value) or ("read", key, values). An append is known as it is sent,
    the values of a read once it is answered.
    begun, ended: moments. Of what ended NEVER nobody knows whether it has happened.
    is_refused: the client was told that nothing of it was done.
    follows: what the same client had sent before, without waiting for the reply.
    """

    operations: list[tuple]
    begun: int
    ended: int = NEVER
    is_refused: bool = False
    follows: "Transaction | None" = None
    name: str = ""

    @property
    def appends(self) -> list[tuple[bytes, Value]]:
        return [(op[1], op[2]) for op in self.operations if op[0] == "append"]

    @property
    def reads(self) -> list[tuple[bytes, list[Value]]]:
        return [(op[1], op[2]) for op in self.operations if op[0] == "read"]


@dataclass
class Findings:
    """anomalies: a sentence each, the strongest cycle first; empty when there are none."""

    anomalies: list[str] = field(default_factory=list)
    transactions: int = 0  # that took effect

    def add(self, kind: str, text: str) -> None:
        self.anomalies.append(f"{kind}: {text}")


def check(history: Iterable[Transaction]) -> Findings:
    """Return what is wrong with a history."""
    found = Findings()
    everything = list(history)
    writers = {place: one for one in everything for place in one.appends}
    seen = {
        (key, value)
        for one in everything
        if one.ended < NEVER and not one.is_refused
        for key, values in one.reads
        for value in values
    }
    done = []
    for one in everything:
        if one.is_refused:
            for place in seen.intersection(one.appends):
                found.add("G1a", f"{place} was read, but {one.name} had not happened")
        elif one.ended < NEVER or seen.intersection(one.appends):
            done.append(one)
    found.transactions = len(done)
    orders = _orders(done, writers, found)
    _check_lost(done, found)
    if not found.anomalies:  # what is wrong by itself would only make cycles of no meaning
        _check_cycles(done, orders, writers, found)
    return found


def _answered(done: list[Transaction]) -> list[Transaction]:
    """Return those whose reads are known."""
    return [one for one in done if one.ended < NEVER]


def _outer_reads(one: Transaction, found: Findings) -> list[tuple[bytes, list[Value]]]:
    """Return what a transaction read of each key less what it had appended itself.

    What it reads later has to be what it read before and its own.
    """
    first: dict[bytes, list[Value]] = {}
    own: dict[bytes, list[Value]] = defaultdict(list)
    for kind, key, what in one.operations:
        if kind == "append":
            own[key].append(what)
            continue
        tail = own[key]
        outer = what[: len(what) - len(tail)]
        is_own_last = what[len(what) - len(tail) :] == tail if tail else True
        if not is_own_last or first.setdefault(key, outer) != outer:
            found.add("internal", f"{one.name} read {what} of {key!r} after {first} and own {tail}")
    return list(first.items())


def _orders(
    done: list[Transaction], writers: dict[tuple[bytes, Value], Transaction], found: Findings
) -> dict[bytes, list[Value]]:
    """Return the order of the values of each key: the longest read, of which others begin."""
    orders: dict[bytes, list[Value]] = defaultdict(list)
    reads = [(one, *read) for one in _answered(done) for read in one.reads]
    for _, key, values in reads:
        if len(values) > len(orders[key]):
            orders[key] = values
    for one, key, values in reads:
        if values != orders[key][: len(values)]:
            found.add("order", f"{one.name} read {values} of {key!r}, others {orders[key]}")
    for key, values in orders.items():
        if len(set(values)) != len(values):
            found.add("duplicate", f"{values} of {key!r}")
        for value in values:
            if (key, value) not in writers:
                found.add("invented", f"{value!r} of {key!r}")
    for one, key, values in reads:
        if not values or (key, values[-1]) not in writers:
            continue
        last = writers[key, values[-1]]
        own = [value for name, value in last.appends if name == key]
        if last is not one and own[-1] != values[-1]:
            found.add("G1b", f"{one.name} read {values} of {key!r}, {last.name} had more to append")
    return orders


def _check_lost(done: list[Transaction], found: Findings) -> None:
    """An append that was answered is in every read that began later."""
    for reader in _answered(done):
        for key, values in _outer_reads(reader, found):
            there = set(values)
            for writer in _answered(done):
                if writer.ended >= reader.begun:
                    continue
                for name, value in writer.appends:
                    if name == key and value not in there:
                        found.add(
                            "lost", f"{value!r} of {key!r} by {writer.name}, read by {reader.name}"
                        )


def _check_cycles(
    done: list[Transaction],
    orders: dict[bytes, list[Value]],
    writers: dict[tuple[bytes, Value], Transaction],
    found: Findings,
) -> None:
    edges = _edges(done, orders, writers)
    # The fewer kinds of edges a cycle needs, the worse it is.
    for is_timed in (False, True):
        suffix, also = (" in real time", {"rt"}) if is_timed else ("", set())
        plain = [("G0", {"ww"}), ("G1c", {"ww", "wr"})]
        for name, kinds in plain:
            if cycle := _cycle(_only(edges, kinds | also)):
                found.add(name + suffix, _text(cycle, edges, done))
                return
        if cycle := _single_cycle(edges, {"ww", "wr"} | also):
            found.add("G-single" + suffix, _text(cycle, edges, done))
            return
        if cycle := _cycle(_only(edges, {"ww", "wr", "rw"} | also)):
            found.add("G2" + suffix, _text(cycle, edges, done))
            return


def _edges(
    done: list[Transaction],
    orders: dict[bytes, list[Value]],
    writers: dict[tuple[bytes, Value], Transaction],
) -> dict[str, Edges]:
    """Return the edges of each kind, by numbers of transactions."""
    numbers = {id(one): number for number, one in enumerate(done)}
    edges: dict[str, Edges] = {kind: defaultdict(dict) for kind in KINDS}

    def add(kind: str, before: Transaction, after: Transaction) -> None:
        if before is not after and id(before) in numbers and id(after) in numbers:
            edges[kind][numbers[id(before)]][numbers[id(after)]] = kind

    for key, values in orders.items():
        for left, right in pairwise(values):
            add("ww", writers[key, left], writers[key, right])
    for one in _answered(done):
        for key, values in _outer_reads(one, Findings()):
            if values:
                add("wr", writers[key, values[-1]], one)
            if len(values) < len(orders[key]):
                add("rw", one, writers[key, orders[key][len(values)]])
        if one.follows is not None:
            add("rt", one.follows, one)
        for other in done:
            if one.ended < other.begun:
                add("rt", one, other)
    return edges


def _only(edges: dict[str, Edges], kinds: set[str]) -> dict[int, list[int]]:
    graph: dict[int, list[int]] = defaultdict(list)
    for kind in kinds:
        for before, afters in edges[kind].items():
            graph[before] += afters
    return graph


def _path(graph: dict[int, list[int]], start: int, end: int) -> list[int] | None:
    """Return the shortest path from `start` to `end`, both included."""
    came: dict[int, int] = {start: start}
    todo = deque([start])
    while todo:
        at = todo.popleft()
        for after in graph.get(at, ()):
            if after not in came:
                came[after] = at
                todo.append(after)
        if end in came and end != start:
            path = [end]
            while path[-1] != start:
                path.append(came[path[-1]])
            return path[::-1]
    return None


def _cycle(graph: dict[int, list[int]]) -> list[int] | None:
    """Return a shortest cycle through some transaction that is on one."""
    for component in components(graph):
        if len(component) > 1:
            start = min(component)
            paths = [
                path
                for after in graph[start]
                if after in component and (path := _path(graph, after, start))
            ]
            return [start, *min(paths, key=len)]
    return None


def _single_cycle(edges: dict[str, Edges], kinds: set[str]) -> list[int] | None:
    """Return a cycle with exactly one rw edge."""
    graph = _only(edges, kinds)
    for before, afters in edges["rw"].items():
        for after in afters:
            if path := _path(graph, after, before):
                return [before, *path]
    return None


def _text(cycle: list[int], edges: dict[str, Edges], done: list[Transaction]) -> str:
    parts = [done[cycle[0]].name]
    for before, after in pairwise(cycle):
        kinds = [kind for kind in KINDS if after in edges[kind].get(before, ())]
        parts.append(f"-{'/'.join(kinds)}-> {done[after].name}")
    return " ".join(parts)


def components(graph: dict[int, list[int]]) -> list[set[int]]:
    """Return the strongly connected components: Tarjan's algorithm, without recursion."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    is_on_stack: set[int] = set()
    found: list[set[int]] = []
    for root in list(graph):
        if root in index:
            continue
        todo = [(root, iter(graph.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        is_on_stack.add(root)
        while todo:
            at, afters = todo[-1]
            for after in afters:
                if after not in index:
                    index[after] = low[after] = len(index)
                    stack.append(after)
                    is_on_stack.add(after)
                    todo.append((after, iter(graph.get(after, ()))))
                    break
                if after in is_on_stack:
                    low[at] = min(low[at], index[after])
            else:
                todo.pop()
                if todo:
                    low[todo[-1][0]] = min(low[todo[-1][0]], low[at])
                if low[at] == index[at]:
                    component: set[int] = set()
                    while at not in component:
                        component.add(stack.pop())
                    is_on_stack -= component
                    found.append(component)
    return found
