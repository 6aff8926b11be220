# cython: boundscheck=False, wraparound=False
"""Runs a reading command on what a follower has applied: see follower_reads.pxd."""

from kvnode._core.dispatch cimport C_BLOCKING, C_NOSCRIPT, DONE, HELD, LONG, PARK
from kvnode._core.session cimport S_PARKED, S_WAITING
from kvnode._core.view cimport Savepoint, View


cdef bint may_read_here(Command command, uint32_t flags) noexcept:
    """Whether a command only reads keys that it names, and is no script."""
    return command is not None and command.reads_keys \
        and flags & (C_BLOCKING | C_NOSCRIPT) == 0


cdef int read_here(Sequencer sequencer, Session session, Args* args) except -1:
    """Run it: DONE; PARK or HELD, the session waits, and it runs again; LONG: the leader has to.

    Only the first leaves anything.
    """
    cdef View view = sequencer.view
    cdef Savepoint mark
    cdef size_t before = session.reply.out.len
    cdef int outcome
    if not sequencer.tip.has_databases():   # the group has only begun
        return LONG
    if not sequencer.batch_open:
        sequencer.open_batch()
    view.enter(session)
    mark = view.savepoint()
    outcome = sequencer.dispatch.execute(view, session, args)
    if view.has_writes():       # a key past its deadline: its deletion is the leader's
        view.rollback(&mark)
        outcome = LONG
    else:
        view.end_savepoint(&mark)
    if session.stream is not None:      # its steps are a sequencer's that serves
        sequencer.streams.end(view, session)
        outcome = LONG
    if outcome == DONE:
        sequencer.settle(session, DONE, before)
        return DONE
    session.reply.out.len = before
    if outcome == HELD:
        session.state = S_WAITING
        return HELD
    if outcome == PARK:
        session.state = S_PARKED
        sequencer.parked.append(session)
        return PARK
    view.clear_missing()
    view.missing_loads.clear()
    view.missing_spans.clear()
    return LONG
