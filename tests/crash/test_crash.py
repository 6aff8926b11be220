"""Crash rounds in the normal test run: a few seeds; KVNODE_CRASH_ROUNDS makes them long.

KVNODE_CRASH_SEED chooses the first seed. Redis is the control: the same harness must find it safe
with `appendfsync always` and unsafe where syncs are left out.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.harness import SHIM_PLANTS, Plan, Violation, run_plan
from tests.support.faultfs import ShimUnavailable, build_shim
from tests.support.planted import PLANTS
from tests.support.process import is_kvnode_complete, redis_server_path

ROUNDS = int(os.environ.get("KVNODE_CRASH_ROUNDS", "8"))
SEED = int(os.environ.get("KVNODE_CRASH_SEED", "1"))
PLANTED_ROUNDS_MAX = 40  # within so many rounds a planted bug must be found
SCENE_ROUNDS = 2  # on one directory; some bugs show at the end only
# Of planted bugs: the rounds in which they can happen, and what tells of them.
PLANTED = {
    "pop_comes_back": ("draining", "queue: .* is (back|there)"),
    "delta_counts_twice": ("draining", "lacks an item"),
    "field_is_emptied": ("", "no prefix of its operations fits"),
    "half_a_transfer_is_lost": ("", "purses: the sum is"),
    "half_a_publication_is_lost": (
        "published",
        "cannot be read|large:.*: its length is|saw half of what",
    ),
    "pending_is_forgotten": ("publishing", "has rows and no key"),
}
ALWAYS = ["--appendfsync", "always"]

needs_redis = pytest.mark.skipif(not redis_server_path(), reason="redis-server is absent")


needs_kvnode = pytest.mark.skipif(
    not is_kvnode_complete(), reason="kvnode.server.node is not built"
)


@pytest.fixture(autouse=True, scope="module")
def shim():
    """Skip where the shim cannot be built."""
    try:
        return build_shim()
    except ShimUnavailable as reason:
        pytest.skip(str(reason))


@needs_kvnode
def test_kill_loses_nothing(tmp_path):
    assert run_plan(Plan(seed=SEED, rounds=ROUNDS, options=ALWAYS), tmp_path / "run") > 0


@needs_kvnode
def test_power_loss_loses_nothing(tmp_path):
    plan = Plan(seed=SEED + 1, rounds=ROUNDS, options=ALWAYS, is_power_loss=True)
    assert run_plan(plan, tmp_path / "run") > 0


def run_planted(plan: Plan, directory: Path) -> None:
    """Run as many rounds as a planted bug may take, a few on each directory. Raises Violation."""
    for first in range(0, PLANTED_ROUNDS_MAX, plan.rounds):
        run_plan(replace(plan, seed=plan.seed + first), directory / f"run-{first}")


@needs_kvnode
@pytest.mark.parametrize("plant", PLANTS)
def test_kill_finds_planted_bug(plant, tmp_path):
    scene, text = PLANTED[plant]
    plan = Plan(seed=SEED, rounds=SCENE_ROUNDS, options=ALWAYS, plant=plant, scene=scene)
    with pytest.raises(Violation, match=text):
        run_planted(plan, tmp_path)


@needs_kvnode
@pytest.mark.parametrize("plant", SHIM_PLANTS)
def test_power_loss_finds_planted_bug(plant, tmp_path):
    plan = Plan(seed=SEED, rounds=PLANTED_ROUNDS_MAX, options=ALWAYS, is_power_loss=True)
    plan.plant = plant
    with pytest.raises(Violation):
        run_plan(plan, tmp_path / "run")


@needs_redis
def test_control_is_safe_when_it_syncs(tmp_path):
    plan = Plan(seed=SEED, rounds=5, server="redis", options=ALWAYS, is_power_loss=True)
    assert run_plan(plan, tmp_path / "run") > 0


@needs_redis
@pytest.mark.parametrize("plant", SHIM_PLANTS)
def test_control_is_unsafe_with_planted_bug(plant, tmp_path):
    plan = Plan(seed=SEED, rounds=PLANTED_ROUNDS_MAX, server="redis", options=ALWAYS)
    plan.is_power_loss, plan.plant = True, plant
    with pytest.raises(Violation, match="acknowledged"):
        run_plan(plan, tmp_path / "run")


@needs_redis
def test_control_is_unsafe_without_sync(tmp_path):
    options = ["--appendfsync", "no"]
    plan = Plan(seed=SEED, rounds=PLANTED_ROUNDS_MAX, server="redis", options=options)
    plan.is_power_loss = True
    with pytest.raises(Violation, match="acknowledged"):
        run_plan(plan, tmp_path / "run")
