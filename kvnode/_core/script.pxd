"""EVAL and its kin: from the command to a run of a script, on the sequencer or beside it."""

from libc.stdint cimport int64_t, uint64_t
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.script_cache cimport Runnable, Script, ScriptCache
from kvnode._core.script_engine cimport Engine
from kvnode._core.script_functions cimport Function, Libraries
from kvnode._core.view cimport View


cdef enum:
    BUDGET_MICROS = 5000                # of a script on the sequencer
    LIMIT_MICROS = 300000000            # of one that runs beside it
    MISSES_MAX = 3                      # runs of one call that lacked a record; then it runs beside
    SESSIONS_MAX = 10000                # of which such runs are counted
    UNDIVIDED_MICROS = 500000           # of one in an EXEC that has to run in one step
    FIRST_ARGUMENT = 3                  # of EVAL: its first key


cdef class Scripts:
    cdef View view
    cdef readonly ScriptCache cache
    cdef readonly Engine here           # on the sequencer
    cdef readonly Engine beside
    cdef public int64_t budget_micros   # of a run on the sequencer; 0: none
    cdef public int64_t limit_micros    # of one beside it; 0: none
    cdef public int misses_max
    cdef dict misses                    # session id -> runs of its call that lacked a record
    cdef public set programs            # that run beside the sequencer, or wait to
    cdef public uint64_t moved          # that were past the budget, ever

    cdef readonly Libraries functions

    cdef bint misses_often(self, View view) except -1
    cdef Script script_of(self, View view, Args* args, bint by_name, Reply reply)
    cdef int call_function(self, View view, Args* args, bint is_readonly, Reply reply) except -1
    cdef int start(self, View view, Args* args, Runnable script, bint is_function, int count,
                   bint is_readonly, Reply reply) except -1
    cdef int run(self, View view, Args* args, bint by_name, bint is_readonly, Reply reply) except -1
