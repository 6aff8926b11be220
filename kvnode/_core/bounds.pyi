def score_bound(text: bytes) -> tuple[float, bool] | None:
    """Return (score, whether it is excluded), None if `text` is no end of a range of scores."""

def lex_bound(text: bytes) -> tuple[str, bytes] | None:
    """Return ("-" | "[" | "(" | "+", member), None if `text` is no end of a range of members."""
