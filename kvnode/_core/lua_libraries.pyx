"""A Lua state with the libraries and the limits of scripts, taken over from lupa.

Importing this module needs the symbols of lupa's Lua: `kvnode.scripting.runtime` opens them.
"""

cimport cython
from libc.stdint cimport int64_t

cdef extern from *:
    """
    // Called by Lua as package.loadlib's result; leaves the state for State(), on the same thread.
    static thread_local lua_State* kvnode_opened = nullptr;

    extern "C" __attribute__((visibility("default"))) int kvnode_lua_open(lua_State* L) {
        kvnode_opened = L;
        return 0;
    }
    """
    lua_State* kvnode_opened

OUT_OF_STEPS = kLuaOutOfSteps
OUT_OF_MEMORY = kLuaOutOfMemory
SCRIPT_BYTES_MAX = kScriptBytesMax


cdef int64_t grant(void* arg) noexcept nogil:
    cdef Grants* grants = <Grants*>arg
    if grants.left == 0:
        return 0
    grants.left -= 1
    return grants.steps


# Cleared by its own __dealloc__ only: the allocator goes back before the runtime closes the state.
@cython.no_gc_clear
cdef class State:

    def __cinit__(self, runtime not None):
        global kvnode_opened
        cdef lua_State* L = kvnode_opened
        kvnode_opened = NULL
        if L == NULL:
            raise ValueError("kvnode_lua_open was not called in this runtime")
        self.runtime = runtime
        if not lua_pushthread(L):
            raise ValueError("kvnode_lua_open was called by a coroutine")
        lua_settop(L, -2)
        self.L = L
        self.check(lua_make(L, &self.control))

    def __dealloc__(self):
        lua_give_back(&self.control)

    cdef int check(self, int status) except -1:
        if status != 0:
            message = self.take_value(-1)
            lua_settop(self.L, 0)
            raise RuntimeError(f"Lua state: {message!r}")
        return 0

    cpdef seal(self):
        self.check(lua_run_protected(self.L, lua_seal_protected))

    @property
    def memory_used(self):
        return self.control.memory_used

    def evaluate(self, bytes text not None, *, int64_t steps, size_t memory_bytes, int64_t grants=0):
        cdef lua_State* L = self.L
        cdef int status, stopped
        status = lua_compile(L, text, len(text), b"@user_script")
        if status != 0:
            return self.take_results(0, status)
        self.grants.steps = steps
        self.grants.left = grants
        self.control.more_steps = grant
        self.control.more_steps_arg = &self.grants
        lua_begin(&self.control, steps, memory_bytes)
        status = lua_pcall(L, 0, LUA_MULTRET, 0)
        stopped = lua_end(&self.control)
        return self.take_results(stopped, status)

    cdef tuple take_results(self, int stopped, int status):
        cdef int i
        values = [self.take_value(i) for i in range(1, lua_gettop(self.L) + 1)]
        lua_settop(self.L, 0)
        if status != 0:
            return stopped, None, values.pop()
        return stopped, values, None

    cdef object take_value(self, int i):
        cdef int type = lua_type(self.L, i)
        cdef const char* text
        cdef size_t n
        if type == LUA_TNIL:
            return None
        if type == LUA_TBOOLEAN:
            return lua_toboolean(self.L, i) != 0
        if type == LUA_TNUMBER:
            return lua_tonumber(self.L, i)
        if type == LUA_TSTRING:
            text = lua_tolstring(self.L, i, &n)
            return text[:n]
        text = lua_typename(self.L, type)
        return f"<{text.decode()}>"
