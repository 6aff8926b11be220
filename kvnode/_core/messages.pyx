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
    session.looked = True
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
            session.looked = True
            buffer_append(&session.reply.out, session.behind.data, session.behind.len)
        buffer_free(&session.behind)
    return 0


cdef int end_messages(Sequencer s) except -1:
    """Leadership is lost: close who is subscribed, as others publish from now on.

    A client connects and subscribes again; what it has missed is not kept anywhere.
    """
    cdef Session session
    for session in s.interrupted:
        buffer_free(&session.behind)
    s.interrupted.clear()
    if s.view.pubsub is None:
        return 0
    for session in s.view.pubsub.end_all():
        if session.state not in (S_CLOSING, S_CLOSED):
            session.state = S_CLOSING
            session.close_reason = "leader lost"
            s.flushable.append(session)
    return 0


cdef bint is_past_limit(Sequencer s, Session session, uint64_t most) except -1:
    """Whether a client has left more of its output than the hard limit allows.

    most: the limit of one that is not subscribed; 0 = none.
    """
    if session.state == S_CLOSING and session.close_reason == OUTPUT_LIMIT:
        return True
    if session.subscriber != NULL or session.is_subscribed_there:
        most = s.message_bytes_max
    return most != 0 and session.unsent() + session.behind.len > most
