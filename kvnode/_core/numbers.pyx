"""Floating point numbers as text, for handlers in Python and for tests."""


def double_text(double value):
    """Return the text of a double in a reply."""
    cdef char text[DOUBLE_BYTES_MAX]
    return text[:format_double(text, value)]


def parse_double_text(bytes text not None):
    """Return the double that `text` states, None when Redis would refuse it."""
    cdef double value
    return value if parse_double(text, len(text), &value) else None


def add_texts(bytes a not None, bytes b not None):
    """Return the sum of two numbers given as text, as INCRBYFLOAT writes it.

    None when one of them is no number.
    """
    cdef long double x
    cdef long double y
    cdef char text[LONG_DOUBLE_BYTES_MAX]
    if not parse_long_double(a, len(a), &x) or not parse_long_double(b, len(b), &y):
        return None
    return text[:format_long_double(text, x + y)]
