"""Rows of the hash commands, those that give fields deadlines included. Handlers are native."""

from functools import partial

from kvnode.commands.row import EXISTENCE, RANDOM, READ, UNORDERED, Key, Row, native_row
from kvnode.commands.syntax import EXPIRATION

UPDATE = (Key("RW update"),)
INCREMENT = (Key("RW access update"),)
EACH_FIELD = "O(N), N being the number of fields named"
WHOLE = "O(N), N being the size of the hash"
FIELDS = "FIELDS fields=<numfields:integer field...>"
CONDITION = "[condition=<NX | XX | GT | LT>]"

hash_row = partial(native_row, group="hash")


def expire_row(name: str, amount: str, summary: str) -> Row:
    """Return the row of a command that gives fields a deadline."""
    syntax = f"key:key {amount} {CONDITION} {FIELDS}"
    flags = "write denyoom fast"
    return hash_row(name, syntax, -6, flags, UPDATE, "7.4.0", summary, complexity=EACH_FIELD)


def ttl_row(name: str, summary: str, tips: tuple[str, ...] = ()) -> Row:
    """Return the row of a command that tells the deadlines of fields."""
    syntax, flags = f"key:key {FIELDS}", "readonly fast"
    return hash_row(
        name, syntax, -5, flags, READ, "7.4.0", summary, complexity=EACH_FIELD, tips=tips
    )


CONTENTS = (
    hash_row(
        "hdel",
        "key:key field...",
        -3,
        "write fast",
        (Key("RW delete"),),
        "2.0.0",
        "Deletes fields and returns how many existed; without fields the key goes too.",
        complexity=EACH_FIELD,
        history=(("2.4.0", "Several fields."),),
    ),
    hash_row(
        "hexists",
        "key:key field",
        3,
        "readonly fast",
        EXISTENCE,
        "2.0.0",
        "Tells whether a hash has a field.",
    ),
    hash_row(
        "hget", "key:key field", 3, "readonly fast", READ, "2.0.0", "Returns the value of a field."
    ),
    hash_row(
        "hgetall",
        "key:key",
        2,
        "readonly",
        READ,
        "2.0.0",
        "Returns all fields with their values.",
        complexity=WHOLE,
        tips=UNORDERED,
    ),
    hash_row(
        "hincrby",
        "key:key field increment:integer",
        4,
        "write denyoom fast",
        INCREMENT,
        "2.0.0",
        "Adds to the integer in a field, which counts as 0 when absent.",
    ),
    hash_row(
        "hincrbyfloat",
        "key:key field increment:double",
        4,
        "write denyoom fast",
        INCREMENT,
        "2.6.0",
        "Adds to the floating point number in a field, which counts as 0 when absent.",
    ),
    hash_row(
        "hkeys",
        "key:key",
        2,
        "readonly",
        READ,
        "2.0.0",
        "Returns the names of all fields.",
        complexity=WHOLE,
        tips=UNORDERED,
    ),
    hash_row(
        "hlen", "key:key", 2, "readonly fast", EXISTENCE, "2.0.0", "Returns the number of fields."
    ),
    hash_row(
        "hmget",
        "key:key field...",
        -3,
        "readonly fast",
        READ,
        "2.0.0",
        "Returns the values of several fields.",
        complexity=EACH_FIELD,
    ),
    hash_row(
        "hmset",
        "key:key data=<field value>...",
        -4,
        "write denyoom fast",
        UPDATE,
        "2.0.0",
        "Sets several fields.",
        complexity=EACH_FIELD,
        deprecated=("4.0.0", "`HSET` with several fields"),
    ),
    hash_row(
        "hrandfield",
        "key:key [options=<count:integer [WITHVALUES]>]",
        -2,
        "readonly",
        READ,
        "6.2.0",
        "Returns random fields: different ones, or with a negative count perhaps the same again.",
        complexity="O(N), N being the number of fields returned",
        tips=RANDOM,
    ),
    hash_row(
        "hscan",
        "key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOVALUES@7.4.0]",
        -3,
        "readonly",
        READ,
        "2.8.0",
        "Goes through the fields of a hash, some in each call.",
        complexity="O(COUNT) for each call",
        tips=RANDOM,
        history=(("7.4.0", "`NOVALUES`."),),
    ),
    hash_row(
        "hset",
        "key:key data=<field value>...",
        -4,
        "write denyoom fast",
        UPDATE,
        "2.0.0",
        "Sets fields and returns how many of them are new; creates the hash if it is absent.",
        complexity=EACH_FIELD,
        history=(("4.0.0", "Several fields."),),
    ),
    hash_row(
        "hsetnx",
        "key:key field value",
        4,
        "write denyoom fast",
        (Key("RW insert"),),
        "2.0.0",
        "Sets a field unless it exists.",
    ),
    hash_row(
        "hstrlen",
        "key:key field",
        3,
        "readonly fast",
        EXISTENCE,
        "3.2.0",
        "Returns the length of the value of a field in bytes.",
    ),
    hash_row(
        "hvals",
        "key:key",
        2,
        "readonly",
        READ,
        "2.0.0",
        "Returns the values of all fields.",
        complexity=WHOLE,
        tips=UNORDERED,
    ),
)

EXPIRY = (
    expire_row("hexpire", "seconds:integer", "Gives fields a deadline, in seconds from now."),
    expire_row(
        "hexpireat",
        "unix-time-seconds:unix-time",
        "Gives fields a deadline, as Unix time in seconds.",
    ),
    expire_row(
        "hpexpire", "milliseconds:integer", "Gives fields a deadline, in milliseconds from now."
    ),
    expire_row(
        "hpexpireat",
        "unix-time-milliseconds:unix-time",
        "Gives fields a deadline, as Unix time in milliseconds.",
    ),
    ttl_row("hexpiretime", "Returns the deadlines of fields as Unix time in seconds."),
    ttl_row("hpexpiretime", "Returns the deadlines of fields as Unix time in milliseconds."),
    ttl_row("httl", "Returns how many seconds fields have left.", RANDOM),
    ttl_row("hpttl", "Returns how many milliseconds fields have left.", RANDOM),
    hash_row(
        "hpersist",
        f"key:key {FIELDS}",
        -5,
        "write fast",
        UPDATE,
        "7.4.0",
        "Removes the deadlines of fields.",
        complexity=EACH_FIELD,
    ),
    hash_row(
        "hgetdel",
        f"key:key {FIELDS}",
        -5,
        "write fast",
        (Key("RW access delete"),),
        "8.0.0",
        "Deletes fields and returns what they held.",
        complexity=EACH_FIELD,
    ),
    hash_row(
        "hgetex",
        f"key:key [expiration=<{EXPIRATION} | PERSIST>] {FIELDS}",
        -5,
        "write fast",
        (Key("RW access update", notes="RW and UPDATE because it changes the TTL"),),
        "8.0.0",
        "Returns the values of fields and changes or removes their deadlines.",
        complexity=EACH_FIELD,
    ),
    hash_row(
        "hsetex",
        f"key:key [condition=<FNX | FXX>] [expiration=<{EXPIRATION} | KEEPTTL>] "
        "FIELDS fields=<numfields:integer data=<field value>...>",
        -6,
        "write denyoom fast",
        UPDATE,
        "8.0.0",
        "Sets fields, all or none, on conditions and with a deadline if wanted.",
        complexity=EACH_FIELD,
    ),
)

ROWS = CONTENTS + EXPIRY
