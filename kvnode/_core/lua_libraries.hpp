// What a script finds in its globals: put together, once, when a state is made.
//
// The globals are a new table that takes by name what it keeps of Lua's own libraries, so nothing
// gets in by being forgotten: no package, io, debug, newproxy (its finalizers run outside of any
// hook), setfenv, print or lupa's python.
#pragma once

#include "lua_bit.hpp"
#include "lua_cjson.hpp"
#include "lua_cmsgpack.hpp"
#include "lua_coroutines.hpp"
#include "lua_random.hpp"
#include "lua_strings.hpp"
#include "lua_struct.hpp"
#include "lua_tables.hpp"

namespace kvnode {

static const char* const kKeptGlobals[] = {
    "_VERSION", "assert", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring",
    "type",
};
static const char* const kKeptMath[] = {
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod",
    "frexp", "huge", "ldexp", "log", "log10", "max", "min", "mod", "modf", "pi", "pow", "rad", "sin",
    "sinh", "sqrt", "tan", "tanh",
};
static const char* const kKeptOs[] = {"clock"};
static const char* const kKeptString[] = {"char", "len", "lower", "reverse", "sub", "upper"};
static const char* const kKeptTable[] = {"getn", "maxn", "setn"};

// Copy the named fields of the table at `from` into the one at the top.
template <size_t N>
inline void lua_keep(lua_State* L, int from, const char* const (&names)[N]) {
    for (const char* name : names) {
        lua_getfield(L, from, name);
        if (lua_type(L, -1) == LUA_TNIL)
            luaL_error(L, "lupa's Lua has no %s", name);
        lua_setfield(L, -2, name);
    }
}

// Push a new table with the named fields of Lua's own library `name`.
template <size_t N>
inline void lua_keep_library(lua_State* L, const char* name, const char* const (&names)[N]) {
    lua_getfield(L, LUA_GLOBALSINDEX, name);
    luaL_checktype(L, -1, LUA_TTABLE);
    lua_newtable(L);
    lua_keep(L, lua_gettop(L) - 1, names);
    lua_remove(L, -2);
}

// Build the globals of a state that was taken over, unprotected: further libraries may be set into
// them (lua_push_globals) until lua_seal. To be called by lua_pcall; raises when memory is out.
inline int lua_install(lua_State* L) {
    LuaControl* c = lua_control(L);
    luaL_checkstack(L, kLuaStackMin, "libraries");
    lua_newtable(L);
    c->proxies_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);                            // the globals
    lua_pushvalue(L, -1);
    c->globals_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_keep(L, LUA_GLOBALSINDEX, kKeptGlobals);
    lua_open_base(L);
    lua_keep_library(L, "math", kKeptMath);
    lua_open_random(L);
    lua_setfield(L, -2, "math");
    lua_keep_library(L, "os", kKeptOs);
    lua_setfield(L, -2, "os");
    lua_keep_library(L, "string", kKeptString);
    lua_open_strings(L);
    lua_setfield(L, -2, "string");
    lua_keep_library(L, "table", kKeptTable);
    lua_open_tables(L);
    lua_setfield(L, -2, "table");
    lua_open_coroutine(L);
    lua_setfield(L, -2, "coroutine");
    c->json = lua_open_cjson(L);
    lua_setfield(L, -2, "cjson");
    lua_open_cmsgpack(L);
    lua_setfield(L, -2, "cmsgpack");
    lua_open_struct(L);
    lua_setfield(L, -2, "struct");
    lua_open_bit(L);
    lua_setfield(L, -2, "bit");
    // What require and module would find; only the C registry holds it.
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "_LOADED");
    return 0;
}

inline int lua_seal_protected(lua_State* L) {
    lua_seal(L);
    return 0;
}

// Call `function` without arguments and results; return the status of lua_pcall, a message is at
// the top if it is not 0.
inline int lua_run_protected(lua_State* L, lua_CFunction function) {
    if (!lua_checkstack(L, 2))
        return LUA_ERRMEM;
    lua_pushcclosure(L, function, 0);
    return lua_pcall(L, 0, 0, 0);
}

inline int lua_make_protected(lua_State* L) {
    lua_take_over(static_cast<LuaControl*>(lua_touserdata(L, 1)), L);
    return lua_install(L);
}

// Take a state over and install the libraries; returns the status of lua_pcall.
inline int lua_make(lua_State* L, LuaControl* c) {
    if (!lua_checkstack(L, 3))
        return LUA_ERRMEM;
    lua_pushcclosure(L, lua_make_protected, 0);
    lua_pushlightuserdata(L, c);
    return lua_pcall(L, 1, 0, 0);
}

}  // namespace kvnode
