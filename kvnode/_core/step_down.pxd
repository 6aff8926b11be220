"""The end of a leadership (I6): what clients wait for is answered, and nothing more is executed."""

from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session


cdef bint end_leadership(Sequencer s, bytes uncertain, bytes retry, bytes unblocked) except -1
cdef list take_held(Sequencer s)
cdef int fail_output(Sequencer s, Session session, bytes line) except -1
