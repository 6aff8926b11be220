"""The node's time follows the wall clock, and runs on when that is set back."""

from hypothesis import given
from hypothesis import strategies as st

from kvnode._core.node_clock import NodeClock

HOUR_MS = 3_600_000
NOW_MS = 4_000_000_000_000  # later than the data of any test


def clock_at(wall: int) -> tuple[NodeClock, int]:
    """Return a clock that has followed the wall clock up to `wall`, and the machine's time then."""
    boot = NOW_MS
    clock = NodeClock(0)
    assert clock.at(wall, boot) == wall
    return clock, boot


def test_it_is_the_wall_clock():
    clock, boot = clock_at(NOW_MS + NOW_MS)
    assert clock.at(2 * NOW_MS + 7, boot + 7) == 2 * NOW_MS + 7
    assert clock.at(2 * NOW_MS + HOUR_MS, boot + 8) == 2 * NOW_MS + HOUR_MS


def test_it_runs_on_at_true_speed_when_the_wall_clock_is_set_back():
    clock, boot = clock_at(2 * NOW_MS)
    wall = 2 * NOW_MS - HOUR_MS
    assert clock.at(wall, boot) == 2 * NOW_MS
    assert clock.at(wall + 1500, boot + 1500) == 2 * NOW_MS + 1500


def test_a_jump_ahead_and_back_loses_no_time():
    clock, boot = clock_at(2 * NOW_MS)
    ahead = clock.at(2 * NOW_MS + HOUR_MS, boot + 10)
    assert clock.at(2 * NOW_MS + 20, boot + 20) == ahead + 10


def test_it_starts_above_its_floor():
    clock = NodeClock(2 * NOW_MS)
    assert clock.at(0, NOW_MS) >= 2 * NOW_MS


@given(st.lists(st.tuples(st.integers(-HOUR_MS, HOUR_MS), st.integers(0, 10_000)), min_size=1))
def test_it_never_goes_back_nor_stands_still(steps):
    wall = 2 * NOW_MS
    clock, boot = clock_at(wall)
    last = wall
    for jump, passed in steps:
        boot += passed
        wall = max(0, wall + passed + jump)
        now = clock.at(wall, boot)
        assert now == max(wall, last + passed)
        last = now
