// The bit library of scripts: 32-bit operations as in Lua BitOp 1.0.2 (Copyright (C) 2008-2012 Mike
// Pall; MIT licence).
#pragma once

#include <cstring>

#include "lua_api.hpp"

namespace kvnode {

// The low 32 bits of the number rounded to an integer; as BitOp, wrong beyond 2^51 in the same way.
inline uint32_t bit_argument(lua_State* L, int i) {
    double shifted = lua_tonumber(L, i) + 6755399441055744.0;   // 2^52 + 2^51
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    uint32_t value = uint32_t(bits);
    if (value == 0 && !lua_isnumber(L, i))
        luaL_typerror(L, i, "number");
    return value;
}

inline int bit_return(lua_State* L, uint32_t value) {
    lua_pushnumber(L, lua_Number(int32_t(value)));
    return 1;
}

inline int bit_tobit(lua_State* L) { return bit_return(L, bit_argument(L, 1)); }
inline int bit_bnot(lua_State* L) { return bit_return(L, ~bit_argument(L, 1)); }

template <typename Fold>
inline int bit_fold(lua_State* L, Fold fold) {
    uint32_t value = bit_argument(L, 1);
    for (int i = lua_gettop(L); i > 1; i--)
        value = fold(value, bit_argument(L, i));
    return bit_return(L, value);
}

inline int bit_band(lua_State* L) {
    return bit_fold(L, [](uint32_t a, uint32_t b) { return a & b; });
}
inline int bit_bor(lua_State* L) {
    return bit_fold(L, [](uint32_t a, uint32_t b) { return a | b; });
}
inline int bit_bxor(lua_State* L) {
    return bit_fold(L, [](uint32_t a, uint32_t b) { return a ^ b; });
}

// shift: value, n in 0..31.
template <typename Shift>
inline int bit_shift(lua_State* L, Shift shift) {
    uint32_t value = bit_argument(L, 1);
    return bit_return(L, shift(value, bit_argument(L, 2) & 31));
}

inline int bit_lshift(lua_State* L) {
    return bit_shift(L, [](uint32_t a, uint32_t n) { return a << n; });
}
inline int bit_rshift(lua_State* L) {
    return bit_shift(L, [](uint32_t a, uint32_t n) { return a >> n; });
}
inline int bit_arshift(lua_State* L) {
    return bit_shift(L, [](uint32_t a, uint32_t n) { return uint32_t(int32_t(a) >> n); });
}
inline int bit_rol(lua_State* L) {
    return bit_shift(L, [](uint32_t a, uint32_t n) { return a << n | a >> ((32 - n) & 31); });
}
inline int bit_ror(lua_State* L) {
    return bit_shift(L, [](uint32_t a, uint32_t n) { return a >> n | a << ((32 - n) & 31); });
}

inline int bit_bswap(lua_State* L) { return bit_return(L, __builtin_bswap32(bit_argument(L, 1))); }

inline int bit_tohex(lua_State* L) {
    uint32_t value = bit_argument(L, 1);
    int64_t n = lua_is_none(L, 2) ? 8 : int32_t(bit_argument(L, 2));
    const char* digits = "0123456789abcdef";
    if (n < 0) {                                // 64 bits: the negation of INT_MIN fits
        n = -n;
        digits = "0123456789ABCDEF";
    }
    if (n > 8)
        n = 8;
    char text[8];
    for (int64_t i = n; --i >= 0;) {
        text[i] = digits[value & 15];
        value >>= 4;
    }
    lua_pushlstring(L, text, size_t(n));
    return 1;
}

// Push the library. Raises when memory is out.
inline void lua_open_bit(lua_State* L) {
    static const LuaFunction functions[] = {
        {"tobit", bit_tobit},   {"bnot", bit_bnot},     {"band", bit_band},
        {"bor", bit_bor},       {"bxor", bit_bxor},     {"lshift", bit_lshift},
        {"rshift", bit_rshift}, {"arshift", bit_arshift}, {"rol", bit_rol},
        {"ror", bit_ror},       {"bswap", bit_bswap},   {"tohex", bit_tohex},
    };
    lua_newtable(L);
    lua_set_functions(L, functions);
}

}  // namespace kvnode
