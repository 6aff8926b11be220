"""ROLE, WAIT, FAILOVER, REPLICAOF and HELLO on both sides of a group. Texts are Redis's."""

import pytest

from kvnode.commands.group import NO_ADDRESS, NO_NODE, Role
from tests.support.command_node import CommandNode, TableClient, error
from tests.support.fake_group import INDEX, FakeGroup

# -- ROLE, HELLO --------------------------------------------------------------------------------


def test_role_of_a_leader(leader: FakeGroup, client: TableClient) -> None:
    leader.change_member(2, match_index=990)
    leader.change_member(3, is_alive=False)
    assert client.words("ROLE") == [b"master", INDEX, [[b"10.0.0.2", b"7002", b"990"]]]


def test_a_replica_that_gets_an_image_is_not_shown(leader: FakeGroup, client: TableClient) -> None:
    leader.change_member(2, is_receiving=True)
    assert client.words("ROLE")[2] == [[b"10.0.0.3", b"7003", b"1000"]]


def test_role_of_a_follower(follower: FakeGroup, client: TableClient) -> None:
    follower.change_status(applied_index=900)
    assert client.words("ROLE") == [b"slave", b"10.0.0.1", 7001, b"connected", 900]
    follower.change_member(1, is_alive=False)
    assert client.words("ROLE") == [b"slave", b"10.0.0.1", 7001, b"connect", -1]


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.PRE_CANDIDATE])
def test_role_while_nobody_leads(follower: FakeGroup, client: TableClient, role: Role) -> None:
    follower.change_status(leader_id=NO_NODE, role=role)
    assert client.words("ROLE") == [b"slave", b"", 0, b"connect", -1]


def test_role_outside_of_a_group(follower: FakeGroup, client: TableClient) -> None:
    follower.change_status(leader_id=NO_NODE, is_founded=False, group_id=b"", members=())
    assert client.words("ROLE") == [b"slave", b"", 0, b"connect", -1]


def test_hello_states_the_role(follower: FakeGroup, client: TableClient) -> None:
    assert client.words("HELLO 3")[b"role"] == b"replica"
    follower.change_status(role=Role.LEADER, leader_id=2)
    assert client.words("HELLO 3")[b"role"] == b"master"


# -- WAIT, WAITAOF ------------------------------------------------------------------------------


def test_wait_counts_who_has_the_writes(leader: FakeGroup, client: TableClient) -> None:
    leader.change_member(3, match_index=INDEX - 1)
    assert client.words("WAIT 1 0") == 1
    assert client.words("WAIT -1 0") == 1
    assert client.words("WAITAOF 1 1 0") == [1, 1]


def test_wait_ends_when_they_have_them(
    node: CommandNode, leader: FakeGroup, client: TableClient
) -> None:
    leader.change_member(3, match_index=INDEX - 1)
    client.send(b"WAIT 2 0\r\n")
    leader.change_status(last_index=INDEX + 5)  # written later: WAIT does not wait for it
    leader.change_member(2, match_index=INDEX + 5)
    leader.change_member(3, match_index=INDEX)
    client.send(b"")
    assert client.receive() == 2


def test_wait_ends_in_time(node: CommandNode, leader: FakeGroup, client: TableClient) -> None:
    leader.change_member(3, match_index=0)
    before = node.clock.now_ms
    assert client.words("WAIT 2 30") == 1
    assert client.words("WAITAOF 0 2 20") == [1, 1]
    assert node.clock.now_ms == before + 50


@pytest.mark.parametrize("words", ["WAIT 2 0", "WAITAOF 0 2 0"])
def test_wait_ends_with_leadership(leader: FakeGroup, client: TableClient, words: str) -> None:
    leader.change_member(3, match_index=0)
    client.send(f"{words}\r\n".encode())
    leader.change_status(term=5)  # it leads again
    client.send(b"")
    assert error(client.receive()).startswith("UNBLOCKED force unblock")


def test_waitaof_waits_for_both(node: CommandNode, leader: FakeGroup, client: TableClient) -> None:
    node.synced = False
    assert client.words("WAITAOF 1 1 20") == [0, 2]
    assert client.words("WAITAOF 0 2 20") == [0, 2]


