"""LATENCY: kvnode records no events of this kind, and says so in Redis's forms."""

from typing import Any

from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import error
from kvnode.commands.help import help_row
from kvnode.commands.row import Handler, Row

ADMIN = "admin noscript loading stale"
TIPS = ("nondeterministic_output", "request_policy:all_nodes", "response_policy:special")


def nothing(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.array(0)


def histogram(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.map(0)


def reset(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.integer(0)


def graph(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    event = args[2].decode("utf-8", "surrogateescape")
    raise error(f"No samples available for event '{event}'")


def doctor(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.verbatim(b"No latency events are recorded; SLOWLOG and INFO commandstats are.\n")


def sub(name: str, syntax: str, summary: str, arity: int, handler: Handler, **more: Any) -> Row:
    """Return the row of a subcommand."""
    values = {"since": "2.8.13", "tips": TIPS, **more}
    return Row(
        f"latency|{name}",
        syntax,
        summary,
        arity=arity,
        group="server",
        flags=ADMIN,
        handler=handler,
        **values,
    )


SUBCOMMANDS = (
    sub("doctor", "", "Tells in words what was slow.", 2, doctor),
    sub("graph", "event", "Draws the samples of an event.", 3, graph),
    help_row("latency", "2.8.13", "server"),
    sub(
        "histogram",
        "[command...]",
        "Returns how long commands took, as histograms.",
        -2,
        histogram,
        since="7.0.0",
    ),
    sub("history", "event", "Returns the samples of an event.", 3, nothing),
    sub("latest", "", "Returns the latest sample of each event.", 2, nothing),
    sub(
        "reset",
        "[event...]",
        "Forgets the samples of events.",
        -2,
        reset,
        tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
    ),
)

ROWS = (
    Row(
        "latency",
        "",
        "Looks at events that took long.",
        "2.8.13",
        -2,
        "server",
        complexity="Depends on the subcommand",
        subcommands=SUBCOMMANDS,
    ),
)
