"""CLIENT and its subcommands: who is connected, and how to treat them."""

from typing import Any

from kvnode.commands import client_list
from kvnode.commands.connection import (
    DEFAULT_USER,
    close_after_reply,
    is_printable_word,
    require_name,
)
from kvnode.commands.context import (
    REPLY_OFF,
    REPLY_ON,
    REPLY_SKIP,
    ReplyWriter,
    SessionContext,
    ViewContext,
)
from kvnode.commands.errors import (
    error,
    parse_integer,
    parse_switch,
    subcommand_error,
    syntax_error,
)
from kvnode.commands.help import help_row
from kvnode.commands.row import RANDOM, Handler, Row

HARMLESS = "noscript loading stale"
ADMIN = f"admin {HARMLESS}"
REPLY_MODES = {b"ON": REPLY_ON, b"OFF": REPLY_OFF, b"SKIP": REPLY_SKIP}
INT64_MAX = (1 << 63) - 1
TYPES = "<NORMAL | MASTER | REPLICA | PUBSUB>"


def client_id(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.integer(view.session.id)


def client_info(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.verbatim(client_list.describe(view, view.session, b"client|info"))


def client_list_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    sessions = client_list.select(view, args[2:])
    lines = [client_list.describe(view, session, b"client|list") for session in sessions]
    reply.verbatim(b"".join(lines))


def getname(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.bulk(view.session.name or None)


def setname(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    view.session.name = require_name(args[2])
    reply.ok()


def setinfo(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    option = args[2].lower()
    shown = args[2].decode("utf-8", "surrogateescape")
    if option not in (b"lib-name", b"lib-ver"):
        raise error(f"Unrecognized option '{shown}'")
    if not is_printable_word(args[3]):
        raise error(f"{shown} cannot contain spaces, newlines or special characters.")
    if option == b"lib-name":
        view.session.lib_name = args[3]
    else:
        view.session.lib_ver = args[3]
    reply.ok()


def reply_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    mode = REPLY_MODES.get(args[2].upper())
    if mode is None:
        raise syntax_error()
    if mode == REPLY_SKIP and view.session.reply_mode == REPLY_OFF:
        return
    view.session.reply_mode = mode
    reply.ok()


def no_evict(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    view.session.no_evict = parse_switch(args[2])
    reply.ok()


def no_touch(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    view.session.no_touch = parse_switch(args[2])
    reply.ok()


def pause(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) > 4:
        raise subcommand_error(args)
    mode = args[3].upper() if len(args) == 4 else b"ALL"
    if mode not in (b"ALL", b"WRITE"):
        raise error("CLIENT PAUSE mode must be WRITE or ALL")
    timeout_ms = parse_timeout_ms(args[2], view.now_ms)
    view.node.pause(view.now_ms + timeout_ms, writes_only=mode == b"WRITE")
    reply.ok()


def parse_timeout_ms(data: bytes, now_ms: int) -> int:
    """Return a timeout in ms. Raises CommandError."""
    timeout_ms = parse_integer(data, "timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise error("timeout is negative")
    if timeout_ms > INT64_MAX - now_ms:
        raise error("timeout is out of range")
    return timeout_ms


def unpause(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    view.node.unpause()
    reply.ok()


def unblock(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) > 4:
        raise subcommand_error(args)
    reason = args[3].upper() if len(args) == 4 else b"TIMEOUT"
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise error("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    session = view.node.client_beside(view.session, parse_integer(args[2]))
    done = session is not None and view.node.unblock(session, with_error=reason == b"ERROR")
    reply.integer(1 if done else 0)


def getredir(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.integer(-1)  # tracking is off


def trackinginfo(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.map(3)
    reply.bulk(b"flags")
    reply.set(1)
    reply.bulk(b"off")
    reply.bulk(b"redirect")
    reply.integer(-1)
    reply.bulk(b"prefixes")
    reply.array(0)


def kill(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) == 3:
        wanted = args[2].decode("utf-8", "surrogateescape")
        victims = [session for session in view.node.sessions() if session.addr == wanted]
        if not victims:
            raise error("No such client")
        close(view, victims)
        reply.ok()
        return
    victims = kill_victims(view, args)
    close(view, victims)
    reply.integer(len(victims))


def kill_victims(view: ViewContext, args: list[bytes]) -> list[SessionContext]:
    """Return the clients that fit all filters. Raises CommandError."""
    if len(args) % 2:
        raise syntax_error()
    skip_me = True
    victims = list(view.node.sessions())
    for at in range(2, len(args), 2):
        option, value = args[at].upper(), args[at + 1]
        text = value.decode("utf-8", "surrogateescape")
        if option == b"ID":
            wanted = parse_integer(value, "client-id should be greater than 0", 1)
            victims = [session for session in victims if session.id == wanted]
        elif option == b"TYPE":
            victims = client_list.of_type(victims, client_list.parse_type(value))
        elif option == b"ADDR":
            victims = [session for session in victims if session.addr == text]
        elif option == b"LADDR":
            victims = [session for session in victims if session.laddr == text]
        elif option == b"USER":
            if value != DEFAULT_USER:
                raise error(f"No such user '{text}'")
            victims = [session for session in victims if session.user == value]
        elif option == b"MAXAGE":
            age_s = parse_integer(value, "maxage is not an integer or out of range")
            if age_s <= 0:
                raise error("maxage should be greater than 0")
            victims = [s for s in victims if (view.now_ms - s.created_ms) // 1000 >= age_s]
        elif option == b"SKIPME" and value.lower() in (b"yes", b"no"):
            skip_me = value.lower() == b"yes"
        else:
            raise syntax_error()
    return [session for session in victims if session is not view.session or not skip_me]


def close(view: ViewContext, victims: list[SessionContext]) -> None:
    """Close connections; the caller's own once it has its reply."""
    for session in victims:
        if session is view.session:
            close_after_reply(session)
        else:
            view.node.close_session(session, "CLIENT KILL")


def sub(
    name: str,
    syntax: str,
    summary: str,
    since: str,
    arity: int,
    handler: Handler,
    flags: str = HARMLESS,
    **more: Any,
) -> Row:
    """Return the row of a subcommand."""
    return Row(
        f"client|{name}",
        syntax,
        summary,
        since,
        arity,
        "connection",
        flags,
        handler=handler,
        **more,
    )


EACH_CLIENT = "O(N), N being the number of connections"
KILL_SYNTAX = (
    "filter=<ip:port!2.8.12 | new-format=<[ID client-id:integer@2.8.12] | "
    "[TYPE client-type=<NORMAL@2.8.12 | MASTER@3.2.0 | SLAVE@2.8.12!5.0.0 | REPLICA@5.0.0 | "
    "PUBSUB@2.8.12>@2.8.12] | [USER username] | [ADDR ip:port] | "
    "[LADDR ip:port@6.2.0] | [SKIPME skipme=<YES | NO>] | "
    "[MAXAGE maxage:integer@7.4.0]>...>"
)

SUBCOMMANDS = (
    sub("getname", "", "Returns the name of this connection.", "2.6.9", 2, getname),
    sub(
        "getredir",
        "",
        "Returns to whom invalidations are redirected; here always -1.",
        "6.0.0",
        2,
        getredir,
    ),
    help_row("client", "5.0.0", "connection", acl="connection"),
    sub("id", "", "Returns the id of this connection.", "5.0.0", 2, client_id),
    sub(
        "info",
        "",
        "Describes this connection in one line.",
        "6.2.0",
        2,
        client_info,
        tips=RANDOM,
    ),
    sub(
        "kill",
        KILL_SYNTAX,
        "Closes the connections that fit.",
        "2.4.0",
        -3,
        kill,
        ADMIN,
        complexity=EACH_CLIENT,
        history=(
            ("2.8.12", "Filters."),
            ("3.2.0", "`TYPE master`."),
            ("5.0.0", "`replica` in place of `slave`, which stays."),
            ("6.2.0", "`LADDR`."),
            ("7.4.0", "`MAXAGE`."),
        ),
    ),
    sub(
        "list",
        f"[TYPE client-type={TYPES}@5.0.0] [ID client-id:integer@6.2.0...]",
        "Describes connections, one line for each.",
        "2.4.0",
        -2,
        client_list_,
        ADMIN,
        complexity=EACH_CLIENT,
        tips=RANDOM,
        history=(("5.0.0", "`TYPE`."), ("6.2.0", "`ID`."), ("7.4.0", "The field `watch`.")),
    ),
    sub(
        "no-evict",
        "enabled=<ON | OFF>",
        "Accepted for compatibility: kvnode never closes clients for memory.",
        "7.0.0",
        3,
        no_evict,
        ADMIN,
    ),
    sub(
        "no-touch",
        "enabled=<ON | OFF>",
        "Lets this connection read keys without marking them as used.",
        "7.2.0",
        3,
        no_touch,
    ),
    sub(
        "pause",
        "timeout:integer [mode=<WRITE | ALL>@6.2.0]",
        "Holds commands, or only writes, for some milliseconds.",
        "3.0.0",
        -3,
        pause,
        ADMIN,
        history=(("6.2.0", "The mode."),),
    ),
    sub(
        "reply",
        "action=<ON | OFF | SKIP>",
        "Says whether this connection wants replies.",
        "3.2.0",
        3,
        reply_,
    ),
    sub(
        "setinfo",
        "attr=<LIB-NAME libname | LIB-VER libver>",
        "Notes which library this client uses.",
        "7.2.0",
        4,
        setinfo,
    ),
    sub("setname", "connection-name", "Names this connection.", "2.6.9", 3, setname),
    sub(
        "trackinginfo",
        "",
        "Tells about client-side caching on this connection.",
        "6.2.0",
        2,
        trackinginfo,
    ),
    sub(
        "unblock",
        "client-id:integer [unblock-type=<TIMEOUT | ERROR>]",
        "Ends the blocking command of another connection.",
        "5.0.0",
        -3,
        unblock,
        ADMIN,
        complexity=EACH_CLIENT,
    ),
    sub("unpause", "", "Ends a pause.", "6.2.0", 2, unpause, ADMIN),
)

ROWS = (
    Row(
        "client",
        "",
        "Looks at connections and changes them.",
        "2.4.0",
        -2,
        "connection",
        complexity="Depends on the subcommand",
        subcommands=SUBCOMMANDS,
    ),
)
