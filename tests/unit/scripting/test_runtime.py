"""A Lua state: what it takes from lupa, its budget, its cap on memory, its stop."""

import gc
import subprocess
import sys

import lupa.lua51
import pytest

from kvnode.base.errors import ConfigError
from kvnode.scripting import runtime
from kvnode.scripting.runtime import OUT_OF_MEMORY, OUT_OF_STEPS, new_state
from tests.support.process import REPOSITORY

STEPS = 1_000_000
MEMORY_BYTES = 64 << 20


@pytest.fixture
def state():
    made = new_state()
    made.seal()
    return made


def run(state, text: bytes, *, steps: int = STEPS, memory: int = MEMORY_BYTES, grants: int = 0):
    return state.evaluate(text, steps=steps, memory_bytes=memory, grants=grants)


def test_the_installed_lupa_passes_the_check():
    runtime.check_library()


def test_a_library_without_lua_is_refused_by_name():
    """In a process of its own: here the symbols are public already."""
    code = (
        "import _json\n"
        "from kvnode.base.errors import ConfigError\n"
        "import lupa.lua51\n"
        "library, lupa.lua51.__file__ = lupa.lua51.__file__, _json.__file__\n"
        "try:\n"
        "    import kvnode.scripting.runtime\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "undefined symbol: lua" in ended.stdout


def test_a_library_that_is_not_loaded_is_refused():
    with pytest.raises(ConfigError, match="no_such_library"):
        runtime.load_native("/no_such_library.so", "kvnode._core.lua_libraries")


def test_a_module_that_does_not_load_is_refused():
    with pytest.raises(ConfigError, match="no_such_module"):
        runtime.load_native(lupa.lua51.__file__, "kvnode._core.no_such_module")


def test_a_state_needs_an_opened_runtime():
    with pytest.raises(ValueError, match="kvnode_lua_open"):
        runtime.lua_libraries.State(lupa.lua51.LuaRuntime())


def test_a_result_of_each_type(state):
    text = b"return nil, true, 1.5, 'a\\0b', {}, print"
    assert run(state, text.replace(b", print", b", error")) == (
        0,
        [None, True, 1.5, b"a\0b", "<table>", "<function>"],
        None,
    )


def test_a_syntax_error_is_an_error(state):
    stopped, values, error = run(state, b"return +")
    assert (stopped, values) == (0, None)
    assert error == b"user_script:1: unexpected symbol near '+'"


def test_before_the_seal_globals_are_lupas():
    """What is compiled then must not run: that is why new_state() is not sealed by itself."""
    state = new_state()
    assert run(state, b"return type(python), type(package)")[1] == [b"table", b"table"]
    state.seal()
    assert run(state, b"return rawget(_G, 'python'), rawget(_G, 'package')")[1] == [None, None]


def test_a_budget_is_enough_for_what_fits_and_not_for_more(state):
    loop = b"for i = 1, 100000 do end return 1"
    assert run(state, loop, steps=101_000)[:2] == (0, [1.0])
    assert run(state, loop, steps=99_000)[0] == OUT_OF_STEPS


def test_steps_may_be_granted_again(state):
    loop = b"for i = 1, 100000 do end return 1"
    assert run(state, loop, steps=10_000, grants=8)[0] == OUT_OF_STEPS
    assert run(state, loop, steps=10_000, grants=10)[:2] == (0, [1.0])


def test_a_state_goes_on_after_a_stop(state):
    for _ in range(3):
        assert run(state, b"pcall(function() while true do end end) return 1")[0] == OUT_OF_STEPS
        assert run(state, b"return 1")[:2] == (0, [1.0])


def test_a_stop_is_not_caught(state):
    """Nothing behind the loop runs: it would be seen as a second global stop, or as a result."""
    catchers = [
        b"pcall(function() while true do end end)",
        b"xpcall(function() while true do end end, function() return 1 end)",
        b"coroutine.resume(coroutine.create(function() while true do end end))",
        b"pcall(coroutine.wrap(function() while true do end end))",
        b"pcall(pcall, pcall, pcall, function() while true do end end)",
        b"pcall(string.gsub, 'a', 'a', function() while true do end end)",
        b"pcall(table.sort, {2, 1}, function() while true do end end)",
        b"load(function() while true do end end)",
    ]
    for catcher in catchers:
        stopped, values, error = run(state, catcher + b" return 'went on'")
        assert (stopped, values, error) == (OUT_OF_STEPS, None, b"script stopped"), catcher


def test_a_coroutine_cannot_hide_its_work(state):
    """Many short coroutines, none of which meets its own hook."""
    script = (
        b"local f = function() for i = 1, 60 do end end for i = 1, %d do coroutine.wrap(f)() end"
    )
    assert run(state, script % 1000, steps=200_000)[0] == 0
    assert run(state, script % 10_000, steps=200_000)[0] == OUT_OF_STEPS


def test_memory_is_capped_only_while_a_script_runs(state):
    used = state.memory_used
    big = b"local s = ('x'):rep(8 * 1024 * 1024) return #s"
    assert run(state, big, memory=used + (4 << 20))[0] == OUT_OF_MEMORY
    fresh = new_state()
    fresh.seal()
    roomy = fresh.memory_used + (32 << 20)
    assert run(fresh, big, memory=roomy, steps=1 << 40)[:2] == (0, [8.0 * 1024 * 1024])
    # A text that is compiled, and a result that is taken, are outside of it.
    text = b"y" * 500_000
    assert run(fresh, b"return '%s'" % text, memory=0)[:2] == (0, [text])
    assert run(fresh, b"return {}", memory=0)[0] == OUT_OF_MEMORY


def test_out_of_memory_is_not_caught(state):
    grow = b"pcall(function() local s = 'x' while true do s = s .. s end end) return 'went on'"
    stopped, values, _ = run(state, grow, steps=1 << 40)
    assert (stopped, values) == (OUT_OF_MEMORY, None)


def test_garbage_is_collected_before_memory_is_out(state):
    """Lua 5.1 alone collects too slowly where a few allocations make much garbage."""
    scripts = [
        b"for i = 1, 30 do local s = ('x'):rep(10000000) end return 1",
        b"local s = ('x'):rep(10000000) for i = 1, 30 do local t = s .. i end return 1",
        b"local s = ('x'):rep(1000000) for i = 1, 100 do cjson.encode({s}) end return 1",
    ]
    for script in scripts:
        assert run(state, script, steps=1 << 40)[:2] == (0, [1.0]), script


def test_memory_used_is_what_the_state_holds(state):
    before = state.memory_used
    run(state, b"local t = {} for i = 1, 1000 do t[i] = i .. 'text' end collectgarbage() return 1")
    run(state, b"collectgarbage() collectgarbage() return 1")
    assert abs(state.memory_used - before) < 64 * 1024


def test_states_are_separate_and_closed():
    for _ in range(20):
        made = new_state()
        made.seal()
        assert run(made, b"math.randomseed(5) return 1")[:2] == (0, [1.0])
    other = new_state()
    other.seal()
    assert run(other, b"return math.random()")[1] == [pytest.approx(0.396464773760275)]
    del made, other
    gc.collect()


def test_settings_of_cjson_end_with_the_run(state):
    settings = b"return cjson.encode_max_depth(%s), cjson.encode_number_precision(%s)"
    assert run(state, settings % (b"3", b"2"))[1] == [3.0, 2.0]
    assert run(state, settings % (b"", b""))[1] == [1000.0, 14.0]


def test_a_long_text_is_refused(state):
    most = runtime.lua_libraries.SCRIPT_BYTES_MAX
    assert run(state, b"return 1" + b" " * (most - 8))[:2] == (0, [1.0])
    refused = run(state, b"return 1" + b" " * (most - 7))
    assert refused == (0, None, b"script too long (1048576 bytes at most)")
