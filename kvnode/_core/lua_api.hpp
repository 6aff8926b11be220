// The part of Lua 5.1's C interface that we call. lupa's wheel brings the library without headers;
// these are the declarations of the reference manual, with its macros as inline functions.
//
// The library is C: it reports an error by longjmp. Code that calls a function marked "raises" keeps
// no C++ object with a destructor and no Python reference alive across the call.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

typedef struct lua_State lua_State;
typedef double lua_Number;
typedef ptrdiff_t lua_Integer;

// Filled by lua_getstack; the layout must be the library's own.
typedef struct lua_Debug {
    int event;
    const char* name;
    const char* namewhat;
    const char* what;
    const char* source;
    int currentline;
    int nups;
    int linedefined;
    int lastlinedefined;
    char short_src[60];
    int i_ci;
} lua_Debug;

typedef int (*lua_CFunction)(lua_State*);
typedef void (*lua_Hook)(lua_State*, lua_Debug*);
typedef void* (*lua_Alloc)(void* ud, void* ptr, size_t osize, size_t nsize);
typedef const char* (*lua_Reader)(lua_State*, void* ud, size_t* size);

enum {
    LUA_REGISTRYINDEX = -10000,
    LUA_GLOBALSINDEX = -10002,
    LUA_MULTRET = -1,
    LUA_NOREF = -2,
};
enum { LUA_YIELD = 1, LUA_ERRRUN = 2, LUA_ERRSYNTAX = 3, LUA_ERRMEM = 4, LUA_ERRERR = 5 };
enum {
    LUA_TNONE = -1,
    LUA_TNIL = 0,
    LUA_TBOOLEAN = 1,
    LUA_TLIGHTUSERDATA = 2,
    LUA_TNUMBER = 3,
    LUA_TSTRING = 4,
    LUA_TTABLE = 5,
    LUA_TFUNCTION = 6,
    LUA_TUSERDATA = 7,
    LUA_TTHREAD = 8,
};
enum { LUA_MASKLINE = 4, LUA_MASKCOUNT = 8 };
enum { LUA_GCSTOP = 0, LUA_GCRESTART = 1, LUA_GCCOLLECT = 2, LUA_GCCOUNT = 3, LUA_GCCOUNTB = 4,
       LUA_GCSTEP = 5, LUA_GCSETPAUSE = 6, LUA_GCSETSTEPMUL = 7 };

// State, allocator, hook. None of these raises.
lua_Alloc lua_getallocf(lua_State*, void** ud);
void lua_setallocf(lua_State*, lua_Alloc, void* ud);
int lua_sethook(lua_State*, lua_Hook, int mask, int count);
int lua_gethookcount(lua_State*);
int lua_getstack(lua_State*, int level, lua_Debug*);
int lua_getinfo(lua_State*, const char* what, lua_Debug*);  // raises

// Stack. None raises, except that lua_checkstack does when it is out of memory.
int lua_gettop(lua_State*);
void lua_settop(lua_State*, int);
void lua_pushvalue(lua_State*, int);
void lua_remove(lua_State*, int);
void lua_insert(lua_State*, int);
void lua_replace(lua_State*, int);
int lua_checkstack(lua_State*, int);
void lua_xmove(lua_State* from, lua_State* to, int n);

// What a value is. None raises, except that lua_tolstring converts a number in its place.
int lua_isnumber(lua_State*, int);
int lua_isstring(lua_State*, int);
int lua_iscfunction(lua_State*, int);
int lua_type(lua_State*, int);
const char* lua_typename(lua_State*, int type);
int lua_lessthan(lua_State*, int, int);         // raises
lua_Number lua_tonumber(lua_State*, int);
lua_Integer lua_tointeger(lua_State*, int);
int lua_toboolean(lua_State*, int);
const char* lua_tolstring(lua_State*, int, size_t* n);
size_t lua_objlen(lua_State*, int);
void* lua_touserdata(lua_State*, int);
lua_State* lua_tothread(lua_State*, int);
const void* lua_topointer(lua_State*, int);

