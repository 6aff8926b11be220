"""COMMAND INFO of every row, against what redis-server 7.0 says of its commands."""

from kvnode.commands.row import Row
from kvnode.commands.table import ROWS, build
from kvnode.server.local import native_handlers
from tests.conformance import command_info
from tests.support.command_node import CommandNode

SEVEN_FOUR = "came with 7.4"
EIGHT = "came with 8.0"
# Where 7.4 differs from the recorded 7.0, or the command is newer.
DIFFERS = {
    "client|no-touch": "came with 7.2",
    "client|setinfo": "came with 7.2",
    "command|getkeys": "7.4 takes a command without arguments",
    "command|getkeysandflags": "7.4 takes a command without arguments",
    "hexpire": SEVEN_FOUR,
    "hexpireat": SEVEN_FOUR,
    "hexpiretime": SEVEN_FOUR,
    "hgetdel": EIGHT,
    "hgetex": EIGHT,
    "hpersist": SEVEN_FOUR,
    "hpexpire": SEVEN_FOUR,
    "hpexpireat": SEVEN_FOUR,
    "hpexpiretime": SEVEN_FOUR,
    "hpttl": SEVEN_FOUR,
    "hsetex": EIGHT,
    "httl": SEVEN_FOUR,
    "wait": "7.2 allows it in scripts and flags it as blocking",
    "waitaof": "came with 7.2",
}


def natives(rows: tuple[Row, ...] = ROWS) -> set[str]:
    """Return the names of all native handlers that rows refer to."""
    below = set().union(*(natives(row.subcommands) for row in rows))
    return below | {row.native for row in rows if row.native}


def our_lines() -> dict[str, str]:
    """Return the lines of all rows, those whose handler is still to come included."""
    node = CommandNode()
    stand_in = native_handlers()["get"]
    commands = build(dict.fromkeys(natives(), stand_in))
    node.commands = {command.name.upper(): command for command in commands}
    return command_info.lines(node.connect())


def test_every_row_is_described_as_redis_does() -> None:
    recorded = {line.split(" ")[0]: line for line in command_info.FILE.read_text().splitlines()}
    ours = our_lines()
    assert set(ours) == set(command_info.names())
    differing = {name for name, line in ours.items() if recorded.get(name) != line}
    assert differing == set(DIFFERS)


def test_a_wrong_row_is_noticed() -> None:
    ours = our_lines()
    assert ours["get"] in command_info.FILE.read_text()
    assert ours["get"].replace("readonly", "write") not in command_info.FILE.read_text()
