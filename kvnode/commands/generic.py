"""Rows of the commands that concern keys of any type, and of the databases. Handlers are native."""

from typing import Any

from kvnode.commands.help import help_row
from kvnode.commands.row import Key, Row

READ = (Key("RO access"),)
EXISTENCE = (Key("RO"),)
UPDATE = (Key("RW update"),)
CONDITION = "[condition=<NX | XX | GT | LT>@7.0.0]"
CONDITION_HISTORY = (("7.0.0", "`NX`, `XX`, `GT` and `LT`."),)
EACH_KEY = "O(N), N being the number of keys"
SUMMED = ("request_policy:multi_shard", "response_policy:agg_sum")
UNSTABLE = ("nondeterministic_output",)


def generic(
    name: str,
    syntax: str,
    arity: int,
    flags: str,
    keys: tuple[Key, ...],
    since: str,
    summary: str,
    group: str = "generic",
    **more: Any,
) -> Row:
    """Return a row whose handler is native."""
    return Row(name, syntax, summary, since, arity, group, flags, keys, native=name, **more)


def object_row(name: str, since: str, summary: str) -> Row:
    """Return the row of an OBJECT subcommand that looks at one key."""
    keys = (Key("RO", index=2),)
    return generic(f"object|{name}", "key:key", 3, "readonly", keys, since, summary, tips=UNSTABLE)


EXPIRY = (
    generic(
        "expire",
        f"key:key seconds:integer {CONDITION}",
        -3,
        "write fast",
        UPDATE,
        "1.0.0",
        "Gives a key a deadline, in seconds from now.",
        history=CONDITION_HISTORY,
    ),
    generic(
        "expireat",
        f"key:key unix-time-seconds:unix-time {CONDITION}",
        -3,
        "write fast",
        UPDATE,
        "1.2.0",
        "Gives a key a deadline, as Unix time in seconds.",
        history=CONDITION_HISTORY,
    ),
    generic(
        "expiretime",
        "key:key",
        2,
        "readonly fast",
        READ,
        "7.0.0",
        "Returns the deadline of a key as Unix time in seconds.",
    ),
    generic(
        "persist",
        "key:key",
        2,
        "write fast",
        UPDATE,
        "2.2.0",
        "Removes the deadline of a key.",
    ),
    generic(
        "pexpire",
        f"key:key milliseconds:integer {CONDITION}",
        -3,
        "write fast",
        UPDATE,
        "2.6.0",
        "Gives a key a deadline, in milliseconds from now.",
        history=CONDITION_HISTORY,
    ),
    generic(
        "pexpireat",
        f"key:key unix-time-milliseconds:unix-time {CONDITION}",
        -3,
        "write fast",
        UPDATE,
        "2.6.0",
        "Gives a key a deadline, as Unix time in milliseconds.",
        history=CONDITION_HISTORY,
    ),
    generic(
        "pexpiretime",
        "key:key",
        2,
        "readonly fast",
        READ,
        "7.0.0",
        "Returns the deadline of a key as Unix time in milliseconds.",
    ),
    generic(
        "pttl",
        "key:key",
        2,
        "readonly fast",
        READ,
        "2.6.0",
        "Returns how many milliseconds a key has left.",
        tips=UNSTABLE,
        history=(("2.8.0", "The reply -2."),),
    ),
    generic(
        "ttl",
        "key:key",
        2,
        "readonly fast",
        READ,
        "1.0.0",
        "Returns how many seconds a key has left.",
        tips=UNSTABLE,
        history=(("2.8.0", "The reply -2."),),
    ),
)

