"""Rows of the set commands. Their handlers are native."""

from functools import partial

from kvnode.commands.row import EXISTENCE, RANDOM, READ, READ_ALL, UNORDERED, Key, Row, native_row

SOURCES = Key("RO access", index=2, last=-1)
EACH_MEMBER = "O(N), N being the number of members named"
COUNTED = "O(N), N being the number of members returned"
SUM = "O(N), N being the number of members of all the sets"
PRODUCT = "O(N*M), N being the size of the smallest set and M the number of sets"
SEVERAL = (("2.4.0", "Several members."),)

set_row = partial(native_row, group="set")


def store_row(name: str, destination: Key, summary: str, complexity: str) -> Row:
    """Return the row of a command that stores a combination of sets."""
    return set_row(
        name,
        "destination:key key:key1...",
        -3,
        "write denyoom",
        (destination, SOURCES),
        "1.0.0",
        summary,
        complexity=complexity,
    )


def combine_row(name: str, summary: str, complexity: str) -> Row:
    """Return the row of a command that returns a combination of sets."""
    return set_row(
        name,
        "key:key...",
        -2,
        "readonly",
        READ_ALL,
        "1.0.0",
        summary,
        complexity=complexity,
        tips=UNORDERED,
    )


ROWS = (
    set_row(
        "sadd",
        "key:key member...",
        -3,
        "write denyoom fast",
        (Key("RW insert"),),
        "1.0.0",
        "Adds members and returns how many are new; creates the set if it is absent.",
        complexity=EACH_MEMBER,
        history=SEVERAL,
    ),
    set_row(
        "scard", "key:key", 2, "readonly fast", EXISTENCE, "1.0.0", "Returns the number of members."
    ),
    combine_row("sdiff", "Returns the members of the first set that no other has.", SUM),
    store_row(
        "sdiffstore",
        Key("OW update"),
        "Stores the members of the first set that no other has, and returns their number.",
        SUM,
    ),
    combine_row("sinter", "Returns the members that all sets have.", PRODUCT),
    set_row(
        "sintercard",
        "numkeys:integer key:key... [LIMIT limit:integer]",
        -3,
        "readonly",
        (Key("RO access", counted=True),),
        "7.0.0",
        "Counts the members that all sets have, up to a limit if wanted.",
        complexity=PRODUCT,
    ),
    store_row(
        "sinterstore",
        Key("RW update"),
        "Stores the members that all sets have, and returns their number.",
        PRODUCT,
    ),
    set_row(
        "sismember",
        "key:key member",
        3,
        "readonly fast",
        EXISTENCE,
        "1.0.0",
        "Tells whether a set has a member.",
    ),
    set_row(
        "smembers",
        "key:key",
        2,
        "readonly",
        READ,
        "1.0.0",
        "Returns all members.",
        complexity="O(N), N being the size of the set",
        tips=UNORDERED,
    ),
    set_row(
        "smismember",
        "key:key member...",
        -3,
        "readonly fast",
        READ,
        "6.2.0",
        "Tells of each of several values whether a set has it.",
        complexity=EACH_MEMBER,
    ),
    set_row(
        "smove",
        "source:key destination:key1 member",
        4,
        "write fast",
        (Key("RW access delete"), Key("RW insert", index=2)),
        "1.0.0",
        "Moves a member from one set to another.",
    ),
    set_row(
        "spop",
        "key:key [count:integer@3.2.0]",
        -2,
        "write fast",
        (Key("RW access delete"),),
        "1.0.0",
        "Removes random members and returns them; without members the key goes too.",
        complexity=COUNTED,
        tips=RANDOM,
        history=(("3.2.0", "`count`."),),
    ),
    set_row(
        "srandmember",
        "key:key [count:integer@2.6.0]",
        -2,
        "readonly",
        READ,
        "1.0.0",
        "Returns random members: different ones, or with a negative count perhaps the same again.",
        complexity=COUNTED,
        tips=RANDOM,
        history=(("2.6.0", "`count`."),),
    ),
    set_row(
        "srem",
        "key:key member...",
        -3,
        "write fast",
        (Key("RW delete"),),
        "1.0.0",
        "Removes members and returns how many there were; without members the key goes too.",
        complexity=EACH_MEMBER,
        history=SEVERAL,
    ),
    set_row(
        "sscan",
        "key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        -3,
        "readonly",
        READ,
        "2.8.0",
        "Goes through the members of a set, some in each call.",
        complexity="O(COUNT) for each call",
        tips=RANDOM,
    ),
    combine_row("sunion", "Returns the members that any of the sets has.", SUM),
    store_row(
        "sunionstore",
        Key("OW update"),
        "Stores the members that any of the sets has, and returns their number.",
        SUM,
    ),
)
