"""The table of groups: ratios by round, verdicts, rounds that do not count; what etcd is asked."""

from typing import Any

import pytest

from bench import group, groups
from bench.group import Comparison, Contender, Measured, Plan, Slice
from bench.servers import ServerError

COMPARISON = Comparison("ours", "rival", {16: 2.0})


def measured(ratio: float, rounds: int = group.ROUNDS_MIN) -> Measured:
    """Return a calm measurement."""
    slices = {
        name: [Slice(rate, {"leader": 1.0})] * (2 * rounds)
        for name, rate in (("ours", 1000.0 * ratio), ("rival", 1000.0))
    }
    return Measured(16, slices, spins=[0.01] * rounds)


@pytest.mark.parametrize(("ratio", "verdict"), [(2.01, "reached"), (1.99, "missed")])
def test_the_limit_decides(ratio: float, verdict: str) -> None:
    assert measured(ratio).verdict(COMPARISON) == verdict
    assert group.ratio_cells(measured(ratio), COMPARISON)[-1] == verdict


def test_nothing_is_said_of_few_rounds_a_restless_machine_or_without_a_limit() -> None:
    assert measured(3.0, rounds=2).verdict(COMPARISON) == "too few runs"
    restless = measured(3.0)
    restless.foreign = 0.5
    assert restless.verdict(COMPARISON) == "noisy: CPUs used by others 50%"
    assert measured(3.0).verdict(Comparison("ours", "rival", {1: 2.0})) == "-"


def test_a_slow_second_half_of_a_round_is_in_its_ratio() -> None:
    one = measured(1.0, rounds=1)
    one.slices["ours"] = [Slice(4000.0, {}), Slice(1000.0, {})]
    assert one.ratios(COMPARISON) == [pytest.approx(2.0)]


class Wandering:
    """A cluster whose leader moves in the first `moves` rounds."""

    def __init__(self, moves: int) -> None:
        self.nodes: list[Any] = []
        self.leader = 0
        self._moves = moves
        self._asked = 0

    def find_leader(self) -> None:
        self._asked += 1
        if 1 < self._asked <= 1 + self._moves:
            self.leader += 1


def run_rounds(cluster: Wandering) -> Measured:
    contender = Contender("ours", lambda depth, requests: 1e5, dict)
    clusters: list[Any] = [cluster]
    return group.measure([contender], clusters, (), 16, Plan(2, 0.01))


def test_a_round_in_which_a_leader_moved_is_repeated() -> None:
    one = run_rounds(Wandering(moves=1))
    assert one.moves == 1
    assert len(one.slices["ours"]) == 4


def test_leaders_that_move_all_the_time_end_it() -> None:
    with pytest.raises(ServerError, match="leaders have moved"):
        run_rounds(Wandering(moves=1000))


def test_a_put_is_grpc_around_protobuf() -> None:
    assert groups.put_request(b"k", b"vw") == b"\0\0\0\0\x07" + b"\x0a\x01k" + b"\x12\x02vw"
