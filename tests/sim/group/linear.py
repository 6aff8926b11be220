"""Checks whether what clients saw of one key has an order that explains it: linearizability.

Wing and Gong's search: take one operation after another that may come next, undo where nothing
fits. A read that fits is taken at once, since it changes nothing. Operations of unknown outcome may
come at any time after they began, or never.
"""

from collections.abc import Iterable
from dataclasses import dataclass

NEVER = 1 << 62
STATES_MAX = 200_000

Value = bytes | int | None


@dataclass(slots=True)
class Operation:
    """kind: "set" to argument, "get", "swap" (SET with GET), "incr" by 1.

    ended: NEVER if the outcome is unknown. result: of what has ended. follows: the one before it on
    its connection, if that was not answered yet when this one was sent.
    """

    kind: str
    argument: Value
    begun: int
    ended: int = NEVER
    result: Value = None
    is_refused: bool = False
    follows: "Operation | None" = None
    name: str = ""

    @property
    def is_known(self) -> bool:
        return self.ended < NEVER


class NotLinearizable(Exception):
    """No order explains what was seen."""


def check(key: bytes, operations: Iterable[Operation]) -> None:
    """Raise NotLinearizable. A register begins as absent."""
    ops = [op for op in operations if not op.is_refused]
    seen = {op.result for op in ops if op.is_known}
    # Of what is unknown only that matters of which somebody saw something.
    ops = [
        op
        for op in ops
        if op.is_known or op.kind == "incr" or (op.kind in ("set", "swap") and op.argument in seen)
    ]
    ops.sort(key=lambda op: op.begun)
    if not _search(ops):
        lines = [
            f"  {op.begun}..{op.ended if op.is_known else '?'} {op.name} {op.kind} "
            f"{op.argument!r} -> {op.result!r}"
            for op in ops
        ]
        raise NotLinearizable(f"{key!r} is not linearizable:\n" + "\n".join(lines))


def _search(ops: list[Operation]) -> bool:
    count = len(ops)
    known = sum(1 << i for i, op in enumerate(ops) if op.is_known)
    places = {id(op): i for i, op in enumerate(ops)}
    needed = [1 << places[id(op.follows)] if id(op.follows) in places else 0 for op in ops]
    visited: set[tuple[int, Value]] = set()
    todo: list[tuple[int, Value]] = [(0, None)]
    while todo:
        done, value = todo.pop()
        if done & known == known:
            return True
        if (done, value) in visited:
            continue
        visited.add((done, value))
        assert len(visited) < STATES_MAX, "too many operations at once for the checker"
        first_end = NEVER
        candidates = []
        for i in range(_first_open(done), count):
            op = ops[i]
            if op.begun > first_end:
                break
            if not done >> i & 1:
                candidates.append(i)
                first_end = min(first_end, op.ended)
        following = []
        for i in candidates:
            op = ops[i]
            if op.begun > first_end or needed[i] & ~done:
                continue
            fits, after = _apply(op, value)
            if fits and op.kind == "get":
                following = [(done | 1 << i, value)]
                break
            if fits:
                following.append((done | 1 << i, after))
        todo += following
    return False


def _first_open(done: int) -> int:
    """Return the position of the lowest bit that is not set."""
    return (~done & (done + 1)).bit_length() - 1


def _apply(op: Operation, value: Value) -> tuple[bool, Value]:
    """Return whether the result is right at this value, and the value after it."""
    match op.kind:
        case "get":
            return op.result == value, value
        case "set":
            return True, op.argument
        case "swap":
            return not op.is_known or op.result == value, op.argument
        case "incr":
            after = int(value or 0) + 1
            return not op.is_known or op.result == after, b"%d" % after
    raise AssertionError(op.kind)
