"""The seam between the sequencer and forwarding: see front.pxd."""

from kvnode.base.errors import InvariantError


cdef class Front:
    """Given to a sequencer, it takes the sessions while the sequencer does not serve."""

    cdef int run(self, Session session) except -1:
        raise InvariantError("a front does not say what to do")

    cdef bint ends_with_answers(self, Session session) except -1:
        """A client sends no more: whether it is to be kept until it has its answers."""
        return False


cdef class Outlet:
    """The way out of mirrors."""

    cdef int collect(self, Session session) except -1:
        raise InvariantError("an outlet does not say what to do")


cdef class Mirror(Session):
    """A session whose client is connected to another node. Made as any session; see downlink."""


def collect(sessions):
    """Give what may leave of mirrors to their outlets; a reactor does it natively."""
    for session in sessions:
        if isinstance(session, Mirror):
            (<Mirror>session).outlet.collect(session)
