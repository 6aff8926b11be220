"""cjson, cmsgpack and struct of scripts: round trips, and Python's json as a second opinion."""

import json
import math
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lua_cases import OurLua, lua_string, lua_value

LUA = OurLua()

numbers = st.one_of(
    st.integers(-(2**53), 2**53).map(float), st.floats(allow_nan=False, allow_infinity=False)
)
# cjson keeps 14 digits, and takes an empty table for an object.
json_numbers = st.integers(-(10**14) + 1, 10**14 - 1)
json_values = st.recursive(
    st.one_of(st.booleans(), json_numbers, st.text()),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1), st.dictionaries(st.text(min_size=1), inner, min_size=1)
    ),
    max_leaves=20,
)
lua_values = st.recursive(
    st.one_of(st.booleans(), numbers, st.binary(max_size=300)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(st.binary(max_size=5), inner, max_size=5)
    ),
    max_leaves=30,
)
# Whether two values are equal, tables by their contents.
SAME = b"""
local function same(a, b)
  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end
"""


def encoded(value: object) -> object:
    """Return `value` with texts as bytes, as Lua holds them."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [encoded(e) for e in value]
    if isinstance(value, dict):
        return {encoded(k): encoded(v) for k, v in value.items()}
    return value


@given(json_values)
@settings(deadline=None, max_examples=300)
def test_json_of_ours_is_read_by_python(value: object) -> None:
    text = LUA(b"return cjson.encode(%s)" % lua_value(encoded(value)))
    assert json.loads(text) == value


@given(json_values, st.booleans())
@settings(deadline=None, max_examples=300)
def test_json_of_python_is_read_by_ours(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    script = SAME + b"return tostring(same(cjson.decode(%s), %s))"
    assert LUA(script % (lua_string(text), lua_value(encoded(value)))) == b"true"


@given(lua_values)
@settings(deadline=None, max_examples=300)
def test_msgpack_comes_back(value: object) -> None:
    script = SAME + b"local v = %s return tostring(same(v, cmsgpack.unpack(cmsgpack.pack(v))))"
    assert LUA(script % lua_value(value)) == b"true"


@given(st.lists(numbers, max_size=8), st.sampled_from("<>"))
@settings(deadline=None, max_examples=200)
def test_struct_packs_doubles_as_python(values: list[float], order: str) -> None:
    # Lua 5.1 keeps equal constants of a chunk once: all zeros have the sign of the first.
    zero = next((value for value in values if value == 0), 0.0)
    values = [value if value else zero for value in values]
    form = order + "d" * len(values)
    words = b"".join(b", " + lua_value(value) for value in values)
    packed = LUA(b"return struct.pack('%s'%s)" % (form.encode(), words))
    assert packed == struct.pack(form, *values)


@given(st.binary(max_size=64))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_answered(data: bytes) -> None:
    """Every decoder ends in values or in an error, whatever it is given."""
    calls = [b"cjson.decode", b"cmsgpack.unpack", b"cmsgpack.unpack_one", b"loadstring"]
    for call in calls:
        found = LUA(b"return type((pcall(%s, %s)))" % (call, lua_string(data)))
        assert found == b"boolean"


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None, max_examples=500)
def test_a_number_is_written_with_14_digits(value: float) -> None:
    text = LUA(b"return cjson.encode(%s)" % lua_value(value)).decode()
    assert text == format(value, ".14g")
    assert math.copysign(1, float(text)) == math.copysign(1, value)
