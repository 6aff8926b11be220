"""The replies of commands that show many elements, in parts, from a reading of the collection.

A part is made when it is asked for, which blocks on LevelDB. An empty one says that the reply has
got on, and is not there yet: what is counted before a reply can begin takes a while.
"""

from collections.abc import Generator

from kvnode._core.element_reads import (
    HASH,
    ITEMS,
    LIST,
    NAMES,
    SCORES,
    SET,
    VALUES,
    ZSET,
    PinnedHead,
    show,
)
from kvnode._core.keys import ITEM, bound_of_score, order_start, score_bound
from kvnode._core.zset_spans import shown_range
from kvnode.base.errors import InvariantError
from kvnode.storage.ranks import Ranks
from kvnode.storage.reading import Reading, Row

POSITION_ZERO = 1 << 63  # of a list, as a sortable number

Parts = Generator[bytes, None, None]
Begins = dict[int, bytes]  # by RESP version, before the number of elements

ARRAY: Begins = {2: b"*%d\r\n", 3: b"*%d\r\n"}
MAP: Begins = {2: b"*%d\r\n", 3: b"%%%d\r\n"}  # RESP2 counts fields and values
WHOLE: dict[bytes, tuple[int, int, Begins]] = {  # command -> type, what is shown, its beginning
    b"hgetall": (HASH, NAMES | VALUES, MAP),
    b"hkeys": (HASH, NAMES, ARRAY),
    b"hvals": (HASH, VALUES, ARRAY),
    b"smembers": (SET, NAMES, {2: b"*%d\r\n", 3: b"~%d\r\n"}),
}
RANGES = (
    b"zrange",
    b"zrangebylex",
    b"zrangebyscore",
    b"zrevrange",
    b"zrevrangebylex",
    b"zrevrangebyscore",
)
COMMANDS = frozenset((*WHOLE, *RANGES, b"lrange"))


def type_of(name: bytes) -> int:
    """The type of the collections that a command out of COMMANDS shows."""
    return WHOLE[name][0] if name in WHOLE else ZSET if name in RANGES else LIST


def reply_to_absence(name: bytes, proto: int) -> bytes:
    """Its reply where there is no key."""
    return (WHOLE[name][2] if name in WHOLE else ARRAY)[proto] % 0


def parts_of(words: list[bytes], proto: int, head: PinnedHead, reading: Reading) -> Parts:
    """The reply to a command whose collection is there. reading: open, sorted sets by score."""
    name = words[0].lower()
    if name in WHOLE:
        return _whole(name, proto, head, reading)
    if name in RANGES:
        return _range(words, proto, head, reading)
    return _items(words, proto, head, reading)


def _whole(name: bytes, proto: int, head: PinnedHead, reading: Reading) -> Parts:
    _, contents, begins = WHOLE[name]
    lo, hi = reading.bounds
    count = head.length
    if head.may_expire:  # those past their deadline count until somebody meets them
        count = 0
        for rows in _pages(reading, lo, hi):
            count += len(rows)
            yield b""
    yield begins[proto] % (2 * count if begins is MAP and proto == 2 else count)
    yield from _shown(_pages(reading, lo, hi), 0, count, contents, proto)


def _items(words: list[bytes], proto: int, head: PinnedHead, reading: Reading) -> Parts:
    start, stop = (
        max(0, index + head.length if index < 0 else index) for index in map(int, words[2:4])
    )
    if int(words[3]) < -head.length:
        stop = -1
    stop = min(stop, head.length - 1)
    count = max(0, stop - start + 1)
    first, end, skipped = head.head, head.tail, start
    if not head.holes:
        first, end, skipped = head.head + start, head.head + start + count, 0
    lo, hi = (order_start(ITEM, head.id, at + POSITION_ZERO) for at in (first, end))
    yield ARRAY[proto] % count
    yield from _shown(_pages(reading, lo, hi), skipped, count, ITEMS, proto)


def _range(words: list[bytes], proto: int, head: PinnedHead, reading: Reading) -> Parts:
    ranks = Ranks(reading, head.length)
    lowest = yield from _patient(ranks.key_at(0))
    wanted = shown_range(words, head.length, bound_of_score(lowest))
    lo, hi = reading.bounds
    count = wanted.count
    if count is None:
        lo, hi = score_bound(head.id, wanted.low), score_bound(head.id, wanted.high)
        found = 0
        most = None if wanted.limit is None else wanted.offset + wanted.limit
        for rows in _pages(reading, lo, hi, is_backward=wanted.is_backward):
            found += len(rows)
            if most is not None and found >= most:
                found = most
                break
            yield b""
        count = max(0, found - wanted.offset)
    elif count and wanted.is_backward:
        hi = yield from _patient(ranks.key_at(wanted.start + count))
    elif count:
        lo = yield from _patient(ranks.key_at(wanted.start))
    contents = NAMES | SCORES if wanted.scores else NAMES
    yield ARRAY[proto] % (2 * count if wanted.scores and proto == 2 else count)
    pages = _pages(reading, lo, hi, is_backward=wanted.is_backward)
    yield from _shown(pages, wanted.offset, count, contents, proto)


def _shown(
    pages: Generator[list[Row], None, None], skipped: int, count: int, contents: int, proto: int
) -> Parts:
    """`count` elements of some pages, without the first `skipped` ones."""
    left = count
    while left:
        rows = next(pages, None)
        if rows is None:
            raise InvariantError(f"a reply of {count} elements lacks {left}")
        passed = min(skipped, len(rows))
        skipped -= passed
        rows = rows[passed : passed + left]
        left -= len(rows)
        yield show(rows, contents, proto)


def _pages(
    reading: Reading, lo: bytes, hi: bytes, *, is_backward: bool = False
) -> Generator[list[Row], None, None]:
    while lo < hi:
        rows, edge = reading.page(lo, hi, is_backward=is_backward)
        if is_backward:
            hi = edge
        else:
            lo = edge
        yield rows


def _patient(search: Generator[None, None, bytes]) -> Generator[bytes, None, bytes]:
    """A search of Ranks, of which each step is an empty part."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            return end.value
        yield b""
