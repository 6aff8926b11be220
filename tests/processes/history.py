"""What clients of a group sent and were told, and whether one copy of the data could have said it.

Each check is given the operations on one kind of data. What was refused is not done; what is
unknown may be done, once, at any time after it was sent; the rest is done between question and
answer.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

NEVER = 1 << 62
DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"

Value = bytes | int | None


@dataclass(slots=True)
class Operation:
    """kind: see the checks.   value: what is written.   result: of what is done, where it is read.

    begun, ended: moments in ns; NEVER = nobody knows.   who: client and node, for reports.
    """

    kind: str
    key: bytes
    value: Value
    begun: int
    ended: int = NEVER
    result: Value = None
    state: str = UNKNOWN
    who: str = ""

    @property
    def is_done(self) -> bool:
        return self.state == DONE

    def __str__(self) -> str:
        end = "?" if self.ended == NEVER else f"{self.ended / 1e9:.6f}"
        what = f"{self.kind} {self.key!r} {self.value!r} -> {self.result!r} ({self.state})"
        return f"{self.begun / 1e9:.6f}..{end} {self.who}: {what}"


def by_key(operations: Iterable[Operation]) -> dict[bytes, list[Operation]]:
    keys = defaultdict(list)
    for operation in operations:
        keys[operation.key].append(operation)
    return keys


# -- registers ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Cluster:
    """All operations of one value: it is there from the first end to the last beginning."""

    write: Operation
    first_end: int
    last_begun: int
    last: Operation


def register_errors(operations: Iterable[Operation]) -> list[str]:
    """Check a register: "set" of values that are all different, and "get". It begins as None.

    Gibbons and Korach: with unique values a history is linearizable if no value is read before it
    is written, no two values have to be there at once, and none has to be there within another's
    time.
    """
    operations = list(operations)
    start = Operation("set", b"", None, -1, -1, state=DONE, who="start")
    writes = {op.value: op for op in operations if op.kind == "set"} | {None: start}
    clusters = {
        value: _Cluster(write, write.ended, write.begun, write)
        for value, write in writes.items()
        if write.is_done
    }
    errors = []
    for read in (op for op in operations if op.kind == "get" and op.is_done):
        write = writes.get(read.result)
        if write is None:
            errors.append(f"invented: {read}")
        elif write.state == REFUSED:
            errors.append(f"refused, but read: {write}; {read}")
        elif read.ended < write.begun:
            errors.append(f"read before it was written: {write}; {read}")
        else:
            cluster = clusters.setdefault(read.result, _Cluster(write, NEVER, write.begun, write))
            cluster.first_end = min(cluster.first_end, read.ended)
            if read.begun > cluster.last_begun:
                cluster.last_begun, cluster.last = read.begun, read
    return errors + _zone_errors(list(clusters.values()))


def _zone_errors(clusters: list[_Cluster]) -> list[str]:
    forward = sorted((c for c in clusters if c.first_end < c.last_begun), key=lambda c: c.first_end)
    errors = []
    reach: _Cluster | None = None  # the zone that reaches furthest
    for cluster in forward:
        if reach is not None and cluster.first_end < reach.last_begun:
            errors.append(f"stale: {reach.last}; but meanwhile {cluster.write}, {cluster.last}")
        if reach is None or cluster.last_begun > reach.last_begun:
            reach = cluster
    begins = [cluster.first_end for cluster in forward]
    for cluster in (c for c in clusters if c.first_end >= c.last_begun):
        at = bisect_left(begins, cluster.last_begun) - 1
        if at >= 0 and cluster.first_end < forward[at].last_begun:
            around = forward[at]
            errors.append(f"stale: {around.last}; but {cluster.write}, {cluster.last}")
    return errors


# -- counters -----------------------------------------------------------------------------------


def counter_errors(operations: Iterable[Operation]) -> list[str]:
    """Check a counter: "incr" by 1 and "get", which may find None. It begins as 0."""
    operations = [op for op in operations if op.state != REFUSED]
    incrs = [op for op in operations if op.kind == "incr"]
    errors = []
    for result, times in Counter(op.result for op in incrs if op.is_done).items():
        if times > 1:
            errors.append(f"{times} times the same answer: {result}")
    begun = sorted(op.begun for op in incrs)
    done = sorted((op for op in operations if op.is_done), key=lambda op: op.ended)
    highest: list[int] = []  # result of what had ended, by place in `done`
    for op in done:
        highest.append(max(int(op.result or 0), highest[-1] if highest else 0))
    ends = [op.ended for op in done]
    for op in done:
        result = int(op.result or 0)
        before = bisect_left(ends, op.begun)
        least = (highest[before - 1] if before else 0) + (op.kind == "incr")
        most = bisect_right(begun, op.ended)
        if not least <= result <= most:
            errors.append(f"stale or too much, not in {least}..{most}: {op}")
    return errors


# -- things that are added once -----------------------------------------------------------------


def collection_errors(operations: Iterable[Operation], final: Iterable[bytes]) -> list[str]:
    """Check a set, hash or sorted set: "add" of values that are all different, whose result is
    how many were new, and "count". final: what it holds in the end."""
    operations = list(operations)
    adds = {op.value: op for op in operations if op.kind == "add"}
    there = set(final)
    errors = [f"invented: {value!r}" for value in there if value not in adds]
    for value, op in adds.items():
        if op.is_done and value not in there:
            errors.append(f"acknowledged and lost: {op}")
        if op.is_done and op.result != 1:
            errors.append(f"done twice: {op}")
        if op.state == REFUSED and value in there:
            errors.append(f"refused, but done: {op}")
    ended = sorted(op.ended for op in adds.values() if op.is_done)
    begun = sorted(op.begun for op in adds.values() if op.state != REFUSED)
    for op in (op for op in operations if op.kind == "count" and op.is_done):
        least, most = bisect_left(ended, op.begun), bisect_right(begun, op.ended)
        if not least <= int(op.result or 0) <= most:
            errors.append(f"stale count, not in {least}..{most}: {op}")
    return errors


# -- queues -------------------------------------------------------------------------------------


def queue_errors(operations: Iterable[Operation], final: list[bytes]) -> list[str]:
    """Check a queue: "push" at the end of values that are all different, and "pop" of the first
    one, whose result may be None. final: what is left."""
    operations = list(operations)
    pushes = {op.value: op for op in operations if op.kind == "push"}
    pops = [op for op in operations if op.kind == "pop" and op.is_done and op.result is not None]
    popped = Counter(op.result for op in pops)
    errors = [f"popped {n} times: {value!r}" for value, n in popped.items() if n > 1]
    errors += [f"popped, but still there: {value!r}" for value in final if value in popped]
    for value in popped.keys() | set(final):
        if value not in pushes:
            errors.append(f"invented: {value!r}")
        elif pushes[value].state == REFUSED:
            errors.append(f"refused, but done: {pushes[value]}")
    missing = [op for op in pushes.values() if op.is_done and op.value not in {*popped, *final}]
    unknown = sum(op.kind == "pop" and op.state == UNKNOWN for op in operations)
    if len(missing) > unknown:
        errors.append(f"lost: {missing[0]} and others; {unknown} pops are unknown")
    if not errors:
        errors += _order_errors(pushes, pops)
    return errors


def _order_errors(pushes: dict[Value, Operation], pops: list[Operation]) -> list[str]:
    """What was pushed later, surely, may not be popped before, surely."""
    errors = []
    ending = sorted(pops, key=lambda op: op.ended)
    at, latest = 0, None  # of those popped already, what was pushed last
    for pop in sorted(pops, key=lambda op: op.begun):
        while ending[at].ended < pop.begun:
            push = pushes[ending[at].result]
            if latest is None or push.begun > latest.begun:
                latest = push
            at += 1
        if latest is not None and pushes[pop.result].ended < latest.begun:
            errors.append(f"out of order: {pop}; {latest} came later, and was popped before")
    return errors


# -- deadlines ----------------------------------------------------------------------------------


def deadline_errors(operations: Iterable[Operation], life_ns: int, slack_ns: int) -> list[str]:
    """Check keys of one client, each "set" once to live so long, and "get"."""
    errors = []
    for key, ops in by_key(operations).items():
        write = next(op for op in ops if op.kind == "set")
        is_gone = write.state == REFUSED
        for op in sorted((op for op in ops if op.kind == "get"), key=lambda op: op.begun):
            if not op.is_done:
                continue
            if op.result is None:
                is_early = write.is_done and op.ended < write.begun + life_ns - slack_ns
                errors += [f"gone too early: {write}; {op}"] if is_early else []
                is_gone = True
            elif is_gone:
                errors.append(f"{key!r} came back: {op}")
            elif write.is_done and op.begun > write.ended + life_ns + slack_ns:
                errors.append(f"stale, past its deadline: {write}; {op}")
    return errors
