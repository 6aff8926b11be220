"""Rows of SORT and SORT_RO. Their handlers are native."""

from collections.abc import Sequence
from typing import Any

from kvnode.commands.row import Key, Row

# Options with their numbers of arguments; what follows them is no option.
OPTION_LENGTHS = {b"BY": 1, b"GET": 1, b"LIMIT": 2, b"STORE": 1}
OPTIONS = (
    "[BY by-pattern:pattern] [LIMIT limit=<offset:integer count:integer>] "
    "[GET get-pattern:pattern...+] [order=<ASC | DESC>] [ALPHA(sorting)]"
)


def destination(args: Sequence[bytes]) -> range:
    """Return the position of the key behind the last STORE, if there is one."""
    found = range(0)
    at = 2
    while at < len(args):
        option = args[at].upper()
        if option == b"STORE" and at + 1 < len(args):
            found = range(at + 1, at + 2)
        at += 1 + OPTION_LENGTHS.get(option, 0)
    return found


def no_keys(args: Sequence[bytes]) -> range:
    """Return no positions: names made of patterns and elements are not among the arguments."""
    return range(0)


PATTERNS = Key(
    "RO access",
    find=no_keys,
    notes="For the optional BY/GET keyword. It is marked 'unknown' because the key names derive "
    "from the content of the key we sort",
)
DESTINATION = Key(
    "OW update",
    find=destination,
    notes="For the optional STORE keyword. It is marked 'unknown' because the keyword can appear "
    "anywhere in the argument array",
)


def sort_row(name: str, since: str, flags: str, keys: tuple[Key, ...], **more: Any) -> Row:
    """Return the row of a command that sorts."""
    return Row(
        name,
        since=since,
        arity=-2,
        group="generic",
        flags=flags,
        keys=(Key("RO access"), PATTERNS, *keys),
        complexity="O(N+M*log(M)), N being the number of elements and M that of those returned",
        acl="set sortedset list dangerous",
        native=name,
        **more,
    )


ROWS = (
    sort_row(
        "sort",
        "1.0.0",
        "write denyoom",
        (DESTINATION,),
        syntax=f"key:key {OPTIONS} [STORE destination:key2]",
        summary="Returns or stores the elements of a list, set or sorted set in order.",
    ),
    sort_row(
        "sort_ro",
        "7.0.0",
        "readonly",
        (),
        syntax=f"key:key {OPTIONS}",
        summary="Returns the elements of a list, set or sorted set in order.",
    ),
)
