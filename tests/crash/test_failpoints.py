"""Crash rounds that end at named places of the code. They exist in debug builds only."""

import pytest

from tests.crash.harness import FAILPOINT_SITES, Plan, run_plan
from tests.crash.lives import LIVES, SEED
from tests.support.process import is_kvnode_complete
from tests.support.servers import KvnodeServer, ServerDied

pytestmark = pytest.mark.skipif(not is_kvnode_complete(), reason="there is no node yet")


@pytest.fixture(autouse=True)
def debug_build(disk):
    """Skip in release builds, which refuse failpoints."""
    server = KvnodeServer(disk.path, "--failpoint", "before_sync=delay:0")
    server.start()
    try:
        server.wait_ready()
    except ServerDied as death:
        if "debug builds only" in death.log:
            pytest.skip("failpoints exist in debug builds only")
        raise
    finally:
        server.kill()


def test_failpoints_lose_nothing(tmp_path):
    options = ["--appendfsync", "always"]
    plan = Plan(seed=SEED, rounds=LIVES, options=options, is_power_loss=True)
    plan.sites = FAILPOINT_SITES
    assert run_plan(plan, tmp_path / "run") > 0
