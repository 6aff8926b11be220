// The functions of Lua's table library that ours replace: those that loop in C, or write raw.
// They follow ltablib.c of Lua 5.1 (Copyright (C) 1994-2012 Lua.org, PUC-Rio; MIT licence).
#pragma once

#include "lua_buffer.hpp"
#include "lua_sandbox.hpp"

namespace kvnode {

inline int table_size(lua_State* L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    return int(lua_objlen(L, 1));
}

inline int table_concat(lua_State* L) {
    size_t separator_n;
    const char* separator = luaL_optlstring(L, 2, "", &separator_n);
    luaL_checktype(L, 1, LUA_TTABLE);
    int i = int(luaL_optinteger(L, 3, 1));
    int last = lua_is_none_or_nil(L, 4) ? int(lua_objlen(L, 1)) : int(luaL_checkinteger(L, 4));
    LuaBuffer out(L);
    LuaTally tally{L};
    for (; i <= last; i++) {
        tally.step();
        lua_rawgeti(L, 1, i);
        if (!lua_isstring(L, -1))
            luaL_error(L, "invalid value (%s) at index %d in table for 'concat'",
                       lua_typename_at(L, -1), i);
        size_t n;
        const char* text = lua_tolstring(L, -1, &n);
        out.put(text, n);
        lua_pop(L, 1);
        if (i == last)                          // last may be INT_MAX
            break;
        out.put(separator, separator_n);
    }
    tally.pay();
    out.push();
    return 1;
}

inline int table_insert(lua_State* L) {
    int64_t end = int64_t(table_size(L)) + 1;
    int64_t position;
    switch (lua_gettop(L)) {
    case 2:
        position = end;
        lua_refuse_protected(L, 1);
        break;
    case 3: {
        position = int(luaL_checkinteger(L, 2));
        lua_refuse_protected(L, 1);
        if (position > end)
            end = position;
        LuaTally tally{L};
        for (int64_t i = end; i > position; i--) {
            tally.step();
            lua_rawgeti(L, 1, int(i - 1));
            lua_rawseti(L, 1, int(i));
        }
        tally.pay();
        break;
    }
    default:
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_rawseti(L, 1, int(position));
    return 0;
}

inline int table_remove(lua_State* L) {
    int end = table_size(L);
    int position = int(luaL_optinteger(L, 2, end));
    if (!(1 <= position && position <= end))
        return 0;
    LuaTally tally{L};
    lua_rawgeti(L, 1, position);
    for (; position < end; position++) {
        tally.step();
        lua_rawgeti(L, 1, position + 1);
        lua_rawseti(L, 1, position);
    }
    tally.pay();
    lua_pushnil(L);
    lua_rawseti(L, 1, end);
    return 1;
}

// Quicksort of 5.1, step for step: a comparison that contradicts itself is called as often, and
// fails in the same way. Indices are only ever those of a Lua table, so none is out of bounds.
struct TableSort {
    lua_State* L;
    LuaTally tally;

    bool less(int a, int b) {
        tally.step();
        if (lua_type(L, 2) == LUA_TNIL)
            return lua_lessthan(L, a, b);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, a - 1);
        lua_pushvalue(L, b - 2);
        lua_call(L, 2, 1);
        bool result = lua_toboolean(L, -1);
        lua_pop(L, 1);
        return result;
    }

    void get(int i) { lua_rawgeti(L, 1, i); }

    void set_two(int i, int j) {
        lua_rawseti(L, 1, i);
        lua_rawseti(L, 1, j);
    }

    // Order the two at the top, which are those of i and j: `swap` tells whether they change.
    void settle(bool swap, int i, int j) {
        if (swap)
            set_two(i, j);
        else
            lua_pop(L, 2);
    }

    // Sorts [low, high]; recurses into the smaller part, so at most 32 deep.
    void sort(int low, int high) {
        while (low < high) {
            get(low);
            get(high);
            settle(less(-1, -2), low, high);
            if (high - low == 1)
                return;
            int i = low + (high - low) / 2;
            get(i);
            get(low);
            if (less(-2, -1)) {
                set_two(i, low);
            } else {
                lua_pop(L, 1);
                get(high);
                settle(less(-1, -2), i, high);
            }
            if (high - low == 2)
                return;
            i = partition(low, high, i);
            int small_low, small_high;
            if (i - low < high - i) {
                small_low = low;
                small_high = i - 1;
                low = i + 1;
            } else {
                small_low = i + 1;
                small_high = high;
                high = i - 1;
            }
            sort(small_low, small_high);
        }
    }

    int partition(int low, int high, int middle) {
        get(middle);
        lua_pushvalue(L, -1);
        get(high - 1);
        set_two(middle, high - 1);              // the pivot stays at the top
        int i = low, j = high - 1;
        for (;;) {
            while (get(++i), less(-1, -2)) {
                if (i > high)
                    luaL_error(L, "invalid order function for sorting");
                lua_pop(L, 1);
            }
            while (get(--j), less(-3, -1)) {
                if (j < low)
                    luaL_error(L, "invalid order function for sorting");
                lua_pop(L, 1);
            }
            if (j < i)
                break;
            set_two(i, j);
        }
        lua_pop(L, 3);
        get(high - 1);
        get(i);
        set_two(high - 1, i);
        return i;
    }
};

inline int table_sort(lua_State* L) {
    int n = table_size(L);
    luaL_checkstack(L, 40, "");
    if (!lua_is_none_or_nil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    TableSort sort{L, {L}};
    sort.sort(1, n);
    sort.tally.pay();
    return 0;
}

inline int table_foreach(lua_State* L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_resolve_at(L, 1);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        lua_spend(L, 1);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -3);
        lua_call(L, 2, 1);
        if (lua_type(L, -1) != LUA_TNIL)
            return 1;
        lua_pop(L, 2);
    }
    return 0;
}

inline int table_foreachi(lua_State* L) {
    int n = table_size(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    for (int i = 1; i <= n; i++) {
        lua_spend(L, 1);
        lua_pushvalue(L, 2);
        lua_pushinteger(L, i);
        lua_rawgeti(L, 1, i);
        lua_call(L, 2, 1);
        if (lua_type(L, -1) != LUA_TNIL)
            return 1;
        lua_pop(L, 1);
    }
    return 0;
}

// Set ours into the library at the top. Raises when memory is out.
inline void lua_open_tables(lua_State* L) {
    static const LuaFunction functions[] = {
        {"concat", table_concat}, {"insert", table_insert},   {"remove", table_remove},
        {"sort", table_sort},     {"foreach", table_foreach}, {"foreachi", table_foreachi},
    };
    lua_set_functions(L, functions);
}

}  // namespace kvnode
