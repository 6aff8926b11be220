# cython: boundscheck=False, wraparound=False
"""Sessions that wait on keys are served in their order, or answered without data."""

from kvnode._core.ahead cimport look_ahead
from kvnode._core.blocking cimport (
    NOT_RELEASED, S_DATA, S_NOTHING, TIMED_OUT, UNBLOCKED, Link, Queue, Release, Supply,
    Waiters)
from kvnode._core.dispatch cimport BLOCK, C_MAY_REPLICATE, C_WRITE, DONE, HELD, PARK, Command
from kvnode._core.parser cimport Args
from kvnode._core.queued cimport Queued, free_queued, load_queued
from kvnode._core.reply cimport reply_error, reply_null_array
from kvnode._core.session cimport REPLY_ON, S_CLOSING, S_PARKED, S_READY, S_WAITING

from kvnode.base.errors import InvariantError

cdef bytes UNBLOCKED_LINE = b"UNBLOCKED client unblocked via CLIENT UNBLOCK"


cdef int serve_waiters(Sequencer s, Session session) except -1:
    """Serve whoever waits on the keys that just got data; then `session` runs again.

    Serving may give other keys data (BLMOVE): their queues follow. It ends for this pass after
    `serving_max` steps: keys looked at, or commands that ran again.
    """
    cdef Waiters waiters = s.waiters
    cdef Queue* queue
    waiters.collect()
    if not waiters.has_ready():
        waiters.backlog = False
        return 0
    if session is not None:
        s.note_effects(session)
    while s.serving_left > 0:
        queue = waiters.next_ready()
        if queue == NULL:
            break
        serve_queue(s, queue)
    waiters.backlog = waiters.has_ready()
    if session is not None:
        s.view.enter(session)
    return 0


cdef int serve_queue(Sequencer s, Queue* queue) except -1:
    """Serve those that wait on one key until it has no more.

    The queue goes with the last of them, and who stands next with his own wait only: so the next
    link is taken before a command runs.
    """
    cdef Link* link = queue.first
    cdef Link* following
    cdef Waiter* w
    cdef Session session
    cdef Supply supply
    if link == NULL or link.waiter.stopped:
        s.serving_left -= 1
    while link != NULL and not link.waiter.stopped:
        if s.serving_left <= 0:
            s.waiters.go_on_with(queue)
            return 0
        s.serving_left -= 1
        following = link.next
        w = link.waiter
        session = <Session>w.session
        if session.state >= S_CLOSING:
            s.waiters.remove(w)
            link = following
            continue
        supply = s.waiters.supply(queue, w)
        if supply == S_NOTHING:
            break
        if supply == S_DATA:
            run_waiter(s, w)
            if session.state == S_READY:
                s.ready.append(session)
            elif session.waiter != NULL and w.stopped:
                break
            s.bound_batch()
            s.waiters.collect()
        link = following
    return 0


cdef int run_waiter(Sequencer s, Waiter* w) except -1:
    """Run the command of a waiting session again; its state says how it ended."""
    cdef Session session = <Session>w.session
    cdef Command command = <Command>w.command
    cdef size_t before = session.reply.out.len
    cdef int outcome = HELD
    s.join_pass(session)
    if w.released != NOT_RELEASED:
        return end_waiter(s, w, <Release>w.released)
    if w.stopped:
        s.waiters.renew(w)
    if s.dispatch.gate is None or not s.dispatch.gate(session, command):
        s.waiters.running = w
        try:
            outcome = s.dispatch.measure(s.view, session, command, &w.args)
        finally:
            s.waiters.running = NULL
    s.note_effects(session)
    if outcome == DONE:
        s.waiters.remove(w)
        session.state = S_READY
        return s.settle(session, DONE, before)
    s.settle(session, outcome, before)
    session.state = S_WAITING
    session.waiting = "keys"
    if outcome == BLOCK:
        if w.deadline_ms and w.deadline_ms <= s.now_ms:
            return end_waiter(s, w, TIMED_OUT)
    else:
        w.stopped = True
        if outcome == PARK:
            session.state = S_PARKED
            s.parked.append(session)
            look_ahead(s, session)
        elif outcome != HELD:
            raise InvariantError("a command that waited on keys cannot go on in parts")
    return s.view.finish_command()


cdef bint comes_later(Sequencer s, Session session, Args* args) except -1:
    """Whether a command would overtake sessions of the backlog: it waits for a later pass."""
    cdef Command command = s.dispatch.find(args.v[0].data, args.v[0].len)
    cdef Queued queued
    cdef bint later = False
    cdef size_t at = 0
    if command is None or not session.in_multi:
        return command is not None and names_ahead(s, session, command, args)
    while command.name == b"exec" and at < session.queued.len and not later:
        at = load_queued(session.queued.data, at, &queued)
        try:
            later = names_ahead(
                s, session, s.dispatch.find(queued.args.v[0].data, queued.args.v[0].len),
                &queued.args)
        finally:
            free_queued(&queued)
    return later


cdef bint names_ahead(Sequencer s, Session session, Command command, Args* args) except -1:
    """Whether a write names a key on which sessions wait that come first.

    Any argument may be a key: that puts off a command too many now and then.
    """
    cdef int i
    if command.flags & (C_WRITE | C_MAY_REPLICATE) == 0:
        return False
    if command.replaces_databases:
        return True
    for i in range(1, args.n):
        if s.waiters.is_ahead(session.db, &args.v[i]):
            return True
    return False


# -- ends without data --------------------------------------------------------------------------

cdef int end_waiter(Sequencer s, Waiter* w, Release how) except -1:
    """Answer a session that waits on keys without data for it.

    The answer says that there was none up to now, so it waits for all that was executed.
    """
    cdef Session session = <Session>w.session
    cdef Command command = <Command>w.command
    cdef size_t before = session.reply.out.len
    s.attend(session)
    session.observed = s.last_ts
    session.looked = True
    if how == TIMED_OUT:
        reply_null_array(session.reply)
    else:
        reply_error(session.reply, UNBLOCKED_LINE, len(UNBLOCKED_LINE))
        s.dispatch.count_error(session.reply)
        command.failed += 1
    command.calls += 1
    s.commands += 1
    session.commands += 1
    if session.reply_mode != REPLY_ON:
        s.apply_reply_mode(session, before)
    s.waiters.remove(w)
    session.state = S_READY
    return 0


cdef int release(Sequencer s, Waiter* w, Release how) except -1:
    """End a wait from outside; one that was stopped is answered where it would go on."""
    cdef Session session = <Session>w.session
    if w.stopped:
        w.released = how
        return 0
    end_waiter(s, w, how)
    s.ready.append(session)
    return 0


cdef int time_out(Sequencer s) except -1:
    """Answer the sessions whose deadline has passed."""
    cdef Session session
    cdef Waiter* w = s.waiters.next_due(s.now_ms)
    while w != NULL:
        session = <Session>w.session
        if session.state >= S_CLOSING:
            s.waiters.remove(w)
        elif not w.stopped:     # else once it goes on
            release(s, w, TIMED_OUT)
        w = s.waiters.next_due(s.now_ms)
    return 0


def unblock(Sequencer s not None, Session session not None, bint with_error):
    """CLIENT UNBLOCK, in a pass: end a wait on keys; False if the session does not wait."""
    cdef Waiter* w = <Waiter*>session.waiter
    if w == NULL or session.state >= S_CLOSING:
        return False
    release(s, w, UNBLOCKED if with_error else TIMED_OUT)
    return True
