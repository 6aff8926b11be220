def double_order(value: float) -> int:
    """Return the u64 whose order is that of the doubles. Raises ValueError for NaN."""

def order_double(order: int) -> float:
    """Return the double of an order. Raises CorruptionError for what is no number's."""

def double_bytes(value: float) -> bytes:
    """Return eight bytes that sort as the doubles do. Raises ValueError for NaN."""

def bytes_double(data: bytes) -> float:
    """Return the double of eight sortable bytes. Raises CorruptionError."""

def integer_bytes(value: int) -> bytes:
    """Return eight bytes that sort as signed integers do."""

def bytes_integer(data: bytes) -> int:
    """Return the signed integer of eight sortable bytes. Raises CorruptionError."""
