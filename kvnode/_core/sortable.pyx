"""The public form of the sortable numbers: for storage, tools and tests."""

from libc.math cimport isnan
from libc.stdint cimport int64_t, uint64_t
from kvnode._core.bytes cimport get_be64, put_be64

from kvnode.base.errors import CorruptionError


def double_order(double value):
    """Return the u64 whose order is that of the doubles. Raises ValueError for NaN."""
    if isnan(value):
        raise ValueError("NaN has no order")
    return order_of_double(value)


def order_double(uint64_t order):
    """Return the double of an order. Raises CorruptionError for what is no number's."""
    cdef double value = double_of_order(order)
    if isnan(value) or order_of_double(value) != order:
        raise CorruptionError(f"order {order:#018x} of a double")
    return value


def double_bytes(double value):
    """Return eight bytes that sort as the doubles do. Raises ValueError for NaN."""
    return to_bytes(double_order(value))


def bytes_double(bytes data not None):
    """Return the double of eight sortable bytes. Raises CorruptionError."""
    return order_double(from_bytes(data))


def integer_bytes(int64_t value):
    """Return eight bytes that sort as signed integers do."""
    return to_bytes(order_of_i64(value))


def bytes_integer(bytes data not None):
    """Return the signed integer of eight sortable bytes. Raises CorruptionError."""
    return i64_of_order(from_bytes(data))


cdef bytes to_bytes(uint64_t order):
    cdef char p[SORTABLE_BYTES]
    put_be64(p, order)
    return p[:SORTABLE_BYTES]


cdef uint64_t from_bytes(bytes data) except? 0:
    if len(data) != SORTABLE_BYTES:
        raise CorruptionError(f"sortable number {data[:40]!r}")
    return get_be64(data)
