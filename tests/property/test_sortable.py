"""Sortable numbers against exact arithmetic, and their order against Python's."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvnode._core.sortable import (
    bytes_double,
    bytes_integer,
    double_bytes,
    double_order,
    integer_bytes,
    order_double,
)
from kvnode.base.errors import CorruptionError
from tests.reference import sortable as reference

doubles = st.floats(allow_nan=False)
integers = st.integers(-(2**63), 2**63 - 1)


@given(value=doubles)
@example(0.0)
@example(-0.0)
@example(math.inf)
@example(-math.inf)
@example(5e-324)
@example(-5e-324)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
def test_orders_of_doubles(value: float) -> None:
    order = double_order(value)
    assert order == reference.double_order(value)
    assert double_bytes(value) == order.to_bytes(8)
    back = bytes_double(double_bytes(value))
    assert back == value
    assert math.copysign(1, back) == (math.copysign(1, value) if value else 1)


@given(a=doubles, b=doubles)
def test_doubles_sort_as_their_bytes(a: float, b: float) -> None:
    assert (a < b) == (double_bytes(a) < double_bytes(b))
    assert (a == b) == (double_bytes(a) == double_bytes(b))


@given(order=st.integers(0, 2**64 - 1))
@example(0)
@example(2**64 - 1)
@example(2**63 - 1)
def test_what_is_no_order_of_a_double_is_refused(order: int) -> None:
    lowest, highest = double_order(-math.inf), double_order(math.inf)
    if lowest <= order <= highest and order != 2**63 - 1:
        assert double_order(order_double(order)) == order
        return
    with pytest.raises(CorruptionError):
        order_double(order)


def test_nan_has_no_order() -> None:
    with pytest.raises(ValueError, match="NaN"):
        double_order(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        double_bytes(-math.nan)


@given(a=integers, b=integers)
@example(-(2**63), 2**63 - 1)
@example(-1, 0)
def test_integers_sort_as_their_bytes(a: int, b: int) -> None:
    assert int.from_bytes(integer_bytes(a)) == reference.integer_order(a)
    assert bytes_integer(integer_bytes(a)) == a
    assert (a < b) == (integer_bytes(a) < integer_bytes(b))


@pytest.mark.parametrize("data", [b"", b"1234567", b"123456789"])
def test_other_lengths_are_refused(data: bytes) -> None:
    for read in (bytes_double, bytes_integer):
        with pytest.raises(CorruptionError):
            read(data)


def test_a_wrong_order_is_noticed() -> None:
    """The plain bits of negative doubles sort backwards: the twin tells them apart."""
    planted = int.from_bytes(b"\xbf\xf0" + bytes(6))  # the bits of -1.0
    assert planted != reference.double_order(-1.0)
