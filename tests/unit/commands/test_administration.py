"""KVNODE: what operators see and change of a leader."""

import pytest

from kvnode.commands.group import NO_ADDRESS, NO_NODE, Kind
from kvnode.raft.membership import Demote, Promote, Remove
from tests.support.command_node import CommandNode, TableClient, error
from tests.support.fake_group import GROUP_ID, FakeGroup


@pytest.fixture
def client(node: CommandNode) -> TableClient:
    """A client that gets maps as maps."""
    client = node.connect()
    client.words("HELLO 3")
    return client


def test_status(leader: FakeGroup, client: TableClient) -> None:
    leader.change_member(3, kind=Kind.JOINING, client_address=NO_ADDRESS, is_receiving=True)
    status = client.words("KVNODE STATUS")
    members = status.pop(b"members")
    assert status == {
        b"node_id": 1,
        b"role": b"leader",
        b"term": 3,
        b"leader_id": 1,
        b"group_id": GROUP_ID.hex().encode(),
        b"is_networked": 1,
        b"is_founded": 1,
        b"is_joint": 0,
        b"is_transferring": 0,
        b"last_term": 3,
        b"last_index": 1000,
        b"committed_index": 1000,
        b"applied_index": 1000,
    }
    assert members[2] == {
        b"node_id": 3,
        b"kind": b"joining",
        b"raft_address": b"10.0.0.3:7103",
        b"client_address": b"",
        b"identity": b"03" * 16,
        b"is_alive": 1,
        b"is_receiving": 1,
        b"match_index": 1000,
        b"lag_ms": 0,
    }


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("ADD 4 10.0.0.4:7104", ("add", 4, "10.0.0.4:7104", True)),
        ("ADD 4 [fe80::4]:7104 learner", ("add", 4, "[fe80::4]:7104", False)),
        ("REMOVE 3", ("change", Remove(3))),
        ("PROMOTE 3", ("change", Promote(3))),
        ("DEMOTE 3", ("change", Demote(3))),
        ("TRANSFER", ("transfer", NO_NODE)),
        ("TRANSFER 2", ("transfer", 2)),
        ("RECOVER alone", ("force_alone",)),
    ],
)
def test_changes(leader: FakeGroup, client: TableClient, words: str, asked: tuple) -> None:
    assert client.words(f"KVNODE {words}") == b"OK"
    leader.refusal = "one at a time"
    assert error(client.words(f"KVNODE {words}")) == "ERR one at a time"
    leader.refusal, leader.reason = None, "leadership was lost"
    assert error(client.words(f"KVNODE {words}")) == "ERR leadership was lost"
    assert leader.asked == [asked] * 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("ADD 0 h:1", "a node id is a number from 1 on"),
        ("ADD x h:1", "a node id is a number from 1 on"),
        ("ADD 4 h", "an address is HOST:PORT"),
        ("ADD 4 h:0", "an address is HOST:PORT"),
        ("ADD 4 h:65536", "an address is HOST:PORT"),
        ("ADD 4 :1", "an address is HOST:PORT"),
        ("ADD 4 ::1:1", "an address is HOST:PORT"),
        ("ADD 4 [h]:1", "an address is HOST:PORT"),
        (f"ADD 4 {'h' * 300}:1", "an address is HOST:PORT"),
        ("ADD 4 h\u00e4:1", "an address is HOST:PORT"),
        ("ADD 4 h:1 VOTER", "syntax error"),
        ("ADD 4 h:1 LEARNER x", "syntax error"),
        ("REMOVE -1", "a node id is a number from 1 on"),
        ("PROMOTE 1.5", "a node id is a number from 1 on"),
        ("TRANSFER 0", "a node id is a number from 1 on"),
        ("TRANSFER 1 2", "syntax error"),
        ("RECOVER yes", "syntax error"),
    ],
)
def test_what_is_wrong_reaches_nobody(
    leader: FakeGroup, client: TableClient, words: str, text: str
) -> None:
    assert error(client.words(f"KVNODE {words}")).startswith(f"ERR {text}")
    assert leader.asked == []


def test_changes_are_not_queued(leader: FakeGroup, client: TableClient) -> None:
    client.words("MULTI")
    assert "not allowed inside a transaction" in error(client.words("KVNODE REMOVE 3"))


def test_a_node_alone(client: TableClient) -> None:
    status = client.words("KVNODE STATUS")
    assert status[b"is_networked"] == 0
    assert status[b"members"][0][b"client_address"] == b"127.0.0.1:6379"
    for words in ("ADD 2 h:1", "REMOVE 1", "TRANSFER"):
        assert "raft-listen" in error(client.words(f"KVNODE {words}"))
    assert "is a group of one" in error(client.words("KVNODE RECOVER ALONE"))
