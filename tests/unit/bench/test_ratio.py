"""Verdicts of the ratio table: reached, missed, and when neither may be said."""

import pytest

from bench.ratio import QUADRUPLES_MIN, Measured, Slice
from bench.workloads import ROWS


def measured(ratio: float, runs: int = QUADRUPLES_MIN) -> Measured:
    """Return a calm measurement of GET P=16, whose target is 1.2."""
    return Measured(
        ROWS[0],
        16,
        ours=[Slice(100_000.0 * ratio, 5.0, None)] * (2 * runs),
        rivals=[Slice(100_000.0, 5.0, None)] * (2 * runs),
        ratios=[ratio] * runs,
        spins=[0.01] * runs,
    )


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.25, "reached"), (1.171, "reached"), (1.169, "missed")]
)
def test_a_target_less_the_tolerance_decides(ratio: float, verdict: str) -> None:
    assert measured(ratio).verdict() == verdict


def test_few_runs_decide_nothing() -> None:
    assert measured(2.0, runs=8).verdict() == "too few runs"


def test_a_restless_machine_decides_nothing() -> None:
    for disturbed in ("stolen", "foreign"):
        one = measured(2.0)
        setattr(one, disturbed, 0.5)
        assert one.verdict().startswith("noisy")
    one = measured(2.0)
    one.spins = [0.010, 0.013] * 5
    assert one.verdict() == "noisy: processor speed varies 19%"
    one = measured(2.0)
    one.rivals = [Slice(rate, 5.0, None) for rate in (60_000.0, 100_000.0, 140_000.0) * 6]
    assert one.verdict().startswith("noisy: rival's rate varies")
