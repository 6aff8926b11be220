"""What redis-server says about each command in COMMAND INFO, one line for each; of SENTINEL what a
Sentinel says.

    python -m tests.conformance.command_info        records command_info.txt anew

A line: name, arity, flags, first key, last key, step, categories, tips, key specs. Sets are sorted,
since their order says nothing.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from kvnode.commands.row import Row
from kvnode.commands.table import ROWS
from tests.support.process import running
from tests.support.resp import Connection, Reply, ReplyStream

FILE = Path(__file__).with_name("command_info.txt")
NONE = "-"


def names(rows: tuple[Row, ...] = ROWS) -> Iterator[str]:
    """Yield the names of all rows and of those below them."""
    for row in rows:
        yield row.name
        yield from names(row.subcommands)


def words(items: Reply) -> str:
    """Return a set of strings as one word."""
    assert isinstance(items, list)
    return ",".join(sorted(item.decode() for item in items)) or NONE


def pairs(flat: Reply) -> dict[str, Reply]:
    """Return a map as RESP2 has it."""
    assert isinstance(flat, list)
    return {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}


def key_spec(reply: Reply) -> str:
    """Return a key specification as one word."""
    spec = pairs(reply)
    begin, found = pairs(spec["begin_search"]), pairs(spec["find_keys"])
    numbers = [*pairs(begin["spec"]).items(), *pairs(found["spec"]).items()]
    places = ",".join(f"{name}={number}" for name, number in numbers)
    return f"{words(spec['flags'])}:{begin['type'].decode()}/{found['type'].decode()}:{places}"


def line(reply: Reply) -> str:
    """Return one element of a reply of COMMAND INFO as a line; its subcommands are left out."""
    assert isinstance(reply, list)
    name, arity, flags, first, last, step, categories, tips, specs, _ = reply
    parts = [name.decode(), arity, words(flags), first, last, step, words(categories), words(tips)]
    parts.append(";".join(key_spec(spec) for spec in specs) or NONE)
    return " ".join(str(part) for part in parts)


def lines(connection: ReplyStream) -> dict[str, str]:
    """Return the lines of all commands of the table that a server knows, by name."""
    found = {}
    for name in names():
        reply = connection.call("COMMAND", "INFO", name)
        assert isinstance(reply, list)
        if reply[0] is not None:
            found[name] = line(reply[0])
    return found


def main() -> None:
    """Record the file from a redis-server."""
    recorded: dict[str, str] = {}
    for name in ("sentinel", "redis"):  # what both know is recorded from the latter
        with running(name) as server:
            connection: Connection = server.connect()
            recorded |= lines(connection)
            connection.close()
    FILE.write_text("".join(f"{recorded[name]}\n" for name in sorted(recorded)))
    sys.stdout.write(f"{FILE.name}: {len(recorded)} commands\n")


if __name__ == "__main__":
    main()
