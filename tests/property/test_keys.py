"""Record keys: as the naive twin builds them, read back as they were built, in the right order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvnode._core import keys
from kvnode.base.errors import CorruptionError
from tests.reference import keys as reference

u64 = st.integers(0, (1 << 64) - 1)
names = st.binary(max_size=40)
KINDS = b"HCFMIK"


@given(generation=u64, hash_=u64, name=names)
def test_head_keys(generation, hash_, name):
    key = keys.head_start(generation, hash_) + name
    assert key == reference.head_start(generation, hash_) + name
    assert keys.split_head(key) == reference.split_head(key) == (generation, hash_, name)


@given(kind=st.sampled_from((keys.EXPIRY, keys.FIELD_EXPIRY)), at=u64, owner=u64, name=names)
def test_expiry_keys(kind, at, owner, name):
    key = keys.expiry_key(kind, at, owner, name)
    assert key == reference.expiry_key(kind, at, owner, name)
    assert keys.split_expiry(key) == (at, owner, name)
    assert key.startswith(keys.expiry_start(kind, at))


@given(kind=st.sampled_from(KINDS), id_=u64, order=u64, name=names, times=st.tuples(u64, u64))
def test_history_keys(kind, id_, order, name, times):
    placed = kind in reference.PLACED
    record = bytes([kind]) + reference.u64(id_) + reference.u64(order) + (b"" if placed else name)
    older, newer = (keys.history_of(record, time) for time in sorted(times))
    assert older == reference.history_of(record, min(times))
    assert keys.split_history(newer) == (record, max(times))
    assert newer <= older  # the newest version comes first


@given(first=st.tuples(u64, u64, names), second=st.tuples(u64, u64, names))
def test_heads_sort_by_generation_hash_and_name(first, second):
    def key(parts):
        return keys.head_start(*parts[:2]) + parts[2]

    assert (key(first) < key(second)) == (first < second)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (keys.split_head, b"H" + bytes(15)),
        (keys.split_head, b"M" + bytes(20)),
        (keys.split_expiry, b"X" + bytes(15)),
        (keys.split_history, b"Y" + b"H" + bytes(20)),
        (keys.split_history, b"YH" + bytes(16) + reference.u32(9) + b"name" + bytes(8)),
        (keys.history_of, b""),
        (keys.record_order, b"I" + bytes(12)),
    ],
)
def test_damaged_keys_are_refused(read, data):
    with pytest.raises(CorruptionError):
        read(data, 0) if read is keys.history_of else read(data)
