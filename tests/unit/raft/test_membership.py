"""Memberships as values, and by position in the log."""

from contextlib import suppress
from itertools import combinations

import pytest

from kvnode.base.limits import MEMBERS_MAX
from kvnode.raft.membership import (
    AddLearner,
    ChangeRefused,
    Demote,
    Member,
    Membership,
    MembershipLog,
    Promote,
    Remove,
    change,
    promote,
)

THREE = Membership.of_voters([1, 2, 3])


def learner(node_id, **options):
    return AddLearner(Member(node_id), **options)


def test_learners_take_one_step():
    new = change(THREE, [learner(4), learner(5, promote=True)])
    assert not new.is_joint
    assert (new.voters, new.learners, new.promotable) == ({1, 2, 3}, {4, 5}, {5})
    assert change(new, [Remove(4), Remove(5)]) == THREE


def test_voters_take_two():
    old = change(THREE, [learner(4)])
    joint = change(old, [Promote(4), Remove(1)], caught_up=[4])
    assert joint.quorums == ({2, 3, 4}, {1, 2, 3})
    assert joint.is_voter(1)
    new = joint.leave_joint()
    assert (new.voters, new.is_joint, new.is_voter(1)) == ({2, 3, 4}, False, False)
    assert new.member(1) is None


def test_a_voter_becomes_a_learner_when_the_joint_membership_is_left():
    joint = change(THREE, [Demote(3)])
    assert (joint.voters, joint.outgoing, joint.learners) == ({1, 2}, {1, 2, 3}, set())
    new = joint.leave_joint()
    assert (new.voters, new.learners) == ({1, 2}, {3})


def test_promotion_waits_until_a_learner_has_caught_up():
    old = change(THREE, [learner(4), learner(5)])
    wanted = change(old, [Promote(4)])
    assert (wanted.is_joint, wanted.promotable) == (False, {4})
    joint = promote(wanted, [4, 5])
    assert (joint.voters, joint.learners, joint.promotable) == ({1, 2, 3, 4}, {5}, set())
    assert joint.quorums == ({1, 2, 3, 4}, {1, 2, 3})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ([learner(3)], "node 3 is a member already"),
        ([Promote(3)], "node 3 is not a learner"),
        ([Demote(4)], "node 4 is not a voter"),
        ([Remove(4)], "node 4 is not a member"),
        ([Remove(1), Remove(2), Demote(3)], "at least one voter"),
        ([Remove(3), learner(3)], "names each node once"),  # never two directories at once
        ([Promote(2), Demote(2)], "names each node once"),
        ([learner(n) for n in range(4, MEMBERS_MAX + 2)], f"at most {MEMBERS_MAX} members"),
    ],
)
def test_refused(changes, text):
    with pytest.raises(ChangeRefused, match=text):
        change(THREE, changes)


def test_voters_do_not_leave_for_a_learner_that_is_behind():
    old = change(THREE, [learner(4), learner(5)])
    with pytest.raises(ChangeRefused, match="have to catch up before voters leave"):
        change(old, [Promote(4), Promote(5), Remove(1)], caught_up=[4])
    assert change(old, [Promote(4), Promote(5)], caught_up=[4]).promotable == {5}


def test_changes_of_any_kind_keep_the_invariants():
    """All pairs and triples of changes to a mixed group: a membership, or a refusal."""
    old = change(THREE, [learner(4, promote=True), learner(5)])
    steps = [kind(n) for n in range(1, 6) for kind in (Promote, Demote, Remove)]
    steps += [learner(n) for n in range(5, 8)]
    made = 0
    for count in (1, 2, 3):
        for changes in combinations(steps, count):
            for caught_up in ((), (4,), (4, 5)):
                with suppress(ChangeRefused):
                    new = change(old, changes, caught_up)
                    assert not new.is_joint or new.leave_joint().voters == new.voters
                    made += 1
    assert made > 500


def test_identities():
    group = Membership.of_voters([Member(1, b"a"), Member(2)])
    assert group.recognizes(1, b"a")
    assert not group.recognizes(1, b"b")
    assert group.recognizes(2, b"anything")
    assert not group.recognizes(3, b"")


@pytest.mark.parametrize(
    "parts",
    [
        {"members": (Member(2), Member(1)), "voters": {1, 2}},
        {"members": (Member(1),), "voters": {1, 2}},
        {"members": (Member(1),), "voters": {1}, "learners": {1}},
        {"members": (Member(1),), "voters": {1}, "promotable": {1}},
        {"members": (Member(1),), "voters": {1}, "outgoing": {1}, "demoted": {1}},
    ],
)
def test_invariants(parts):
    with pytest.raises(AssertionError):
        Membership(**{k: v if k == "members" else frozenset(v) for k, v in parts.items()})


def test_memberships_by_position():
    two, four, five = (Membership.of_voters(range(1, n + 1)) for n in (2, 4, 5))
    log = MembershipLog(two, [(4, THREE)])
    log.append(7, four)
    log.append(9, five)
    assert [log.at(index) for index in (0, 3, 4, 6, 7, 9, 99)] == [
        two,
        two,
        THREE,
        THREE,
        four,
        five,
        five,
    ]
    assert log.between(4, 7) == ((4, THREE), (7, four))
    assert log.since(8) == [four, five]
    log.truncate(8)
    assert (log.current, log.index) == (four, 7)
    log.cut(5)
    assert (log.at(5), log.current, log.index) == (THREE, four, 7)
    log.truncate(6)
    assert (log.current, log.index) == (THREE, 0)
    log.reset(two)
    assert (log.current, log.index) == (two, 0)
    with pytest.raises(AssertionError):
        log.append(0, two)
