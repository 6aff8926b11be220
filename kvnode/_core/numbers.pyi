def double_text(value: float) -> bytes:
    """Return the text of a double in a reply."""

def parse_double_text(text: bytes) -> float | None:
    """Return the double that `text` states, None when Redis would refuse it."""

def add_texts(a: bytes, b: bytes) -> bytes | None:
    """Return the sum of two numbers given as text, as INCRBYFLOAT writes it.

    None when one of them is no number.
    """
