# cython: boundscheck=False, wraparound=False
"""Ends a sequencer's leadership: held output, waits and large replies end, WATCHes are void."""

from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint64_t
from kvnode._core.blocking cimport Waiter
from kvnode._core.messages cimport end_messages
from kvnode._core.reply cimport reply_error
from kvnode._core.session cimport REPLY_ON, S_CLOSED, S_CLOSING, S_WAITING, Session


cdef bint end_leadership(Sequencer s, bytes uncertain, bytes retry, bytes unblocked) except -1:
    """End the leadership; see Sequencer.step_down()."""
    cdef Session session
    cdef bint is_lost = has_uncommitted_effects(s)
    s.serving = s.leads = False
    hold_open_pass(s)
    for session in take_held(s):
        fail_output(s, session, uncertain if session.holds_write() else retry)
    end_waits(s, unblocked)
    s.flushable += s.streams.fail(s.view)
    end_messages(s)
    for session, _ in s.jobs:
        end_session(s, session, retry)
    s.jobs.clear()
    for session in s.view.staging.values():
        if session is not None:         # what it has written ahead is trash, as its entries say
            session.staged = None
            session.building = None
    s.view.staging.clear()
    s.view.watches.touch_all()
    s.batch_open = False
    s.is_over = is_lost
    if is_lost:
        s.batches.clear()
        s.holders.clear()
        s.committed_batches = 0
        s.unsynced_bytes = 0
    else:
        forget_empty_entries(s)
    return not is_lost


cdef bint has_uncommitted_effects(Sequencer s) except -1:
    """Whether memory holds what may never be committed."""
    cdef size_t i
    for i in range(s.committed_batches, s.batches.size()):
        if s.batches[i].bytes:
            return True
    return s.view.has_writes()


cdef int forget_empty_entries(Sequencer s) except -1:
    """The log may end at what is committed, as far as memory is concerned."""
    while s.batches.size() > s.committed_batches:
        s.batches.pop_back()
        s.holders.pop_back()
    s.last_index = s.committed
    s.synced = min(s.synced, s.committed)
    s.stable = min(s.stable, s.committed)
    return 0


cdef int hold_open_pass(Sequencer s) except -1:
    """What this pass has written so far waits like the rest: for an entry that will never be."""
    cdef Session session
    for session in s.ran:
        session.in_pass = False
        if session.new_output() and (session.looked or session.wrote):
            s.fences.add(session, s.passes)
            session.hold(s.term, s.last_index + 1, s.passes)
        elif session.sendable() or session.state == S_CLOSING:
            s.flushable.append(session)
    s.ran.clear()
    return 0


cdef int end_waits(Sequencer s, bytes line) except -1:
    """Those that wait on keys got nothing."""
    cdef Waiter* w = s.waiters.first_waiter()
    cdef Session session
    while w != NULL:
        session = <Session>w.session
        s.waiters.remove(w)
        if session.state < S_CLOSING:
            session.state = S_WAITING       # it may have been parked
            end_session(s, session, line)
        w = s.waiters.first_waiter()
    return 0


cdef int end_session(Sequencer s, Session session, bytes line) except -1:
    """Answer a session that waits, and has done nothing, by an error; then close it."""
    if session.state != S_WAITING:
        return 0
    if session.reply_mode == REPLY_ON:
        reply_error(session.reply, line, len(line))
    session.state = S_CLOSING
    s.flushable.append(session)
    return 0


cdef list take_held(Sequencer s):
    """Forget which sessions have output that waits; return them."""
    cdef dict sessions = {}
    cdef Session session
    cdef size_t i
    cdef size_t k
    for i in range(s.holders.size()):
        for k in range(s.holders[i].size()):
            session = <Session>s.holders[i][k]
            Py_DECREF(session)
            sessions[session] = None
        s.holders[i].clear()
    s.held = 0
    s.fences.take(sessions)
    return list(sessions)


cdef int fail_output(Sequencer s, Session session, bytes line) except -1:
    """Replace the output of a session that waits by an error; it closes after that."""
    if session.state != S_CLOSED and session.drop_held():
        reply_error(session.reply, line, len(line))
        session.state = S_CLOSING
        s.flushable.append(session)
    return 0
