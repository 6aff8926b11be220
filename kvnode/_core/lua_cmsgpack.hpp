// The cmsgpack library of scripts: MessagePack with the choices of Redis's lua-cmsgpack 0.4.0
// (Copyright (C) 2012 Redis Ltd.; MIT licence).
#pragma once

#include <cmath>

#include "lua_buffer.hpp"
#include "lua_numbers.hpp"
#include "lua_sandbox.hpp"

namespace kvnode {

constexpr int kMsgpackDepthMax = 16;            // tables below are packed as nil

class MsgpackPacker {
  public:
    explicit MsgpackPacker(lua_State* L) : L_(L), out_(L), tally_{L} {}

    void pack(int index) {
        lua_pushvalue(L_, index);
        put_value(0);
    }
    void push() {
        tally_.pay();
        out_.push();
    }

  private:
    // Put a type byte and the low `n` bytes of value, largest first.
    void put_tagged(unsigned char type, uint64_t value, int n) {
        char* at = out_.room(9);
        *at++ = char(type);
        for (int i = n - 1; i >= 0; i--)
            *at++ = char(value >> (8 * i));
        out_.add(size_t(n) + 1);
    }

    void put_integer(int64_t n) {
        uint64_t bits = uint64_t(n);
        if (n >= 0) {
            if (n <= 0x7f)
                put_tagged(static_cast<unsigned char>(n), 0, 0);
            else if (n <= 0xff)
                put_tagged(0xcc, bits, 1);
            else if (n <= 0xffff)
                put_tagged(0xcd, bits, 2);
            else if (n <= 0xffffffffll)
                put_tagged(0xce, bits, 4);
            else
                put_tagged(0xcf, bits, 8);
        } else if (n >= -32) {
            put_tagged(static_cast<unsigned char>(n), 0, 0);
        } else if (n >= -128) {
            put_tagged(0xd0, bits, 1);
        } else if (n >= -32768) {
            put_tagged(0xd1, bits, 2);
        } else if (n >= -2147483648ll) {
            put_tagged(0xd2, bits, 4);
        } else {
            put_tagged(0xd3, bits, 8);
        }
    }

    void put_number(double n) {
        int64_t integer = lua_number_to_long(n);
        if (!std::isinf(n) && double(integer) == n) {
            put_integer(integer);
            return;
        }
        float single = float(n);
        if (double(single) == n) {
            uint32_t bits;
            memcpy(&bits, &single, 4);
            put_tagged(0xca, bits, 4);
        } else {
            uint64_t bits;
            memcpy(&bits, &n, 8);
            put_tagged(0xcb, bits, 8);
        }
    }

    void put_string() {
        size_t n;
        const char* text = lua_tolstring(L_, -1, &n);
        lua_spend(L_, n / kBytesPerStep);
        if (n < 32)
            put_tagged(static_cast<unsigned char>(0xa0 | n), 0, 0);
        else if (n <= 0xff)
            put_tagged(0xd9, n, 1);
        else if (n <= 0xffff)
            put_tagged(0xda, n, 2);
        else if (n <= 0xffffffffu)
            put_tagged(0xdb, n, 4);
        else
            luaL_error(L_, "string too long for MessagePack");
        out_.put(text, n);
    }

    void put_count(unsigned char fixed, unsigned char wide, size_t n) {
        if (n <= 15)
            put_tagged(static_cast<unsigned char>(fixed | n), 0, 0);
        else if (n <= 0xffff)
            put_tagged(wide, n, 2);
        else
            put_tagged(static_cast<unsigned char>(wide + 1), n, 4);
    }

    // Count the pairs of the table at the top; whether its keys are 1..n.
    bool is_array(size_t* n) {
        size_t count = 0;
        int largest = 0;
        bool array = true;
        lua_pushnil(L_);
        while (lua_next(L_, -2)) {
            tally_.step();
            lua_pop(L_, 1);
            count++;
            double key = lua_type(L_, -1) == LUA_TNUMBER ? lua_tonumber(L_, -1) : 0;
            if (!(key > 0 && key <= INT_MAX && std::floor(key) == key))
                array = false;
            else if (key > largest)
                largest = int(key);
        }
        *n = count;
        return array && size_t(largest) == count;
    }

