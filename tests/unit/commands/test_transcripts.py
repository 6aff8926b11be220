"""Recorded replies of redis-server, replayed against handlers on a node in memory.

The same transcripts are replayed against whole servers in tests/conformance; here are the topics
whose commands need nothing of a server but what CommandNode stands in for.
"""

import pytest

from kvnode.server.config import Config
from tests.conformance.replay import differences
from tests.conformance.transcript import Section, load_all
from tests.support.command_node import MEMORY_BYTES, CommandNode

TOPICS = {"client", "command", "config", "connection", "replication", "resp3", "server"}
# Sections about what only a whole server does.
ELSEWHERE = {
    "CLIENT PAUSE": "commands are held by the node",
    "a smaller proto-max-bulk-len": "the limit is applied by the node",
    "INFO": "databases are counted by the node",
}
SECTIONS = [
    section for topic, section in load_all() if topic in TOPICS and section.title not in ELSEWHERE
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_replies_are_as_recorded(section: Section) -> None:
    config = Config.load(MEMORY_BYTES, None, {"enable-debug-command": "yes"})
    node = CommandNode(config)
    found = differences(section, node.connect, skip=lambda step: False)
    assert not found, "\n\n".join(found)
