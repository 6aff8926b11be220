"""Generated cases of every library, in a state of ours and in redis-server."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support import process
from tests.support.lua_cases import OurLua, RedisLua, differences
from tests.support.lua_generators import GENERATORS, cases
from tests.unit.scripting.test_transcripts import chunks

COUNT = 1500  # of each library
SEED = 11


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisLua]:
    if process.redis_server_path() is None:
        pytest.skip("redis-server is not installed")
    with process.running("redis") as server, contextlib.closing(server.connect()) as connection:
        yield RedisLua(connection)


@pytest.mark.parametrize("name", list(GENERATORS))
def test_a_library_behaves_as_there(redis: RedisLua, name: str) -> None:
    assert differences(OurLua(), redis, cases(name, SEED, COUNT)) == []


def test_every_protected_table_behaves_as_there(redis: RedisLua) -> None:
    on_string = [case.body for case in chunks("readonly.txt") if "string" in case.body]
    others = ["table", "math", "cjson", "cmsgpack", "struct", "bit", "coroutine"]
    made = [body.replace("string", name).encode() for name in others for body in on_string]
    assert len(made) > 200
    assert differences(OurLua(), redis, made) == []


def test_a_planted_difference_is_found(redis: RedisLua) -> None:
    lua = OurLua()

    def planted(text: bytes) -> bytes:
        return lua(text.replace(b"cjson.encode(", b"string.upper(cjson.encode)("))

    assert differences(planted, redis, cases("cjson.encode", SEED, 20))
