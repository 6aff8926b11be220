"""Named values in a reply, as HELLO and the STATUS and STATS of several commands have them."""

from collections.abc import Iterable

from kvnode.commands.context import ReplyWriter

Value = str | int | float  # a bool is written as 0 or 1

Field = tuple[str, Value]


def write_fields(reply: ReplyWriter, fields: Iterable[Field]) -> None:
    """Write name and value of each; the map around them is the caller's."""
    for name, value in fields:
        reply.bulk(name.encode())
        if isinstance(value, str):
            reply.bulk(value.encode())
        elif isinstance(value, float):
            reply.double(value)
        else:
            reply.integer(int(value))
