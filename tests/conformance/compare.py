"""Whether two replies say the same, and if not, where."""

import re
from collections.abc import Sequence

from tests.conformance.transcript import NIL_REPLIES
from tests.support.resp import ErrorReply, Reply, ReplySet, decode


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


VOLATILE_MS = {b"ttl": 2, b"pttl": 2000, b"expiretime": 2, b"pexpiretime": 2000}
UNORDERED = {b"keys", b"scan"}


def same_answer(command: Sequence[bytes], expected: Reply, actual: Reply) -> bool:
    """Return whether two servers answered `command` alike.

    Order of key listings is free; deadlines may differ by the time that passed between the two
    servers; which key RANDOMKEY picks is the caller's business, here only nil is told apart.
    """
    name = command[0].lower()
    if type(expected) is not type(actual) and not isinstance(expected, bytes):
        return False
    if name == b"randomkey":
        return (expected is None) == (actual is None)
    if name in UNORDERED and not isinstance(expected, ErrorReply):
        return canonical(expected) == canonical(actual)
    if name in VOLATILE_MS:
        return is_near(expected, actual, VOLATILE_MS[name])
    return type(expected) is type(actual) and expected == actual


def same_transaction(queued: Sequence[Sequence[bytes]], expected: Reply, actual: Reply) -> bool:
    """Return whether two servers answered EXEC of the `queued` commands alike."""
    if not isinstance(expected, list) or isinstance(expected, ReplySet):
        return type(expected) is type(actual) and expected == actual
    if not isinstance(actual, list) or not len(queued) == len(expected) == len(actual):
        return False
    return all(map(same_answer, queued, expected, actual))
