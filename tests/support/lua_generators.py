"""Random Lua cases, by library: inputs that are mostly valid, and those that are just not."""

import math
import random
import struct

from tests.support.lua_cases import lua_string, lua_value

EDGES = [
    *(0.0, -0.0, 1.0, -1.0, 0.1, 1e14, 1e15, 123456789012345.0, 99999999999999.0, 1e16, 2.0**31),
    *(2.0**31 - 1, -(2.0**31), 2.0**32, 2.0**32 - 1, 2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1e300),
    *(
        127.0,
        128.0,
        255.0,
        256.0,
        65535.0,
        65536.0,
        -32.0,
        -33.0,
        -128.0,
        -129.0,
        -32768.0,
        -32769.0,
    ),
    *(1e-7, 5e-324, 1.5, 2.5, 0.5, 3.14159265358979, 1 / 3, float("inf"), float("-inf"), math.nan),
]


def number(rng: random.Random) -> float:
    """Return a double: an edge, an integer, a decimal, or any bits."""
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice(EDGES)
    if kind == 1:
        return float(rng.randrange(-(10 ** rng.randrange(1, 20)), 10 ** rng.randrange(1, 20)))
    if kind == 2:
        return rng.randrange(-10000, 10000) / 10 ** rng.randrange(5)
    if kind == 3:
        return float(rng.randrange(-5, 20))
    return struct.unpack("<d", rng.randbytes(8))[0]


def text(rng: random.Random, longest: int = 40) -> bytes:
    """Return bytes: any, or letters with what JSON escapes."""
    n = rng.randrange(longest)
    if rng.random() < 0.4:
        return rng.randbytes(n)
    return bytes(rng.choice(b'abcXYZ 019"\\/\b\f\n\r\t\x00\x7f\x1f\xc3\xa9') for _ in range(n))


def value(rng: random.Random, depth: int = 3) -> object:
    """Return None, bool, float, bytes, or a list or dict of such."""
    kind = rng.randrange(10 if depth else 6)
    if kind < 2:
        return number(rng)
    if kind < 4:
        return text(rng)
    if kind == 4:
        return rng.random() < 0.5
    if kind == 5:
        return text(rng, rng.choice([31, 33, 255, 257, 300]))
    if kind < 8:
        return [value(rng, depth - 1) for _ in range(rng.randrange(6))]
    keys = (rng.choice([text(rng, 6), float(rng.randrange(1, 14)), number(rng)]) for _ in range(4))
    # Two keys in a table iterate in an order that both sides share only if it was built alike.
    return {k: value(rng, depth - 1) for k in keys if k == k}


