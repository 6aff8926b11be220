"""Replies with large strings: made at one point of the order, sent in bounded steps.

The command runs as any other. Where its reply has a large string it notes a part: value id and
span. The bytes of a part are copied from the tip a step at a time, as the client takes them, and
must be those of the moment at which the command ran. A string in chunks changes only where a chunk
is overwritten under its id (strvalue.overwrite) or swept after its death. So the view lists the
parts that are open under a value id: an overwrite gives them the old chunk first, and the sweeper
waits for them.
"""

from libc.stdint cimport int64_t, uint64_t
from kvnode._core.reply cimport Reply
from kvnode._core.session cimport Session
from kvnode._core.tip cimport Version
from kvnode._core.view cimport View

cdef enum:
    STREAM_BYTES_MIN = 1 << 20      # unsent output past which a string in chunks becomes a part
    STREAM_STEP_BYTES = 1 << 19     # added by a step; the next begins when fewer are unsent
    STREAM_PASS_BYTES = 2 << 20     # added by the steps of one pass, about
    KEPT_OVERHEAD_BYTES = 96        # of a kept chunk beside its bytes, by estimate


cdef class Part:
    # A span of a string that is still to be copied into the output.
    cdef Stream stream
    cdef uint64_t value_id
    cdef uint64_t at            # next byte of the string
    cdef uint64_t end
    cdef size_t place           # offset in the reply's text at which the span belongs
    cdef dict kept              # chunk number -> its bytes before somebody overwrote it


cdef class Stream:
    # What is left of one reply.
    cdef list parts             # in order; those before `next_part` are done
    cdef size_t next_part
    cdef bytes text             # the reply from the first part on, without the parts
    cdef size_t text_at
    cdef readonly uint64_t kept_bytes
    cdef bint is_lost           # others overwrote more than may be kept: it cannot be completed
    cdef bint is_queued         # its session is in the list of ready ones
    cdef bint ends_session      # the connection closes after it


cdef class Streams:
    # All of a node. `ready` is the list of sessions to run in the next pass.
    cdef dict sessions          # those with a reply that leaves in steps -> None
    cdef int64_t left           # bytes that steps may still add in this pass
    cdef Py_ssize_t deferred    # sessions at the front of `ready` for which none were left

    cdef int open_pass(self) except -1
    cdef int begin(self, Session session, list ready) except -1
    cdef bint may_step(self, Session session, list ready) except -1
    cdef int step(self, View view, Session session, list ready) except -1
    cdef int refill(self, Session session, list ready) except -1
    cdef int refill_all(self, list ready) except -1
    cdef int end(self, View view, Session session) except -1
    cdef list fail(self, View view)


cdef bint is_streamed(View view, uint64_t n, Reply reply) except -1
cdef int open_part(View view, const Version* v, uint64_t start, uint64_t n, Reply reply) except -1
cdef int keep_chunks(View view, uint64_t value_id, uint64_t first, uint64_t end) except -1
