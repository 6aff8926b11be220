"""A script that uses every library, stopped at every step and at every allocation."""

import pytest

from kvnode.scripting.runtime import OUT_OF_MEMORY, OUT_OF_STEPS, new_state
from tests.support.lua_abuse import HEALTH, HEALTHY

MEMORY_BYTES = 64 << 20
ALLOCATION_BYTES_STEP = 40  # less than most objects of Lua take

SCRIPT = b"""
local log = {}
local function note(x) log[#log + 1] = tostring(x) return x end
local ok, e = pcall(function()
    local t = cjson.decode('{"a":[1,2,{"b":"\\\\u00e9\\\\n"}],"c":null,"d":-1.5e3}')
    note(cjson.encode(t))
    note(#cmsgpack.pack(t, {1, 2, 3}, 'text'))
    note(cmsgpack.unpack(cmsgpack.pack({x = {y = 1}})).x.y)
    note(struct.unpack('>i4', struct.pack('>i4', -2)))
    note(bit.tohex(bit.bxor(5, 9)))
    note(('key:%d'):format(7):gsub('%d+', function(d) return d + 1 end))
    for k, v in ('a=1,b=2'):gmatch('(%w+)=(%w+)') do note(k .. v) end
    note(('x'):rep(600) .. string.format('%q', 'y'))
    local n = {5, 3, 9, 1, 7}
    table.sort(n, function(a, b) return a > b end)
    note(table.concat(n, ','))
    table.insert(n, 1, 0) table.remove(n)
    note(unpack(n))
    note(loadstring('return ...')(4))
    local co = coroutine.wrap(function(a) local b = coroutine.yield(a) return b end)
    note(co(1)) note(co(2))
    note(xpcall(function() error('inner') end, function(m) return m .. '!' end))
    for k in pairs(string) do note(k) break end
    note(getmetatable('').__index == string)
    error({err = 'table'})
end)
return ok, e, #log
"""
RESULT = [False, b"table", 17.0]


def fresh():
    state = new_state()
    state.seal()
    return state


def test_it_ends_by_itself_when_it_may():
    assert fresh().evaluate(SCRIPT, steps=1 << 40, memory_bytes=1 << 30) == (0, RESULT, None)


def test_stopped_at_every_step():
    """The state is the same one all along: a stop leaves nothing behind."""
    state = fresh()
    stops = 0
    for steps in range(1, 100_000):
        found = state.evaluate(SCRIPT, steps=steps, memory_bytes=MEMORY_BYTES)
        if found[0] == 0:
            assert found == (0, RESULT, None)
            break
        assert found == (OUT_OF_STEPS, None, b"script stopped")
        stops += 1
    assert stops > 100
    assert state.evaluate(HEALTH, steps=1 << 40, memory_bytes=1 << 30) == (0, HEALTHY, None)


@pytest.mark.parametrize("first", [0, 8, 16, 24, 32])
def test_stopped_at_every_allocation(first: int):
    """A state is used once, as the engine does; nothing of it is touched but to close it."""
    state = fresh()
    used = state.memory_used
    for extra in range(first, 1 << 20, ALLOCATION_BYTES_STEP):
        found = state.evaluate(SCRIPT, steps=1 << 40, memory_bytes=used + extra)
        if found[0] == 0:
            assert found == (0, RESULT, None)
            break
        assert found[:2] == (OUT_OF_MEMORY, None), extra
        state = fresh()
        used = state.memory_used
    assert extra > 10_000
