"""Strategies for the commands of lists: few elements, each index and every option.

Commands that may wait are left out: a script waits for each reply. Counts and ranks of LLONG_MIN
are too: Redis 7.0 negates them.
"""

from hypothesis import strategies as st

from tests.conformance.generators import (
    KEYS,
    LLONG_MAX,
    LLONG_MIN,
    NOT_INTEGERS,
    TOO_LARGE,
    _command,
    _join,
    _some,
    _words,
    around,
    integers,
)

ELEMENTS = (b"a", b"b", b"c", b"", b"1", b"01", b"-1", b"%d" % LLONG_MAX, b"\x00\xff", b"long" * 20)
INDEXES = (0, 1, 2, 3, 5, -1, -2, -3, -5, 100, -100, LLONG_MAX, -LLONG_MAX)

# Few keys and mostly the same elements: they shall be found, several times.
keys = st.sampled_from(KEYS[:3])
elements = st.one_of(st.sampled_from(ELEMENTS[:3]), st.sampled_from(ELEMENTS))
bad_numbers = st.sampled_from(NOT_INTEGERS + TOO_LARGE)
numbers = st.sampled_from(INDEXES).map(lambda number: b"%d" % number)
indexes = st.one_of(numbers, numbers, numbers, st.just(b"%d" % LLONG_MIN), bad_numbers)
counts = st.one_of(numbers, numbers, numbers, bad_numbers)
pop_counts = st.one_of(st.just(()), _join(counts))
ends = st.sampled_from((b"LEFT", b"RIGHT", b"left", b"Right", b"LEFT", b"RIGHT", b"UP"))
wheres = st.sampled_from((b"BEFORE", b"AFTER", b"before", b"After", b"AROUND"))
lpos_options = st.lists(
    st.one_of(
        _join(st.just(b"RANK"), counts),
        _join(st.just(b"COUNT"), counts),
        _join(st.just(b"maxlen"), counts),
        _words(b"RANK", b"BOGUS 1"),
    ),
    max_size=3,
).map(lambda options: tuple(word for option in options for word in option))
counted_keys = st.one_of(
    _some(keys).map(lambda names: (b"%d" % len(names), *names)),
    _some(keys).map(lambda names: (b"%d" % len(names), *names)),
    _join(integers, _some(keys)),
)
mpop_options = st.one_of(
    _words(b"", b"", b"COUNT", b"COUNT 2 COUNT 1", b"BOGUS 1"), _join(st.just(b"COUNT"), counts)
)

LISTS = (
    _command(b"LPUSH", keys, _some(elements, 1, 5)),
    _command(b"RPUSH", keys, _some(elements, 1, 5)),
    _command(b"RPUSH", keys, _some(elements, 1, 5)),
    _command(b"LPUSHX", keys, _some(elements)),
    _command(b"RPUSHX", keys, _some(elements)),
    _command(b"LPOP", keys, pop_counts),
    _command(b"RPOP", keys, pop_counts),
    _command(b"LLEN", keys),
    _command(b"LINDEX", keys, indexes),
    _command(b"LRANGE", keys, indexes, indexes),
    _command(b"LSET", keys, indexes, elements),
    _command(b"LTRIM", keys, indexes, indexes),
    _command(b"LINSERT", keys, wheres, elements, elements),
    _command(b"LREM", keys, counts, elements),
    _command(b"LPOS", keys, elements, lpos_options),
    _command(b"LMOVE", keys, keys, ends, ends),
    _command(b"RPOPLPUSH", keys, keys),
    _command(b"LMPOP", counted_keys, ends, mpop_options),
)

GROUPS = ((8, LISTS), (3, around(keys)))
