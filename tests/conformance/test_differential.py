"""Random scripts on redis-server and kvnode: the same replies and the same data.

KVNODE_CONFORMANCE_EXAMPLES=20000 searches longer, and from another seed each time. A failure
prints the shrunk script in the notation of the transcripts, ready to be pasted into one.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance import generators_hash, generators_list, generators_set, generators_zset
from tests.conformance.differential import Pair
from tests.conformance.generators import ALL_GROUPS, Script, commands, scripts
from tests.conformance.shrink import run_and_shrink
from tests.support.process import ServerProcess

LONG = "KVNODE_CONFORMANCE_EXAMPLES"
QUICK_EXAMPLES = 200
EXAMPLES = int(os.environ.get(LONG, QUICK_EXAMPLES))
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=LONG not in os.environ,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # see shrink.py
    suppress_health_check=list(HealthCheck),
)
GROUPS = (
    *ALL_GROUPS,
    *generators_hash.GROUPS,
    *generators_set.GROUPS,
    *generators_zset.ZSET_GROUPS,
    *generators_list.GROUPS,
)
BRIEF = pytest.mark.filterwarnings("ignore:Generating overly large repr")


@BRIEF
@SETTINGS
@given(script=scripts(commands(*GROUPS)))
def test_kvnode_answers_as_redis(
    redis_server: ServerProcess, kvnode_server: ServerProcess, script: Script
) -> None:
    run_and_shrink(Pair(redis_server, kvnode_server).run, script)
