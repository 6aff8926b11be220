"""Where the commands of clients go while this node does not execute them."""

from kvnode._core.session cimport Session


cdef class Front:
    # Go on with what the session's parser holds, in a pass; see Sequencer.run().
    cdef int run(self, Session session) except -1
