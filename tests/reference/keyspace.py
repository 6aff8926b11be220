"""The commands on strings, keys and databases as plainly as Python can say them: an oracle.

A database is a dict from name to [value, deadline in ms or None]. Commands answer values, None,
b"OK" or an ErrorReply. Order of names is not modelled: see `unordered`.
"""

import re
from fractions import Fraction

from tests.support.resp import ErrorReply

NOT_INTEGER = ErrorReply("ERR value is not an integer or out of range")
SYNTAX = ErrorReply("ERR syntax error")
STRING_BYTES_MAX = 512 << 20
INT64_MAX = (1 << 63) - 1
FLOAT = re.compile(rb"-?\d+(\.\d+)?")  # all that workloads make
unordered = frozenset({"KEYS"})


class Refused(Exception):
    """The command ends with args[0], an ErrorReply."""


def integer(text: bytes) -> int:
    try:
        value = int(text)
    except ValueError:
        raise Refused(NOT_INTEGER) from None
    if str(value).encode() != text or not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise Refused(NOT_INTEGER)
    return value


def long_double(value: Fraction) -> Fraction:
    """Round to the 64 significant bits of the x87 format."""
    if not value:
        return value
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    unit = Fraction(2) ** (exponent - 64)
    while abs(value) / unit >= 1 << 64:
        unit *= 2
    return round(value / unit) * unit


