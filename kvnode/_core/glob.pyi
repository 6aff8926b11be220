def matches(pattern: bytes, text: bytes, nocase: bool = False) -> bool:
    """Whether the glob `pattern` matches all of `text`; an empty text only the empty pattern."""
