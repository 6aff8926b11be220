"""Windows of an order against a naive model: the set of places that are known to be in memory."""

import random

import pytest

from kvnode._core.score_windows import BOTTOM, TOP, Windows

WINDOWS_MIN, WINDOWS_MAX = 16, 128
NAMES_BYTES = 64 << 10
NAMES = (b"", b"\0", b"a", b"a\0", b"b", b"\xff")
SCORES = range(1, 9)


def place(score: int, name: bytes = b"") -> bytes:
    return score.to_bytes(8) + name


PLACES = sorted(place(score, name) for score in SCORES for name in NAMES)
BOUNDS = [BOTTOM, *PLACES, *(p + b"\0" for p in PLACES), TOP]


def known(windows: Windows) -> set[bytes]:
    return {p for p in PLACES if windows.holding(p) >= 0}


@pytest.mark.parametrize("seed", range(20))
def test_windows_know_what_a_set_of_places_knows(seed: int) -> None:
    rng = random.Random(seed)
    windows, model = Windows(), set()
    for _ in range(200):
        if rng.random() < 0.5:
            low, high = sorted(rng.sample(BOUNDS, 2))
            if rng.random() < 0.7:  # mostly short ones
                high = min(high, BOUNDS[min(BOUNDS.index(low) + 4, len(BOUNDS) - 1)])
            windows.add(low, high)
            model |= {p for p in PLACES if low <= p < high}
        else:
            member = rng.choice(PLACES)
            windows.cut(member)
            model.discard(member)
        windows.check()
        if len(list(windows)) == WINDOWS_MAX:
            assert known(windows) <= model  # some may have been dropped
            model = known(windows)
        assert known(windows) == model


@pytest.mark.parametrize("seed", range(5))
def test_windows_are_found_from_both_sides(seed: int) -> None:
    rng = random.Random(seed)
    windows = Windows()
    for _ in range(6):
        low, high = sorted(rng.sample(BOUNDS, 2))
        windows.add(low, min(high, low + b"\0\0"))
    listed = list(windows)
    for bound in BOUNDS:
        holding = [i for i, (low, high) in enumerate(listed) if low <= bound < high]
        ending = [i for i, (low, high) in enumerate(listed) if low < bound <= high]
        assert [windows.holding(bound)] == (holding or [-1])
        assert [windows.ending(bound)] == (ending or [-1])


def test_what_touches_is_one_window() -> None:
    windows = Windows()
    windows.add(BOTTOM, place(3))
    windows.add(place(5), TOP)
    assert not windows.is_whole()
    windows.add(place(3), place(5))
    assert list(windows) == [(BOTTOM, TOP)]
    assert windows.is_whole()


def test_an_evicted_member_splits_its_window() -> None:
    windows = Windows()
    windows.add(BOTTOM, TOP)
    windows.cut(place(4, b"m"))
    assert list(windows) == [(BOTTOM, place(4, b"m")), (place(4, b"m\0"), TOP)]
    windows.cut(place(4, b"m"))
    assert len(list(windows)) == 2


def test_of_too_many_windows_the_one_used_longest_ago_goes() -> None:
    windows = Windows()
    for score in range(WINDOWS_MAX):
        windows.add(place(2 * score), place(2 * score + 1))
    windows.touch(0)
    windows.add(place(4 * WINDOWS_MAX), place(4 * WINDOWS_MAX + 1))
    lows = [low for low, _ in windows]
    assert place(0) in lows
    assert place(2) not in lows
    assert len(lows) == WINDOWS_MAX


def test_halves_at_an_end_stay_longer() -> None:
    windows = Windows()
    windows.add(BOTTOM, TOP)
    cuts = WINDOWS_MAX + 24
    for score in range(1, cuts):
        windows.cut(place(score))
    listed = list(windows)
    assert len(listed) == WINDOWS_MAX
    assert listed[0] == (BOTTOM, place(1))
    assert listed[-1] == (place(cuts - 1, b"\0"), TOP)


def test_long_names_leave_room_for_fewer() -> None:
    windows = Windows()
    for score in range(WINDOWS_MAX):
        name = b"n" * (NAMES_BYTES // 40)
        windows.add(place(2 * score, name), place(2 * score + 1, name))
    assert len(list(windows)) == 20
    for score in range(WINDOWS_MAX):
        name = b"n" * NAMES_BYTES
        windows.add(place(2 * score, name), place(2 * score + 1, name))
    assert len(list(windows)) == WINDOWS_MIN


def test_a_bound_has_eight_bytes_and_a_name() -> None:
    with pytest.raises(ValueError, match="eight bytes"):
        Windows().add(b"short", TOP)
    with pytest.raises(IndexError):
        Windows().touch(0)
