"""Founding a group: in any order, with directories that are replaced, and with mistakes."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvnode.raft.membership import Membership
from kvnode.server import founding
from kvnode.server.founding import Found, Founding, Outside, Pin, Wait, group_of, proposal
from kvnode.server.peers.framing import Greeting
from kvnode.server.peers.handshake import NO_GROUP

CLUSTER = {1: "a:1", 2: "b:1", 3: "c:1"}


@dataclass
class Directory:
    """One directory of a node, with what it made durable. Its node may restart."""

    node_id: int
    identity: bytes
    cluster: dict[int, str]
    pinned: Membership | None = None
    found: Found | None = None
    state: Founding = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.state = Founding(self.node_id, self.identity, self.cluster, self.pinned)
        self.act()

    def greeting(self) -> tuple[int, bytes, Greeting]:
        group = self.found.group if self.found else NO_GROUP
        members = self.found.members if self.found else self.state.members
        return self.node_id, self.identity, Greeting(group, "client:6379", members)

    def hear(self, greeting: tuple[int, bytes, Greeting]) -> None:
        if self.found is None and greeting[0] != self.node_id:
            self.state.greeted(*greeting)
            self.act()

    def act(self) -> None:
        if isinstance(self.state.decision, Pin):
            self.pinned = self.state.decision.members
            self.state.note_pinned()
        if isinstance(self.state.decision, Found) and self.found is None:
            self.found = self.state.decision


class World:
    """Nodes that greet each other; greetings may be late."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.cluster = {n: f"node{n}:7000" for n in range(1, size + 1)}
        self._random = random.Random(seed)
        self.all: list[Directory] = []
        self.nodes = {n: self._directory(n) for n in self.cluster}
        self.late: list[tuple[int, tuple[int, bytes, Greeting]]] = []

    def _directory(self, node_id: int) -> Directory:
        made = Directory(node_id, self._random.randbytes(16), self.cluster)
        self.all.append(made)
        return made

    def greet(self, source: int, target: int) -> None:
        self.nodes[target].hear(self.nodes[source].greeting())

    def greet_all(self) -> None:
        for _ in range(4):
            for source in self.nodes:
                for target in self.nodes:
                    self.greet(source, target)

    def replace(self, node_id: int) -> None:
        self.nodes[node_id] = self._directory(node_id)

    def check(self) -> None:
        """No directory is claimed by two groups; who founded says the same as its fellows."""
        claimed: dict[bytes, bytes] = {}
        for found in filter(None, (directory.found for directory in self.all)):
            assert group_of(found.members) == found.group
            for member in found.members.members:
                assert claimed.setdefault(member.identity, found.group) == found.group


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["greet"] * 6 + ["keep", "late", "replace", "restart"]),
        st.integers(1, 4),
        st.integers(1, 4),
    ),
    max_size=60,
)


def play(world: World, steps) -> None:
    for verb, a, b in steps:
        a, b = (a - 1) % len(world.nodes) + 1, (b - 1) % len(world.nodes) + 1
        match verb:
            case "greet":
                world.greet(a, b)
            case "keep":
                world.late.append((b, world.nodes[a].greeting()))
            case "late" if world.late:
                target, greeting = world.late.pop(0)
                world.nodes[target].hear(greeting)
            case "replace":
                world.replace(a)
            case "restart":
                world.nodes[a].restart()
        world.check()


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 4), STEPS)
def test_no_directory_belongs_to_two_groups(size: int, steps) -> None:
    world = World(size)
    play(world, steps)
    world.greet_all()
    world.check()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), STEPS)
def test_all_found_the_same_group_in_any_order(size: int, steps) -> None:
    world = World(size)
    play(world, [step for step in steps if step[0] != "replace"])
    world.greet_all()
    groups = {node.found.group for node in world.nodes.values() if node.found}
    assert len(groups) == 1
    assert all(node.found == world.nodes[1].found for node in world.nodes.values())


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(1, 3))
def test_who_comes_with_an_empty_directory_stays_outside(steps, replaced: int) -> None:
    world = World(3)
    play(world, [step for step in steps if step[0] != "replace"])
    world.greet_all()
    group = world.nodes[1].found.group
    world.replace(replaced)
    world.greet_all()
    decision = world.nodes[replaced].state.decision
    assert isinstance(decision, Outside)
    assert decision.group == group
    assert world.nodes[replaced].found is None


