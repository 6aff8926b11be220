"""How many bytes Redis's listpack takes for its elements, written to be checked by eye.

The sizes are those that DEBUG LISTPACK of redis-server 7.0 prints.
"""

from collections.abc import Sequence

EMPTY_BYTES = 7
INTEGERS = ((-(1 << 12), 1 << 12, 3), (-(1 << 15), 1 << 15, 4), (-(1 << 23), 1 << 23, 5))


def integer(element: bytes) -> int | None:
    """Return the number that an element is written as, None if it is a text."""
    try:
        value = int(element)
    except ValueError:
        return None
    return value if b"%d" % value == element and -(1 << 63) <= value < 1 << 63 else None


def element_bytes(element: bytes) -> int:
    """Return the bytes of one element of less than 2 MB, its length from behind included."""
    value = integer(element)
    if value is None:
        size = len(element)
        size += 1 if size < 64 else 2 if size < 4096 else 5
        return size + (1 if size <= 127 else 2 if size < 16383 else 3)
    if 0 <= value <= 127:
        return 2
    for low, high, size in INTEGERS:
        if low <= value < high:
            return size
    return 6 if -(1 << 31) <= value < 1 << 31 else 10


def form(elements: Sequence[bytes], limit: int) -> bytes:
    """Return the encoding of a list to which the elements were pushed one by one.

    limit: list-max-listpack-size.
    """
    limits = {-1: 4096, -2: 8192, -3: 16384, -4: 32768}
    most = max(1, limit) if limit >= 0 else len(elements)
    bytes_max = limits.get(limit, 65536) if limit < 0 else 8192
    size = EMPTY_BYTES
    for element in elements:
        if size + len(element) > bytes_max:
            return b"quicklist"
        size += element_bytes(element)
    return b"listpack" if len(elements) <= most else b"quicklist"