def test_wait_does_not_wait_in_a_transaction(leader: FakeGroup, client: TableClient) -> None:
    leader.change_member(3, match_index=0)
    client.words("MULTI")
    client.words("WAIT 2 0")
    client.words("WAITAOF 1 2 0")
    assert client.words("EXEC") == [1, [1, 1]]


def test_wait_is_for_who_leads(follower: FakeGroup, client: TableClient) -> None:
    assert error(client.words("WAIT 1 0")).startswith("ERR WAIT cannot be used with replica")
    assert error(client.words("WAITAOF 1 1 0")).startswith("ERR WAITAOF cannot be used with")


# -- FAILOVER -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("FAILOVER", NO_NODE),
        ("FAILOVER TIMEOUT 100", NO_NODE),
        ("FAILOVER TO 10.0.0.3 7003", 3),
        ("FAILOVER TO 10.0.0.3 7003 FORCE TIMEOUT 100", 3),
    ],
)
def test_failover(leader: FakeGroup, client: TableClient, words: str, target: int) -> None:
    assert client.words(words) == b"OK"
    assert leader.asked == [("transfer", target)]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("FAILOVER TO 10.0.0.9 1", "FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER TO 10.0.0.1 7001", "FAILOVER target HOST and PORT is not a replica."),
        ("FAILOVER TO 10.0.0.2 7002", "FAILOVER target replica is not online."),
        ("FAILOVER TO localhost", "syntax error"),
        ("FAILOVER ABORT TIMEOUT 1", "syntax error"),
        ("FAILOVER x", "syntax error"),
        ("FAILOVER FORCE", "FAILOVER with force option requires both a timeout and target"),
        ("FAILOVER TO h 1 FORCE", "FAILOVER with force option requires both a timeout and"),
        ("FAILOVER ABORT", "No failover in progress."),
    ],
)
def test_failover_is_refused(leader: FakeGroup, client: TableClient, words: str, text: str) -> None:
    leader.change_member(2, is_receiving=True)
    assert error(client.words(words)).startswith(f"ERR {text}")
    assert not [what for what in leader.asked if what[0] == "transfer"]


def test_failover_says_why_the_group_refuses(leader: FakeGroup, client: TableClient) -> None:
    leader.refusal = "the membership changes"
    assert error(client.words("FAILOVER")) == "ERR the membership changes"


def test_failover_under_way(leader: FakeGroup, client: TableClient) -> None:
    leader.change_status(is_transferring=True)
    assert error(client.words("FAILOVER")) == "ERR FAILOVER already in progress."
    assert client.words("FAILOVER ABORT") == b"OK"


def test_failover_without_replicas(leader: FakeGroup, client: TableClient) -> None:
    leader.change_member(2, is_alive=False)
    leader.change_member(3, is_alive=False)
    assert error(client.words("FAILOVER")) == "ERR FAILOVER requires connected replicas."


def test_failover_at_a_follower(follower: FakeGroup, client: TableClient) -> None:
    text = "ERR FAILOVER is not valid when server is a replica."
    assert error(client.words("FAILOVER")) == text


# -- REPLICAOF ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["REPLICAOF", "SLAVEOF"])
def test_replicaof_at_a_leader(leader: FakeGroup, client: TableClient, name: str) -> None:
    assert client.words(f"{name} NO ONE") == b"OK"
    assert "KVNODE ADD" in error(client.words(f"{name} 10.0.0.2 7002"))
    assert error(client.words(f"{name} h 65536")) == "ERR Invalid master port"


def test_replicaof_at_a_follower(follower: FakeGroup, client: TableClient) -> None:
    connected = b"OK Already connected to specified master"
    assert client.words("REPLICAOF 10.0.0.1 7001") == connected
    assert "KVNODE TRANSFER 2" in error(client.words("REPLICAOF NO ONE"))
    assert "decided by the group" in error(client.words("REPLICAOF 10.0.0.3 7003"))
    follower.change_member(1, client_address=NO_ADDRESS)
    assert "decided by the group" in error(client.words("REPLICAOF 10.0.0.1 7001"))
