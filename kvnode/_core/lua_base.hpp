// The basic functions of Lua that ours replace: those that touch raw tables, catch errors, compile.
#pragma once

#include <cstring>

#include "lua_buffer.hpp"
#include "lua_sandbox.hpp"

namespace kvnode {

// Longest text that is compiled. Compiling cannot be interrupted: this much takes below 0.1 s. It
// also keeps what the lexer counts in an int (the level of a long bracket) far from its limits.
constexpr size_t kScriptBytesMax = size_t(1) << 20;
// Most values that unpack returns: Lua's own limit on the stack of a C function.
constexpr int kUnpackMax = 8000;
// How often a message handler that fails is called for its own error, before xpcall gives up.
constexpr int kHandlerCallsMax = 200;

struct LuaText {
    const char* text;
    size_t bytes;
    bool escaped;                               // a leading blank was given, or is not needed
};

inline const char* base_read_text(lua_State*, void* ud, size_t* n) {
    LuaText* t = static_cast<LuaText*>(ud);
    if (!t->escaped) {
        t->escaped = true;
        *n = 1;
        return " ";
    }
    *n = t->bytes;
    t->bytes = 0;
    return *n == 0 ? nullptr : t->text;
}

// Compile as lua_load does, text only: pushes the function, or a message, and returns the status.
//
// The collector rests meanwhile: Lua 5.1 leaves the chunk's name unanchored in its parser
// (CVE-2025-49844). Text that starts as bytecode does gets a blank in front, so that the parser sees
// it and complains, as Redis's does. Raises when the steps for it are not there.
inline int lua_compile(lua_State* L, const char* text, size_t n, const char* name) {
    if (n > kScriptBytesMax) {
        lua_pushfstring(L, "script too long (%d bytes at most)", int(kScriptBytesMax));
        return LUA_ERRSYNTAX;
    }
    lua_spend(L, n * 4);
    LuaText source = {text, n, n == 0 || text[0] != '\33'};
    lua_gc(L, LUA_GCSTOP, 0);
    int status = lua_load(L, base_read_text, &source, name);
    lua_gc(L, LUA_GCRESTART, 0);
    return status;
}

inline void base_check_running(lua_State* L) {
    LuaControl* c = lua_control(L);
    if (c->armed && c->stopped)
        lua_raise_stop(L, c);
}

inline int base_compiled(lua_State* L, int status) {
    base_check_running(L);
    if (status == 0)
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

inline int base_loadstring(lua_State* L) {
    size_t n;
    const char* text = luaL_checklstring(L, 1, &n);
    const char* name = luaL_optlstring(L, 2, text, nullptr);
    return base_compiled(L, lua_compile(L, text, n, name));
}

// The pieces are gathered before anything is compiled: the reader is a script's function and could
// run the collector, which has to rest.
inline int base_load(lua_State* L) {
    const char* name = luaL_optlstring(L, 2, "=(load)", nullptr);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 2);
    LuaBuffer text(L);
    for (;;) {
        lua_pushvalue(L, 1);
        int status = lua_pcall(L, 0, 1, 0);
        if (status != 0)
            return base_compiled(L, status);
        if (lua_type(L, -1) == LUA_TNIL)
            break;
        if (!lua_isstring(L, -1)) {
            luaL_where(L, 1);
            lua_pushstring(L, "reader function must return a string");
            lua_concat(L, 2);
            return base_compiled(L, LUA_ERRRUN);
        }
        size_t n;
        const char* piece = lua_tolstring(L, -1, &n);
        if (n == 0)
            break;
        lua_spend(L, 1);
        if (n <= kScriptBytesMax && text.size() <= kScriptBytesMax)
            text.put(piece, n);                 // its last slot holds the piece: one is free above
        else
            return base_compiled(L, lua_compile(L, nullptr, kScriptBytesMax + 1, name));
        lua_pop(L, 1);
    }
    return base_compiled(L, lua_compile(L, text.data(), text.size(), name));
}

// As Redis's own: an error that is a table with a text `err`, as redis.call raises, becomes that text;
// of any other table the field follows as one more result.
inline int base_pcall(lua_State* L) {
    int arguments = lua_gettop(L) - 1;
    if (arguments < 0) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, "attempt to call a boolean value");
        return 2;
    }
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcall(L, arguments, LUA_MULTRET, 0);
    base_check_running(L);
    if (status != 0) {
        if (lua_type(L, -1) == LUA_TTABLE) {
            lua_getfield(L, -1, "err");
            if (lua_isstring(L, -1))
                lua_replace(L, -2);
        }
        lua_pushboolean(L, 0);
        lua_replace(L, 1);
    }
    return lua_gettop(L);
}

