"""One Lua state of a node and the commands that its scripts run.

A node has two: one on the sequencer, whose commands run on the tip, and one on the thread of the
transactions, whose commands run in a workspace. A run ends in one of these ways:

    DONE    by return or by an error: what it wrote stays, its reply is written
    PARK    a command lacks a record     }
    LONG    past the budget              } nothing of it stays
    HELD, AGAIN    a write has to wait   }

Killed, past its hard limit or out of memory it answers an error, is DONE, and nothing of it stays.
"""

from libc.stdint cimport int64_t, uint64_t
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport Command, Dispatch
from kvnode._core.lua_libraries cimport LuaControl, State, lua_CFunction, lua_State
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.script_cache cimport Runnable, Script
from kvnode._core.view cimport View
from kvnode._core.workspace cimport Workspace

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass
    PyThreadState* PyEval_SaveThread() nogil
    void PyEval_RestoreThread(PyThreadState*) nogil

cdef extern from "lua_redis_functions.hpp" namespace "kvnode" nogil:
    enum: kLuaInterrupted

    ctypedef struct LuaSlice:
        const char* data
        size_t len

    cppclass LuaOutput:
        char* data
        size_t len
        uint64_t errors
        size_t error_at
        void clear(int proto)
        void shrink(size_t most)

cdef extern from "lua_redis_functions.hpp" namespace "kvnode":
    cppclass LuaHost:
        void* engine
        int (*execute)(void*, const LuaSlice*, int) noexcept
        int (*knows_command)(void*, const LuaSlice*, int) noexcept
        void (*log)(void*, int, const char*, size_t) noexcept
        PyThreadState* thread
        const char* reply
        size_t reply_bytes
        bint reply_is_nil
        int resp
        LuaOutput out

cdef extern from "lua_redis_functions.hpp" namespace "kvnode" nogil:
    int redis_run_function(lua_State*, LuaHost*, int ref, const LuaSlice* keys, int keys_count,
                           const LuaSlice* argv, int argv_count, bint as_arguments, int64_t steps,
                           size_t memory_cap, int* stopped) noexcept
    int redis_describe(lua_State*, LuaHost*, const char* name) noexcept
    int redis_install(lua_State*, LuaHost*) noexcept
    void redis_settle(lua_State*) noexcept
    int redis_keep(lua_State*) noexcept
    void redis_drop(lua_State*, int ref) noexcept

    cppclass LuaFunctionList:
        size_t size()
        const char* name(size_t i)
        size_t name_bytes(size_t i)
        const char* description(size_t i)   # NULL: none
        size_t description_bytes(size_t i)
        unsigned int flags(size_t i)
        int ref(size_t i)

    const char* redis_error_text(lua_State*, size_t* n) noexcept
    int redis_load_library(lua_State*, LuaHost*, LuaFunctionList*, int64_t steps, size_t memory_cap,
                           int* stopped) noexcept


cdef enum:
    LOAD_STEPS = 500000             # of the top level of a library: about 5 ms
    GRANT_STEPS = 10000             # between two looks at the clock: about 100 us
    COMPILED_MAX = 1024             # functions of one engine
    SCRIPT_MEMORY_BYTES = 256 << 20     # of one state
    OUTPUT_KEPT_BYTES = 1 << 20     # of a state's reply buffer, between runs


cdef enum End:                      # why a script was stopped
    E_NOT_STOPPED = 0
    E_PAST_LIMIT = 1
    E_KILLED = 2


cdef struct Budget:
    int64_t grant                   # steps
    int64_t grants_left             # -1: the clock decides
    int64_t micros_max              # 0: no limit
    uint64_t started                # us; 0: not looked yet
    bint killed                     # by another thread, at any time
    End end


cdef class Engine:
    cdef object make_state          # returns a State that is not sealed
    cdef readonly int number        # 0: on the sequencer; 1: beside it
    cdef State state
    cdef lua_State* L
    cdef LuaHost host
    cdef Reply reply                # of the commands that it runs
    cdef Budget budget
    cdef vector[int] compiled       # references of functions
    cdef uint64_t epoch             # grows when these are dropped
    cdef uint64_t states            # made and given up so far; functions of libraries last as long
    cdef vector[int] doomed         # references that the next run drops, on its thread
    cdef View view
    cdef Workspace work             # in which it runs, or None
    cdef Dispatch dispatch
    cdef bint is_readonly
    cdef bint is_blind
    cdef int outcome                # with which a command stopped the script
    cdef object error               # that a command raised
    cdef public object read_missing     # read_missing(): a workspace gets what it lacks; or None
    cdef public object on_log           # on_log(level, text)
    cdef public uint64_t memory_max
    cdef readonly bint is_running
    cdef readonly bint was_stopped      # the last run was killed, or past its limit
    cdef readonly uint64_t micros       # that the last run took

    cdef int open(self) except -1
    cdef int close(self) except -1
    cdef int compile(self, Script script, Reply reply) except -1
    cdef int run(self, View view, Runnable script, bint is_function, const Slice* keys, int keys_count,
                 const Slice* argv, int argv_count, bint is_readonly, Reply reply) except -1
    cdef int finish(self, Runnable script, int status, int stopped, Reply reply) except -1
    cdef int refuse(self, bytes line) except -1
    cdef int run_command(self, Args* args) except -1
    cdef int call(self, Command command, Args* args) except -1
    cdef int call_beside(self, Command command, Args* args) except -1
    cdef list load_library(self, bytes code, Py_ssize_t body)
    cdef int doom(self, int ref) except -1
    cdef Command command_of(self, Args* args)
