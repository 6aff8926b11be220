"""Raft scenarios as text: tests/data/raft/*.txt. The verbs are described in nodes.py."""

from pathlib import Path

import pytest

from kvnode.raft.core import RaftCore
from kvnode.raft.log_terms import LogTerms
from kvnode.raft.membership import Membership, MembershipLog
from kvnode.raft.messages import HardState, PreVoteReply
from kvnode.raft.ready import Role
from tests import datadriven
from tests.unit.raft.nodes import Nodes

SCENARIOS = sorted((Path(__file__).parents[2] / "data" / "raft").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path, rewrite):
    datadriven.run(path, Nodes().handle, rewrite=rewrite)


def test_scenarios_exist():
    assert len(SCENARIOS) >= 5


def test_a_wrong_expectation_is_found(tmp_path):
    path = tmp_path / "wrong.txt"
    path.write_text("start 1 voters=1\n----\nok\n\nstate 1\n----\n1 leader\n")
    with pytest.raises(AssertionError, match=r"wrong.txt:5"):
        datadriven.run(path, Nodes().handle)


def new_node(voters, **values) -> RaftCore:
    options = {"committed": 0, "random_ticks": lambda n: 0}
    memberships = MembershipLog(Membership.of_voters(voters))
    return RaftCore(1, memberships, HardState(), LogTerms(), **(options | values))


def test_committed_entry_is_never_replaced():
    core = new_node([1])
    core.campaign()
    core.advance(core.ready())
    r = core.ready()
    core.note_appended(r.term, 1, 1)
    core.advance(r)
    core.note_synced(1, 1)
    assert core.is_serving
    with pytest.raises(AssertionError, match="committed entry"):
        core.note_appended(1, 1, 1)


def test_unappended_fence_is_our_bug():
    core = new_node([1])
    core.campaign()
    core.advance(core.ready())
    assert core.role is Role.LEADER
    with pytest.raises(AssertionError, match="empty entry"):
        core.advance(core.ready())


def test_grants_of_strangers_do_not_count():
    core = new_node([1, 2, 3])
    for _ in range(10):
        core.tick()
    core.step(PreVoteReply(9, 1, 1, True))
    assert core.role is Role.PRE_CANDIDATE
    core.step(PreVoteReply(2, 1, 1, True))
    assert core.role is Role.CANDIDATE
