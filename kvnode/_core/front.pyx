# cython: boundscheck=False, wraparound=False
"""Stands before a sequencer that does not serve: its subclass knows who does."""

from kvnode._core.session cimport Session


cdef class Front:
    """Takes the sessions of a node that does not lead."""

    cdef int run(self, Session session) except -1:
        raise NotImplementedError
