"""Error replies of Python handlers: each text is here once; and the parsing that raises them."""

import re

from kvnode.base.errors import CommandError

# To a client that waits at a node which does not lead any more.
UNBLOCKED = (
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


def error(text: str) -> CommandError:
    """Return an error of the general kind."""
    return CommandError(b"ERR " + text.encode("utf-8", "surrogateescape"))


def syntax_error() -> CommandError:
    return error("syntax error")


def subcommand_error(args: list[bytes]) -> CommandError:
    """An unknown subcommand, or a wrong number of arguments noticed by the handler."""
    name = args[1][:128].decode("utf-8", "surrogateescape")
    container = args[0].decode("utf-8", "surrogateescape").upper()
    return error(
        f"unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    )


def parse_integer(
    data: bytes,
    text: str = "value is not an integer or out of range",
    low: int = INT64_MIN,
    high: int = INT64_MAX,
) -> int:
    """Return the integer that `data` is, as strictly as Redis. Raises CommandError with `text`."""
    if not INTEGER.fullmatch(data):
        raise error(text)
    value = int(data)
    if not low <= value <= high:
        raise error(text)
    return value


def parse_switch(data: bytes) -> bool:
    """Return whether `data` says on; anything but on and off is a syntax error."""
    word = data.lower()
    if word not in (b"on", b"off"):
        raise syntax_error()
    return word == b"on"
