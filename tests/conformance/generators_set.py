"""Strategies for the commands of sets: few members, integers among them, every option.

Random members are asked for only where the answer is the whole set, or nothing.
"""

from hypothesis import strategies as st

from tests.conformance.generators import (
    KEYS,
    LLONG_MAX,
    LLONG_MIN,
    PATTERNS,
    _command,
    _join,
    _some,
    _words,
    around,
    integers,
)

MEMBERS = (b"1", b"2", b"-3", b"x", b"y", b"", b"01", b"\x00\xff", b"%d" % LLONG_MAX, b"long" * 20)
COUNTS = (b"0", b"100", b"%d" % LLONG_MAX, b"%d" % LLONG_MIN, b"x", b"", b"1.5")

# Few keys and mostly the same members: sets shall overlap.
keys = st.sampled_from(KEYS[:3])
members = st.one_of(st.sampled_from(MEMBERS[:4]), st.sampled_from(MEMBERS))
whole_counts = st.sampled_from(COUNTS)
scan_options = st.one_of(
    _words(b"", b"COUNT 1000", b"NOSUCH", b"COUNT", b"COUNT 0", b"count x", b"TYPE set"),
    _join(st.just(b"MATCH"), st.sampled_from(PATTERNS)),
)
counted_keys = st.one_of(
    _some(keys).map(lambda names: (b"%d" % len(names), *names)),
    _some(keys).map(lambda names: (b"%d" % len(names), *names)),
    _join(integers, _some(keys)),
)
limits = st.one_of(
    _words(b"", b"", b"LIMIT 0", b"LIMIT 1", b"limit 2", b"LIMIT", b"LIMIT -1", b"LIMIT x", b"x")
)

SETS = (
    _command(b"SADD", keys, _some(members)),
    _command(b"SADD", keys, _some(members)),
    _command(b"SADD", keys, _some(members, 1, 6)),
    _command(b"SREM", keys, _some(members)),
    _command(b"SCARD", keys),
    _command(b"SISMEMBER", keys, members),
    _command(b"SMISMEMBER", keys, _some(members)),
    _command(b"SMEMBERS", keys),
    _command(b"SMOVE", keys, keys, members),
    _command(b"SPOP", keys, whole_counts),
    _command(b"SRANDMEMBER", keys, whole_counts),
    _command(b"SSCAN", keys, st.just(b"0"), scan_options),
    _command(b"SSCAN", keys, st.sampled_from((b"x", b"1.5", b"99999999999999999999"))),
    _command(b"SUNION", _some(keys)),
    _command(b"SINTER", _some(keys)),
    _command(b"SDIFF", _some(keys)),
    _command(b"SINTERCARD", counted_keys, limits),
    _command(b"SUNIONSTORE", keys, _some(keys)),
    _command(b"SINTERSTORE", keys, _some(keys)),
    _command(b"SDIFFSTORE", keys, _some(keys)),
)

GROUPS = ((8, SETS), (3, around(keys)))