def mutated(rng: random.Random, data: bytes, alphabet: bytes) -> bytes:
    """Return `data` with a few bytes changed, dropped, doubled, or cut."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            out[at : at + 1] = bytes([rng.choice(alphabet)])
        elif kind == 1:
            del out[at : at + rng.randrange(1, 3)]
        elif kind == 2:
            out[at:at] = bytes([rng.choice(alphabet)])
        else:
            del out[at:]
    return bytes(out)


def json_text(rng: random.Random, depth: int = 3) -> bytes:
    """Return JSON with odd spaces, numbers and escapes, sometimes more than the grammar allows."""
    space = rng.choice([b"", b"", b" ", b"\n\t", b"\r"])
    kind = rng.randrange(9 if depth else 6)
    if kind == 0:
        body = rng.choice(
            [b"null", b"true", b"false", b"nul", b"True", b"nan", b"inf", b"-inf", b"+1"]
        )
    elif kind <= 2:
        body = rng.choice(
            [
                repr(number(rng)).encode(),
                b"%d" % rng.randrange(-(10**17), 10**17),
                b"0x1F",
                b"007",
                b"-0",
                b"-",
                b"1e5",
                b"1E+2",
                b"1.",
                b".5",
                b"-.5",
                b"1e",
                b"1e999",
                b"0x",
                b"12345678901234567",
                b"NaN",
                b"-nan",
                b"Infinity",
                b"-Infinity",
                b"00",
                b"1_0",
                b"--1",
            ]
        )
    elif kind <= 5:
        parts = [
            rng.choice(
                [
                    b"a",
                    b"xyz",
                    b"\xc3\xa9",
                    b"\\n",
                    b'\\"',
                    b"\\\\",
                    b"\\/",
                    b"\\u00e9",
                    b"\\u20AC",
                    b"\\ud83d\\ude00",
                    b"\\ud83d",
                    b"\\ude00",
                    b"\\ud83dx",
                    b"\\ud83d\\u0041",
                    b"\\u0000",
                    b"\\u12",
                    b"\\x",
                    b"\\",
                    b"\n",
                    b"\\b\\f\\r\\t",
                    b"\\u00",
                    b"\\uFFFF",
                    b"/",
                ]
            )
            for _ in range(rng.randrange(5))
        ]
        body = b'"%s"' % b"".join(parts)
    elif kind <= 7:
        body = b"[%s]" % b",".join(json_text(rng, depth - 1) for _ in range(rng.randrange(5)))
    else:
        pairs = (
            b'"%s"%s:%s' % (rng.choice([b"a", b"b", b"", b"key"]), space, json_text(rng, depth - 1))
            for _ in range(rng.randrange(4))
        )
        body = b"{%s}" % b",".join(pairs)
    return space + body + space


def cjson_encode_case(rng: random.Random) -> bytes:
    """Encode a value under settings that may have changed."""
    settings = rng.choice(
        [
            *[b""] * 6,
            b"cjson.encode_invalid_numbers(true)",
            b"cjson.encode_invalid_numbers('null')",
            b"cjson.encode_sparse_array(true)",
            b"cjson.encode_sparse_array(true, 0)",
            b"cjson.encode_sparse_array(false, 1, 2)",
            b"cjson.encode_number_precision(%d)" % rng.randrange(1, 15),
            b"cjson.encode_max_depth(2)",
        ]
    )
    reset = (
        b"cjson.encode_invalid_numbers(false) cjson.encode_sparse_array(false, 2, 10) "
        b"cjson.encode_number_precision(14) cjson.encode_max_depth(1000) "
    )
    return reset + settings + b" return cjson.encode(%s)" % lua_value(value(rng))


def cjson_decode_case(rng: random.Random) -> bytes:
    """Decode a text, valid or just not."""
    data = json_text(rng)
    if rng.random() < 0.4:
        data = mutated(rng, data, b'{}[],:"\\0123456789eE+-.xntfaui \x00')
    settings = rng.choice(
        [b"cjson.decode_invalid_numbers(true)", b"cjson.decode_invalid_numbers(false)"]
    )
    depth = rng.choice([b"1000", b"1000", b"2"])
    return b"%s cjson.decode_max_depth(%s) return cjson.decode(%s)" % (
        settings,
        depth,
        lua_string(data),
    )


def cmsgpack_pack_case(rng: random.Random) -> bytes:
    """Pack one to three values."""
    values = b",".join(lua_value(value(rng)) for _ in range(rng.randrange(1, 4)))
    return b"return cmsgpack.pack(%s)" % values


def msgpack_bytes(rng: random.Random, depth: int = 3) -> bytes:
    """Return MessagePack of every type byte, lengths mostly right."""
    kind = rng.randrange(14 if depth else 11)
    if kind < 2:
        return bytes([rng.randrange(256)])
    if kind < 6:
        tag = rng.choice([0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2, 0xD3])
        width = {0xCA: 4, 0xCB: 8}.get(tag, 1 << (tag & 3))
        return bytes([tag]) + rng.randbytes(width)
    if kind < 9:
        data = text(rng)
        n = len(data) + rng.choice([0] * 8 + [1])
        head = rng.choice([b"\xd9%c" % n, b"\xda\0%c" % n, b"\xdb\0\0\0%c" % n])
        return (bytes([0xA0 | n]) if n < 32 and rng.random() < 0.5 else head) + data
    if kind < 11:
        return rng.choice([b"\xc0", b"\xc2", b"\xc3", b"\x7f", b"\xe0", b"\xff", b"\xc1"])
    n = rng.randrange(5)
    if kind == 11:
        head = rng.choice([bytes([0x90 | n]), b"\xdc\0%c" % n, b"\xdd\0\0\0%c" % n])
        return head + b"".join(msgpack_bytes(rng, depth - 1) for _ in range(n))
    head = rng.choice([bytes([0x80 | n]), b"\xde\0%c" % n, b"\xdf\0\0\0%c" % n])
    return head + b"".join(msgpack_bytes(rng, depth - 1) for _ in range(2 * n))


def cmsgpack_unpack_case(rng: random.Random) -> bytes:
    """Unpack bytes, valid or not, with each of the three functions."""
    data = b"".join(msgpack_bytes(rng) for _ in range(rng.randrange(1, 4)))
    if rng.random() < 0.3:
        data = mutated(rng, data, bytes(range(256)))
    call = rng.choice(
        [
            b"unpack(%s)",
            b"unpack(%s)",
            b"unpack_one(%%s, %d)" % rng.randrange(-2, 20),
            b"unpack_one(%s)",
            b"unpack_limit(%%s, %d, %d)" % (rng.randrange(-2, 5), rng.randrange(-2, 6)),
            b"unpack_limit(%%s, %d)" % rng.randrange(4),
        ]
    )
    return b"return cmsgpack." + call % lua_string(data)


STRUCT_ITEMS = b"bBhHlLTfdxcsiI!<> "


def struct_format(rng: random.Random) -> bytes:
    """Return a format, mostly valid."""
    parts = []
    for _ in range(rng.randrange(1, 7)):
        item = bytes([rng.choice(STRUCT_ITEMS)])
        if item in b"iI!c" and rng.random() < 0.7:
            item += b"%d" % rng.choice(
                [0, 1, 2, 3, 4, 5, 8, 9, 16, 32, 33, 2**31 - 1, 2**31, 10**10]
            )
        parts.append(item)
    if rng.random() < 0.05:
        parts.append(bytes([rng.choice(b"zq?%9")]))
    return b"".join(parts)


def struct_case(rng: random.Random) -> bytes:
    """Pack, unpack or size with a random format."""
    form = lua_string(struct_format(rng))
    kind = rng.randrange(3)
    if kind == 0:
        return b"return struct.size(%s)" % form
    if kind == 1:
        values = [
            rng.choice([number(rng), float(rng.randrange(200)), text(rng, 12)]) for _ in range(5)
        ]
        return b"return struct.pack(%s, %s)" % (form, b", ".join(map(lua_value, values)))
    data = lua_string(rng.randbytes(rng.randrange(60)))
    offset = rng.choice([b"", b", 1", b", 2", b", 0", b", -1", b", 100", b", 5"])
    return b"return struct.unpack(%s, %s%s)" % (form, data, offset)


def bit_case(rng: random.Random) -> bytes:
    """Call one function of bit."""
    name = rng.choice(b"tobit bnot band bor bxor lshift rshift arshift rol ror bswap tohex".split())
    count = rng.choice([0, 1, 2, 2, 2, 3])
    values = [
        rng.choice([number(rng), float(rng.randrange(-40, 40)), b"12", b"x"]) for _ in range(count)
    ]
    return b"return bit.%s(%s)" % (name, b", ".join(map(lua_value, values)))


PATTERN_PARTS = [
    *(
        b"a",
        b"b",
        b".",
        b"%a",
        b"%d",
        b"%s",
        b"%w",
        b"%W",
        b"%p",
        b"%z",
        b"%.",
        b"%%",
        b"[ab]",
        b"[^a]",
    ),
    *(
        b"[a-c]",
        b"[%d_]",
        b"[]]",
        b"[^]]",
        b"[%a-z]",
        b"[a-]",
        b"(",
        b")",
        b"()",
        b"(a)",
        b"(.-)",
        b"%1",
    ),
    *(
        b"%2",
        b"%0",
        b"%b()",
        b"%bxy",
        b"%b",
        b"%f[%w]",
        b"%f",
        b"%f[",
        b"^",
        b"$",
        b"[",
        b"%",
        b"[%",
        b"\0",
    ),
    *(b"*", b"+", b"-", b"?", b"*", b"+", b"-", b"?"),
]


def pattern(rng: random.Random) -> bytes:
    """Return a pattern, often wrong."""
    return b"".join(rng.choice(PATTERN_PARTS) for _ in range(rng.randrange(1, 7)))


def subject(rng: random.Random) -> bytes:
    """Return a text for patterns."""
    return bytes(rng.choice(b"aabbc12 .()xy_%]-\x00\xe9") for _ in range(rng.randrange(14)))


REPLACEMENTS = [
    b"'x'",
    b"'%0'",
    b"'%1%1'",
    b"'%2'",
    b"'%'",
    b"'%%'",
    b"'<%0>'",
    b"'%a'",
    b"5",
    b"'%9'",
    b"{a='A', b=false, ['1']=7, [1]='one'}",
    b"{a={}}",
    b"string.upper",
    b"function(x) return x end",
    b"function(...) return select('#', ...) end",
    b"function() end",
    b"function() return {} end",
    b"nil",
    b"true",
    b"setmetatable({}, {__index=function(_, k) return '<'..k..'>' end})",
]


def pattern_case(rng: random.Random) -> bytes:
    """Call a function that takes a pattern."""
    s, p = lua_string(subject(rng)), lua_string(pattern(rng))
    start = rng.choice([b"", b"", b", 1", b", 2", b", -1", b", 0", b", 100", b", -100"])
    kind = rng.randrange(4)
    if kind == 0:
        plain = rng.choice([b"", b"", b", true"]) if start else b""
        return b"return string.find(%s, %s%s%s)" % (s, p, start, plain)
    if kind == 1:
        return b"return string.match(%s, %s%s)" % (s, p, start)
    if kind == 2:
        return (
            b"local t = {} for a, b in string.gmatch(%s, %s) do t[#t+1] = {a, b} end return t"
            % (s, p)
        )
    most = rng.choice([b"", b"", b", 1", b", 0", b", 2", b", -1"])
    return b"return string.gsub(%s, %s, %s%s)" % (s, p, rng.choice(REPLACEMENTS), most)


def format_case(rng: random.Random) -> bytes:
    """Call string.format."""
    parts, values = [], []
    for _ in range(rng.randrange(1, 4)):
        flags = b"".join(
            rng.choice([b"-", b"+", b" ", b"#", b"0"]) for _ in range(rng.choice([0, 0, 1, 2, 6]))
        )
        width = rng.choice([b"", b"", b"5", b"20", b"99", b"100"])
        precision = rng.choice([b"", b"", b".", b".0", b".3", b".20", b".99", b".100"])
        conversion = rng.choice([*(bytes([c]) for c in b"cdiouxXeEfgGqsssd%"), b"y", b"", b"p"])
        parts.append(b"%" + flags + width + precision + conversion + rng.choice([b"", b"-", b"\0"]))
        values.append(
            rng.choice([number(rng), float(rng.randrange(-300, 300)), text(rng, 150), None])
        )
    arguments = b", ".join(map(lua_value, values[: rng.randrange(1, 4)]))
    return b"return string.format(%s, %s)" % (lua_string(b"".join(parts)), arguments)


def index(rng: random.Random) -> bytes:
    """Return an integer argument near the edges."""
    return rng.choice(
        [b"0", b"1", b"2", b"3", b"5", b"-1", b"-2", b"-100", b"100", b"nil", b"1.9", b"'2'"]
    )


def table_case(rng: random.Random) -> bytes:
    """Call a function of table, string or the base library that ours replace."""
    items = [rng.choice([float(rng.randrange(9)), text(rng, 4)]) for _ in range(rng.randrange(7))]
    t = lua_value(items)
    numbers = lua_value([float(rng.randrange(20)) for _ in range(rng.randrange(12))])
    i, j = index(rng), index(rng)
    return rng.choice(
        [
            b"return table.concat(%s, ',', %s, %s)" % (t, i, j),
            b"return table.concat({1, {}, 3}, '', 1, %s)" % i,
            b"local t = %s return table.insert(t, %s, 'new'), t" % (t, i),
            b"local t = %s return table.insert(t, 'new'), t" % t,
            b"local t = %s return table.remove(t, %s), t" % (t, i),
            b"local t = %s return table.remove(t), t" % t,
            b"local t = %s table.sort(t) return t" % numbers,
            b"local t = %s table.sort(t, function(a, b) return a > b end) return t" % numbers,
            b"local t, n = %s, 0 table.sort(t, function() n = n + 1 return true end) return t, n"
            % numbers,
            b"local t, n = %s, 0 "
            b"table.sort(t, function() n = n + 1 return n %% 3 < 1 end) return t, n" % numbers,
            b"local t = %s table.sort(t) return t" % t,
            b"return unpack(%s, %s, %s)" % (t, i, j),
            b"return string.byte(%s, %s, %s)" % (lua_value(text(rng, 9)), i, j),
            b"return string.rep(%s, %s)" % (lua_value(text(rng, 4)), i),
            b"return string.sub(%s, %s, %s)" % (lua_value(text(rng, 9)), i, j),
            b"return select(%s, 1, 2, 3)" % i,
            b"return table.foreach({x=1}, function(k, v) return k end)",
            b"return table.foreachi(%s, function(i, v) return i == 2 and v or nil end)" % t,
            b"return next(%s), rawget({1}, %s)" % (t, i),
        ]
    )


GENERATORS = {
    "cjson.encode": cjson_encode_case,
    "cjson.decode": cjson_decode_case,
    "cmsgpack.pack": cmsgpack_pack_case,
    "cmsgpack.unpack": cmsgpack_unpack_case,
    "struct": struct_case,
    "bit": bit_case,
    "patterns": pattern_case,
    "format": format_case,
    "tables": table_case,
}


def cases(name: str, seed: int, count: int) -> list[bytes]:
    """Return `count` cases of one library; the same for the same seed."""
    rng = random.Random(f"{name} {seed}")
    return [GENERATORS[name](rng) for _ in range(count)]
