"""Hypothesis strategies for sorted-set commands: few members, equal scores, every option.

Left out: ranges of bytes over unequal scores (unspecified), hexadecimal scores, sums of three
infinite scores (their order decides), members picked at random, and what would wait.
"""

from hypothesis import strategies as st

from tests.conformance.generators import (
    NOT_INTEGERS,
    Command,
    _command,
    _join,
    _some,
    _words,
    integers,
    keys,
    values,
)

# Only here all scores are equal, so ranges of bytes have a meaning.
LEX_KEYS = (b"lex1", b"lex2")
MEMBERS = (b"a", b"b", b"c", b"d", b"", b"aa", b"m\x00\xff\r\n")
# Sums and halves of these are exact, and both servers write them alike or as equal numbers.
SCORES = (b"0", b"1", b"2", b"3", b"-1", b"1.5", b"-2.25", b"1e3", b"inf", b"-inf", b"+inf", b".5")
NOT_SCORES = (b"nan", b"abc", b"", b" 1", b"1e400", b"1x")
RANKS = (b"0", b"1", b"2", b"-1", b"-2", b"-100", b"100", b"9223372036854775807")

members = st.sampled_from(MEMBERS)
scores = st.one_of(
    st.sampled_from(SCORES), st.sampled_from(SCORES), st.integers(-5, 5).map(lambda n: b"%d" % n)
)
any_scores = st.integers(0, 7).flatmap(lambda n: st.sampled_from(NOT_SCORES) if n == 7 else scores)
score_ends = st.one_of(scores, scores.map(lambda score: b"(" + score), st.just(b"x"))
lex_ends = st.one_of(
    _words(b"-", b"+"),
    members.map(lambda member: b"[" + member),
    members.map(lambda member: b"(" + member),
    st.sampled_from((b"a", b"")),
)
ranks = st.one_of(st.sampled_from(RANKS), st.sampled_from(NOT_INTEGERS))
lex_keys = st.sampled_from(LEX_KEYS)
limits = st.one_of(
    st.just(()),
    _join(st.just(b"LIMIT"), st.sampled_from((b"0", b"1", b"-1", b"x")), ranks),
)
with_scores = _words(b"", b"", b"WITHSCORES", b"withscores", b"bogus")
zadd_options = _words(
    b"",
    b"",
    b"",
    b"NX",
    b"XX",
    b"GT",
    b"LT",
    b"CH",
    b"CH XX",
    b"GT CH",
    b"LT XX",
    b"NX CH",
    b"INCR",
    b"XX INCR",
    b"NX INCR",
    b"GT INCR",
    b"LT INCR",
    b"NX XX",
    b"GT LT",
    b"GT NX",
    b"bogus",
)
range_options = _words(
    b"", b"", b"REV", b"WITHSCORES", b"REV WITHSCORES", b"bogus", b"LIMIT 0 1", b"BYSCORE BYLEX"
)
score_options = _words(b"BYSCORE", b"BYSCORE REV", b"BYSCORE WITHSCORES", b"REV BYSCORE WITHSCORES")
lex_options = _words(b"BYLEX", b"BYLEX REV", b"BYLEX WITHSCORES")
counts = st.one_of(st.sampled_from((b"0", b"1", b"2", b"10", b"-1")), integers)
aggregates = _words(b"", b"AGGREGATE MIN", b"AGGREGATE MAX", b"AGGREGATE SUM", b"AGGREGATE avg")


def _inputs(*tail: st.SearchStrategy) -> st.SearchStrategy[Command]:
    """Return numkeys, one or two keys, and what follows; numkeys is wrong at times."""

    def build(names: Command, shift: int, rest: tuple) -> Command:
        return (b"%d" % (len(names) + shift), *names, *(word for part in rest for word in part))

    shifts = st.sampled_from((0, 0, 0, 0, 0, 0, 1, -1, -3))
    return st.builds(build, _some(keys, 1, 2), shifts, st.tuples(*tail))


def _weights(drawn: tuple) -> Command:
    return (b"WEIGHTS", *drawn) if drawn else ()


weights = st.one_of(st.just(()), _some(any_scores, 1, 2)).map(_weights)
score_members = _some(_join(any_scores, members)).map(lambda pairs: sum(pairs, ()))
lex_members = _some(members).map(lambda names: tuple(w for name in names for w in (b"0", name)))

ZSETS = (
    _command(b"ZADD", keys, score_members),
    _command(b"ZADD", keys, score_members),
    _command(b"ZADD", keys, zadd_options, score_members),
    _command(b"ZADD", keys, zadd_options, any_scores, members),
    _command(b"ZADD", lex_keys, lex_members),
    _command(b"ZINCRBY", keys, any_scores, members),
    _command(b"ZREM", keys, _some(members)),
    _command(b"ZREM", lex_keys, _some(members)),
    _command(b"ZCARD", keys),
    _command(b"ZSCORE", keys, members),
    _command(b"ZMSCORE", keys, _some(members)),
    _command(b"ZRANK", keys, members),
    _command(b"ZREVRANK", keys, members),
    _command(b"ZRANGE", keys, ranks, ranks, range_options),
    _command(b"ZRANGE", keys, score_ends, score_ends, score_options, limits),
    _command(b"ZRANGE", lex_keys, lex_ends, lex_ends, lex_options, limits),
    _command(b"ZREVRANGE", keys, ranks, ranks, with_scores),
    _command(b"ZRANGEBYSCORE", keys, score_ends, score_ends, with_scores, limits),
    _command(b"ZREVRANGEBYSCORE", keys, score_ends, score_ends, limits, with_scores),
    _command(b"ZRANGEBYLEX", lex_keys, lex_ends, lex_ends, limits),
    _command(b"ZREVRANGEBYLEX", lex_keys, lex_ends, lex_ends, limits),
    _command(b"ZRANGESTORE", keys, keys, ranks, ranks, range_options),
    _command(b"ZRANGESTORE", keys, keys, score_ends, score_ends, score_options, limits),
    _command(b"ZCOUNT", keys, score_ends, score_ends),
    _command(b"ZLEXCOUNT", lex_keys, lex_ends, lex_ends),
    _command(b"ZREMRANGEBYRANK", keys, ranks, ranks),
    _command(b"ZREMRANGEBYSCORE", keys, score_ends, score_ends),
    _command(b"ZREMRANGEBYLEX", lex_keys, lex_ends, lex_ends),
    _command(b"ZPOPMIN", keys),
    _command(b"ZPOPMAX", keys),
    _command(b"ZPOPMIN", keys, counts),
    _command(b"ZPOPMAX", keys, counts),
    _command(b"ZMPOP", _inputs(_words(b"MIN", b"MAX", b"max COUNT 2", b"MIN COUNT 0", b"bogus"))),
    _command(b"ZUNION", _inputs(weights, aggregates, with_scores)),
    _command(b"ZINTER", _inputs(weights, aggregates, with_scores)),
    _command(b"ZDIFF", _inputs(with_scores)),
    _command(b"ZINTERCARD", _inputs(_words(b"", b"LIMIT 1", b"LIMIT 0", b"LIMIT -1", b"LIMIT x"))),
    _command(b"ZUNIONSTORE", keys, _inputs(weights, aggregates)),
    _command(b"ZINTERSTORE", keys, _inputs(weights, aggregates)),
    _command(b"ZDIFFSTORE", keys, _inputs()),
)
# Strings and deadlines at the same keys, for errors of type and values that are replaced.
ZSET_GROUPS = ((12, ZSETS), (1, (_command(b"SET", keys, values), _command(b"GET", keys))))
