"""Naive twin of glob matching: elements first, then a table over both texts."""


def signed(byte: int) -> int:
    """Return the byte as C's char of x86."""
    return byte - 256 if byte > 127 else byte


def fold(code: int, nocase: bool) -> int:
    """Return the lower-case form of an ASCII capital."""
    return code + 32 if nocase and 65 <= code <= 90 else code


def parse_class(codes: list[int], i: int, nocase: bool) -> tuple[set[int], int]:
    """Return the characters of the class whose '[' stands before `i`, and where it ends."""
    everything = range(-128, 128)
    negate = codes[i : i + 1] == [ord("^")]
    i += negate
    members: set[int] = set()
    while i < len(codes) and codes[i] != ord("]"):
        if codes[i] == ord("\\") and i + 1 < len(codes):
            members.add(codes[i + 1])
            i += 2
        elif codes[i + 1 : i + 2] == [ord("-")] and i + 2 < len(codes):
            low, high = sorted((codes[i], codes[i + 2]))
            low, high = fold(low, nocase), fold(high, nocase)
            members |= {c for c in everything if low <= fold(c, nocase) <= high}
            i += 3
        else:
            wanted = fold(codes[i], nocase)
            members |= {c for c in everything if fold(c, nocase) == wanted}
            i += 1
    return (set(everything) - members if negate else members), i + 1


def parse_pattern(pattern: bytes, nocase: bool) -> list[set[int] | None]:
    """Return the elements of a pattern: a set of characters each, None for a star."""
    codes = [signed(byte) for byte in pattern]
    elements: list[set[int] | None] = []
    i = 0
    while i < len(codes):
        if codes[i] == ord("*"):
            elements.append(None)
            i += 1
        elif codes[i] == ord("?"):
            elements.append(set(range(-128, 128)))
            i += 1
        elif codes[i] == ord("["):
            members, i = parse_class(codes, i + 1, nocase)
            elements.append(members)
        else:
            if codes[i] == ord("\\") and i + 1 < len(codes):
                i += 1
            wanted = fold(codes[i], nocase)
            elements.append({c for c in range(-128, 128) if fold(c, nocase) == wanted})
            i += 1
    return elements


def matches(pattern: bytes, text: bytes, nocase: bool = False) -> bool:
    """Return whether `pattern` matches all of `text`; an empty text only the empty pattern."""
    if not text:
        return not pattern
    reached = {0}  # lengths of the text's prefixes that the elements so far match
    for element in parse_pattern(pattern, nocase):
        if element is None:
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {n + 1 for n in reached if n < len(text) and signed(text[n]) in element}
    return len(text) in reached
