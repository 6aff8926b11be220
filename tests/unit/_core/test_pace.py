"""Backpressure: how the admitted rate follows what the checkpoint can write."""

import pytest

from kvnode._core.pace import Pace

MIB = 1 << 20
SECOND = 1_000_000  # micros
SOFT, HARD = 100 * MIB, 300 * MIB


@pytest.fixture
def pace():
    pace = Pace()
    pace.soft_bytes, pace.hard_bytes = SOFT, HARD
    return pace


def measured(pace, rate, *, at=SECOND):
    """Let a checkpoint write `rate` bytes/s for two seconds; return (time, flushed) after it."""
    for step in range(21):
        pace.must_wait(at + step * SECOND // 10, SOFT + 1, step * rate // 10)
    pace.must_wait(at + 2 * SECOND, SOFT, 2 * rate)  # what clients wrote starts from anew
    return at + 2 * SECOND, 2 * rate


def test_without_bounds_nobody_waits():
    pace = Pace()
    assert not any(pace.must_wait(second * SECOND, 1 << 50, 0) for second in range(1, 20))


def test_below_the_soft_bound_nobody_waits(pace):
    now, flushed = measured(pace, MIB)
    assert not any(pace.must_wait(now + i, SOFT - 1 + i % 2, flushed) for i in range(100))


def test_nobody_waits_before_the_rate_is_known(pace):
    assert not any(pace.must_wait(SECOND + i * SECOND // 100, SOFT + i * MIB, i) for i in range(90))


def test_the_rate_is_that_of_a_checkpoint_with_enough_to_do(pace):
    now, flushed = measured(pace, 20 * MIB)
    assert pace.rate == pytest.approx(20 * MIB, rel=0.01)
    for i in range(100):  # little to write, so little is written
        pace.must_wait(now + i * SECOND, SOFT // 2, flushed + i * MIB)
    assert pace.rate == pytest.approx(20 * MIB, rel=0.01)


def test_an_interval_longer_than_the_average_counts_as_a_whole(pace):
    now, flushed = measured(pace, 20 * MIB)
    pace.must_wait(now + 100 * SECOND, SOFT + 1, flushed + 500 * MIB)
    assert pace.rate == pytest.approx(5 * MIB, rel=0.01)


def test_a_count_that_begins_anew_is_no_rate(pace):
    now, _ = measured(pace, 30 * MIB)
    pace.must_wait(now + SECOND, SOFT + 1, 0)
    assert 0 < pace.rate < 30 * MIB


def test_the_admitted_rate_falls_with_the_room(pace):
    measured(pace, 30 * MIB)
    rates = [pace.admitted_rate(dirty * MIB) / MIB for dirty in (100, 150, 200, 250, 299, 300, 400)]
    assert rates == pytest.approx([45, 33.75, 22.5, 11.25, 0.225, 0, 0], rel=0.01)


def test_while_nothing_is_written_a_part_of_the_room_is_admitted(pace):
    measured(pace, 0)
    assert pace.admitted_rate(200 * MIB) == 10 * MIB


def test_who_wrote_too_much_waits_in_proportion(pace):
    now, flushed = measured(pace, 20 * MIB)
    middle = (SOFT + HARD) // 2  # 15 MiB/s are admitted
    assert not pace.must_wait(now, middle, flushed)
    dirty = middle + 150 * 1024  # 10 ms
    assert pace.must_wait(now, dirty, flushed)
    assert pace.must_wait(now + 9_000, dirty, flushed)
    assert not pace.must_wait(now + 11_000, dirty, flushed)


def test_what_was_not_used_is_not_saved_up(pace):
    now, flushed = measured(pace, 20 * MIB)
    middle = (SOFT + HARD) // 2
    pace.must_wait(now, middle, flushed)
    pace.must_wait(now + 50_000, middle, flushed)
    assert pace.must_wait(now + 50_000, middle + MIB, flushed)


def test_a_huge_write_is_not_paid_for_without_end(pace):
    now, flushed = measured(pace, 20 * MIB)
    middle = (SOFT + HARD) // 2
    pace.must_wait(now, middle, flushed)
    assert pace.must_wait(now, middle + 50 * MIB, flushed)
    assert not pace.must_wait(now + 300_000, middle + 50 * MIB, flushed)


def test_a_checkpoint_that_stands_still_now_and_then_makes_no_stall(pace):
    """Clients want four times what LevelDB takes, and it takes nothing for three of ten seconds."""
    dirty, flushed, now, waits, longest = 0, 0, SECOND, 0, 0
    admitted = []
    for ms in range(60_000):
        now += 1000
        if dirty and ms % 10_000 < 7000:
            flushed += 25 * 1024
            dirty -= 25 * 1024
        if ms % 1000 == 0:
            admitted.append(0)
        if pace.must_wait(now, dirty, flushed):
            waits += 1
            longest = max(longest, waits)
            continue
        waits = 0
        dirty += 100 * 1024
        admitted[-1] += 100 * 1024
        assert dirty < HARD
    settled = admitted[20:]
    assert longest <= 20  # ms
    assert min(settled) > sum(settled) / len(settled) / 3
