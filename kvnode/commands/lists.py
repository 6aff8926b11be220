"""Rows of the list commands. Their handlers are native."""

from typing import Any

from kvnode.commands.row import Key, Row

READ = (Key("RO access"),)
INSERT = (Key("RW insert"),)
DELETE = (Key("RW delete"),)
POP = (Key("RW access delete"),)
POP_ANY = (Key("RW access delete", last=-2),)
MOVE = (Key("RW access delete"), Key("RW insert", index=2))
END = "<LEFT | RIGHT>"
ENDS = f"source:key destination:key1 wherefrom={END} whereto={END}"
EACH_ELEMENT = "O(N), N being the number of elements pushed"
EACH_POPPED = "O(N), N being the number of elements popped"
EACH_KEY = "O(N), N being the number of keys"
WALK = "O(N), N being the number of elements looked at"
PUSH_HISTORY = (("2.4.0", "Several elements."),)
PUSHX_HISTORY = (("4.0.0", "Several elements."),)
POP_HISTORY = (("6.2.0", "The count."),)
TIMEOUT_HISTORY = (("6.0.0", "Fractions of a second."),)


def of_list(
    name: str,
    syntax: str,
    arity: int,
    flags: str,
    keys: tuple[Key, ...],
    since: str,
    summary: str,
    **more: Any,
) -> Row:
    """Return a row of the group whose handler is native."""
    return Row(name, syntax, summary, since, arity, "list", flags, keys, native=name, **more)


ROWS = (
    of_list(
        "blmove",
        f"{ENDS} timeout:double",
        6,
        "write denyoom blocking",
        MOVE,
        "6.2.0",
        "Moves an element from one list to another; waits for one if the list is empty.",
    ),
    of_list(
        "blmpop",
        f"timeout:double numkeys:integer key:key... where={END} [COUNT count:integer]",
        -5,
        "write blocking",
        (Key("RW access delete", index=2, counted=True),),
        "7.0.0",
        "Pops elements from the first list that has any; waits while all are empty.",
        complexity="O(N+M), N being the number of keys and M that of elements popped",
    ),
    of_list(
        "blpop",
        "key:key... timeout:double",
        -3,
        "write blocking",
        POP_ANY,
        "2.0.0",
        "Pops the first element of the first list that has any; waits while all are empty.",
        complexity=EACH_KEY,
        history=TIMEOUT_HISTORY,
    ),
    of_list(
        "brpop",
        "key:key... timeout:double",
        -3,
        "write blocking",
        POP_ANY,
        "2.0.0",
        "Pops the last element of the first list that has any; waits while all are empty.",
        complexity=EACH_KEY,
        history=TIMEOUT_HISTORY,
    ),
    of_list(
        "brpoplpush",
        "source:key destination:key1 timeout:double",
        4,
        "write denyoom blocking",
        MOVE,
        "2.2.0",
        "Moves the last element of a list to the front of another; waits for one if need be.",
        history=TIMEOUT_HISTORY,
        deprecated=("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    ),
    of_list(
        "lindex",
        "key:key index:integer",
        3,
        "readonly",
        READ,
        "1.0.0",
        "Returns the element at an index; negative ones count from the end.",
        complexity="O(1); O(log N) once elements were inserted or removed in the middle",
    ),
    of_list(
        "linsert",
        "key:key where=<BEFORE | AFTER> pivot element",
        5,
        "write denyoom",
        INSERT,
        "2.2.0",
        "Inserts an element before or after the first one that equals the pivot.",
        complexity=WALK,
    ),
    of_list(
        "llen",
        "key:key",
        2,
        "readonly fast",
        (Key("RO"),),
        "1.0.0",
        "Returns the number of elements of a list.",
    ),
    of_list(
        "lmove",
        ENDS,
        5,
        "write denyoom",
        MOVE,
        "6.2.0",
        "Moves an element from an end of one list to an end of another, and returns it.",
    ),
    of_list(
        "lmpop",
        f"numkeys:integer key:key... where={END} [COUNT count:integer]",
        -4,
        "write",
        (Key("RW access delete", counted=True),),
        "7.0.0",
        "Pops elements from the first list that has any.",
        complexity="O(N+M), N being the number of keys and M that of elements popped",
    ),
    of_list(
        "lpop",
        "key:key [count:integer@6.2.0]",
        -2,
        "write fast",
        POP,
        "1.0.0",
        "Removes elements at the front of a list and returns them.",
        complexity=EACH_POPPED,
        history=POP_HISTORY,
    ),
    of_list(
        "lpos",
        "key:key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]",
        -3,
        "readonly",
        READ,
        "6.0.6",
        "Returns the indexes of elements that equal a given one.",
        complexity=WALK,
    ),
    of_list(
        "lpush",
        "key:key element...",
        -3,
        "write denyoom fast",
        INSERT,
        "1.0.0",
        "Adds elements at the front of a list; creates the key if it is absent.",
        complexity=EACH_ELEMENT,
        history=PUSH_HISTORY,
    ),
    of_list(
        "lpushx",
        "key:key element...",
        -3,
        "write denyoom fast",
        INSERT,
        "2.2.0",
        "Adds elements at the front of a list that exists.",
        complexity=EACH_ELEMENT,
        history=PUSHX_HISTORY,
    ),
    of_list(
        "lrange",
        "key:key start:integer stop:integer",
        4,
        "readonly",
        READ,
        "1.0.0",
        "Returns the elements between two indexes, both included.",
        complexity="O(N), N being the number of elements returned",
    ),
    of_list(
        "lrem",
        "key:key count:integer element",
        4,
        "write",
        DELETE,
        "1.0.0",
        "Removes elements that equal a given one, from the front or from the end.",
        complexity="O(N+M), N being the length of the list and M the number removed",
    ),
    of_list(
        "lset",
        "key:key index:integer element",
        4,
        "write denyoom",
        (Key("RW update"),),
        "1.0.0",
        "Replaces the element at an index.",
        complexity="O(1); O(log N) once elements were inserted or removed in the middle",
    ),
    of_list(
        "ltrim",
        "key:key start:integer stop:integer",
        4,
        "write",
        DELETE,
        "1.0.0",
        "Removes all elements but those between two indexes.",
        complexity="O(1)",
    ),
    of_list(
        "rpop",
        "key:key [count:integer@6.2.0]",
        -2,
        "write fast",
        POP,
        "1.0.0",
        "Removes elements at the end of a list and returns them.",
        complexity=EACH_POPPED,
        history=POP_HISTORY,
    ),
    of_list(
        "rpoplpush",
        "source:key destination:key1",
        3,
        "write denyoom",
        MOVE,
        "1.2.0",
        "Moves the last element of a list to the front of another.",
        deprecated=("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    ),
    of_list(
        "rpush",
        "key:key element...",
        -3,
        "write denyoom fast",
        INSERT,
        "1.0.0",
        "Adds elements at the end of a list; creates the key if it is absent.",
        complexity=EACH_ELEMENT,
        history=PUSH_HISTORY,
    ),
    of_list(
        "rpushx",
        "key:key element...",
        -3,
        "write denyoom fast",
        INSERT,
        "2.2.0",
        "Adds elements at the end of a list that exists.",
        complexity=EACH_ELEMENT,
        history=PUSHX_HISTORY,
    ),
)
