"""What the commands behind the present one of a pipeline, or of an EXEC, will need."""

from libc.stdint cimport uint64_t
from kvnode._core.dispatch cimport Command, Dispatch
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session
from kvnode._core.view cimport View


cdef int bring_near(Sequencer s, Session session) except -1
cdef int look_ahead(Sequencer s, Session session) except -1
cdef int look_ahead_in_queue(View view, Dispatch dispatch, const char* queue, size_t at,
                             size_t n) except -1
cdef void count_cold(Sequencer s, Session session, Command command, uint64_t number) noexcept
