"""DEBUG: what test suites ask of a server. Off unless enable-debug-command allows it."""

import math
from collections.abc import Callable

from kvnode.base.errors import CommandError
from kvnode.commands.context import WAITING, ReplyWriter, ViewContext
from kvnode.commands.errors import error, subcommand_error
from kvnode.commands.help import INDENT, write_help
from kvnode.commands.row import Row

NOT_ALLOWED = (
    'DEBUG command not allowed. If the enable-debug-command option is set to "local", you can '
    "run it from a local connection, otherwise you need to set this option in the configuration "
    "file, and then restart the server."
)
LOOPBACK = ("127.", "[::1]", "::1", "/")  # an address that begins so is local
SECONDS_MAX = 1000.0  # longest DEBUG SLEEP


def debug(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int | None:
    allowed = view.node.config["enable-debug-command"]
    is_local = view.session.addr.startswith(LOOPBACK)
    if allowed == "no" or (allowed == "local" and not is_local):
        raise error(NOT_ALLOWED)
    entry = SUBCOMMANDS.get(args[1].upper())
    if entry is None or len(args) not in entry[0]:
        raise subcommand_error(args)
    return entry[1](view, args, reply)


def help_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    lines = []
    for name in sorted(SUBCOMMANDS):
        _, function, usage = SUBCOMMANDS[name]
        if function is not help_:
            lines.append(f"{name.decode()} {usage}".rstrip())
            lines.append(INDENT + (function.__doc__ or "").strip())
    write_help(reply, "DEBUG", lines)


def sleep(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Do nothing at all for some seconds, as a stalled machine would."""
    try:
        seconds = float(args[2])
    except ValueError:
        seconds = 0.0  # as Redis, which does not check
    if math.isfinite(seconds) and seconds > 0:
        view.node.stall(min(seconds, SECONDS_MAX))
    reply.ok()


def set_active_expire(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Stop (0) or start (1) the sweeper that deletes expired keys nobody touches."""
    view.node.set_expiry_active(args[2] != b"0")
    reply.ok()


def object_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Describe how the value of a key is represented."""
    text = view.node.describe_object(view.session, args[2])
    if text is None:
        raise error("no such key")
    reply.simple(text.encode())


def reload(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> int:
    """Make a checkpoint and forget what memory holds."""
    node, session = view.node, view.session

    def done(ok: bool) -> None:
        if ok:
            node.reload()
            node.answer(session, lambda reply: reply.ok())
        else:
            text = b"ERR Error trying to load the RDB dump, check server logs."
            node.answer(session, lambda reply: reply.error(text))

    node.checkpoint(done)
    return WAITING


def accept(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Accepted; has no meaning here."""
    reply.ok()


def raise_error(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Answer with this error line."""
    raise CommandError(args[2])


def log(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Write a message to the server's log."""
    view.node.log_message(args[2].decode("utf-8", "backslashreplace"))
    reply.ok()


def protocol(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    """Answer with a reply of the named type."""
    write = PROTOCOL_TYPES.get(args[2].lower())
    if write is None:
        raise error(
            "Wrong protocol type name. Please use one of the following: "
            "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
        )
    write(reply)


def write_integers(reply: ReplyWriter) -> None:
    for number in range(3):
        reply.integer(number)


def write_array(reply: ReplyWriter) -> None:
    reply.array(3)
    write_integers(reply)


def write_set(reply: ReplyWriter) -> None:
    reply.set(3)
    write_integers(reply)


def write_map(reply: ReplyWriter) -> None:
    reply.map(3)
    for number in range(3):
        reply.integer(number)
        reply.boolean(number == 1)


def write_attribute(reply: ReplyWriter) -> None:
    if reply.proto < 3:
        raise error("Command not supported in RESP2")
    reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n")
    reply.bulk(b"Some real reply following the attribute")


def write_push(reply: ReplyWriter) -> None:
    if reply.proto < 3:
        raise error("Push protocol not supported in RESP2")
    reply.push(2)
    reply.bulk(b"server-cpu-usage")
    reply.integer(42)


def write_big_number(reply: ReplyWriter) -> None:
    digits = b"1234567999999999999999999999999999999"
    if reply.proto < 3:
        reply.bulk(digits)
    else:
        reply.raw(b"(" + digits + b"\r\n")


PROTOCOL_TYPES: dict[bytes, Callable[[ReplyWriter], None]] = {
    b"string": lambda reply: reply.bulk(b"Hello World"),
    b"integer": lambda reply: reply.integer(12345),
    b"double": lambda reply: reply.double(3.141),
    b"bignum": write_big_number,
    b"null": lambda reply: reply.null(),
    b"array": write_array,
    b"set": write_set,
    b"map": write_map,
    b"attrib": write_attribute,
    b"push": write_push,
    b"verbatim": lambda reply: reply.verbatim(b"This is a verbatim\nstring"),
    b"true": lambda reply: reply.boolean(True),
    b"false": lambda reply: reply.boolean(False),
}

Subcommand = Callable[[ViewContext, list[bytes], ReplyWriter], "int | None"]

# name -> (allowed numbers of arguments, function, usage)
SUBCOMMANDS: dict[bytes, tuple[range, Subcommand, str]] = {
    b"CHANGE-REPL-ID": (range(2, 3), accept, ""),
    b"ERROR": (range(3, 4), raise_error, "<string>"),
    b"HELP": (range(2, 3), help_, ""),
    b"LOG": (range(3, 4), log, "<message>"),
    b"OBJECT": (range(3, 4), object_, "<key>"),
    b"PROTOCOL": (range(3, 4), protocol, "<type>"),
    b"QUICKLIST-PACKED-THRESHOLD": (range(3, 4), accept, "<size>"),
    b"RELOAD": (range(2, 6), reload, "[option ...]"),
    b"SET-ACTIVE-EXPIRE": (range(3, 4), set_active_expire, "<0|1>"),
    b"SET-DISABLE-DENY-SCRIPTS": (range(3, 4), accept, "<0|1>"),
    b"SLEEP": (range(3, 4), sleep, "<seconds>"),
}

ROWS = (
    Row(
        "debug",
        "",
        "Serves tests. Not for use with data that matters.",
        "1.0.0",
        -2,
        "server",
        "admin noscript loading stale",
        complexity="Depends on the subcommand",
        handler=debug,
        doc_flags=("syscmd",),
    ),
)
