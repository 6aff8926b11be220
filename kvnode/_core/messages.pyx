# cython: boundscheck=False, wraparound=False
"""Messages of pub/sub on their way into the output of a session."""

from kvnode._core.buffer cimport buffer_append, buffer_free
from kvnode._core.session cimport S_CLOSED, S_CLOSING


cdef int push(Sequencer s, Session session, const char* message, size_t n) except -1:
    """Write a message to a session, or keep it until its reply is complete. In a pass."""
    if session.state in (S_CLOSING, S_CLOSED):
        return 0
    s.attend(session)
    session.observed = max(session.observed, s.view.commit_ts)
    if session.stream is None and not session.in_parts:
        return buffer_append(&session.reply.out, message, n)
    if session.behind.len == 0:
        s.interrupted.append(session)
    return buffer_append(&session.behind, message, n)


cdef int push_behind(Sequencer s) except -1:
    """Write the messages whose sessions have got the whole reply that was before them."""
    cdef list sessions = s.interrupted
    cdef Session session
    s.interrupted = []
    for session in sessions:
        if session.state not in (S_CLOSING, S_CLOSED):
            if session.stream is not None or session.in_parts:
                s.interrupted.append(session)
                continue
            push(s, session, session.behind.data, session.behind.len)
        buffer_free(&session.behind)
    return 0
