"""ACL, as far as there is one user: who am I, and which categories are there."""

from kvnode.commands.command import every_row
from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import error, subcommand_error
from kvnode.commands.help import help_row
from kvnode.commands.row import CATEGORIES, Row

HARMLESS = "noscript loading stale"


def whoami(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.bulk(view.session.user)


def cat(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) > 3:
        raise subcommand_error(args)
    if len(args) == 2:
        reply.bulks([category.encode() for category in CATEGORIES])
        return
    category = args[2].decode("latin-1").lower()
    if category not in CATEGORIES:
        shown = args[2][:128].decode("utf-8", "surrogateescape")
        raise error(f"Unknown category '{shown}'")
    names = [row.name.encode() for row in every_row(view) if category in row.categories]
    reply.bulks(names)


SUBCOMMANDS = (
    Row(
        "acl|cat",
        "[category]",
        "Returns the categories of commands, or the commands of one.",
        "6.0.0",
        -2,
        "server",
        HARMLESS,
        handler=cat,
    ),
    help_row("acl", "6.0.0", "server"),
    Row(
        "acl|whoami",
        "",
        "Returns the user of this connection.",
        "6.0.0",
        2,
        "server",
        HARMLESS,
        handler=whoami,
    ),
)

ROWS = (
    Row(
        "acl",
        "",
        "Looks at users and their rights.",
        "6.0.0",
        -2,
        "server",
        complexity="Depends on the subcommand",
        subcommands=SUBCOMMANDS,
    ),
)
