"""INFO, TIME, SHUTDOWN and other commands about the server as a whole."""

from kvnode.commands.context import REDIS_VERSION, WAITING, ReplyWriter, ViewContext
from kvnode.commands.errors import error, syntax_error
from kvnode.commands.help import help_row
from kvnode.commands.row import Row

DEFAULT_SECTIONS = frozenset(
    {
        "server",
        "clients",
        "memory",
        "persistence",
        "stats",
        "replication",
        "cpu",
        "modules",
        "errorstats",
        "cluster",
        "keyspace",
    }
)
ALL_SHARDS = "request_policy:all_shards"
LOLWUT_ROWS = 16


def info(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    texts = view.node.info_sections
    asked = {name.decode("latin-1").lower() for name in args[1:]} or {"default"}
    wanted = set(asked)
    if asked & {"all", "everything"}:
        wanted |= set(texts)
    if asked & {"default", "everything"}:
        wanted |= DEFAULT_SECTIONS
    chosen = [text(view) for name, text in texts.items() if name in wanted]
    reply.verbatim("\r\n".join(chosen).encode())


def time(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    seconds, ms = divmod(view.now_ms, 1000)
    reply.bulks([b"%d" % seconds, b"%d" % (ms * 1000)])


def shutdown(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int | None:
    words = [argument.lower() for argument in args[1:]]
    if set(words) - {b"nosave", b"save", b"now", b"force", b"abort"}:
        raise syntax_error()
    has_other = any(word != b"abort" for word in words)
    if (b"abort" in words and has_other) or {b"save", b"nosave"} <= set(words):
        raise syntax_error()
    if b"abort" in words:
        if not view.node.abort_shutdown():
            raise error("No shutdown in progress.")
        reply.ok()
        return None
    checkpoint = True if b"save" in words else False if b"nosave" in words else None
    view.node.shutdown(checkpoint=checkpoint, now=b"now" in words, force=b"force" in words)
    return WAITING


def lolwut(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Draw Sierpinski's triangle: each row is made of the one above it, as a log is."""
    size = range(LOLWUT_ROWS)
    rows = ["".join("*" if column & row == column else " " for column in size) for row in size]
    art = "\n".join(row.rstrip() for row in rows)
    versions = f"kvnode {view.node.kvnode_version}\nRedis ver. {REDIS_VERSION}\n"
    reply.verbatim(f"{art}\n\n{versions}".encode())


def module_list(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.array(0)


ROWS = (
    Row(
        "info",
        "[section...]",
        "Returns facts and statistics about the server.",
        "1.0.0",
        -1,
        "server",
        "loading stale",
        acl="dangerous",
        tips=("nondeterministic_output", ALL_SHARDS, "response_policy:special"),
        handler=info,
        history=(("7.0.0", "Several sections."),),
    ),
    Row(
        "lolwut",
        "[VERSION version:integer]",
        "Draws something.",
        "5.0.0",
        -1,
        "server",
        "readonly fast",
        handler=lolwut,
    ),
    Row(
        "module",
        "",
        "Looks at modules; kvnode has none.",
        "4.0.0",
        -2,
        "server",
        complexity="Depends on the subcommand",
        subcommands=(
            help_row("module", "5.0.0", "server"),
            Row(
                "module|list",
                "",
                "Returns the loaded modules.",
                "4.0.0",
                2,
                "server",
                "admin noscript",
                tips=("nondeterministic_output_order",),
                handler=module_list,
            ),
        ),
    ),
    Row(
        "shutdown",
        "[save-selector=<NOSAVE | SAVE>] [NOW@7.0.0] [FORCE@7.0.0] [ABORT@7.0.0]",
        "Stops the server; what was acknowledged is on disk in any case.",
        "1.0.0",
        -1,
        "server",
        "admin noscript loading stale no_multi allow_busy",
        handler=shutdown,
        history=(("7.0.0", "`NOW`, `FORCE` and `ABORT`."),),
    ),
    Row(
        "time",
        "",
        "Returns the time of this batch of commands: seconds, and microseconds in them.",
        "2.6.0",
        1,
        "server",
        "loading stale fast",
        tips=("nondeterministic_output",),
        handler=time,
    ),
)
