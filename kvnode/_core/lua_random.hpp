// math.random and math.randomseed with the generator of Redis: each state has its own, so a sequence
// is the same on every node, and no script disturbs the C library's.
#pragma once

#include <cmath>

#include "lua_control.hpp"
#include "lua_numbers.hpp"

namespace kvnode {

constexpr uint64_t kRandomMask = (uint64_t(1) << 48) - 1;

// As lrand48: 31 bits.
inline int32_t random_next(LuaControl* c) {
    c->random = (c->random * 0x5DEECE66Dull + 0xB) & kRandomMask;
    return int32_t(c->random >> 17);
}

inline int math_random(lua_State* L) {
    double r = double(random_next(lua_control(L)) % INT32_MAX) / INT32_MAX;
    switch (lua_gettop(L)) {
    case 0:
        lua_pushnumber(L, r);
        break;
    case 1: {
        int high = int(luaL_checkinteger(L, 1));
        lua_argcheck(L, 1 <= high, 1, "interval is empty");
        lua_pushnumber(L, std::floor(r * high) + 1);
        break;
    }
    case 2: {
        int low = int(luaL_checkinteger(L, 1));
        int high = int(luaL_checkinteger(L, 2));
        lua_argcheck(L, low <= high, 2, "interval is empty");
        int span = int(unsigned(high) - unsigned(low) + 1);     // wraps, as there
        lua_pushnumber(L, std::floor(r * span) + low);
        break;
    }
    default:
        return luaL_error(L, "wrong number of arguments");
    }
    return 1;
}

inline int math_randomseed(lua_State* L) {
    uint32_t seed = uint32_t(int(luaL_checkinteger(L, 1)));
    lua_control(L)->random = uint64_t(seed) << 16 | 0x330E;
    return 0;
}

// Set ours into the math library at the top. Raises when memory is out.
inline void lua_open_random(lua_State* L) {
    static const LuaFunction functions[] = {
        {"random", math_random},
        {"randomseed", math_randomseed},
    };
    lua_set_functions(L, functions);
}

}  // namespace kvnode
