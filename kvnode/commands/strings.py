"""Rows of the string commands. Their handlers are native."""

from collections.abc import Sequence
from functools import partial

from kvnode.commands.row import READ, READ_ALL, Key, native_row
from kvnode.commands.syntax import EXPIRATION

UPDATE = (Key("RW access update"),)
OVERWRITE = (Key("OW update"),)

string = partial(native_row, group="string")


def set_flags(args: Sequence[bytes]) -> str:
    """What this SET does with its key: with GET it reads it too."""
    has_get = any(argument.upper() == b"GET" for argument in args[3:])
    return "RW access update" if has_get else "OW update"


ROWS = (
    string(
        "append",
        "key:key value",
        3,
        "write denyoom fast",
        (Key("RW insert"),),
        "2.0.0",
        "Adds bytes at the end of a string; creates the key if it is absent.",
        complexity="O(M), M being the length of the appended value",
    ),
    string(
        "decr",
        "key:key",
        2,
        "write denyoom fast",
        UPDATE,
        "1.0.0",
        "Subtracts one from the integer at a key, which counts as 0 when absent.",
    ),
    string(
        "decrby",
        "key:key decrement:integer",
        3,
        "write denyoom fast",
        UPDATE,
        "1.0.0",
        "Subtracts a number from the integer at a key.",
    ),
    string(
        "get",
        "key:key",
        2,
        "readonly fast",
        READ,
        "1.0.0",
        "Returns the string at a key.",
    ),
    string(
        "getdel",
        "key:key",
        2,
        "write fast",
        (Key("RW access delete"),),
        "6.2.0",
        "Returns the string at a key and deletes the key.",
    ),
    string(
        "getex",
        f"key:key [expiration=<{EXPIRATION} | PERSIST>]",
        -2,
        "write fast",
        (Key("RW access update", notes="RW and UPDATE because it changes the TTL"),),
        "6.2.0",
        "Returns the string at a key and can set or remove the key's deadline.",
    ),
    string(
        "getrange",
        "key:key start:integer end:integer",
        4,
        "readonly",
        READ,
        "2.4.0",
        "Returns the bytes of a string between two offsets, both included.",
        complexity="O(N), N being the length of the part returned",
    ),
    string(
        "getset",
        "key:key value",
        3,
        "write denyoom fast",
        UPDATE,
        "1.0.0",
        "Stores a string and returns the one that was there.",
        deprecated=("6.2.0", "`SET` with the `!GET` argument"),
    ),
    string(
        "incr",
        "key:key",
        2,
        "write denyoom fast",
        UPDATE,
        "1.0.0",
        "Adds one to the integer at a key, which counts as 0 when absent.",
    ),
    string(
        "incrby",
        "key:key increment:integer",
        3,
        "write denyoom fast",
        UPDATE,
        "1.0.0",
        "Adds a number to the integer at a key.",
    ),
    string(
        "incrbyfloat",
        "key:key increment:double",
        3,
        "write denyoom fast",
        UPDATE,
        "2.6.0",
        "Adds a floating point number to the number at a key.",
    ),
    string(
        "lcs",
        "key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]",
        -3,
        "readonly",
        (Key("RO access", last=1),),
        "7.0.0",
        "Finds a longest common subsequence of two strings.",
        complexity="O(N*M), N and M being the lengths of the strings",
    ),
    string(
        "mget",
        "key:key...",
        -2,
        "readonly fast",
        READ_ALL,
        "1.0.0",
        "Returns the strings at several keys.",
        complexity="O(N), N being the number of keys",
        tips=("request_policy:multi_shard",),
    ),
    string(
        "mset",
        "data=<key:key value>...",
        -3,
        "write denyoom",
        (Key("OW update", last=-1, step=2),),
        "1.0.1",
        "Stores strings at several keys at once.",
        complexity="O(N), N being the number of keys",
        tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
    ),
    string(
        "msetnx",
        "data=<key:key value>...",
        -3,
        "write denyoom",
        (Key("OW insert", last=-1, step=2),),
        "1.0.1",
        "Stores strings at several keys, unless one of the keys exists.",
        complexity="O(N), N being the number of keys",
        tips=("request_policy:multi_shard", "response_policy:agg_min"),
    ),
    string(
        "psetex",
        "key:key milliseconds:integer value",
        4,
        "write denyoom",
        OVERWRITE,
        "2.6.0",
        "Stores a string that expires after so many milliseconds.",
        deprecated=("2.6.12", "`SET` with the `PX` argument"),
    ),
    string(
        "set",
        "key:key value [condition=<NX | XX>@2.6.12] [GET@6.2.0] [expiration=<"
        "EX seconds:integer@2.6.12 | PX milliseconds:integer@2.6.12 | "
        "EXAT unix-time-seconds:unix-time@6.2.0 | "
        "PXAT unix-time-milliseconds:unix-time@6.2.0 | KEEPTTL@6.0.0>]",
        -3,
        "write denyoom",
        (
            Key(
                "RW access update",
                notes="RW and ACCESS due to the optional `GET` argument",
                variable=set_flags,
            ),
        ),
        "1.0.0",
        "Stores a string, on conditions and with a deadline if wanted.",
        history=(
            ("2.6.12", "`EX`, `PX`, `NX` and `XX`."),
            ("6.0.0", "`KEEPTTL`."),
            ("6.2.0", "`GET`, `EXAT` and `PXAT`."),
            ("7.0.0", "`NX` and `GET` together."),
        ),
    ),
    string(
        "setex",
        "key:key seconds:integer value",
        4,
        "write denyoom",
        OVERWRITE,
        "2.0.0",
        "Stores a string that expires after so many seconds.",
        deprecated=("2.6.12", "`SET` with the `EX` argument"),
    ),
    string(
        "setnx",
        "key:key value",
        3,
        "write denyoom fast",
        (Key("OW insert"),),
        "1.0.0",
        "Stores a string unless the key exists.",
        deprecated=("2.6.12", "`SET` with the `NX` argument"),
    ),
    string(
        "setrange",
        "key:key offset:integer value",
        4,
        "write denyoom",
        (Key("RW update"),),
        "2.2.0",
        "Overwrites part of a string from an offset on; gaps become zero bytes.",
        complexity="O(M), M being the length of the value written",
    ),
    string(
        "strlen",
        "key:key",
        2,
        "readonly fast",
        (Key("RO"),),
        "2.2.0",
        "Returns the length of a string in bytes.",
    ),
    string(
        "substr",
        "key:key start:integer end:integer",
        4,
        "readonly",
        READ,
        "1.0.0",
        "Older name of GETRANGE.",
        complexity="O(N), N being the length of the part returned",
        deprecated=("2.0.0", "`GETRANGE`"),
    ),
)