    void put_table(int depth) {
        luaL_checkstack(L_, 6, "in function mp_encode_lua_table_as_map");
        lua_resolve_at(L_, lua_gettop(L_));
        size_t n;
        if (is_array(&n)) {
            put_count(0x90, 0xdc, n);
            for (size_t i = 1; i <= n; i++) {
                lua_rawgeti(L_, -1, int(i));
                put_value(depth + 1);
            }
        } else {
            put_count(0x80, 0xde, n);
            lua_pushnil(L_);
            while (lua_next(L_, -2)) {
                lua_pushvalue(L_, -2);
                put_value(depth + 1);
                put_value(depth + 1);
            }
        }
    }

    // Put the value at the top, and pop it. At most kMsgpackDepthMax deep.
    void put_value(int depth) {
        tally_.step();
        switch (lua_type(L_, -1)) {
        case LUA_TSTRING:
            put_string();
            break;
        case LUA_TBOOLEAN:
            put_tagged(lua_toboolean(L_, -1) ? 0xc3 : 0xc2, 0, 0);
            break;
        case LUA_TNUMBER:
            put_number(lua_tonumber(L_, -1));
            break;
        case LUA_TTABLE:
            if (depth < kMsgpackDepthMax) {
                put_table(depth);
                break;
            }
            [[fallthrough]];
        default:
            put_tagged(0xc0, 0, 0);
        }
        lua_pop(L_, 1);
    }

    lua_State* L_;
    LuaBuffer out_;
    LuaTally tally_;
};

class MsgpackUnpacker {
  public:
    MsgpackUnpacker(lua_State* L, const char* text, size_t n)
        : L_(L), tally_{L}, at_(reinterpret_cast<const unsigned char*>(text)), left_(n) {}

    size_t left() const { return left_; }

    // Push the next value. Raises when there is none. Bounded by Lua's stack.
    void unpack() {
        tally_.step(kValueSteps);
        need(1);
        luaL_checkstack(L_, 1,
                        "too many return values at once; use unpack_one or unpack_limit instead.");
        unsigned char type = at_[0];
        switch (type) {
        case 0xc0: take(1); lua_pushnil(L_); return;
        case 0xc2: take(1); lua_pushboolean(L_, 0); return;
        case 0xc3: take(1); lua_pushboolean(L_, 1); return;
        case 0xca: {
            uint32_t bits = uint32_t(number(4));
            float n;
            memcpy(&n, &bits, 4);
            lua_pushnumber(L_, n);
            return;
        }
        case 0xcb: {
            uint64_t bits = number(8);
            double n;
            memcpy(&n, &bits, 8);
            lua_pushnumber(L_, n);
            return;
        }
        case 0xcc: lua_pushnumber(L_, double(number(1))); return;
        case 0xcd: lua_pushnumber(L_, double(number(2))); return;
        case 0xce: lua_pushnumber(L_, double(number(4))); return;
        case 0xcf:                              // read as signed, as there
        case 0xd3: lua_pushnumber(L_, double(int64_t(number(8)))); return;
        case 0xd0: lua_pushnumber(L_, int8_t(number(1))); return;
        case 0xd1: lua_pushnumber(L_, int16_t(number(2))); return;
        case 0xd2: lua_pushnumber(L_, int32_t(number(4))); return;
        case 0xd9: string(size_t(number(1))); return;
        case 0xda: string(size_t(number(2))); return;
        case 0xdb: string(size_t(number(4))); return;
        case 0xdc: array(size_t(number(2))); return;
        case 0xdd: array(size_t(number(4))); return;
        case 0xde: map(size_t(number(2))); return;
        case 0xdf: map(size_t(number(4))); return;
        default: break;
        }
        if (type < 0x80) {
            take(1);
            lua_pushnumber(L_, type);
        } else if (type >= 0xe0) {
            take(1);
            lua_pushnumber(L_, int8_t(type));
        } else if (type < 0x90) {
            take(1);
            map(type & 15);
        } else if (type < 0xa0) {
            take(1);
            array(type & 15);
        } else if (type < 0xc0) {
            take(1);
            string(type & 31);
        } else {
            luaL_error(L_, "Bad data format in input.");
        }
    }

    void pay() { tally_.pay(); }

