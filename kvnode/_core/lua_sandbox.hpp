// Tables that no script can change: globals, libraries, the metatable of strings.
//
// Stock Lua 5.1 knows no read-only table. What a script sees is a *proxy*: an empty table whose
// metatable reads from the *real* table and refuses writes. An assignment always meets it, because
// the proxy has no field of its own. What works on raw tables (next, rawget, rawset, getmetatable,
// setmetatable, table.insert, cjson...) is ours and goes through lua_resolve, so that a proxy
// behaves as its real table would behave in Redis. Only values leave a real table, never it itself.
//
// The mark of a proxy is a key of its metatable that a script cannot make: the LuaControl's address.
#pragma once

#include "lua_control.hpp"

namespace kvnode {

constexpr const char* kReadOnly = "Attempt to modify a readonly table";

// If the value at `index` is a proxy, push its real table and return true. Needs two slots.
inline bool lua_resolve(lua_State* L, int index) {
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    lua_pushlightuserdata(L, lua_control(L));
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_type(L, -1) == LUA_TTABLE)
        return true;
    lua_pop(L, 1);
    return false;
}

inline bool lua_is_protected(lua_State* L, int index) {
    bool found = lua_resolve(L, index);
    if (found)
        lua_pop(L, 1);
    return found;
}

// Replace a proxy at `index`, counted from the bottom, by its real table.
inline void lua_resolve_at(lua_State* L, int index) {
    if (lua_resolve(L, index))
        lua_replace(L, index);
}

// Raise as a write by the library does in Redis: with no position.
inline void lua_refuse_protected(lua_State* L, int index) {
    if (lua_is_protected(L, index)) {
        lua_pushstring(L, kReadOnly);
        lua_error(L);
    }
}

// If the table at the top is a real one, put its proxy in its place. Needs two slots.
inline void lua_to_proxy(lua_State* L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua_control(L)->proxies_ref);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_type(L, -1) == LUA_TTABLE)
        lua_remove(L, -2);
    else
        lua_pop(L, 1);
}

inline int sandbox_refuse_write(lua_State* L) { return luaL_error(L, "%s", kReadOnly); }

inline int sandbox_no_such_global(lua_State* L) {
    if (!lua_isstring(L, 2))
        return luaL_error(
            L, "Second argument to luaProtectedTableError must be a string or number");
    const char* name = lua_tolstring(L, 2, nullptr);
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'", name);
}

// Replace the table at the top by a proxy of it. Raises when memory is out.
inline void lua_protect(lua_State* L) {
    LuaControl* c = lua_control(L);
    luaL_checkstack(L, 6, "sandbox");
    if (lua_is_protected(L, -1))
        return;
    lua_newtable(L);                                    // real, proxy
    lua_createtable(L, 0, 3);                           // real, proxy, metatable
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcclosure(L, sandbox_refuse_write, 0);
    lua_setfield(L, -2, "__newindex");
    lua_pushlightuserdata(L, c);
    lua_pushvalue(L, -4);
    lua_rawset(L, -3);
    lua_setmetatable(L, -2);                            // real, proxy
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->proxies_ref);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);                                  // proxies[real] = proxy
    lua_pop(L, 1);
    lua_remove(L, -2);
}

// Push the real table of globals: for who adds a library before lua_seal, or sets KEYS and ARGV.
inline void lua_push_globals(lua_State* L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua_control(L)->globals_ref);
}

inline void sandbox_protect_strings(lua_State* L) {
    // The metatable that strings have reads from the real library, in one step. Its proxy, which
    // getmetatable("") shows, stands for a table of the same look that holds the library's proxy.
    lua_pushlstring(L, "", 0);
    lua_newtable(L);                                    // "", of strings
    lua_newtable(L);                                    // "", of strings, shown
    lua_push_globals(L);
    lua_getfield(L, -1, "string");                      // "", of strings, shown, globals, proxy
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "__index");
    lua_resolve(L, -1);
    lua_setfield(L, -5, "__index");
    lua_pop(L, 2);                                      // "", of strings, shown
    lua_protect(L);                                     // "", of strings, proxy
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua_control(L)->proxies_ref);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);                                  // proxies[of strings] = proxy
    lua_pop(L, 2);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

// Close the sandbox: protect every library and the globals themselves, and make these the globals
// of the state. Everything compiled from now on sees proxies only. Raises when memory is out.
inline void lua_seal(lua_State* L) {
    luaL_checkstack(L, 12, "sandbox");
    lua_push_globals(L);                                // G
    lua_pushnil(L);
    while (lua_next(L, -2)) {                           // G, key, value
        if (lua_type(L, -1) == LUA_TTABLE) {
            lua_protect(L);
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, -4);                          // an assignment to a field that exists
        } else {
            lua_pop(L, 1);
        }
    }
    sandbox_protect_strings(L);
    lua_createtable(L, 0, 1);                           // G, metatable
    lua_pushcclosure(L, sandbox_no_such_global, 0);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -1);
    lua_protect(L);                                     // for getmetatable(_G)
    lua_pop(L, 1);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_protect(L);                                     // G, proxy
    lua_pushstring(L, "_G");
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
    lua_replace(L, LUA_GLOBALSINDEX);
    lua_pop(L, 1);
}

}  // namespace kvnode