def test_the_directory_that_would_be_in_two_majorities() -> None:
    """3 is replaced before 2 has heard from it; 1 knows the old one, 2 the new one."""
    world = World(3)
    for source, target in [(1, 3), (2, 3), (2, 1), (3, 1), (1, 2)]:
        world.greet(source, target)
    world.replace(3)
    world.greet_all()
    assert not any(node.found for node in world.nodes.values())
    assert world.nodes[1].pinned is not None
    problems = {n: node.state.decision.problem for n, node in world.nodes.items()}
    assert "node 3 and node 1 do not know the same directory of node 3" in problems[1]
    assert "node 1 and node 3 do not know the same directory of node 3" in problems[3]
    for node_id in world.cluster:
        world.replace(node_id)
    world.greet_all()
    world.check()
    assert all(node.found for node in world.nodes.values())


def test_planted_founding_without_asking_whether_all_have_pinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Founding, "_has_pinned", lambda self, node_id: True)
    world = World(3)
    for source, target in [(1, 3), (2, 3), (2, 1), (3, 1), (1, 2)]:
        world.greet(source, target)
    world.replace(3)
    world.greet(3, 2)
    with pytest.raises(AssertionError):
        world.check()


# -- mistakes -----------------------------------------------------------------------------------


def greeting(cluster: dict[int, str]) -> Greeting:
    return Greeting(NO_GROUP, "c:1", proposal(cluster))


def test_waits_for_all() -> None:
    state = Founding(1, b"1" * 16, CLUSTER)
    assert state.decision == Wait((2, 3))
    assert state.greeted(3, b"3" * 16, greeting(CLUSTER)) == Wait((2,))
    decision = state.greeted(2, b"2" * 16, greeting(CLUSTER))
    assert isinstance(decision, Pin)
    assert state.note_pinned() == Wait((2, 3))


def test_different_maps() -> None:
    state = Founding(1, b"1" * 16, CLUSTER)
    state.greeted(2, b"2" * 16, greeting({1: "a:1", 2: "b:1"}))
    decision = state.greeted(3, b"3" * 16, greeting(CLUSTER))
    assert isinstance(decision, Wait)
    assert decision.problem == (
        "node 2 was started with --cluster 1=a:1,2=b:1, node 1 with --cluster "
        "1=a:1,2=b:1,3=c:1: give all nodes the same, letter by letter"
    )
    # The other one is started again as it should be.
    assert isinstance(state.greeted(2, b"2" * 16, greeting(CLUSTER)), Pin)


def test_a_stranger_does_not_disturb() -> None:
    state = Founding(1, b"1" * 16, CLUSTER)
    assert state.greeted(9, b"9" * 16, greeting({9: "x:1"})) == Wait((2, 3))


def test_one_who_is_not_in_the_map_waits_to_be_added() -> None:
    state = Founding(4, b"4" * 16, CLUSTER)
    for node_id in CLUSTER:
        assert state.greeted(node_id, b"%d" % node_id * 16, greeting(CLUSTER)) == Wait(())
    founded = proposal(CLUSTER)
    group = group_of(founded)
    assert state.greeted(2, b"2" * 16, Greeting(group, "c:1", founded)) == Outside(2, group)
    assert Founding(4, b"4" * 16, {}).decision == Wait(())


def test_a_group_of_one_needs_nobody() -> None:
    state = Founding(1, b"1" * 16, {1: "a:1"})
    assert isinstance(state.decision, Pin)
    assert isinstance(state.note_pinned(), Found)


def test_a_directory_that_was_copied_from_before_is_told() -> None:
    world = World(3)
    world.greet_all()
    old = Founding(1, world.nodes[1].identity, world.cluster)
    decision = old.greeted(*world.nodes[2].greeting())
    assert isinstance(decision, Wait)
    assert "restored from a copy" in decision.problem


def test_a_node_that_was_added_later_is_no_witness_of_the_founding() -> None:
    for members in (Membership(), proposal(CLUSTER)):
        decision = Founding(1, b"1" * 16, CLUSTER).greeted(
            4, b"4" * 16, Greeting(b"g" * 16, "c:1", members)
        )
        assert decision == Outside(4, b"g" * 16)


def test_groups_have_ids_of_their_own() -> None:
    ids = {group_of(proposal({1: "a:1", 2: f"b:{port}"})) for port in range(1, 50)}
    assert len(ids) == 49
    assert all(len(group) == founding.GROUP_BYTES and group != NO_GROUP for group in ids)
