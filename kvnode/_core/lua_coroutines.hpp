// The coroutine library, anew: a coroutine is charged when it is resumed, its hook is armed, and an
// error that stops the script goes on through the one who resumed. The rest follows lbaselib.c of
// Lua 5.1 (Copyright (C) 1994-2012 Lua.org, PUC-Rio; MIT licence).
#pragma once

#include "lua_base.hpp"

namespace kvnode {

enum CoroutineStatus { kCoRunning, kCoSuspended, kCoNormal, kCoDead };
static const char* const kCoroutineStatusNames[] = {"running", "suspended", "normal", "dead"};

inline CoroutineStatus coroutine_status_of(lua_State* L, lua_State* co) {
    if (L == co)
        return kCoRunning;
    switch (lua_status(co)) {
    case LUA_YIELD:
        return kCoSuspended;
    case 0: {
        lua_Debug frame;
        if (lua_getstack(co, 0, &frame) > 0)
            return kCoNormal;                   // it resumed another one
        return lua_gettop(co) == 0 ? kCoDead : kCoSuspended;
    }
    default:
        return kCoDead;
    }
}

// Resume with the n values at the top of L. Returns the number of results, which are at the top of
// L then, or -1 with an error value there.
inline int coroutine_resume_with(lua_State* L, lua_State* co, int n) {
    LuaControl* c = lua_control(L);
    lua_spend(L, kResumeSteps);
    CoroutineStatus status = coroutine_status_of(L, co);
    if (!lua_checkstack(co, n))
        luaL_error(L, "too many arguments to resume");
    if (status != kCoSuspended) {
        lua_pushfstring(L, "cannot resume %s coroutine", kCoroutineStatusNames[status]);
        return -1;
    }
    lua_xmove(L, co, n);
    lua_setlevel(L, co);
    lua_sethook(co, lua_hook, LUA_MASKCOUNT, lua_hook_count(c, co));
    c->running = co;
    int result = lua_resume(co, n);
    c->running = L;
    if (result == 0 || result == LUA_YIELD) {
        base_check_running(L);
        int results = lua_gettop(co);
        if (!lua_checkstack(L, results + 1))
            luaL_error(L, "too many results to resume");
        lua_xmove(co, L, results);
        return results;
    }
    base_check_running(L);
    lua_xmove(co, L, 1);
    return -1;
}

inline int coroutine_resume(lua_State* L) {
    lua_State* co = lua_tothread(L, 1);
    lua_argcheck(L, co != nullptr, 1, "coroutine expected");
    int results = coroutine_resume_with(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, results >= 0);
    int pushed = results >= 0 ? results : 1;
    lua_insert(L, -(pushed + 1));
    return pushed + 1;
}

inline int coroutine_create(lua_State* L) {
    lua_State* co = lua_newthread(L);
    lua_argcheck(L, lua_type(L, 1) == LUA_TFUNCTION && !lua_iscfunction(L, 1), 1,
                 "Lua function expected");
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

// Upvalue 1: the coroutine.
inline int coroutine_wrapped(lua_State* L) {
    lua_State* co = lua_tothread(L, lua_upvalue_index(1));
    int results = coroutine_resume_with(L, co, lua_gettop(L));
    if (results >= 0)
        return results;
    if (lua_isstring(L, -1)) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

inline int coroutine_wrap(lua_State* L) {
    coroutine_create(L);
    lua_pushcclosure(L, coroutine_wrapped, 1);
    return 1;
}

inline int coroutine_status(lua_State* L) {
    lua_State* co = lua_tothread(L, 1);
    lua_argcheck(L, co != nullptr, 1, "coroutine expected");
    lua_pushstring(L, kCoroutineStatusNames[coroutine_status_of(L, co)]);
    return 1;
}

inline int coroutine_running(lua_State* L) {
    if (lua_pushthread(L))
        lua_pushnil(L);                         // the main thread is no coroutine
    return 1;
}

inline int coroutine_yield(lua_State* L) { return lua_yield(L, lua_gettop(L)); }

// Push the library. Raises when memory is out.
inline void lua_open_coroutine(lua_State* L) {
    static const LuaFunction functions[] = {
        {"create", coroutine_create},   {"resume", coroutine_resume}, {"wrap", coroutine_wrap},
        {"status", coroutine_status},   {"yield", coroutine_yield},
        {"running", coroutine_running},
    };
    lua_newtable(L);
    lua_set_functions(L, functions);
}

}  // namespace kvnode
