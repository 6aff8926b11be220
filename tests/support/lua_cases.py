"""Lua expressions run many at a time, in a state of ours and in redis-server, with equal outcomes.

A case is the text of a Lua chunk. Its outcome is a text too: every result, or the error, written so
that nothing is lost (numbers to 17 digits, strings quoted, tables in the order of their keys).
"""

from collections.abc import Callable, Iterable, Sequence

from kvnode.scripting.runtime import new_state

STEPS = 2_000_000_000
MEMORY_BYTES = 1 << 30
BATCH = 100
MARK = b"\0case\0"  # between outcomes

# `write` uses nothing that differs: its sort is by text.
PRELUDE = rb"""
local function write(v, depth)
  local kind = type(v)
  if kind == 'number' then return v ~= v and 'nan' or string.format('%.17g', v) end
  if kind == 'string' then return string.format('%q', v) end
  if kind == 'table' then
    if depth > 40 then return '...' end
    local parts = {}
    for k, e in pairs(v) do
      parts[#parts + 1] = write(k, depth + 1) .. '=' .. write(e, depth + 1)
    end
    table.sort(parts)
    return '{' .. table.concat(parts, ',') .. '}'
  end
  if kind == 'nil' or kind == 'boolean' then return tostring(v) end
  return v == cjson.null and 'null' or kind
end
local function outcome(...)
  local parts = {}
  for i = 1, select('#', ...) do parts[i] = write((select(i, ...)), 0) end
  return table.concat(parts, ' ')
end
local done = {}
local function case(text)
  local f, message = loadstring(text, '=case')
  if f then done[#done + 1] = outcome(pcall(f)) else done[#done + 1] = 'syntax ' .. message end
end
"""


def lua_string(value: bytes) -> bytes:
    """Return a Lua literal for any bytes."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,:;(){}[]<>=+-*/%_^$#!?&|~@'`"
    return b'"%s"' % b"".join(bytes([c]) if c in plain else b"\\%03d" % c for c in value)


def lua_value(value: object) -> bytes:
    """Return a Lua expression for None, bool, float, int, bytes, list (an array) or dict."""
    match value:
        case None:
            return b"nil"
        case bool():
            return b"true" if value else b"false"
        case float() if value != value:
            return b"(0/0)"
        case float() if value in (float("inf"), float("-inf")):
            return b"(1/0)" if value > 0 else b"(-1/0)"
        case float() | int():
            return b"(%s)" % repr(value).encode()
        case bytes():
            return lua_string(value)
        case list():
            return b"{%s}" % b",".join(map(lua_value, value))
        case dict():
            pairs = (b"[%s]=%s" % (lua_value(k), lua_value(v)) for k, v in value.items())
            return b"{%s}" % b",".join(pairs)
    raise TypeError(type(value))


def batch_text(cases: Iterable[bytes]) -> bytes:
    """Return one script that runs all cases and returns their outcomes, joined by MARK."""
    calls = b"\n".join(b"case(%s)" % lua_string(case) for case in cases)
    return PRELUDE + calls + b"\nreturn table.concat(done, %s)" % lua_string(MARK)


def run_batches(run: Callable[[bytes], bytes], cases: Sequence[bytes]) -> list[bytes]:
    """Return the outcome of each case; `run` executes one script and returns its string."""
    outcomes: list[bytes] = []
    for at in range(0, len(cases), BATCH):
        part = cases[at : at + BATCH]
        found = run(batch_text(part)).split(MARK)
        assert len(found) == len(part)
        outcomes += found
    return outcomes


class OurLua:
    """A sealed state of ours."""

    def __init__(self) -> None:
        self.state = new_state()
        self.state.seal()

    def __call__(self, text: bytes) -> bytes:
        """Run one script and return the string that it returns."""
        stopped, values, error = self.state.evaluate(text, steps=STEPS, memory_bytes=MEMORY_BYTES)
        assert (stopped, error) == (0, None), (stopped, error)
        (value,) = values
        return value


class RedisLua:
    """EVAL on a connection to redis-server."""

    def __init__(self, connection) -> None:
        self.connection = connection

    def __call__(self, text: bytes) -> bytes:
        """Run one script and return the string that it returns."""
        return self.connection.call("EVAL", text, 0)


def printed(outcome: bytes) -> str:
    """Return an outcome as one line of ASCII."""
    return outcome.decode("latin-1").encode("unicode_escape").decode("ascii")


def differences(ours: Callable, theirs: Callable, cases: Sequence[bytes]) -> list[tuple]:
    """Return (case, our outcome, theirs) where they are not equal."""
    found = zip(cases, run_batches(ours, cases), run_batches(theirs, cases), strict=True)
    return [(case, a, b) for case, a, b in found if a != b]
