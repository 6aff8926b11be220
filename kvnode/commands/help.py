"""HELP of the commands that have subcommands, written from their rows."""

from typing import TYPE_CHECKING

from kvnode.commands import syntax
from kvnode.commands.row import Row

if TYPE_CHECKING:
    from kvnode.commands.context import ReplyWriter, ViewContext

INDENT = "    "


def help_row(container: str, since: str, group: str, acl: str | None = None) -> Row:
    """Return the row of a container's HELP."""
    return Row(
        f"{container}|help",
        "",
        f"Lists the subcommands of {container.upper()}.",
        since,
        2,
        group,
        "loading stale",
        acl=acl,
        handler=answer_help,
    )


def answer_help(view: "ViewContext", args: list[bytes], reply: "ReplyWriter") -> None:
    """Write one status line per line of text, as Redis does."""
    container = view.node.commands[args[0].upper()].row
    lines = []
    for row in container.subcommands:
        if not row.name.endswith("|help"):
            usage = syntax.render(syntax.parse(row.syntax))
            lines.append(f"{row.title.partition(' ')[2]} {usage}".rstrip())
            lines.append(INDENT + row.summary)
    write_help(reply, container.title, lines)


def write_help(reply: "ReplyWriter", title: str, lines: list[str]) -> None:
    """Write a help text: its head, `lines`, and what HELP itself does."""
    head = f"{title} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    lines = [head, *lines, "HELP", INDENT + "Print this help."]
    reply.array(len(lines))
    for line in lines:
        reply.simple(line.encode())
