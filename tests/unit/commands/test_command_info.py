"""COMMAND INFO of every row, against what redis-server 7.0 says of its commands."""

from tests.conformance import command_info
from tests.support.command_node import CommandNode

# Where 7.4 differs from the recorded 7.0, or the command is newer.
DIFFERS = {
    "client|no-touch": "came with 7.2",
    "client|setinfo": "came with 7.2",
    "command|getkeys": "7.4 takes a command without arguments",
    "command|getkeysandflags": "7.4 takes a command without arguments",
    "wait": "7.2 allows it in scripts and flags it as blocking",
    "waitaof": "came with 7.2",
}


def test_every_row_is_described_as_redis_does() -> None:
    recorded = {line.split(" ")[0]: line for line in command_info.FILE.read_text().splitlines()}
    ours = command_info.lines(CommandNode().connect())
    assert set(ours) == set(command_info.names())
    differing = {name for name, line in ours.items() if recorded.get(name) != line}
    assert differing == set(DIFFERS)


def test_a_wrong_row_is_noticed() -> None:
    ours = command_info.lines(CommandNode().connect())
    assert ours["get"] in command_info.FILE.read_text()
    assert ours["get"].replace("readonly", "write") not in command_info.FILE.read_text()
