"""The model against redis-server: what later tests take for the truth is checked first."""

import time

from hypothesis import given, settings

from tests.conformance import generators_hash, generators_list, generators_set
from tests.conformance.differential import Pair
from tests.conformance.generators import (
    GENERIC,
    MODEL_GROUPS,
    TRANSACTION,
    Script,
    commands,
    scripts,
)
from tests.conformance.generators_zset import ZSET_GROUPS
from tests.conformance.model_server import ModelServer
from tests.conformance.shrink import run_and_shrink
from tests.conformance.test_differential import BRIEF, EXAMPLES, SETTINGS
from tests.support.process import ServerProcess

MILLISECOND_NS = 1_000_000
MODEL_SETTINGS = settings(SETTINGS, max_examples=EXAMPLES // 3)


@BRIEF
@MODEL_SETTINGS
@given(script=scripts(commands(*MODEL_GROUPS)))
def test_model_answers_as_redis(redis_server: ServerProcess, script: Script) -> None:
    model = ModelServer(lambda: time.time_ns() // MILLISECOND_NS)
    run_and_shrink(Pair(redis_server, model).run, script)


@BRIEF
@MODEL_SETTINGS
@given(script=scripts(commands(*MODEL_GROUPS[1:], *ZSET_GROUPS)))
def test_model_answers_as_redis_of_sorted_sets(redis_server: ServerProcess, script: Script) -> None:
    model = ModelServer(lambda: time.time_ns() // MILLISECOND_NS)
    run_and_shrink(Pair(redis_server, model).run, script)


@BRIEF
@MODEL_SETTINGS
@given(script=scripts(commands((1, GENERIC), (1, TRANSACTION), *generators_hash.GROUPS)))
def test_model_answers_as_redis_of_hashes(redis_server: ServerProcess, script: Script) -> None:
    model = ModelServer(lambda: time.time_ns() // MILLISECOND_NS)
    run_and_shrink(Pair(redis_server, model).run, script)


@BRIEF
@MODEL_SETTINGS
@given(script=scripts(commands((1, GENERIC), (1, TRANSACTION), *generators_set.GROUPS)))
def test_model_answers_as_redis_of_sets(redis_server: ServerProcess, script: Script) -> None:
    model = ModelServer(lambda: time.time_ns() // MILLISECOND_NS)
    run_and_shrink(Pair(redis_server, model).run, script)


@BRIEF
@MODEL_SETTINGS
@given(script=scripts(commands((1, GENERIC), (1, TRANSACTION), *generators_list.GROUPS)))
def test_model_answers_as_redis_of_lists(redis_server: ServerProcess, script: Script) -> None:
    model = ModelServer(lambda: time.time_ns() // MILLISECOND_NS)
    run_and_shrink(Pair(redis_server, model).run, script)


ALL_TYPES = (
    *MODEL_GROUPS,
    *generators_hash.GROUPS,
    *generators_list.GROUPS,
    *generators_set.GROUPS,
)


@BRIEF
@MODEL_SETTINGS
@given(script=scripts(commands(*ALL_TYPES)))
def test_model_answers_as_redis_of_all_types(redis_server: ServerProcess, script: Script) -> None:
    model = ModelServer(lambda: time.time_ns() // MILLISECOND_NS)
    run_and_shrink(Pair(redis_server, model).run, script)
