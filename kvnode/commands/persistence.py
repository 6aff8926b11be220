"""SAVE, BGSAVE and their kin: to kvnode they all mean a checkpoint."""

from kvnode.commands.context import WAITING, ReplyWriter, ViewContext
from kvnode.commands.errors import error, syntax_error
from kvnode.commands.row import RANDOM, Row

BACKGROUND = "admin noscript no_async_loading"


def save(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int:
    """Answer once all that was acknowledged before is in a checkpoint."""
    node, session = view.node, view.session

    def write(reply: ReplyWriter, ok: bool) -> None:
        if ok:
            reply.ok()
        else:
            reply.error(b"ERR the checkpoint failed, see the log; nothing is lost")

    node.checkpoint(lambda ok: node.answer(session, lambda reply: write(reply, ok)))
    return WAITING


def bgsave(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    is_scheduled = len(args) == 2 and args[1].upper() == b"SCHEDULE"
    if len(args) > 1 and not is_scheduled:
        raise syntax_error()
    if view.node.statistics().checkpoint_running and not is_scheduled:
        raise error("Background save already in progress")
    if view.node.checkpoint():
        reply.simple(b"Background saving started")
    else:
        reply.simple(b"Background saving scheduled")


def bgrewriteaof(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if view.node.checkpoint():
        reply.simple(b"Background append only file rewriting started")
    else:
        reply.simple(b"Background append only file rewriting scheduled")


def lastsave(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.integer(view.node.statistics().checkpoint_last_s)


ROWS = (
    Row(
        "bgrewriteaof",
        "",
        "Starts a checkpoint, after which the log before it can go.",
        "1.0.0",
        1,
        "server",
        BACKGROUND,
        handler=bgrewriteaof,
    ),
    Row(
        "bgsave",
        "[SCHEDULE@3.2.2]",
        "Starts a checkpoint.",
        "1.0.0",
        -1,
        "server",
        BACKGROUND,
        handler=bgsave,
        history=(("3.2.2", "`SCHEDULE`."),),
    ),
    Row(
        "lastsave",
        "",
        "Returns when the latest checkpoint was made, as Unix time.",
        "1.0.0",
        1,
        "server",
        "loading stale fast",
        acl="admin dangerous",
        tips=RANDOM,
        handler=lastsave,
    ),
    Row(
        "save",
        "",
        "Makes a checkpoint and answers when it is made. Others are not held up.",
        "1.0.0",
        1,
        "server",
        "admin noscript no_async_loading no_multi",
        complexity="O(N), N being the number of records changed since the last checkpoint",
        handler=save,
    ),
)
