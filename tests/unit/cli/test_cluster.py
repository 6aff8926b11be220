"""`kvnode cluster` against nodes behind sockets: what it asks, what it says, how it ends."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from kvnode.__main__ import main
from kvnode.commands.group import NO_ADDRESS, NO_NODE, Kind
from kvnode.commands.table import build
from kvnode.raft.membership import Demote, Promote, Remove
from kvnode.server.config import Config
from kvnode.server.local import native_handlers
from tests.support.command_node import MEMORY_BYTES, CommandNode
from tests.support.fake_group import FakeGroup
from tests.support.fake_node import FakeNode, serving
from tests.support.process import free_port


class Pair:
    """Node 1, which leads, and node 2; both behind sockets, and each knows where."""

    def __init__(self, leader: FakeNode, follower: FakeNode) -> None:
        self.ports = (leader.port, follower.port)
        self.groups = (leader.node.group, follower.node.group)
        for group in self.groups:
            for i, port in enumerate(self.ports):
                group.change_member(i + 1, client_address=("127.0.0.1", port))


def make_node(node_id: int) -> CommandNode:
    node = CommandNode()
    node.group = FakeGroup(node_id, later=node.later)
    return node


@pytest.fixture
def pair() -> Iterator[Pair]:
    with serving(make_node(1)) as leader, serving(make_node(2)) as follower:
        yield Pair(leader, follower)


def run(*words: str | int, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ["cluster", *map(str, words)], prog_name="kvnode", env=env)


# -- status -------------------------------------------------------------------------------------


def test_status_for_people(pair: Pair) -> None:
    group = pair.groups[0]
    group.change_member(2, match_index=990, lag_ms=12)
    group.change_member(3, is_alive=False, lag_ms=5000, kind=Kind.LEARNER, match_index=0)
    result = run("status", "--port", pair.ports[0])
    assert result.exit_code == 0
    head, columns, one, two, three, quorum = result.output.splitlines()
    assert head == (
        "group 000102030405060708090a0b0c0d0e0f: node 1 leads, term 3, committed up to 1000"
    )
    assert columns.split() == ["node", "role", "kind", "clients", "raft", "behind", "heard"]
    where = f"127.0.0.1:{pair.ports[0]}"
    assert one.split() == ["1", "leader", "voter", where, "10.0.0.1:7101", "0", "-"]
    assert two.split()[1:3] == ["follower", "voter"]
    assert two.split()[5:] == ["10", "12", "ms", "ago"]
    assert three.split()[1:3] == ["unreachable", "learner"]
    assert three.split()[5] == "?"
    assert quorum == "2 of 2 voters are there, 2 are needed: no more may fail"


def test_a_follower_is_asked_and_the_leader_tells_of_the_members(pair: Pair) -> None:
    pair.groups[0].change_member(3, match_index=500)
    pair.groups[1].change_member(3, match_index=0, is_alive=False)
    result = run("status", "--port", pair.ports[1], "--json")
    status = json.loads(result.output)
    assert (status["node_id"], status["role"], status["reported_by"]) == (2, "follower", 1)
    assert status["members"][2]["match_index"] == 500
    assert status["members"][2]["is_alive"] is True
    assert status["is_joint"] is False


def test_a_follower_tells_what_it_knows_if_the_leader_is_out_of_reach(pair: Pair) -> None:
    for address in (NO_ADDRESS, ("127.0.0.1", free_port())):
        pair.groups[1].change_member(1, client_address=address)
        status = json.loads(run("status", "--port", pair.ports[1], "--json").output)
        assert status["reported_by"] == 2


def test_status_while_nobody_leads(pair: Pair) -> None:
    pair.groups[1].change_status(leader_id=NO_NODE)
    pair.groups[1].change_member(1, is_alive=False)
    pair.groups[1].change_member(3, is_alive=False)
    result = run("status", "--port", pair.ports[1])
    assert result.exit_code == 1
    assert "nobody leads" in result.output
    assert "1 of 3 voters are there, 2 are needed: nothing can be written or read" in result.output


def test_status_of_a_change(pair: Pair) -> None:
    pair.groups[0].change_status(is_joint=True, is_transferring=True)
    pair.groups[0].change_member(3, is_receiving=True, kind=Kind.JOINING)
    text = run("status", "--port", pair.ports[0]).output
    assert "gets an image" in text
    assert "voters are being exchanged" in text
    assert "leadership is being handed over" in text


def test_status_outside_of_a_group(pair: Pair) -> None:
    outside = {"leader_id": NO_NODE, "is_founded": False, "group_id": b"", "members": ()}
    pair.groups[1].change_status(**outside)
    result = run("status", "--port", pair.ports[1])
    assert result.exit_code == 1
    assert "node 2 is in no group yet\nit waits for the other nodes" in result.output


# -- changes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "asked", "sentence"),
    [
        (["add", 4, "h:7104"], ("add", 4, "h:7104", True), "becomes a voter once"),
        (["add", 4, "h:7104", "--learner"], ("add", 4, "h:7104", False), "is a learner now\n"),
        (["remove", 3], ("change", Remove(3)), "no member any more"),
        (["promote", 3], ("change", Promote(3)), "is a voter, or will be"),
        (["demote", 3], ("change", Demote(3)), "is a learner now"),
        (["transfer", 2], ("transfer", 2), "node 2 leads now"),
        (["transfer"], ("transfer", NO_NODE), "another node leads now"),
    ],
)
@pytest.mark.parametrize("asked_node", [0, 1])
def test_the_leader_is_told(
    pair: Pair, words: list, asked: tuple, sentence: str, asked_node: int
) -> None:
    result = run(*words, "--port", pair.ports[asked_node])
    assert (result.exit_code, pair.groups[0].asked) == (0, [asked])
    assert sentence in result.output
    assert pair.groups[1].asked == []


def test_the_asked_node_hands_on_where_the_leader_is_out_of_reach(pair: Pair) -> None:
    pair.groups[1].change_member(1, client_address=NO_ADDRESS)
    result = run("remove", 3, "--port", pair.ports[1], "--json")
    assert json.loads(result.output) == {"ok": True}
    assert pair.groups[1].asked == [("change", Remove(3))]


def test_a_refusal_is_a_sentence(pair: Pair) -> None:
    pair.groups[0].refusal = "a change is under way"
    result = run("remove", 3, "--port", pair.ports[0])
    assert (result.exit_code, result.output) == (1, "kvnode: a change is under way\n")
    result = run("remove", 3, "--port", pair.ports[0], "--json")
    assert result.exit_code == 1
    assert json.loads(result.output) == {"ok": False, "error": "a change is under way"}


def test_wrong_arguments(pair: Pair) -> None:
    assert run("remove", 0, "--port", pair.ports[0]).exit_code == 2
    assert run("remove", 3).exit_code == 2
    result = run("add", 4, "nowhere", "--port", pair.ports[0])
    assert (result.exit_code, pair.groups[0].asked) == (1, [])
    assert "HOST:PORT" in result.output


def test_recovery_says_first_what_may_be_lost(pair: Pair) -> None:
    result = run("recover", "--port", pair.ports[1])
    assert result.exit_code == 2
    assert "This makes node 2 a group of one" in result.output
    assert "is lost" in result.output
    assert "term 3, index 1000" in result.output
    assert pair.groups[1].asked == []
    result = run("recover", "--yes", "--port", pair.ports[1])
    assert result.exit_code == 0
    assert (pair.groups[0].asked, pair.groups[1].asked) == ([], [("force_alone",)])


# -- who cannot be asked ------------------------------------------------------------------------


def test_nobody_there() -> None:
    port = free_port()
    result = run("status", "--port", port)
    assert result.exit_code == 1
    assert result.output == (
        f"kvnode: the node at 127.0.0.1:{port} cannot be reached: Connection refused\n"
    )


def test_no_answer() -> None:
    with serving(CommandNode(), mute=True) as node:
        result = run("status", "--port", node.port, "--timeout", 0.05)
    assert result.exit_code == 1
    assert "no answer in time" in result.output


def test_another_server_answers() -> None:
    ping = [command for command in build(native_handlers()) if command.name == b"ping"]
    with serving(CommandNode(commands=ping)) as fake:
        result = run("status", "--port", fake.port)
    assert result.exit_code == 1
    assert "unknown command" in result.output


def test_passwords() -> None:
    config = Config.load(MEMORY_BYTES, None, {"requirepass": "secret"})
    with serving(CommandNode(config)) as node:
        without = run("status", "--port", node.port)
        wrong = run("status", "--port", node.port, "--password", "x")
        right = run("status", "--port", node.port, "--password", "secret")
        from_environment = run("status", "--port", node.port, env={"KVNODE_PASSWORD": "secret"})
    assert (without.exit_code, wrong.exit_code) == (1, 1)
    assert "NOAUTH" in without.output
    assert "WRONGPASS" in wrong.output
    assert (right.exit_code, from_environment.exit_code) == (0, 0)
    assert right.output.startswith("group of one: node 1 leads")