// Pushing. Those that make an object raise when memory is out.
void lua_pushnil(lua_State*);
void lua_pushnumber(lua_State*, lua_Number);
void lua_pushinteger(lua_State*, lua_Integer);
void lua_pushlstring(lua_State*, const char*, size_t);
void lua_pushstring(lua_State*, const char*);
const char* lua_pushfstring(lua_State*, const char* format, ...);
void lua_pushcclosure(lua_State*, lua_CFunction, int upvalues);
void lua_pushboolean(lua_State*, int);
void lua_pushlightuserdata(lua_State*, void*);
int lua_pushthread(lua_State*);
void* lua_newuserdata(lua_State*, size_t);
lua_State* lua_newthread(lua_State*);
void lua_createtable(lua_State*, int array, int hash);

// Tables. All raise.
void lua_gettable(lua_State*, int);
void lua_getfield(lua_State*, int, const char*);
void lua_rawget(lua_State*, int);
void lua_rawgeti(lua_State*, int, int);
int lua_getmetatable(lua_State*, int);          // does not raise
void lua_settable(lua_State*, int);
void lua_setfield(lua_State*, int, const char*);
void lua_rawset(lua_State*, int);
void lua_rawseti(lua_State*, int, int);
int lua_setmetatable(lua_State*, int);
int lua_next(lua_State*, int);

// Running code. lua_call, lua_error and lua_concat raise; lua_pcall, lua_load and lua_resume return.
void lua_call(lua_State*, int arguments, int results);
int lua_pcall(lua_State*, int arguments, int results, int handler);
int lua_load(lua_State*, lua_Reader, void* ud, const char* name);
int lua_yield(lua_State*, int results);
int lua_resume(lua_State*, int arguments);
int lua_status(lua_State*);
int lua_gc(lua_State*, int what, int data);
int lua_error(lua_State*);
void lua_concat(lua_State*, int);
void lua_setlevel(lua_State* from, lua_State* to);

// The auxiliary library. All raise.
int luaL_getmetafield(lua_State*, int, const char*);
int luaL_argerror(lua_State*, int, const char*);
int luaL_typerror(lua_State*, int, const char*);
const char* luaL_checklstring(lua_State*, int, size_t*);
const char* luaL_optlstring(lua_State*, int, const char*, size_t*);
lua_Number luaL_checknumber(lua_State*, int);
lua_Integer luaL_checkinteger(lua_State*, int);
lua_Integer luaL_optinteger(lua_State*, int, lua_Integer);
void luaL_checkstack(lua_State*, int, const char*);
void luaL_checktype(lua_State*, int, int);
void luaL_checkany(lua_State*, int);
void luaL_where(lua_State*, int level);
int luaL_error(lua_State*, const char* format, ...);
int luaL_checkoption(lua_State*, int, const char*, const char* const*);
int luaL_ref(lua_State*, int);
void luaL_unref(lua_State*, int, int);

}  // extern "C"

namespace kvnode {

constexpr int kLuaStackMin = 20;                // slots that a C function has without asking

inline int lua_upvalue_index(int i) { return LUA_GLOBALSINDEX - i; }
inline void lua_pop(lua_State* L, int n) { lua_settop(L, -n - 1); }
inline void lua_newtable(lua_State* L) { lua_createtable(L, 0, 0); }
inline bool lua_is_none(lua_State* L, int i) { return lua_type(L, i) == LUA_TNONE; }
inline bool lua_is_none_or_nil(lua_State* L, int i) { return lua_type(L, i) <= LUA_TNIL; }

inline void lua_argcheck(lua_State* L, bool holds, int arg, const char* message) {
    if (!holds)
        luaL_argerror(L, arg, message);
}

struct LuaFunction {
    const char* name;
    lua_CFunction function;
};

// Set the functions as fields of the table at the top. Raises.
template <size_t N>
inline void lua_set_functions(lua_State* L, const LuaFunction (&functions)[N]) {
    for (const LuaFunction& f : functions) {
        lua_pushcclosure(L, f.function, 0);
        lua_setfield(L, -2, f.name);
    }
}

// The type of the value at the top, as luaL_typerror names it.
inline const char* lua_typename_at(lua_State* L, int i) { return lua_typename(L, lua_type(L, i)); }

}  // namespace kvnode
