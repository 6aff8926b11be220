"""Sorted sets of the model: a dict from member to score, sorted anew for each question."""

import math
import re
from collections.abc import Callable, Sequence

from tests.support.model_keyspace import Client
from tests.support.model_parsing import SYNTAX_ERROR, CommandFailure, parse_integer
from tests.support.model_set import Set
from tests.support.model_types import TypedKeyspace
from tests.support.resp import NullArray, Reply, ScoredPairs

Members = dict[bytes, float]
Pairs = list[tuple[bytes, float]]
NUMBER = re.compile(rb"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.IGNORECASE)
NOT_A_SCORE = "ERR value is not a valid float"
NOT_A_RANGE = "ERR min or max is not a float"
NOT_A_LEX_RANGE = "ERR min or max not valid string range item"
NOT_POSITIVE = "ERR value is out of range, must be positive"
RESULT_IS_NAN = "ERR resulting score is not a number (NaN)"


def ordered(members: Members) -> Pairs:
    """Return the pairs by score, then by bytes."""
    return sorted(members.items(), key=lambda pair: (pair[1], pair[0]))


def parse_score(data: bytes, text: str = NOT_A_SCORE) -> float:
    """Return a decimal score. Raises CommandFailure(text); hexadecimal forms are not known here."""
    value = float(data) if NUMBER.fullmatch(data) else math.nan
    is_infinite = b"inf" in data.lower()
    is_zero = not re.search(rb"[1-9]", data.lower().split(b"e")[0])
    if math.isnan(value) or math.isinf(value) != is_infinite:
        raise CommandFailure(text)
    if value == 0 and not is_zero:
        raise CommandFailure(text)
    return value


def zadd(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
    rest = list(words)
    flags = set()
    while rest and rest[0].lower() in (b"nx", b"xx", b"gt", b"lt", b"ch", b"incr"):
        flags.add(rest.pop(0).lower())
    if len(rest) % 2 or not rest:
        raise CommandFailure(SYNTAX_ERROR)
    if {b"nx", b"xx"} <= flags:
        raise CommandFailure("ERR XX and NX options at the same time are not compatible")
    if len({b"gt", b"lt", b"nx"} & flags) > 1:
        raise CommandFailure("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"incr" in flags and len(rest) > 2:
        raise CommandFailure("ERR INCR option supports a single increment-element pair")
    pairs = [(parse_score(rest[at]), rest[at + 1]) for at in range(0, len(rest), 2)]
    members = dict(model.members(client, key))
    added = changed = 0
    result: float | None = None
    for score, member in pairs:
        old = members.get(member)
        if (old is not None and b"nx" in flags) or (old is None and b"xx" in flags):
            continue
        if old is not None and b"incr" in flags:
            score += old
        if math.isnan(score):
            raise CommandFailure(RESULT_IS_NAN)
        if old is not None and (
            (b"gt" in flags and score <= old) or (b"lt" in flags and score >= old)
        ):
            continue
        added += old is None
        changed += old is None or old != score
        result = members[member] = score + 0.0
    if changed:
        model.put_members(client, key, members)
    if b"incr" in flags:
        return result
    return changed if b"ch" in flags else added


def zincrby(
    model: TypedKeyspace, client: Client, key: bytes, amount: bytes, member: bytes
) -> Reply:
    return zadd(model, client, key, b"INCR", amount, member)


def zcard(model: TypedKeyspace, client: Client, key: bytes) -> Reply:
    return len(model.members(client, key))


def zscore(model: TypedKeyspace, client: Client, key: bytes, member: bytes) -> Reply:
    return model.members(client, key).get(member)


def zmscore(model: TypedKeyspace, client: Client, key: bytes, *names: bytes) -> Reply:
    members = model.members(client, key)
    return [members.get(name) for name in names]


def _zrank(is_reverse: bool) -> Callable[..., Reply]:
    def command(
        model: TypedKeyspace, client: Client, key: bytes, member: bytes, *words: bytes
    ) -> Reply:
        if words and words[0].lower() != b"withscore":
            raise CommandFailure(SYNTAX_ERROR)
        pairs = ordered(model.members(client, key))
        if is_reverse:
            pairs.reverse()
        for rank, (name, score) in enumerate(pairs):
            if name == member:
                return [rank, score] if words else rank
        return NullArray() if words else None

    return command


def zrem(model: TypedKeyspace, client: Client, key: bytes, *names: bytes) -> Reply:
    return _remove(model, client, key, set(names))


def _remove(model: TypedKeyspace, client: Client, key: bytes, names: set[bytes]) -> int:
    members = model.members(client, key)
    left = {name: score for name, score in members.items() if name not in names}
    if len(left) < len(members):
        model.put_members(client, key, left)
    return len(members) - len(left)


# Ranges

Test = Callable[[bytes, float], bool]


def parse_end(data: bytes) -> float:
    """Return an end of a range of scores: spaces before it, nothing and any size are allowed.

    Raises CommandFailure.
    """
    text = data.lstrip(b" \t\n\v\f\r")
    if data and not NUMBER.fullmatch(text):
        raise CommandFailure(NOT_A_RANGE)
    return float(text) if data else 0.0


def by_score(low: bytes, high: bytes) -> Test:
    """Return whether a pair lies between two scores. Raises CommandFailure."""
    ends = []
    for text in (low, high):
        number = text.removeprefix(b"(")
        ends.append((parse_end(number), number != text))
    (least, is_above), (most, is_below) = ends

    def test(member: bytes, score: float) -> bool:
        if score < least or (is_above and score == least):
            return False
        return not (score > most or (is_below and score == most))

    return test


def by_lex(low: bytes, high: bytes) -> Test:
    """Return whether a pair's member lies between two. Raises CommandFailure."""
    for text in (low, high):
        if text not in (b"-", b"+") and text[:1] not in (b"[", b"("):
            raise CommandFailure(NOT_A_LEX_RANGE)

    def is_above(member: bytes) -> bool:
        if low in (b"-", b"+"):
            return low == b"-"
        return member > low[1:] or (low[:1] == b"[" and member == low[1:])

    def is_below(member: bytes) -> bool:
        if high in (b"-", b"+"):
            return high == b"+"
        return member < high[1:] or (high[:1] == b"[" and member == high[1:])

    return lambda member, score: is_above(member) and is_below(member)


def by_rank(pairs: Pairs, first: int, last: int) -> Pairs:
    """Return the pairs from one rank to another; negative ones count from the end."""
    start = max(first + len(pairs), 0) if first < 0 else first
    end = last + len(pairs) if last < 0 else last
    return pairs[start : max(end + 1, 0)]


def select_range(
    model: TypedKeyspace,
    client: Client,
    key: bytes,
    ends: tuple[bytes, bytes],
    words: Sequence[bytes],
    *,
    kind: bytes = b"",
    is_reverse: bool | None = None,
    is_stored: bool = False,
) -> tuple[Pairs, bool]:
    """Return the pairs that ZRANGE and its kin choose, and whether scores are wanted.

    kind, is_reverse: given where the command's name says them.
    """
    rest = list(words)
    is_scored, limit = False, None
    reverse, chosen = bool(is_reverse), kind
    while rest:
        word = rest.pop(0).lower()
        if word == b"withscores" and not is_stored:
            is_scored = True
        elif word == b"limit" and len(rest) >= 2:
            limit = (parse_integer(rest.pop(0)), parse_integer(rest.pop(0)))
        elif word == b"rev" and is_reverse is None:
            reverse = True
        elif word in (b"byscore", b"bylex") and chosen == b"":
            chosen = word
        else:
            raise CommandFailure(SYNTAX_ERROR)
    chosen = chosen or b"byrank"
    if limit is not None and limit[1] != -1 and chosen == b"byrank":
        raise CommandFailure(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
        )
    if is_scored and chosen == b"bylex":
        raise CommandFailure("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    if chosen == b"byrank":
        ranks = parse_integer(ends[0]), parse_integer(ends[1])
    else:
        low, high = reversed(ends) if reverse else ends
        test = (by_score if chosen == b"byscore" else by_lex)(low, high)
    pairs = ordered(model.members(client, key))
    if reverse:
        pairs.reverse()
    if chosen == b"byrank":
        return by_rank(pairs, *ranks), is_scored
    pairs = [pair for pair in pairs if test(*pair)]
    if limit is not None:
        offset, count = limit
        pairs = [] if offset < 0 else pairs[offset:]
        pairs = pairs if count < 0 else pairs[:count]
    return pairs, is_scored


def listing(pairs: Pairs, is_scored: bool) -> Reply:
    """Return pairs, or only their members, as a reply."""
    return ScoredPairs(pairs) if is_scored else [member for member, _ in pairs]


def _zrange(kind: bytes = b"", is_reverse: bool | None = None) -> Callable[..., Reply]:
    def command(
        model: TypedKeyspace, client: Client, key: bytes, one: bytes, other: bytes, *words: bytes
    ) -> Reply:
        found = select_range(
            model, client, key, (one, other), words, kind=kind, is_reverse=is_reverse
        )
        return listing(*found)

    return command


def zrangestore(
    model: TypedKeyspace,
    client: Client,
    target: bytes,
    key: bytes,
    one: bytes,
    other: bytes,
    *words,
) -> Reply:
    pairs, _ = select_range(model, client, key, (one, other), words, is_stored=True)
    return store_result(model, client, target, pairs)


def store_result(model: TypedKeyspace, client: Client, target: bytes, pairs: Pairs) -> int:
    """Put a result in place of whatever is at `target`."""
    model.remove(client, target)
    model.put_members(client, target, dict(pairs))
    return len(pairs)


def _zcount(build: Callable[[bytes, bytes], Test], is_removed: bool) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, key: bytes, low: bytes, high: bytes) -> Reply:
        test = build(low, high)
        found = {pair[0] for pair in model.members(client, key).items() if test(*pair)}
        return _remove(model, client, key, found) if is_removed else len(found)

    return command


def zremrangebyrank(
    model: TypedKeyspace, client: Client, key: bytes, first: bytes, last: bytes
) -> Reply:
    ranks = parse_integer(first), parse_integer(last)
    pairs = by_rank(ordered(model.members(client, key)), *ranks)
    return _remove(model, client, key, {member for member, _ in pairs})


# Pops


def _pop(model: TypedKeyspace, client: Client, key: bytes, is_max: bool, count: int) -> Pairs:
    pairs = ordered(model.members(client, key))
    if is_max:
        pairs.reverse()
    _remove(model, client, key, {member for member, _ in pairs[:count]})
    return pairs[:count]


def _zpop(is_max: bool) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, key: bytes, *words: bytes) -> Reply:
        if len(words) > 1:
            raise CommandFailure(SYNTAX_ERROR)
        count = parse_integer(words[0], NOT_POSITIVE) if words else 1
        if count < 0:
            raise CommandFailure(NOT_POSITIVE)
        pairs = _pop(model, client, key, is_max, count)
        return ScoredPairs(pairs) if words else [item for pair in pairs for item in pair]

    return command


def zmpop(model: TypedKeyspace, client: Client, numkeys: bytes, *words: bytes) -> Reply:
    text = "ERR numkeys should be greater than 0"
    number = parse_integer(numkeys, text)
    if not 0 < number <= 2**31 - 1:
        raise CommandFailure(text)
    names, rest = words[:number], list(words[number:])
    if not rest or rest[0].lower() not in (b"min", b"max"):
        raise CommandFailure(SYNTAX_ERROR)
    is_max = rest.pop(0).lower() == b"max"
    count = 1
    if rest:
        if len(rest) < 2 or rest[0].lower() != b"count":
            raise CommandFailure(SYNTAX_ERROR)
        text = "ERR count should be greater than 0"
        count = parse_integer(rest[1], text)
        if count < 1:
            raise CommandFailure(text)
        if len(rest) > 2:
            raise CommandFailure(SYNTAX_ERROR)
    for name in names:
        if model.members(client, name):
            return [name, [list(pair) for pair in _pop(model, client, name, is_max, count)]]
    return NullArray()


# Unions, intersections, differences


def combine(
    model: TypedKeyspace, client: Client, name: str, words: Sequence[bytes], is_stored: bool
) -> tuple[Pairs, bool, int]:
    """Return the result of ZUNION and its kin, whether scores are wanted, and any LIMIT."""
    command = f"z{name}{'store' if is_stored else ''}"
    number = parse_integer(words[0])
    if number < 1:
        raise CommandFailure(f"ERR at least 1 input key is needed for '{command}' command")
    if number > len(words) - 1:
        raise CommandFailure(SYNTAX_ERROR)
    inputs = [_input(model, client, key) for key in words[1 : number + 1]]
    rest = list(words[number + 1 :])
    weights, aggregate, is_scored, limit = [1.0] * number, b"sum", False, 0
    is_weighted = name in ("union", "inter")
    while rest:
        word = rest.pop(0).lower()
        if word == b"weights" and is_weighted and len(rest) >= number:
            text = "ERR weight value is not a float"
            weights = [parse_score(rest.pop(0), text) for _ in range(number)]
        elif word == b"aggregate" and is_weighted and rest:
            aggregate = rest.pop(0).lower()
            if aggregate not in (b"sum", b"min", b"max"):
                raise CommandFailure(SYNTAX_ERROR)
        elif word == b"withscores" and not is_stored and name != "intercard":
            is_scored = True
        elif word == b"limit" and name == "intercard" and rest:
            text = "ERR LIMIT can't be negative"
            limit = parse_integer(rest.pop(0), text)
            if limit < 0:
                raise CommandFailure(text)
        else:
            raise CommandFailure(SYNTAX_ERROR)
    if name == "diff":
        others = {member for other in inputs[1:] for member in other}
        left = {member: score for member, score in inputs[0].items() if member not in others}
        return ordered(left), is_scored, limit
    fold = {b"sum": lambda a, b: _number(a + b), b"min": min, b"max": max}[aggregate]
    result: Members = {}
    for members, weight in zip(inputs, weights, strict=True):
        for member, score in members.items():
            weighed = _number(score * weight)
            result[member] = fold(result[member], weighed) if member in result else weighed
    if name != "union":
        common = set.intersection(*(set(members) for members in inputs))
        result = {member: score for member, score in result.items() if member in common}
    return ordered(result), is_scored, limit


def _input(model: TypedKeyspace, client: Client, key: bytes) -> Members:
    """Return the scores of a sorted set, or of a set, whose members count 1 each."""
    value = model.lookup(client, key)
    if value is not None and type(value.data) is Set:
        return dict.fromkeys(value.data, 1.0)
    return model.members(client, key)


def _number(value: float) -> float:
    """inf - inf, and 0 * inf, count as nothing."""
    return 0.0 if math.isnan(value) else value


def _algebra(name: str) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, *words: bytes) -> Reply:
        pairs, is_scored, _ = combine(model, client, name, words, False)
        return listing(pairs, is_scored)

    return command


def _algebra_store(name: str) -> Callable[..., Reply]:
    def command(model: TypedKeyspace, client: Client, target: bytes, *words: bytes) -> Reply:
        pairs, _, _ = combine(model, client, name, words, True)
        return store_result(model, client, target, pairs)

    return command


def zintercard(model: TypedKeyspace, client: Client, *words: bytes) -> Reply:
    pairs, _, limit = combine(model, client, "intercard", words, False)
    return min(len(pairs), limit) if limit else len(pairs)


# Name: (function, arity), as in model.py.
ZSET_COMMANDS: dict[bytes, tuple[Callable[..., Reply], int]] = {
    b"zadd": (zadd, -4),
    b"zcard": (zcard, 2),
    b"zcount": (_zcount(by_score, False), 4),
    b"zdiff": (_algebra("diff"), -3),
    b"zdiffstore": (_algebra_store("diff"), -4),
    b"zincrby": (zincrby, 4),
    b"zinter": (_algebra("inter"), -3),
    b"zintercard": (zintercard, -3),
    b"zinterstore": (_algebra_store("inter"), -4),
    b"zlexcount": (_zcount(by_lex, False), 4),
    b"zmpop": (zmpop, -4),
    b"zmscore": (zmscore, -3),
    b"zpopmax": (_zpop(True), -2),
    b"zpopmin": (_zpop(False), -2),
    b"zrange": (_zrange(), -4),
    b"zrangebylex": (_zrange(b"bylex", False), -4),
    b"zrangebyscore": (_zrange(b"byscore", False), -4),
    b"zrangestore": (zrangestore, -5),
    b"zrank": (_zrank(False), -3),
    b"zrem": (zrem, -3),
    b"zremrangebylex": (_zcount(by_lex, True), 4),
    b"zremrangebyrank": (zremrangebyrank, 4),
    b"zremrangebyscore": (_zcount(by_score, True), 4),
    b"zrevrange": (_zrange(b"byrank", True), -4),
    b"zrevrangebylex": (_zrange(b"bylex", True), -4),
    b"zrevrangebyscore": (_zrange(b"byscore", True), -4),
    b"zrevrank": (_zrank(True), -3),
    b"zscore": (zscore, 3),
    b"zunion": (_algebra("union"), -3),
    b"zunionstore": (_algebra_store("union"), -4),
}
