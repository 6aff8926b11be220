"""What commands in a transaction learn of a list, beside the items that they look at.

A command that is not in the table, nor in LENGTH_FREE of workspace, has learned everything.
"""

HEAD, TAIL, LENGTH, ALL = LIST_HEAD, LIST_TAIL, LIST_LENGTH, LIST_ALL
BOTH = HEAD | TAIL

# Commands that take from the first of several lists: the others were looked up, no more.
FIRST_OF_SEVERAL = frozenset((b"blmpop", b"blpop", b"brpop", b"lmpop"))


def end_of(bytes word):
    """What a pop at LEFT or RIGHT depends on."""
    return TAIL if word.upper() == b"RIGHT" else HEAD


def by_index(bytes word, int64_t length):
    """What the element at an index depends on; of a list too short for it, the length."""
    index = int(word)
    if not -length <= index < length:
        return LENGTH
    return HEAD if index >= 0 else TAIL


def by_span(bytes first, bytes last, int64_t length):
    """The same of a span of indexes: one outside the list is moved to its end."""
    reads = by_index(first, length) | by_index(last, length)
    return BOTH if reads & LENGTH else reads


def by_move(list words, int i, int end):
    """A move reads the end that it takes from, and nothing where it puts. Of a list onto itself: both."""
    if words[1] == words[2]:
        return BOTH
    return end if i == 1 else 0


# (words, i, length): what is read of a list of this length, before the command, that words[i] names.
TABLE = {
    b"blmove": lambda words, i, length: by_move(words, i, end_of(words[3])),
    b"blmpop": lambda words, i, length: end_of(words[3 + int(words[2])]),
    b"blpop": lambda words, i, length: HEAD,
    b"brpop": lambda words, i, length: TAIL,
    b"brpoplpush": lambda words, i, length: by_move(words, i, TAIL),
    b"copy": lambda words, i, length: ALL if i == 1 else 0,
    b"lindex": lambda words, i, length: by_index(words[2], length) if i == 1 else 0,
    b"llen": lambda words, i, length: LENGTH,
    b"lmove": lambda words, i, length: by_move(words, i, end_of(words[3])),
    b"lmpop": lambda words, i, length: end_of(words[2 + int(words[1])]),
    b"lpop": lambda words, i, length: HEAD if i == 1 else 0,
    b"lpos": lambda words, i, length: BOTH if i == 1 else 0,
    b"lpush": lambda words, i, length: LENGTH if i == 1 else 0,
    b"lpushx": lambda words, i, length: LENGTH if i == 1 else 0,
    b"lrange": lambda words, i, length: by_span(words[2], words[3], length) if i == 1 else 0,
    b"lset": lambda words, i, length: by_index(words[2], length) if i == 1 else 0,
    b"ltrim": lambda words, i, length: BOTH if i == 1 else 0,
    b"rpop": lambda words, i, length: TAIL if i == 1 else 0,
    b"rpoplpush": lambda words, i, length: by_move(words, i, TAIL),
    b"rpush": lambda words, i, length: LENGTH if i == 1 else 0,
    b"rpushx": lambda words, i, length: LENGTH if i == 1 else 0,
}


cdef int list_reads(bytes name, list words, int i, int64_t length) except -1:
    """ListReads of a command's words[i], which names a list; `length` is that before the command."""
    reads = TABLE.get(name)
    if reads is None:
        return LIST_ALL
    try:
        return reads(words, i, length)
    except (ValueError, IndexError):    # it answers an error
        return LIST_ALL
