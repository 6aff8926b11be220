"""redis.call in places where a stop has to find its way out, and errors of every kind.

Each script reads a record that is not in memory: it is stopped there and runs again.
"""

import pytest

from tests.support.local import LocalNode
from tests.support.resp import encode

GET = "redis.call('get', 'cold')"
PLACES = {
    "pcall": f"local ok, v = pcall(function() return {GET} end) return v",
    "pcall of the function itself": "local ok, v = pcall(redis.call, 'get', 'cold') return v",
    "nested pcall": f"return select(3, pcall(pcall, function() return {GET} end))",
    "xpcall": f"local ok, v = xpcall(function() return {GET} end, function(e) return e end) "
    f"return v",
    "message handler": "local ok, v = xpcall(function() error('x') end, "
    f"function() return {GET} end) return v",
    "coroutine": f"return coroutine.wrap(function() return {GET} end)()",
    "coroutine in a coroutine": "return coroutine.wrap(function() "
    f"return coroutine.wrap(function() return {GET} end)() end)()",
    "coroutine that caught": "local c = coroutine.create(function() "
    f"local ok, v = pcall(function() return {GET} end) return v end) "
    "return select(2, coroutine.resume(c))",
    "after a yield": f"local c = coroutine.wrap(function() coroutine.yield() return {GET} end) c() "
    f"return c()",
    "sort": f"local v table.sort({{3, 1, 2}}, function(a, b) v = {GET} return a < b end) return v",
    "gsub": f"return (string.gsub('x', 'x', function() return {GET} end))",
    "metamethod": f"return setmetatable({{}}, {{__index = function() return {GET} end}}).x",
    "concat": f"return setmetatable({{}}, {{__concat = function() return {GET} end}}) .. 'x'",
    "call of a table": f"return setmetatable({{}}, {{__call = function() return {GET} end}})()",
    "iterator": f"for v in function() return {GET} end do return v end",
    "foreach": f"local v table.foreach({{1}}, function() v = {GET} end) return v",
    "loaded text": f"return loadstring([[return {GET}]])()",
    "load": f"local n = 0 return load(function() n = n + 1 return n == 1 and [[return {GET}]] "
    f"or nil end)()",
    "deep recursion": f"local function f(n) if n == 0 then return {GET} end return (f(n - 1)) end "
    f"return f(150)",
    "tail calls": f"local function f(n) if n == 0 then return {GET} end return f(n - 1) end return "
    f"f(10000)",
    "tostring": f"return tostring(setmetatable({{}}, {{__tostring = function() return {GET} "
    f"end}}))",
}
ERRORS = {
    "error(redis)": "ERR Error running script",
    "error(setmetatable({}, {__tostring = function() return 'x' end}))": "ERR unknown error",
    "error({err = 'MINE text'})": "MINE text script: ",
    "error({})": "ERR unknown error",
    "error(print)": "ERR user_script:1: Script attempted to access nonexistent",
    "error(string)": "ERR Error running script",
    "error(function() end)": "ERR function: ",
    "error(coroutine.create(function() end))": "ERR thread: ",
    "local function f() return f() + 1 end return f()": "ERR user_script:1: stack overflow",
    "return setmetatable({}, {__index = error}).x": "ERR user_script:1: bad argument #2",
    "redis.call(unpack({'get', 1, 2, 3}))": "ERR Wrong number of args",
    "redis.call('set', 'a', {})": "ERR Lua redis lib command arguments must be",
    "redis.call = 1": "ERR user_script:1: Attempt to modify a readonly table",
    "rawset(redis, 'call', 1)": "ERR Attempt to modify a readonly table",
    "setmetatable(redis, {})": "ERR Attempt to modify a readonly table",
    "getmetatable(redis).__index = 1": "ERR user_script:1: attempt to index a nil value",
    "table.insert(redis, 1)": "ERR Attempt to modify a readonly table",
    "redis.register_function('f', function() end)": "ERR user_script:1: attempt to call field",
    "coroutine.yield()": "ERR attempt to yield across metamethod/C-call boundary",
    "table.sort({1, 2, 3}, coroutine.yield)": "ERR attempt to yield across metamethod/C-call",
}


@pytest.mark.parametrize("name", PLACES)
def test_a_stop_finds_its_way_out(name):
    node = LocalNode()
    client = node.client()
    client.ask("SET", "cold", "value")
    node.cool()
    session = node.session()
    text = "redis.call('incr', 'runs') " + PLACES[name]
    assert node.run(session, encode("EVAL", text, "0")) == b""
    assert node.settle(session) == b"$5\r\nvalue\r\n"
    assert client.ask("GET", "runs") == b"1"


@pytest.mark.parametrize("text", ERRORS)
def test_errors_have_texts(text):
    client = LocalNode().client()
    assert str(client.ask("EVAL", text, "0")).startswith(ERRORS[text])
    assert client.ask("EVAL", "return redis.call('echo', type(redis))", "0") == b"table"


def test_many_arguments():
    client = LocalNode().client()
    text = "local t = {} for i = 1, 7000 do t[i] = i end return redis.call('rpush', 'l', unpack(t))"
    assert client.ask("EVAL", text, "0") == 7000
    assert client.ask("LRANGE", "l", "-1", "-1") == [b"7000"]


def test_a_reply_of_any_size():
    client = LocalNode().client()
    client.ask("RPUSH", "l", *range(20000))
    text = "local r = redis.call('lrange', 'l', 0, -1) return {#r, r[20000]}"
    assert client.ask("EVAL", text, "0") == [20000, b"19999"]
    client.ask("SET", "s", "x" * 3_000_000)
    assert client.ask("EVAL", "return #redis.call('get', 's')", "0") == 3_000_000
    assert len(client.ask("EVAL", "return redis.call('get', 's')", "0")) == 3_000_000


def test_arguments_and_replies_are_bytes():
    client = LocalNode().client()
    data = bytes(range(256))
    text = "redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])"
    assert client.ask("EVAL", text, "1", data, data) == data
