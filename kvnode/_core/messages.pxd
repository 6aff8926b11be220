"""Messages of pub/sub on their way into the output of a session, whatever state that is in.

A message belongs to the open batch: somebody published it there, and may have done or seen all that
was executed before. So its receiver's output waits for that batch, or, if it comes to nothing, for
the last one before it (I2), and for leadership to be confirmed, as the publisher's reply does. A reply
that leaves in parts is not torn: messages follow it.
"""

from libc.stdint cimport uint64_t
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session


cdef int push(Sequencer s, Session session, const char* message, size_t n) except -1
cdef int keep_behind(Sequencer s, Session session, const char* message, size_t n) except -1
cdef int push_behind(Sequencer s) except -1
cdef int end_messages(Sequencer s) except -1
cdef bint is_past_limit(Sequencer s, Session session, uint64_t most) except -1
