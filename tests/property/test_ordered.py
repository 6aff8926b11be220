"""The ordered members against a sorted list: random operations, and trees of several levels.

The checker of the tree is checked too: it must name each invariant that is broken on purpose.
"""

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kvnode._core.ordered import OrderedMembers
from tests.reference import ordered as reference

MANY = 9_000  # three levels of nodes
SCORES = (-float("inf"), -1.5, 0.0, -0.0, 1.0, 1e300, float("inf"))
scores = st.sampled_from(SCORES)
members = st.one_of(st.binary(max_size=3), st.integers(0, 400).map(lambda n: b"m%d" % n))


class Twins(RuleBasedStateMachine):
    """Every operation on both; single ones, and runs that make nodes split and join."""

    def __init__(self) -> None:
        super().__init__()
        self.real = OrderedMembers()
        self.twin = reference.OrderedMembers()

    def both(self, act: Callable) -> object:
        """Do the same on both and return the twin's result."""
        results = []
        for one in (self.twin, self.real):
            try:
                results.append(act(one))
            except (ValueError, IndexError) as error:
                results.append(type(error))
        assert results[0] == results[1]
        return results[0]

    @rule(score=scores, member=members)
    def add(self, score: float, member: bytes) -> None:
        self.both(lambda one: one.add(score, member))

    @rule(score=scores, start=st.integers(0, 400), step=st.integers(1, 3))
    def add_run(self, score: float, start: int, step: int) -> None:
        for number in range(start, start + 150 * step, step):
            self.both(lambda one, n=number: one.add(score, b"m%d" % n))

    @rule(step=st.sampled_from((0.5, 1.0)), count=st.integers(0, 120))
    def extend(self, step: float, count: int) -> None:
        last = self.twin.ends()[1][0] if len(self.twin) else 0.0
        pairs = [(last + step * n, b"x%d" % n) for n in range(1, count + 1)]
        self.both(lambda one: one.extend(pairs))

    @rule(score=scores, member=members)
    def discard(self, score: float, member: bytes) -> None:
        self.both(lambda one: one.discard(score, member))

    @rule(at=st.integers(0, 3), count=st.integers(1, 200))
    def discard_run(self, at: int, count: int) -> None:
        start = len(self.twin) * at // 4
        for pair in self.twin.range(start, count):
            self.both(lambda one, pair=pair: one.discard(*pair))

    @rule(score=scores, member=members)
    def search(self, score: float, member: bytes) -> None:
        self.both(lambda one: one.rank(score, member))
        self.both(lambda one: one.lower_bound(score, member))
        self.both(lambda one: one.lower_bound(score, b""))

    @rule(start=st.integers(0, 500), count=st.integers(0, 120), reverse=st.booleans())
    def look(self, start: int, count: int, reverse: bool) -> None:
        self.both(lambda one: one.range(start, count, reverse))
        self.both(lambda one: one.at(start))

    @invariant()
    def sound(self) -> None:
        assert self.real.check() is None
        self.both(len)
        self.both(lambda one: one.ends())


Twins.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
test_twins = Twins.TestCase


def test_a_large_tree_grows_and_shrinks() -> None:
    draw = random.Random(7)
    pairs = [(draw.randrange(300) / 4, b"%d" % n) for n in range(MANY)]
    tree = OrderedMembers()
    for number, pair in enumerate(pairs):
        tree.add(*pair)
        if number % 500 == 0:
            assert tree.check() is None
    assert tree.range(0, MANY) == sorted(pairs)
    assert tree.range(MANY - 1, MANY, True) == sorted(pairs, reverse=True)
    for number, pair in enumerate(sorted(pairs)):
        if number % 97 == 0:
            assert tree.rank(*pair) == number
            assert tree.at(number) == pair
    draw.shuffle(pairs)
    for number, pair in enumerate(pairs):
        assert tree.discard(*pair)
        if number % 500 == 0:
            assert tree.check() is None
    assert len(tree) == tree.bytes == 0
    assert tree.check() is None


def test_appended_members_fill_their_nodes() -> None:
    pairs = [(float(n), b"") for n in range(MANY)]
    tree, loose = OrderedMembers(), OrderedMembers()
    tree.extend(pairs)
    for score, member in reversed(pairs):
        loose.add(score, member)
    assert tree.check() is None
    assert tree.bytes < 0.6 * loose.bytes
    # A queue: in at one end, out at the other.
    for n in range(MANY):
        tree.extend([(float(MANY + n), b"")])
        assert tree.discard(float(n), b"")
    assert tree.check() is None
    assert tree.ends() == ((float(MANY), b""), (2.0 * MANY - 1, b""))


def test_a_large_tree_is_released_step_by_step() -> None:
    tree = OrderedMembers()
    tree.extend((float(n), b"") for n in range(MANY))
    steps, before = 0, tree.bytes
    while not tree.release(5):
        assert tree.bytes < before
        before = tree.bytes
        steps += 1
    assert MANY // 48 // 5 <= steps <= MANY // 48 // 5 + 3
    assert len(tree) == tree.bytes == 0
    assert tree.release(1)


@pytest.mark.parametrize("number", [1, 3, 4, 5, 6, 7])
def test_a_broken_invariant_is_named(number: int) -> None:
    tree = OrderedMembers()
    tree.extend((float(n), b"") for n in range(MANY))
    assert tree.damage(number)
    assert tree.check().startswith(f"{number}:")


def test_a_tree_too_small_is_not_damaged() -> None:
    tree = OrderedMembers()
    tree.add(1.0, b"a")
    assert not tree.damage(1)


def test_nan_is_refused() -> None:
    tree = OrderedMembers()
    with pytest.raises(ValueError, match="NaN"):
        tree.add(float("nan"), b"a")
