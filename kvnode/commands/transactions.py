"""Rows of MULTI and its kin. Their handlers are native."""

from kvnode.commands.row import Key, Row

AT_ONCE = "noscript loading stale fast allow_busy"

ROWS = (
    Row(
        "discard",
        "",
        "Forgets the commands queued since MULTI.",
        "2.0.0",
        1,
        "transactions",
        AT_ONCE,
        complexity="O(N), N being the number of queued commands",
        native="discard",
    ),
    Row(
        "exec",
        "",
        "Runs the commands queued since MULTI, all of them in one step.",
        "1.2.0",
        1,
        "transactions",
        "noscript loading stale skip_slowlog",
        complexity="Depends on the queued commands",
        native="exec",
    ),
    Row(
        "multi",
        "",
        "Begins to queue commands for EXEC.",
        "1.2.0",
        1,
        "transactions",
        AT_ONCE,
        native="multi",
    ),
    Row(
        "unwatch",
        "",
        "Watches no key any more.",
        "2.2.0",
        1,
        "transactions",
        AT_ONCE,
        native="unwatch",
    ),
    Row(
        "watch",
        "key:key...",
        "Makes the next EXEC fail if one of the keys changes before it.",
        "2.2.0",
        -2,
        "transactions",
        AT_ONCE,
        keys=(Key("RO", last=-1),),
        complexity="O(1) for each key",
        native="watch",
    ),
)
