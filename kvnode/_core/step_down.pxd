"""The end of a leadership (I6): what clients wait for is answered, and nothing more is executed."""

from kvnode._core.sequencer cimport Sequencer


cdef bint end_leadership(Sequencer s, bytes uncertain, bytes retry, bytes unblocked) except -1