KEYS = (
    generic(
        "copy",
        "source:key destination:key1 [DB destination-db:integer] [REPLACE]",
        -3,
        "write denyoom",
        (Key("RO access"), Key("OW update", index=2)),
        "6.2.0",
        "Copies the value and deadline of a key to another key.",
        complexity="O(N), N being the size of the value",
    ),
    generic(
        "del",
        "key:key...",
        -2,
        "write",
        (Key("RM delete", last=-1),),
        "1.0.0",
        "Deletes keys, whatever their size, and returns how many existed.",
        complexity=EACH_KEY,
        tips=SUMMED,
    ),
    generic(
        "exists",
        "key:key...",
        -2,
        "readonly fast",
        (Key("RO", last=-1),),
        "1.0.0",
        "Counts which of the keys exist; a key named twice counts twice.",
        complexity=EACH_KEY,
        tips=SUMMED,
        history=(("3.0.3", "Several keys."),),
    ),
    generic(
        "keys",
        "pattern:pattern",
        2,
        "readonly",
        (),
        "1.0.0",
        "Returns the names of all keys that match a glob pattern.",
        complexity="O(N), N being the number of keys in the database",
        acl="keyspace dangerous",
        tips=("request_policy:all_shards", "nondeterministic_output_order"),
    ),
    generic(
        "move",
        "key:key db:integer",
        3,
        "write fast",
        (Key("RW access update"),),
        "1.0.0",
        "Moves a key to another database.",
    ),
    Row(
        "object",
        "",
        "Looks into the representation of values.",
        "2.2.3",
        -2,
        "generic",
        complexity="Depends on the subcommand",
        subcommands=(
            object_row("encoding", "2.2.3", "Returns how a value is represented."),
            object_row("freq", "4.0.0", "Returns how often a key was used, logarithmically."),
            help_row("object", "6.2.0", "generic", acl="keyspace"),
            object_row("idletime", "2.2.3", "Returns for how many seconds a key was not used."),
            object_row("refcount", "2.2.3", "Returns the reference count of a value."),
        ),
    ),
    generic(
        "randomkey",
        "",
        1,
        "readonly",
        (),
        "1.0.0",
        "Returns the name of some key.",
        tips=("request_policy:all_shards", "nondeterministic_output"),
    ),
    generic(
        "rename",
        "key:key newkey:key1",
        3,
        "write",
        (Key("RW access delete"), Key("OW update", index=2)),
        "1.0.0",
        "Renames a key and replaces a key of the new name.",
    ),
    generic(
        "renamenx",
        "key:key newkey:key1",
        3,
        "write fast",
        (Key("RW access delete"), Key("OW insert", index=2)),
        "1.0.0",
        "Renames a key unless a key of the new name exists.",
        history=(("3.2.0", "Two equal names are no error."),),
    ),
    generic(
        "scan",
        "cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type@6.0.0]",
        -2,
        "readonly",
        (),
        "2.8.0",
        "Goes through the keys of the database, some in each call.",
        complexity="O(COUNT) for each call",
        tips=("nondeterministic_output", "request_policy:special"),
        history=(("6.0.0", "`TYPE`."),),
    ),
    generic(
        "touch",
        "key:key...",
        -2,
        "readonly fast",
        (Key("RO", last=-1),),
        "3.2.1",
        "Marks keys as used now and returns how many exist.",
        complexity=EACH_KEY,
        tips=SUMMED,
    ),
    generic(
        "type",
        "key:key",
        2,
        "readonly fast",
        EXISTENCE,
        "1.0.0",
        "Returns the type of the value at a key.",
    ),
    generic(
        "unlink",
        "key:key...",
        -2,
        "write fast",
        (Key("RM delete", last=-1),),
        "4.0.0",
        "Deletes keys; here the same as DEL.",
        complexity=EACH_KEY,
        tips=SUMMED,
    ),
)

FLUSH_TIPS = ("request_policy:all_shards", "response_policy:all_succeeded")
FLUSH_HISTORY = (("4.0.0", "`ASYNC`."), ("6.2.0", "`SYNC`."))

DATABASES = (
    generic(
        "dbsize",
        "",
        1,
        "readonly fast",
        (),
        "1.0.0",
        "Returns the number of keys in the database.",
        group="server",
        acl="keyspace",
        tips=("request_policy:all_shards", "response_policy:agg_sum"),
    ),
    generic(
        "flushall",
        "[flush-type=<ASYNC@4.0.0 | SYNC@6.2.0>]",
        -1,
        "write",
        (),
        "1.0.0",
        "Deletes all keys of all databases.",
        group="server",
        acl="keyspace dangerous",
        tips=FLUSH_TIPS,
        history=FLUSH_HISTORY,
    ),
    generic(
        "flushdb",
        "[flush-type=<ASYNC@4.0.0 | SYNC@6.2.0>]",
        -1,
        "write",
        (),
        "1.0.0",
        "Deletes all keys of the database.",
        group="server",
        acl="keyspace dangerous",
        tips=FLUSH_TIPS,
        history=FLUSH_HISTORY,
    ),
    generic(
        "select",
        "index:integer",
        2,
        "loading stale fast",
        (),
        "1.0.0",
        "Chooses the database of this connection.",
        group="connection",
    ),
    generic(
        "swapdb",
        "index1:integer index2:integer",
        3,
        "write fast",
        (),
        "4.0.0",
        "Exchanges two databases.",
        group="server",
        acl="keyspace dangerous",
        complexity="O(N), N being the number of clients that watch keys of them",
    ),
)

ROWS = KEYS + EXPIRY + DATABASES
