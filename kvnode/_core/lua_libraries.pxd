"""One Lua state for scripts: the libraries of Redis, a sandbox, a budget of steps, a cap on memory.

How the script engine uses it, on one state, always from one thread at a time:

1. `kvnode.scripting.runtime.new_state()` makes it: taken over from lupa, libraries installed, not
   sealed. The engine sets its own (`redis`) into the table that lua_push_globals pushes, and calls
   `State.seal()`. Scripts compiled from then on see read-only tables.
2. `lua_compile` makes a function of a text. Outside of the armed time it cannot be stopped; a text
   is bounded by kScriptBytesMax.
3. A run: `lua_begin(control, steps, memory_cap)`, then push function and arguments, `lua_pcall`
   without a message handler, then `lua_end(control)` *before* anything else touches the state.
   It returns why the script was stopped; 0 means that status and result are the script's own.
   KEYS and ARGV are set into the table of lua_push_globals before lua_begin.
4. Stopped for kLuaOutOfMemory: drop the State and make another one.

`more_steps` has to look at a clock: steps alone are no budget. Where a block of more than 16 KiB was
asked for, an instruction may walk all of it, and is charged as if it did; so steps run out early, the
clock is looked at after 2.5 ms of work at most, and a script that does little costs one look per
hook. Give few steps at a time (10,000 are about 100 us).
A run needs 2 MiB of C stack at most.
A run leaves in the state what functions keep in upvalues, and the position of math.random. Settings
of cjson end with the run.

C functions of the engine that loop charge their work with `lua_spend`; it raises. A function that
raises must not be called from a frame that holds Python references or C++ destructors.
"""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "lua_libraries.hpp" nogil:
    ctypedef struct lua_State:
        pass
    ctypedef int (*lua_CFunction)(lua_State*) noexcept

    int LUA_TNIL
    int LUA_TBOOLEAN
    int LUA_TNUMBER
    int LUA_TSTRING
    int LUA_MULTRET

    int lua_gettop(lua_State*) noexcept
    void lua_settop(lua_State*, int) noexcept
    int lua_type(lua_State*, int) noexcept
    int lua_toboolean(lua_State*, int) noexcept
    double lua_tonumber(lua_State*, int) noexcept
    const char* lua_tolstring(lua_State*, int, size_t*) noexcept
    const char* lua_typename(lua_State*, int) noexcept
    int lua_pcall(lua_State*, int arguments, int results, int handler) noexcept
    int lua_pushthread(lua_State*) noexcept

cdef extern from "lua_libraries.hpp" namespace "kvnode" nogil:
    enum: kLuaRunning
    enum: kLuaOutOfSteps
    enum: kLuaOutOfMemory
    enum: kScriptBytesMax

    cppclass LuaControl:
        lua_State* main                     # NULL once it was given back
        int64_t steps_left
        int64_t (*more_steps)(void*) noexcept nogil     # asked at 0; returns more, or 0 to stop
        void* more_steps_arg
        int stopped
        bint armed
        size_t memory_used                  # bytes
        size_t memory_cap                   # bytes, judged while armed
        uint64_t random                     # where math.random stands

    LuaControl* lua_control(lua_State*) noexcept
    void lua_begin(LuaControl*, int64_t steps, size_t memory_cap) noexcept
    int lua_end(LuaControl*) noexcept
    int lua_compile(lua_State*, const char* text, size_t n, const char* name) noexcept
    void lua_spend(lua_State*, size_t steps) noexcept               # raises
    void lua_push_globals(lua_State*) noexcept                      # raises
    int lua_seal_protected(lua_State*) noexcept
    int lua_make(lua_State*, LuaControl*) noexcept
    int lua_run_protected(lua_State*, lua_CFunction) noexcept
    void lua_give_back(LuaControl*) noexcept

cdef struct Grants:
    int64_t steps                           # given at a time
    int64_t left                            # how often yet


cdef class State:
    cdef LuaControl control
    cdef lua_State* L
    cdef object runtime                     # lupa's, which owns the state
    cdef Grants grants

    cpdef seal(self)
    cdef int check(self, int status) except -1
    cdef tuple take_results(self, int stopped, int status)
    cdef object take_value(self, int i)
