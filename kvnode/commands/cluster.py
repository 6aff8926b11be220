"""CLUSTER and its kin: this node is not part of a cluster, in Redis's words."""

from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import error
from kvnode.commands.help import help_row
from kvnode.commands.row import RANDOM, Row


def disabled(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    raise error("This instance has cluster support disabled")


def sub(
    name: str, syntax: str, summary: str, since: str, arity: int, *, is_stable: bool = False
) -> Row:
    """Return the row of a subcommand."""
    return Row(
        f"cluster|{name}",
        syntax,
        summary,
        since,
        arity,
        "cluster",
        "stale",
        tips=() if is_stable else RANDOM,
        handler=disabled,
    )


SUBCOMMANDS = (
    sub(
        "countkeysinslot",
        "slot:integer",
        "Counts the keys of a slot.",
        "3.0.0",
        3,
        is_stable=True,
    ),
    sub("getkeysinslot", "slot:integer count:integer", "Returns keys of a slot.", "3.0.0", 4),
    help_row("cluster", "5.0.0", "cluster"),
    sub("info", "", "Describes the state of the cluster.", "3.0.0", 2),
    sub("keyslot", "key", "Returns the slot of a key.", "3.0.0", 3, is_stable=True),
    sub("links", "", "Describes the connections between nodes.", "7.0.0", 2),
    sub("myid", "", "Returns the id of this node.", "3.0.0", 2, is_stable=True),
    sub("nodes", "", "Describes the nodes, one line for each.", "3.0.0", 2),
    sub("shards", "", "Maps slots to nodes.", "7.0.0", 2),
    sub("slots", "", "Maps slots to nodes, the older form.", "3.0.0", 2),
)


def mode_row(name: str, summary: str, flags: str = "loading stale fast") -> Row:
    return Row(name, "", summary, "3.0.0", 1, "cluster", flags, acl="connection", handler=disabled)


ROWS = (
    mode_row("asking", "Announces a command for a slot that moves.", "fast"),
    Row(
        "cluster",
        "",
        "Looks at the cluster.",
        "3.0.0",
        -2,
        "cluster",
        complexity="Depends on the subcommand",
        subcommands=SUBCOMMANDS,
    ),
    mode_row("readonly", "Allows reads of slots that another node leads."),
    mode_row("readwrite", "Ends READONLY."),
)
