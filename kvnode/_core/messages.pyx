# cython: boundscheck=False, wraparound=False
"""Messages of pub/sub on their way into the output of a session."""

from kvnode._core.buffer cimport buffer_append, buffer_free
from kvnode._core.session cimport REPLY_ON, S_CLOSED, S_CLOSING

OUTPUT_LIMIT = "client-output-buffer-limit"     # as the reason of a close


cdef int push(Sequencer s, Session session, const char* message, size_t n) except -1:
    """Write a message to a session, or keep it until its reply is complete. In a pass.

    A client that has left too much of its output gets no more, and is closed.
    """
    if session.state in (S_CLOSING, S_CLOSED):
        return 0
    s.attend(session)
    if s.message_bytes_max and session.unsent() + session.behind.len + n > s.message_bytes_max:
        session.state = S_CLOSING
        session.close_reason = OUTPUT_LIMIT
        return 0
    s.pushed_bytes += n
    session.observed = max(session.observed, s.view.commit_ts)
    if session.stream is not None or session.in_parts or (
            session is s.view.session and session.reply_mode != REPLY_ON):
        return keep_behind(s, session, message, n)
    return buffer_append(&session.reply.out, message, n)


cdef int keep_behind(Sequencer s, Session session, const char* message, size_t n) except -1:
    """Keep a message until the reply of the session is complete, or taken back."""
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
            s.attend(session)
            session.observed = max(session.observed, s.view.commit_ts)
            buffer_append(&session.reply.out, session.behind.data, session.behind.len)
        buffer_free(&session.behind)
    return 0
