"""INFO, TIME, ROLE, WAIT, SHUTDOWN and other commands about the server as a whole."""

from kvnode.commands.client import parse_timeout_ms
from kvnode.commands.context import REDIS_VERSION, WAITING, ReplyWriter, ViewContext
from kvnode.commands.errors import error, parse_integer, syntax_error
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
PORT_MAX = 65535
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


def role(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.array(3)
    reply.bulk(b"master")
    reply.integer(0)
    reply.array(0)


def wait(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int | None:
    replicas = parse_integer(args[1])
    timeout_ms = parse_timeout_ms(args[2], view.now_ms)
    if replicas <= 0 or view.session.in_exec:
        reply.integer(0)
        return None
    view.node.answer_after(view.session, timeout_ms, lambda reply: reply.integer(0))
    return WAITING


def waitaof(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int | None:
    local = parse_integer(args[1])
    if not 0 <= local <= 1:
        raise error("value is out of range, value must between 0 and 1")
    replicas = parse_integer(args[2])
    if replicas < 0:
        raise error("value is out of range, must be positive")
    timeout_ms = parse_timeout_ms(args[3], view.now_ms)
    node, session = view.node, view.session

    def write(reply: ReplyWriter) -> None:
        reply.array(2)
        reply.integer(1 if node.is_synced() else 0)
        reply.integer(0)

    is_done = replicas == 0 and (local == 0 or node.is_synced())
    if is_done or session.in_exec:
        write(reply)
        return None
    if replicas:
        node.answer_after(session, timeout_ms, write)
    else:
        node.answer_when_synced(session, timeout_ms, write)
    return WAITING


def replicaof(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if args[1].lower() == b"no" and args[2].lower() == b"one":
        reply.ok()
        return
    if not args[2].isdigit() or int(args[2]) > PORT_MAX:
        raise error("Invalid master port")
    raise error("kvnode cannot be a replica of a Redis server")


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


REPLICA_SYNTAX = "args=<host-port=<host port:integer> | no-one=<NO ONE>>"

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
        "replicaof",
        REPLICA_SYNTAX,
        "NO ONE is accepted; kvnode replicates in a way of its own.",
        "5.0.0",
        3,
        "server",
        "admin noscript stale no_async_loading",
        handler=replicaof,
    ),
    Row(
        "role",
        "",
        "Returns the role in the replication.",
        "2.8.12",
        1,
        "server",
        "noscript loading stale fast",
        acl="admin dangerous",
        handler=role,
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
        "slaveof",
        REPLICA_SYNTAX,
        "Older name of REPLICAOF.",
        "1.0.0",
        3,
        "server",
        "admin noscript stale no_async_loading",
        handler=replicaof,
        deprecated=("5.0.0", "`REPLICAOF`"),
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
    Row(
        "wait",
        "numreplicas:integer timeout:integer",
        "Waits for replicas of Redis's kind, of which there are none.",
        "3.0.0",
        3,
        "generic",
        "blocking",
        acl="connection",
        tips=(ALL_SHARDS, "response_policy:agg_min"),
        handler=wait,
    ),
    Row(
        "waitaof",
        "numlocal:integer numreplicas:integer timeout:integer",
        "Waits until all writes of this connection are synced to the log.",
        "7.2.0",
        4,
        "generic",
        "blocking",
        acl="connection",
        tips=(ALL_SHARDS, "response_policy:agg_min"),
        handler=waitaof,
    ),
)
