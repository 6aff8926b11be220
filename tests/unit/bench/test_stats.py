"""The statistics behind the ratio table."""

import random

import pytest

from bench import stats


def test_a_ratio_and_its_inverse_cancel() -> None:
    assert stats.geometric_mean([2.0, 0.5]) == pytest.approx(1.0)


def test_interval_holds_the_median_and_narrows_with_more_values() -> None:
    draw = random.Random(1)
    few = [draw.gauss(1.0, 0.05) for _ in range(9)]
    many = [draw.gauss(1.0, 0.05) for _ in range(90)]
    (low, high), (low_many, high_many) = stats.median_interval(few), stats.median_interval(many)
    assert low <= stats.median(few) <= high
    assert high_many - low_many < high - low


def test_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    draw = random.Random(2)
    covered = 0
    for _ in range(40):
        low, high = stats.median_interval([draw.gauss(1.0, 0.1) for _ in range(11)])
        covered += low <= 1.0 <= high
    assert covered >= 34


def test_one_outlier_does_not_make_a_run_noisy() -> None:
    calm = [100.0, 101.0, 99.0, 100.5, 99.5, 100.0, 100.2, 99.8, 30.0]
    assert stats.spread(calm) < 0.02
    assert stats.spread([100.0, 60.0, 140.0, 80.0, 120.0]) > 0.2