// Lua's own calls the handler where the error is raised, which may be inside of a hook, where no
// hook counts. Ours calls it when the stack is unwound; as debug is gone, nobody sees the difference.
inline int base_xpcall(lua_State* L) {
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    int status = lua_pcall(L, 0, LUA_MULTRET, 0);
    base_check_running(L);
    if (status == 0) {
        lua_pushboolean(L, 1);
        lua_replace(L, 2);
        return lua_gettop(L) - 1;
    }
    if (status == LUA_ERRRUN) {
        // A handler that fails is called again, for its own error.
        status = LUA_ERRERR;
        for (int i = 0; i < kHandlerCallsMax && lua_type(L, 2) == LUA_TFUNCTION; i++) {
            lua_pushvalue(L, 2);
            lua_insert(L, -2);
            int again = lua_pcall(L, 1, 1, 0);
            base_check_running(L);
            if (again == 0) {
                status = 0;
                break;
            }
        }
    }
    if (status == LUA_ERRERR)
        lua_pushstring(L, "error in error handling");
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

inline int base_next(lua_State* L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    lua_resolve_at(L, 1);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

// Upvalue 1: base_next.
inline int base_pairs(lua_State* L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalue_index(1));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

inline int base_rawget(lua_State* L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lua_resolve_at(L, 1);
    lua_rawget(L, 1);
    return 1;
}

inline int base_rawset(lua_State* L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    lua_refuse_protected(L, 1);
    lua_rawset(L, 1);
    return 1;
}

inline int base_getmetatable(lua_State* L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    lua_resolve_at(L, 1);
    if (!lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, "__metatable");
    lua_rawget(L, -2);
    if (lua_type(L, -1) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    lua_to_proxy(L);
    return 1;
}

inline int base_setmetatable(lua_State* L) {
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_argcheck(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
    lua_refuse_protected(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable"))
        luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    if (type == LUA_TTABLE)
        lua_resolve_at(L, 2);                   // a metatable is read raw
    lua_setmetatable(L, 1);
    return 1;
}

inline int base_unpack(lua_State* L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    int first = int(luaL_optinteger(L, 2, 1));
    int last = lua_is_none_or_nil(L, 3) ? int(lua_objlen(L, 1)) : int(luaL_checkinteger(L, 3));
    if (first > last)
        return 0;
    int64_t n = int64_t(last) - first + 1;      // does not wrap (CVE-2025-46817)
    if (n >= kUnpackMax || !lua_checkstack(L, int(n)))
        return luaL_error(L, "too many results to unpack");
    lua_spend(L, size_t(n));
    for (int64_t i = first; i <= last; i++)
        lua_rawgeti(L, 1, int(i));
    return int(n);
}

// As Lua's, except that settings of the collector do not change: they would outlive the script.
inline int base_collectgarbage(lua_State* L) {
    static const char* const options[] = {"stop", "restart", "collect", "count", "step",
                                          "setpause", "setstepmul", nullptr};
    int option = luaL_checkoption(L, 1, "collect", options);
    lua_Integer data = luaL_optinteger(L, 2, 0);
    switch (option) {
    case 2:
        lua_spend(L, lua_control(L)->memory_used / kBytesPerStep);
        lua_pushinteger(L, lua_gc(L, LUA_GCCOLLECT, 0));
        return 1;
    case 3:
        lua_pushnumber(L, lua_gc(L, LUA_GCCOUNT, 0) + lua_gc(L, LUA_GCCOUNTB, 0) / 1024.0);
        return 1;
    case 4:
        lua_spend(L, lua_control(L)->memory_used / kBytesPerStep);
        lua_pushboolean(L, lua_gc(L, LUA_GCSTEP, data < 0 || data > 1024 ? 1024 : int(data)));
        return 1;
    case 5:
    case 6:
        lua_pushinteger(L, 200);                // Lua's defaults
        return 1;
    default:
        lua_pushinteger(L, 0);
        return 1;
    }
}

// Set ours into the table at the top. Raises when memory is out.
inline void lua_open_base(lua_State* L) {
    static const LuaFunction functions[] = {
        {"loadstring", base_loadstring},
        {"load", base_load},
        {"pcall", base_pcall},
        {"xpcall", base_xpcall},
        {"next", base_next},
        {"rawget", base_rawget},
        {"rawset", base_rawset},
        {"getmetatable", base_getmetatable},
        {"setmetatable", base_setmetatable},
        {"unpack", base_unpack},
        {"collectgarbage", base_collectgarbage},
    };
    lua_set_functions(L, functions);
    lua_pushcclosure(L, base_next, 0);          // not the global one
    lua_pushcclosure(L, base_pairs, 1);
    lua_setfield(L, -2, "pairs");
}

}  // namespace kvnode