class Keyspace:
    """All databases, and the one that the only client uses."""

    def __init__(self, now_ms: int, databases: int = 16) -> None:
        self.now_ms = now_ms
        self.databases: list[dict[bytes, list]] = [{} for _ in range(databases)]
        self.db = 0

    def ask(self, name: str, *args: bytes) -> object:
        for database in self.databases:
            for key in [k for k, (_, at) in database.items() if at and at <= self.now_ms]:
                del database[key]
        try:
            return getattr(self, name.lower())(*args)
        except Refused as refused:
            return refused.args[0]

    @property
    def keys_now(self) -> dict[bytes, list]:
        return self.databases[self.db]

    def value(self, key: bytes) -> bytes | None:
        return self.keys_now[key][0] if key in self.keys_now else None

    def change(self, key: bytes, value: bytes) -> None:
        """Set the value and keep the deadline."""
        self.keys_now.setdefault(key, [b"", None])[0] = value

    # -- strings --------------------------------------------------------------------------------

    def get(self, key):
        return self.value(key)

    def set(self, key, value, *options):
        words = [word.upper() for word in options]
        number = next((int(w) for w in words if w.isdigit()), None)
        if number == 0:
            return ErrorReply("ERR invalid expire time in 'set' command")
        old = self.keys_now.get(key)
        answer = (old and old[0]) if b"GET" in words else b"OK"
        if (b"NX" in words and old) or (b"XX" in words and not old):
            return answer if b"GET" in words else None
        at = old[1] if old and b"KEEPTTL" in words else None
        if b"EX" in words:
            at = self.now_ms + 1000 * number
        elif b"PX" in words:
            at = self.now_ms + number
        elif b"PXAT" in words:
            at = number
        self.keys_now[key] = [value, at]
        return answer

    def setnx(self, key, value):
        if key in self.keys_now:
            return 0
        self.keys_now[key] = [value, None]
        return 1

    def psetex(self, key, ms, value):
        if integer(ms) <= 0:
            return ErrorReply("ERR invalid expire time in 'psetex' command")
        return self.set(key, value, b"PX", ms)

    def getset(self, key, value):
        old = self.value(key)
        self.keys_now[key] = [value, None]
        return old

    def getdel(self, key):
        return self.keys_now.pop(key, [None])[0]

    def getex(self, key, option=b"", ms=b"1"):
        old = self.value(key)
        if old is not None and option == b"PERSIST":
            self.keys_now[key][1] = None
        elif old is not None and option == b"PX":
            self.keys_now[key][1] = self.now_ms + int(ms)
        return old

    def mget(self, *keys):
        return [self.value(key) for key in keys]

    def mset(self, *pairs):
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            self.keys_now[key] = [value, None]
        return b"OK"

    def msetnx(self, *pairs):
        if any(key in self.keys_now for key in pairs[::2]):
            return 0
        self.mset(*pairs)
        return 1

    def incrby(self, key, increment):
        number = integer(increment)
        total = integer(self.value(key) or b"0" if key not in self.keys_now else self.value(key))
        if not -INT64_MAX - 1 <= total + number <= INT64_MAX:
            return ErrorReply("ERR increment or decrement would overflow")
        self.change(key, b"%d" % (total + number))
        return total + number

    def incr(self, key):
        return self.incrby(key, b"1")

    def decr(self, key):
        return self.incrby(key, b"-1")

    def decrby(self, key, decrement):
        number = integer(decrement)
        if number == -INT64_MAX - 1:
            return ErrorReply("ERR decrement would overflow")
        return self.incrby(key, b"%d" % -number)

    def incrbyfloat(self, key, increment):
        old = self.keys_now.get(key, [b"0"])[0]
        if not (FLOAT.fullmatch(old) and FLOAT.fullmatch(increment)):
            return ErrorReply("ERR value is not a valid float")
        total = long_double(long_double(Fraction(old.decode())) + Fraction(increment.decode()))
        digits = round(total * 10**17)
        text = f"{'-' * (digits < 0)}{abs(digits) // 10**17}.{abs(digits) % 10**17:017}"
        self.change(key, text.rstrip("0").rstrip(".").encode())
        return self.value(key)

    def append(self, key, value):
        self.change(key, (self.value(key) or b"") + value)
        return len(self.value(key))

    def strlen(self, key):
        return len(self.value(key) or b"")

    def getrange(self, key, start, end):
        first, last = integer(start), integer(end)
        value = self.value(key) or b""
        if first < 0 and last < 0 and first > last:
            return b""
        first = max(first + len(value), 0) if first < 0 else first
        last = max(last + len(value), 0) if last < 0 else last
        return value[first : last + 1]

    substr = getrange

    def setrange(self, key, offset, value):
        at = integer(offset)
        if at < 0:
            return ErrorReply("ERR offset is out of range")
        old = self.value(key) or b""
        if not value:
            return len(old)
        if at + len(value) > STRING_BYTES_MAX:
            return ErrorReply("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        self.change(key, old[:at].ljust(at, b"\0") + value + old[at + len(value) :])
        return len(self.value(key))

    def lcs(self, a, b, option=b""):
        x, y = self.value(a) or b"", self.value(b) or b""
        table = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
        for i, c in enumerate(x):
            for j, d in enumerate(y):
                table[i + 1][j + 1] = (
                    table[i][j] + 1 if c == d else max(table[i][j + 1], table[i + 1][j])
                )
        if option == b"LEN":
            return table[-1][-1]
        text, i, j = b"", len(x), len(y)
        while i and j:
            if x[i - 1] == y[j - 1]:
                i, j = i - 1, j - 1
                text = x[i : i + 1] + text
            elif table[i - 1][j] > table[i][j - 1]:
                i -= 1
            else:
                j -= 1
        return text

    # -- keys -----------------------------------------------------------------------------------

    def delete(self, *keys):
        return sum(self.keys_now.pop(key, None) is not None for key in keys)

    unlink = delete

    def exists(self, *keys):
        return sum(key in self.keys_now for key in keys)

    touch = exists

    def type(self, key):
        return b"string" if key in self.keys_now else b"none"

    def rename(self, old, new):
        if old not in self.keys_now:
            return ErrorReply("ERR no such key")
        self.keys_now[new] = self.keys_now.pop(old)
        return b"OK"

    def renamenx(self, old, new):
        if old in self.keys_now and new in self.keys_now:
            return 0
        answer = self.rename(old, new)
        return 1 if answer == b"OK" else answer

    def copy(self, old, new, *options):
        db = int(options[1]) if options[:1] == (b"DB",) else self.db
        if db == self.db and old == new:
            return ErrorReply("ERR source and destination objects are the same")
        target = self.databases[db]
        if old not in self.keys_now or (new in target and b"REPLACE" not in options):
            return 0
        target[new] = list(self.keys_now[old])
        return 1

    def move(self, key, db):
        target = self.databases[int(db)]
        if int(db) == self.db:
            return ErrorReply("ERR source and destination objects are the same")
        if key not in self.keys_now or key in target:
            return 0
        target[key] = self.keys_now.pop(key)
        return 1

    def pexpire(self, key, ms, *conditions):
        return self.pexpireat(key, b"%d" % (self.now_ms + integer(ms)), *conditions)

    def pexpireat(self, key, at, *conditions):
        when = integer(at)
        if key not in self.keys_now:
            return 0
        old = self.keys_now[key][1]
        for word in conditions:
            if (
                (word == b"NX" and old)
                or (word == b"XX" and not old)
                or (word == b"GT" and (not old or when <= old))
                or (word == b"LT" and old and when >= old)
            ):
                return 0
        if when <= self.now_ms:
            del self.keys_now[key]
        else:
            self.keys_now[key][1] = when
        return 1

    def persist(self, key):
        if key not in self.keys_now or not self.keys_now[key][1]:
            return 0
        self.keys_now[key][1] = None
        return 1

    def pexpiretime(self, key):
        if key not in self.keys_now:
            return -2
        return self.keys_now[key][1] or -1

    def pttl(self, key):
        at = self.pexpiretime(key)
        return at if at < 0 else at - self.now_ms

    # -- databases ------------------------------------------------------------------------------

    def keys(self, pattern):
        assert pattern == b"*"
        return list(self.keys_now)

    def select(self, db):
        self.db = int(db)
        return b"OK"

    def swapdb(self, a, b):
        x, y = int(a), int(b)
        self.databases[x], self.databases[y] = self.databases[y], self.databases[x]
        return b"OK"

    def flushdb(self):
        self.keys_now.clear()
        return b"OK"

    def flushall(self):
        for database in self.databases:
            database.clear()
        return b"OK"


setattr(Keyspace, "del", Keyspace.delete)
