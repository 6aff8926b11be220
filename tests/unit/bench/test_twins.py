"""The comparison of native parts with their twins."""

from dataclasses import replace

import pytest

from bench.micro import twins


@pytest.mark.parametrize("operation", twins.operations(), ids=lambda operation: operation.name)
def test_both_answer_alike(operation):
    twins.compare(replace(operation, arguments=operation.arguments[:50]))


def test_a_planted_difference_is_found():
    def off_by_one(index):
        return one.native(index) + 1

    one = next(each for each in twins.operations() if each.name.startswith("position of an index"))
    with pytest.raises(twins.TwinError):
        twins.compare(replace(one, naive=off_by_one))


def test_a_row_has_times_and_their_ratio():
    one = twins.Operation("nothing", len, sum, [(1, 2)] * 3)
    name, *figures = twins.measure(one, rounds=1)
    assert name == "nothing"
    assert len(figures) == 3
    assert float(figures[2].replace(",", "")) > 0