  private:
    void need(size_t n) {
        if (left_ < n)
            luaL_error(L_, "Missing bytes in input.");
    }
    void take(size_t n) {
        at_ += n;
        left_ -= n;
    }
    // Take the type byte and the n bytes of a number, largest first.
    uint64_t number(int n) {
        need(size_t(n) + 1);
        uint64_t value = 0;
        for (int i = 1; i <= n; i++)
            value = value << 8 | at_[i];
        take(size_t(n) + 1);
        return value;
    }
    void string(size_t n) {
        need(n);
        lua_pushlstring(L_, reinterpret_cast<const char*>(at_), n);
        take(n);
    }
    void array(size_t n) {
        tally_.step(kTableSteps);
        lua_newtable(L_);
        luaL_checkstack(L_, 1, "in function mp_decode_to_lua_array");
        for (size_t i = 1; i <= n; i++) {
            lua_pushnumber(L_, double(i));
            unpack();
            lua_rawset(L_, -3);
        }
    }
    void map(size_t n) {
        tally_.step(kTableSteps);
        lua_newtable(L_);
        for (; n > 0; n--) {
            unpack();
            unpack();
            lua_rawset(L_, -3);
        }
    }

    lua_State* L_;
    LuaTally tally_;
    const unsigned char* at_;
    size_t left_;
};

inline int msgpack_pack(lua_State* L) {
    int n = lua_gettop(L);
    if (n == 0)
        return luaL_argerror(L, 0, "MessagePack pack needs input.");
    if (!lua_checkstack(L, n + 4))
        return luaL_argerror(L, 0, "Too many arguments for MessagePack pack.");
    MsgpackPacker packer(L);
    for (int i = 1; i <= n; i++)
        packer.pack(i);
    packer.push();
    return 1;
}

// Argument 1 is the text, and the only one. limit 0 and offset 0: all.
inline int msgpack_unpack_some(lua_State* L, int limit, int offset) {
    size_t n;
    const char* text = luaL_checklstring(L, 1, &n);
    if (offset < 0 || limit < 0)                // the text names the length, as there
        return luaL_error(L, "Invalid request to unpack with offset of %d and limit of %d.", offset,
                          int(n));
    if (size_t(offset) > n)
        return luaL_error(L, "Start offset %d greater than input length %d.", offset, int(n));
    bool all = limit == 0 && offset == 0;
    if (all)
        limit = INT_MAX;
    MsgpackUnpacker unpacker(L, text + offset, n - size_t(offset));
    int count = 0;
    for (; unpacker.left() > 0 && count < limit; count++)
        unpacker.unpack();
    unpacker.pay();
    if (all)
        return count;
    luaL_checkstack(L, 1, "in function mp_unpack_full");
    lua_pushinteger(L, unpacker.left() == 0 ? -1 : lua_Integer(n - unpacker.left()));
    lua_insert(L, 2);
    return count + 1;
}

inline int msgpack_unpack(lua_State* L) { return msgpack_unpack_some(L, 0, 0); }

inline int msgpack_unpack_one(lua_State* L) {
    int offset = int(luaL_optinteger(L, 2, 0));
    lua_settop(L, 1);
    return msgpack_unpack_some(L, 1, offset);
}

inline int msgpack_unpack_limit(lua_State* L) {
    int limit = int(luaL_checkinteger(L, 2));
    int offset = int(luaL_optinteger(L, 3, 0));
    lua_settop(L, 1);
    return msgpack_unpack_some(L, limit, offset);
}

// Push the library. Raises when memory is out.
inline void lua_open_cmsgpack(lua_State* L) {
    static const LuaFunction functions[] = {
        {"pack", msgpack_pack},
        {"unpack", msgpack_unpack},
        {"unpack_one", msgpack_unpack_one},
        {"unpack_limit", msgpack_unpack_limit},
    };
    lua_newtable(L);
    lua_set_functions(L, functions);
    static const char* const about[][2] = {
        {"_NAME", "cmsgpack"},
        {"_VERSION", "lua-cmsgpack 0.4.0"},
        {"_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"},
        {"_DESCRIPTION", "MessagePack C implementation for Lua"},
    };
    for (const auto& line : about) {
        lua_pushstring(L, line[1]);
        lua_setfield(L, -2, line[0]);
    }
}

}  // namespace kvnode
