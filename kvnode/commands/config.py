"""CONFIG: the parameters of the running node, and the statistics that INFO reports."""

from kvnode.base.errors import ConfigError
from kvnode.commands.context import ReplyWriter, ViewContext
from kvnode.commands.errors import error, syntax_error
from kvnode.commands.help import help_row
from kvnode.commands.row import Row

ADMIN = "admin noscript loading stale"


def get(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    found: dict[bytes, bytes] = {}
    for pattern in args[2:]:
        for name, value in view.node.config.matching(pattern):
            found.setdefault(name, value)
    reply.map(len(found))
    for name, value in found.items():
        reply.bulk(name)
        reply.bulk(value)


def set_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) % 2:
        raise syntax_error()
    pairs = list(zip(args[2::2], args[3::2], strict=True))
    try:
        view.node.config.change(pairs)
    except ConfigError as refused:
        raise error(str(refused)) from refused
    reply.ok()


def resetstat(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    view.node.reset_statistics()
    reply.ok()


def rewrite(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    try:
        view.node.config.rewrite()
    except ConfigError as refused:
        raise error(str(refused)) from refused
    reply.ok()


SUBCOMMANDS = (
    Row(
        "config|get",
        "parameter...",
        "Returns the parameters that match one of the patterns.",
        "2.0.0",
        -3,
        "server",
        ADMIN,
        complexity="O(N), N being the number of parameters",
        handler=get,
        history=(("7.0.0", "Several patterns."),),
    ),
    help_row("config", "5.0.0", "server"),
    Row(
        "config|resetstat",
        "",
        "Sets the counters of INFO to zero.",
        "2.0.0",
        2,
        "server",
        ADMIN,
        handler=resetstat,
    ),
    Row(
        "config|rewrite",
        "",
        "Writes the present parameters into the configuration file.",
        "2.8.0",
        2,
        "server",
        ADMIN,
        handler=rewrite,
    ),
    Row(
        "config|set",
        "data=<parameter value>...",
        "Changes parameters, all of them or none.",
        "2.0.0",
        -4,
        "server",
        ADMIN,
        complexity="O(N), N being the number of parameters",
        tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
        handler=set_,
        history=(("7.0.0", "Several parameters."),),
    ),
)

ROWS = (
    Row(
        "config",
        "",
        "Looks at parameters and changes them.",
        "2.0.0",
        -2,
        "server",
        complexity="Depends on the subcommand",
        subcommands=SUBCOMMANDS,
    ),
)
