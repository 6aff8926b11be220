"""Functions: libraries are records of the log, loaded into an engine when it first needs them.

FUNCTION LOAD runs the top level of a library in the sequencer's engine, to learn what it registers.
What functions keep in upvalues lives as long as the engine's state, on each engine by itself.
"""

from libc.stdint cimport uint64_t
from kvnode._core.script_cache cimport Runnable
from kvnode._core.script_engine cimport Engine
from kvnode._core.view cimport View


cdef enum:
    LIBRARIES_BYTES_MAX = 64 << 20      # of the code of all


cdef class Library:
    cdef readonly bytes name
    cdef readonly bytes code
    cdef readonly Py_ssize_t body       # where its first line ends
    cdef readonly list functions        # in the order of their names
    cdef bytes key                      # of its record
    cdef uint64_t hash


cdef class Function(Runnable):
    cdef readonly Library library
    cdef readonly bytes description     # or None


cdef class Libraries:
    cdef View view
    cdef Engine here, beside
    cdef readonly dict libraries        # name -> Library
    cdef dict functions                 # lower-case name -> Function
    cdef bint is_doubtful               # an EXEC that may have been undone has changed it

    cdef Function find(self, const char* name, size_t n)
    cdef int make_ready(self, Function function, Engine engine) except -1
    cdef int see(self, Library library) except -1
    cdef int settle(self) except -1
    cdef int note_change(self) except -1
    cdef Library read(self, bytes code)
    cdef int require_room(self, Library library, list leaving) except -1
    cdef int add(self, Library library) except -1
    cdef int remove(self, Library library) except -1
    cdef int drop(self, Library library) except -1
