"""HELLO, AUTH, RESET, QUIT, PING, ECHO: a connection and its client."""

import hmac

from kvnode.base.errors import CommandError
from kvnode.commands.context import (
    REDIS_VERSION,
    REPLY_ON,
    STATE_CLOSING,
    ReplyWriter,
    SessionContext,
    ViewContext,
)
from kvnode.commands.errors import error, parse_integer, syntax_error
from kvnode.commands.fields import Field, write_fields
from kvnode.commands.group_words import redis_mode, redis_role
from kvnode.commands.row import Row

DEFAULT_USER = b"default"
BEFORE_AUTH = "noscript loading stale fast no_auth allow_busy"
PROTOCOLS = (2, 3)

WRONG_PASSWORD = b"WRONGPASS invalid username-password pair or user is disabled."
NO_PASSWORD_SET = (
    "AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
HELLO_NEEDS_AUTH = (
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the "
    b"HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and "
    b"select the RESP protocol version at the same time"
)
BAD_NAME = "Client names cannot contain spaces, newlines or special characters."


def is_printable_word(data: bytes) -> bool:
    """Return whether `data` can stand in a line of CLIENT LIST: visible ASCII, no spaces."""
    return all(0x21 <= byte <= 0x7E for byte in data)


def require_name(name: bytes) -> bytes:
    """Return a name for a connection. Raises CommandError."""
    if not is_printable_word(name):
        raise error(BAD_NAME)
    return name


def authenticate(view: ViewContext, user: bytes, password: bytes) -> None:
    """Let the session in. Raises CommandError when user and password do not fit."""
    expected: bytes = view.node.config["requirepass"]
    right = not expected or hmac.compare_digest(password, expected)
    if user != DEFAULT_USER or not right:
        view.node.counters.auth_failures += 1
        raise CommandError(WRONG_PASSWORD)
    view.session.user = user
    view.node.authenticate(view.session, True)


def auth(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    if len(args) > 3:
        raise syntax_error()
    if len(args) == 2 and not view.node.config["requirepass"]:
        raise error(NO_PASSWORD_SET)
    user = args[1] if len(args) == 3 else DEFAULT_USER
    authenticate(view, user, args[-1])
    reply.ok()


def hello(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    session = view.session
    proto = None
    if len(args) > 1:
        proto = parse_integer(args[1], "Protocol version is not an integer or out of range")
        if proto not in PROTOCOLS:
            raise CommandError(b"NOPROTO unsupported protocol version")
    credentials, name = hello_options(args)
    if credentials is not None:
        authenticate(view, *credentials)
    if not session.authenticated:
        raise CommandError(HELLO_NEEDS_AUTH)
    if name is not None:
        session.name = name
    if proto is not None:
        session.proto = proto
    reply.map(7)
    fields: list[Field] = [
        ("server", "redis"),
        ("version", REDIS_VERSION),
        ("proto", session.proto),
        ("id", session.id),
        ("mode", redis_mode(view)),
        ("role", redis_role(view)),
    ]
    write_fields(reply, fields)
    reply.bulk(b"modules")
    reply.array(0)


def hello_options(args: list[bytes]) -> tuple[tuple[bytes, bytes] | None, bytes | None]:
    """Return ((user, password) or None, name or None). Raises CommandError."""
    credentials = name = None
    at = 2
    while at < len(args):
        option = args[at].upper()
        left = len(args) - at - 1
        if option == b"AUTH" and left >= 2:
            credentials = (args[at + 1], args[at + 2])
            at += 3
        elif option == b"SETNAME" and left:
            name = require_name(args[at + 1])
            at += 2
        else:
            text = args[at].decode("utf-8", "surrogateescape")
            raise error(f"Syntax error in HELLO option '{text}'")
    return credentials, name


def reset(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    session = view.session
    session.leave_multi()
    view.watches.remove(session)
    view.pubsub.forget(session)
    view.select(0)
    session.name = b""
    session.no_evict = session.no_touch = False
    session.reply_mode = REPLY_ON
    session.proto = 2
    session.user = DEFAULT_USER
    view.node.group.serve_reads(session, False)
    view.node.authenticate(session, not view.node.config["requirepass"])
    reply.simple(b"RESET")


def close_after_reply(session: SessionContext) -> None:
    """The connection ends once the reply of the running command has left."""
    session.state = STATE_CLOSING


def quit_(view: ViewContext, args: list[bytes], reply: ReplyWriter) -> None:
    reply.ok()
    close_after_reply(view.session)


ROWS = (
    Row(
        "auth",
        "[username@6.0.0] password",
        "Authenticates the connection.",
        "1.0.0",
        -2,
        "connection",
        BEFORE_AUTH,
        handler=auth,
        history=(("6.0.0", "A user name."),),
    ),
    Row(
        "echo",
        "message",
        "Returns its argument.",
        "1.0.0",
        2,
        "connection",
        "loading stale fast",
        native="echo",
    ),
    Row(
        "hello",
        "[arguments=<protover:integer [AUTH auth=<username password>] [SETNAME clientname]>]",
        "Chooses the protocol, authenticates, and tells about the server.",
        "6.0.0",
        -1,
        "connection",
        BEFORE_AUTH,
        handler=hello,
        history=(("6.2.0", "Without a protocol version the present one is kept."),),
    ),
    Row(
        "ping",
        "[message]",
        "Answers, to show that the server is there.",
        "1.0.0",
        -1,
        "connection",
        "fast",
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
        native="ping",
    ),
    Row(
        "quit",
        "",
        "Closes the connection.",
        "1.0.0",
        -1,
        "connection",
        BEFORE_AUTH,
        handler=quit_,
        deprecated=("7.2.0", "just closing the connection"),
    ),
    Row(
        "reset",
        "",
        "Brings the connection back to the state in which it began.",
        "6.2.0",
        1,
        "connection",
        BEFORE_AUTH,
        handler=reset,
    ),
)
