"""Whether two replies say the same, and if not, where."""

import re
from collections.abc import Sequence

from tests.conformance.transcript import NIL_REPLIES
from tests.support.resp import Reply, decode, split_array


def canonical(value: Reply) -> object:
    """Return `value` in a form in which elements of arrays and maps have one order."""
    if isinstance(value, list):
        return [type(value).__name__, *sorted((canonical(item) for item in value), key=repr)]
    if isinstance(value, dict):
        pairs = ((canonical(key), canonical(item)) for key, item in value.items())
        return ["map", *sorted(pairs, key=repr)]
    return repr(value)


def is_near(expected: Reply, actual: Reply, tolerance: int) -> bool:
    """Return whether both have one shape and integers differ by `tolerance` at most.

    -1 and -2 (no deadline, no key) are answers and not amounts: they are never near another.
    """
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, list) and isinstance(actual, list):
        pairs = zip(expected, actual, strict=False)
        return len(expected) == len(actual) and all(is_near(e, a, tolerance) for e, a in pairs)
    if isinstance(expected, int) and isinstance(actual, int) and min(expected, actual) >= 0:
        return abs(expected - actual) <= tolerance
    return expected == actual


def fits(expected: bytes, actual: bytes, directives: dict[str, str]) -> bool:
    """Return whether the bytes of a reply are those expected, as the directives relax it."""
    if expected == actual:
        return True
    if "match" in directives:
        return re.fullmatch(directives["match"].encode(), actual, re.DOTALL) is not None
    if "type" in directives:
        return expected[:1] == actual[:1] and not {expected, actual} & NIL_REPLIES
    if not expected or not actual:
        return False
    if "unordered" in directives and expected[:1] == actual[:1]:
        return canonical(decode(expected)) == canonical(decode(actual))
    if "approx" in directives:
        return is_near(decode(expected), decode(actual), int(directives["approx"]))
    return False


DEADLINE_TOLERANCE = {b"ttl": 2, b"pttl": 2000, b"expiretime": 2, b"pexpiretime": 2000}
# Listings, and random choices: those that are compared take a collection whole.
UNORDERED = set(
    b"keys scan hgetall hkeys hvals hrandfield hscan "
    b"smembers sdiff sinter sunion spop srandmember sscan zscan".split()
)


def is_same_number(expected: Reply, actual: Reply) -> bool:
    """Return whether both have one shape and differ only in how a number is written.

    Redis 7.0 writes 0.1 as 0.10000000000000001, later versions and kvnode as 0.1.
    """
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, list) and isinstance(actual, list):
        pairs = zip(expected, actual, strict=False)
        return len(expected) == len(actual) and all(is_same_number(e, a) for e, a in pairs)
    if expected == actual or not isinstance(expected, bytes) or not isinstance(actual, bytes):
        return expected == actual
    try:
        return float(expected) == float(actual)
    except ValueError:
        return False


def same_answer(command: Sequence[bytes], expected: bytes, actual: bytes) -> bool:
    """Return whether the bytes of two replies to `command` say the same.

    Order of key listings is free; deadlines may differ by the time that passed between the two
    servers; of what RANDOMKEY picks only nil is told apart here.
    """
    if expected == actual:
        return True
    if expected[:1] != actual[:1] or {expected, actual} & NIL_REPLIES:
        return False
    name = command[0].lower()
    if name.startswith((b"z", b"bz")) and is_same_number(decode(expected), decode(actual)):
        return True
    if name == b"randomkey":
        return expected[:1] != b"-"
    if name in UNORDERED:
        return canonical(decode(expected)) == canonical(decode(actual))
    if name in DEADLINE_TOLERANCE:
        return is_near(decode(expected), decode(actual), DEADLINE_TOLERANCE[name])
    return False


def same_transaction(queued: Sequence[Sequence[bytes]], expected: bytes, actual: bytes) -> bool:
    """Return whether two replies to EXEC of the `queued` commands say the same."""
    if expected == actual:
        return True
    ours, theirs = split_array(expected), split_array(actual)
    if {expected, actual} & NIL_REPLIES or not len(queued) == len(ours) == len(theirs):
        return False
    return all(map(same_answer, queued, ours, theirs))
