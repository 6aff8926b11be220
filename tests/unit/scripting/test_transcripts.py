"""What Lua cases come to, as recorded; the record itself is checked against redis-server."""

import contextlib
from pathlib import Path

import pytest

from tests import datadriven
from tests.support import process
from tests.support.lua_cases import OurLua, RedisLua, printed, run_batches

DATA = Path(__file__).parents[2] / "data" / "lua"
FILES = ["sandbox.txt", "readonly.txt", "codecs.txt"]


def chunks(name: str) -> list[datadriven.Case]:
    """Return the cases of a file."""
    return [part for part in datadriven.parse(DATA / name) if isinstance(part, datadriven.Case)]


@pytest.mark.parametrize("name", FILES)
def test_ours_is_as_recorded(name: str, rewrite: bool) -> None:
    lua = OurLua()

    def handle(case: datadriven.Case) -> str:
        (outcome,) = run_batches(lua, [case.body.encode()])
        return printed(outcome)

    datadriven.run(DATA / name, handle, rewrite=rewrite)


@pytest.mark.parametrize("name", FILES)
def test_the_record_is_what_redis_answers(name: str) -> None:
    if process.redis_server_path() is None:
        pytest.skip("redis-server is not installed")
    cases = chunks(name)
    with process.running("redis") as server, contextlib.closing(server.connect()) as connection:
        outcomes = run_batches(RedisLua(connection), [case.body.encode() for case in cases])
    found = [
        (case.where, case.expected, printed(outcome))
        for case, outcome in zip(cases, outcomes, strict=True)
        if case.expected != printed(outcome)
    ]
    assert found == []
