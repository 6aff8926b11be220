"""Strategies for the commands of hashes: few fields, numbers among the values, every option.

Random fields are asked for only where the answer is the whole hash, or nothing. Redis of the
version that transcripts are recorded from has no deadlines of fields: FIELD_EXPIRY is for others.
"""

from hypothesis import strategies as st

from tests.conformance.generators import (
    FAR_FUTURE_S,
    KEYS,
    LLONG_MAX,
    LLONG_MIN,
    NOT_INTEGERS,
    PATTERNS,
    _command,
    _join,
    _some,
    _words,
    around,
    comparisons,
    integers,
    short_ms,
    values,
)

FIELDS = (b"f", b"g", b"", b"1", b"\x00\xff", b"long" * 20)
COUNTS = (b"0", b"100", b"%d" % LLONG_MIN, b"%d" % (LLONG_MAX + 1), b"x", b"", b"1.5")
DEADLINE_MS_MAX = 2**46 - 1  # of a field

# Few keys and mostly two fields: what one command writes shall be what the next one finds.
keys = st.sampled_from(KEYS[:2])
fields = st.one_of(st.sampled_from(FIELDS[:2]), st.sampled_from(FIELDS))
assignments = _some(_join(fields, values)).map(lambda pairs: sum(pairs, ()))
whole_counts = st.sampled_from(COUNTS)
scan_options = st.one_of(
    _words(b"", b"COUNT 1000", b"NOSUCH", b"COUNT", b"COUNT 0", b"count x", b"TYPE hash"),
    _join(st.just(b"MATCH"), st.sampled_from(PATTERNS)),
)

HASHES = (
    _command(b"HSET", keys, assignments),
    _command(b"HSET", keys, assignments),
    _command(b"HSET", keys, assignments),
    _command(b"HMSET", keys, assignments),
    _command(b"HSETNX", keys, fields, values),
    _command(b"HGET", keys, fields),
    _command(b"HMGET", keys, _some(fields)),
    _command(b"HGETALL", keys),
    _command(b"HKEYS", keys),
    _command(b"HVALS", keys),
    _command(b"HLEN", keys),
    _command(b"HEXISTS", keys, fields),
    _command(b"HSTRLEN", keys, fields),
    _command(b"HDEL", keys, _some(fields)),
    _command(b"HDEL", keys, _some(fields)),
    _command(b"HINCRBY", keys, fields, integers),
    _command(b"HINCRBY", keys, fields, integers),
    _command(b"HRANDFIELD", keys, whole_counts, _words(b"", b"WITHVALUES", b"withvalues", b"x")),
    _command(b"HSCAN", keys, st.just(b"0"), scan_options),
    _command(b"HSCAN", keys, st.sampled_from((b"x", b"1.5", b"99999999999999999999"))),
)

counted_fields = st.one_of(
    _some(fields).map(lambda names: (b"FIELDS", b"%d" % len(names), *names)),
    _some(fields).map(lambda names: (b"FIELDS", b"%d" % len(names), *names)),
    _some(fields).map(lambda names: (b"fields", b"2", *names)),
    _words(b"FIELDS 0 f", b"FIELDS x f", b"FIELD 1 f", b"FIELDS -1 f", b"f 1 g"),
)
counted_pairs = st.one_of(
    _some(_join(fields, values)).map(lambda p: (b"FIELDS", b"%d" % len(p), *sum(p, ()))),
    _some(_join(fields, values)).map(lambda p: (b"FIELDS", b"%d" % len(p), *sum(p, ()))),
    _words(b"FIELDS 0 f v", b"FIELDS x f v", b"FIELDS 2 f v", b"FIELDS 1 f", b"x"),
)
refused = st.sampled_from(
    (b"-1", b"%d" % (DEADLINE_MS_MAX + 1), b"%d" % LLONG_MAX, b"%d" % LLONG_MIN, *NOT_INTEGERS)
)
durations_s = st.one_of(_words(b"0", b"1000", b"5000"), refused)
durations_ms = st.one_of(_words(b"0", b"1000000", b"5000000"), refused)
deadlines_s = st.one_of(
    st.sampled_from(FAR_FUTURE_S).map(lambda s: b"%d" % s), _words(b"1"), refused
)
deadlines_ms = st.one_of(
    st.sampled_from(FAR_FUTURE_S).map(lambda s: b"%d" % (s * 1000 + 123)), _words(b"0"), refused
)
expirations = st.one_of(
    _join(st.just(b"EX"), durations_s),
    _join(st.just(b"PX"), durations_ms),
    _join(st.just(b"EXAT"), deadlines_s),
    _join(st.just(b"PXAT"), deadlines_ms),
)

FIELD_EXPIRY = (
    _command(b"HEXPIRE", keys, durations_s, comparisons, counted_fields),
    _command(b"HPEXPIRE", keys, durations_ms, comparisons, counted_fields),
    _command(b"HEXPIREAT", keys, deadlines_s, comparisons, counted_fields),
    _command(b"HPEXPIREAT", keys, deadlines_ms, comparisons, counted_fields),
    _command(b"HTTL", keys, counted_fields),
    _command(b"HPTTL", keys, counted_fields),
    _command(b"HEXPIRETIME", keys, counted_fields),
    _command(b"HPEXPIRETIME", keys, counted_fields),
    _command(b"HPERSIST", keys, counted_fields),
    _command(b"HGETDEL", keys, counted_fields),
    _command(
        b"HGETEX", keys, st.one_of(_words(b"", b"PERSIST", b"x"), expirations), counted_fields
    ),
    _command(
        b"HSETEX",
        _words(b"", b"", b"FNX", b"FXX", b"fnx FXX", b"x"),
        st.one_of(_words(b"", b"KEEPTTL", b"KEEPTTL EX 5"), expirations),
        counted_pairs,
    ),
    _command(b"HSCAN", keys, st.just((b"0", b"NOVALUES")), scan_options),
)
# For a clock that the test moves, as short deadlines of keys are.
SHORT_LIVED_FIELDS = (
    _command(b"HPEXPIRE", keys, short_ms, comparisons, counted_fields),
    _command(b"HGETEX", keys, st.just(b"PX"), short_ms, counted_fields),
    _command(b"HSETEX", keys, st.just(b"PX"), short_ms, counted_pairs),
    _command(b"HGETALL", keys),
    _command(b"HLEN", keys),
)

GROUPS = ((8, HASHES), (3, around(keys)))
TIMED_GROUPS = (*GROUPS, (4, FIELD_EXPIRY), (2, SHORT_LIVED_FIELDS))
