"""COMMAND INFO of every row, against what redis-server 7.0 says of its commands."""

from kvnode.commands.table import ROWS, build
from kvnode.server.local import native_handlers
from tests.conformance import command_info
from tests.support.command_node import CommandNode, TableClient

OWN = "our own"
SEVEN_FOUR = "came with 7.4"
EIGHT = "came with 8.0"
# Where 7.4 differs from the recorded 7.0, or the command is newer.
DIFFERS = {
    "blmove": "7.2 allows it in scripts",
    "blpop": "7.2 allows it in scripts",
    "brpop": "7.2 allows it in scripts",
    "brpoplpush": "7.2 allows it in scripts",
    "bzpopmax": "7.2 allows it in scripts",
    "bzpopmin": "7.2 allows it in scripts",
    "client|no-touch": "came with 7.2",
    "client|setinfo": "came with 7.2",
    "cluster|myshardid": "came with 7.2",
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
    "kvnode": OWN,
    **{f"kvnode|{name}": OWN for name in "add demote help promote recover remove".split()},
    **{f"kvnode|{name}": OWN for name in "once status transfer".split()},
    "wait": "7.2 allows it in scripts and flags it as blocking",
    "waitaof": "came with 7.2",
    "zrank": "7.2 takes WITHSCORE",
    "zrevrank": "7.2 takes WITHSCORE",
}


def connect() -> TableClient:
    """Return a client of a node on which every row can be asked for, also without its handler."""
    handlers = native_handlers()
    natives = [row.native for row in ROWS if row.native]
    natives += [subrow.native for row in ROWS for subrow in row.subcommands if subrow.native]
    any_handler = next(iter(handlers.values()))
    return CommandNode(commands=build(dict.fromkeys(natives, any_handler) | handlers)).connect()


def test_every_row_is_described_as_redis_does() -> None:
    recorded = {line.split(" ")[0]: line for line in command_info.FILE.read_text().splitlines()}
    ours = command_info.lines(connect())
    assert set(ours) == set(command_info.names())
    differing = {name for name, line in ours.items() if recorded.get(name) != line}
    assert differing == set(DIFFERS)


def test_a_wrong_row_is_noticed() -> None:
    ours = command_info.lines(connect())
    assert ours["get"] in command_info.FILE.read_text()
    assert ours["get"].replace("readonly", "write") not in command_info.FILE.read_text()
