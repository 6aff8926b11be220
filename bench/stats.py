"""Statistics of few, noisy measurements: medians and their bootstrap intervals."""

import math
import random
import statistics
from collections.abc import Sequence

BOOTSTRAP_ROUNDS = 10_000
IQR_OF_NORMAL = 1.349  # interquartile range of a normal distribution, in standard deviations


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean: the mean for ratios and rates, where 2 and 1/2 cancel."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def median_interval(
    values: Sequence[float], confidence: float = 0.95, seed: int = 1
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the median.

    The seed is fixed: the same measurements always give the same interval.
    """
    if len(values) == 1:
        return values[0], values[0]
    draw = random.Random(seed)
    medians = sorted(
        statistics.median(draw.choices(values, k=len(values))) for _ in range(BOOTSTRAP_ROUNDS)
    )
    tail = (1 - confidence) / 2
    return (
        medians[int(tail * BOOTSTRAP_ROUNDS)],
        medians[int((1 - tail) * BOOTSTRAP_ROUNDS) - 1],
    )


def spread(values: Sequence[float]) -> float:
    """Return a coefficient of variation that a few outliers do not move.

    The interquartile range, scaled to be a standard deviation for normal values, by the median.
    A rival that rewrites its log in one slice out of ten is no sign of a noisy machine.
    """
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / IQR_OF_NORMAL / statistics.median(values)
