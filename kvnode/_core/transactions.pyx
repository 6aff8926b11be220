# cython: boundscheck=False, wraparound=False
"""MULTI, EXEC, DISCARD, WATCH, UNWATCH.

An EXEC lies whole inside one batch. A record that it lacks undoes all of it, and it runs again from
its start once the record is there. One that takes longer than a step may is undone too, and its queue
runs as a transaction beside the sequencer; what it watches counts up to the commit of that.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from kvnode._core.collection cimport is_past_budget
from kvnode._core.dispatch cimport (
    C_NO_QUEUE, C_SUBSCRIBES, DONE, HELD, LONG, PARK, Command, Dispatch, Handler, native)
from kvnode._core.parser cimport Args
from kvnode._core.queued cimport Queued, free_queued, load_queued
from kvnode._core.reply cimport (
    Reply, reply_array, reply_error, reply_null_array, reply_ok)
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport S_CLOSING, S_PARKED, S_WAITING, Session
from kvnode._core.tip cimport DATABASES_MAX, E_WATCHED, T_NONE, Entry, Table, Tip, Version
from kvnode._core.view cimport L_NO_TOUCH, MISS, Head, Savepoint, View


cdef class Watches:
    """Which sessions watch which keys. Lives on the sequencer, as Redis's registry does.

    An entry that somebody watches carries E_WATCHED, so that only writes to such entries come here.
    """

    def __cinit__(self, Tip tip not None):
        self.tip = tip
        self.sessions = {}

    cdef Entry* entry_of(self, Table* table, bytes key, bint create) except? NULL:
        """Return the entry of a key; `create`: one that says "absent" if there is none."""
        cdef uint64_t hash = self.tip.hash_key(key, len(key))
        cdef Entry* e = self.tip.find(table, hash, key, len(key))
        if e == NULL and create:
            e = self.tip.insert(table, hash, key, len(key))
            e.newest = self.tip.new_version(0)
            self.tip.adopt(e, e.newest)
        return e

    cdef int add(self, Session session, int db, bytes key) except -1:
        """Watch a key that is in memory or known to be absent."""
        cdef Entry* e = self.entry_of(self.tip.databases[db], key, True)
        e.flags |= E_WATCHED
        self.sessions.setdefault((db, key), set()).add(session)
        if session.watched is None:
            session.watched = set()
        session.watched.add((db, key))
        return 0

    def remove(self, Session session not None):
        """The session watches nothing any more."""
        cdef Entry* e
        session.cas_dirty = False
        if session.watched is None:
            return
        for db, key in session.watched:
            watchers = self.sessions.get((db, key))
            if watchers is None:
                continue
            watchers.discard(session)
            if not watchers:
                del self.sessions[(db, key)]
                e = self.entry_of(self.tip.databases[<int>db], key, False)
                if e != NULL:
                    e.flags &= ~E_WATCHED
        session.watched = None

    def touch(self, uint64_t generation, bytes key not None):
        """A watched key of a generation changed: the EXECs of its watchers fail."""
        cdef Session session
        cdef int db
        for db in range(DATABASES_MAX):
            if self.tip.databases[db].id == generation:
                for session in self.sessions.get((db, key), ()):
                    session.cas_dirty = True

    def touch_all(self):
        """Nobody can tell any more what changes: the EXECs of all watchers fail."""
        cdef Session session
        for watchers in self.sessions.values():
            for session in watchers:
                session.cas_dirty = True

    def switch(self, int db, uint64_t old, uint64_t new):
        """FLUSHDB or SWAPDB: a key that is absent before and after does not count as changed."""
        cdef Session session
        cdef Table* before = self.tip.generation(old)
        cdef Table* after = self.tip.generation(new)
        cdef Entry* e
        for (watched_db, key), watchers in list(self.sessions.items()):
            if watched_db != db:
                continue
            e = self.entry_of(before, key, False)
            if e == NULL or e.newest.type == T_NONE:
                e = self.entry_of(after, key, after.resident)
                if e != NULL and e.newest.type == T_NONE:
                    e.flags |= E_WATCHED
                    continue
            for session in watchers:
                session.cas_dirty = True

    def counts(self):
        """Watched keys, and sessions that watch: for INFO."""
        watching = set()
        for watchers in self.sessions.values():
            watching |= watchers
        return len(self.sessions), len(watching)


cdef int cmd_multi(View view, Args* args, Reply reply) except -1:
    if view.session.in_multi:
        reply_error(reply, b"ERR MULTI calls can not be nested", 33)
        return DONE
    view.session.reset_multi()      # at the leader before this one it may have counted another
    view.session.in_multi = True
    reply_ok(reply)
    return DONE


cdef int cmd_discard(View view, Args* args, Reply reply) except -1:
    if not view.session.in_multi:
        reply_error(reply, b"ERR DISCARD without MULTI", 25)
        return DONE
    view.session.reset_multi()
    view.watches.remove(view.session)
    reply_ok(reply)
    return DONE


cdef int cmd_unwatch(View view, Args* args, Reply reply) except -1:
    view.watches.remove(view.session)
    reply_ok(reply)
    return DONE


cdef int cmd_watch(View view, Args* args, Reply reply) except -1:
    cdef Head head
    cdef bint missing = False
    cdef int i
    if view.session.in_multi:
        reply_error(reply, b"ERR WATCH inside MULTI is not allowed", 37)
        return DONE
    for i in range(1, args.n):
        if view.lookup(args.v[i].data, args.v[i].len, L_NO_TOUCH, &head) == MISS:
            missing = True
    if missing:
        return PARK
    if not view.session.cas_dirty:      # it will fail anyway: no need to watch more
        for i in range(1, args.n):
            (<Watches>view.watches).add(view.session, view.session.db,
                                        args.v[i].data[:args.v[i].len])
    reply_ok(reply)
    return DONE


cdef int cmd_exec(View view, Args* args, Reply reply) except -1:
    cdef Session session = view.session
    cdef int outcome
    if not session.in_multi:
        reply_error(reply, b"ERR EXEC without MULTI", 22)
        return DONE
    if session.exec_aborted:
        reply_error(reply, b"EXECABORT Transaction discarded because of previous errors.", 59)
        return end_multi(view)
    outcome = watched_expired(view)
    if outcome == PARK:
        return PARK
    if session.cas_dirty:
        reply_null_array(reply)
        return end_multi(view)
    if (<Dispatch>view.dispatch).has_reservation and queue_is_held_back(view):
        return HELD
    if not keys_in_memory(view):
        return PARK
    outcome = run_queued(view, reply)
    if outcome != DONE:
        return outcome
    return end_multi(view)


cdef int end_multi(View view) except -1:
    view.watches.remove(view.session)
    view.session.reset_multi()
    return DONE


cdef int watched_expired(View view) except -1:
    """Make EXEC fail if a watched key has passed its deadline since WATCH; DONE or PARK."""
    cdef Head head
    cdef uint64_t before = view.expired
    cdef bytes name
    cdef bint missing = False
    if view.session.watched is None:
        return DONE
    for db, key in view.session.watched:
        name = key
        if view.lookup_in(view.tip.databases[<int>db], name, len(name), L_NO_TOUCH, &head) == MISS:
            missing = True
    if missing:
        return PARK
    if view.expired != before:
        view.session.cas_dirty = True
    return DONE


cdef bint keys_in_memory(View view) except -1:
    """Note all keys of the queued commands that must be fetched; True when there are none."""
    cdef Queued queued
    cdef Args* args = &queued.args
    cdef Command command
    cdef size_t at = 0
    cdef int i
    cdef int last
    cdef size_t before = view.missing.size()
    if view.table.resident:
        return True
    while at < view.session.queued.len:
        at = load_queued(view.session.queued.data, at, &queued)
        try:
            command = (<Dispatch>view.dispatch).find(args.v[0].data, args.v[0].len)
            last = command.key_last if command.key_last >= 0 else args.n + command.key_last
            i = command.key_first
            while 0 < i <= last and i < args.n:
                view.note_if_missing(view.table, args.v[i].data, args.v[i].len)
                i += command.key_step if command.key_step > 0 else 1
        finally:
            free_queued(&queued)
    return view.missing.size() == before


cdef bint queue_is_held_back(View view) except -1:
    """Whether a queued command names what a transaction has reserved."""
    cdef Queued queued
    cdef Args* args = &queued.args
    cdef Dispatch dispatch = view.dispatch
    cdef bint is_held = False
    cdef size_t at = 0
    while at < view.session.queued.len and not is_held:
        at = load_queued(view.session.queued.data, at, &queued)
        try:
            is_held = dispatch.hold_back(
                view.session, dispatch.find(args.v[0].data, args.v[0].len), args)
        finally:
            free_queued(&queued)
    return is_held


cdef bint may_run_beside(View view) except -1:
    """Whether a transaction may run the queue: no command of it is about the node or the session."""
    cdef Queued queued
    cdef Command command
    cdef size_t at = 0
    while at < view.session.queued.len:
        at = load_queued(view.session.queued.data, at, &queued)
        command = (<Dispatch>view.dispatch).find(queued.args.v[0].data, queued.args.v[0].len)
        if command.subcommands is not None and queued.args.n > 1:
            command = (<Dispatch>view.dispatch).subcommand(command, &queued.args)
        free_queued(&queued)
        if command.function == NULL or command.flags & (C_NO_QUEUE | C_SUBSCRIBES) \
                or command.name == b"unwatch":
            return False
    return True


cdef int run_queued(View view, Reply reply) except -1:
    """Run the queued commands; anything but DONE has undone them all. LONG: past the step budget."""
    cdef int outcome = run_in_step(view, reply)
    if outcome == LONG and not may_run_beside(view):
        view.is_undivided = True
        outcome = run_in_step(view, reply)
        view.is_undivided = False
    return outcome


cdef int run_in_step(View view, Reply reply) except -1:
    """Run the queued commands under a savepoint. Each counts as one step, and those that it takes."""
    cdef Queued queued
    cdef Session session = view.session
    cdef Dispatch dispatch = view.dispatch
    cdef Command command
    cdef Savepoint mark = view.savepoint()
    cdef size_t at = 0
    cdef size_t before = reply.out.len
    cdef int db = session.db
    cdef int outcome = DONE
    cdef object subscriptions = None
    session.in_exec = True
    reply_array(reply, session.queued_count)
    while at < session.queued.len and outcome == DONE:
        at = load_queued(session.queued.data, at, &queued)
        try:
            command = dispatch.find(queued.args.v[0].data, queued.args.v[0].len)
            if command.subcommands is not None and queued.args.n > 1:
                command = dispatch.subcommand(command, &queued.args)
            if command.flags & C_SUBSCRIBES and subscriptions is None and view.pubsub is not None:
                subscriptions = view.pubsub.subscriptions_of(session)
            outcome = dispatch.measure(view, session, command, &queued.args)
        finally:
            free_queued(&queued)
        if outcome == DONE and is_past_budget(view, 1):
            outcome = LONG
        view.steps_before = view.steps
    view.steps_before = 0
    session.in_exec = False
    if outcome != DONE:
        reply.out.len = before
        session.db = db
        view.rollback(&mark)
        view.table = view.tip.databases[db]
        if subscriptions is not None:
            view.pubsub.restore(session, subscriptions)
        return outcome
    view.end_savepoint(&mark)
    return DONE


# -- an EXEC that runs beside the sequencer: see kvnode/txn/queue.py --------------------------------

def take_queue(Session session not None):
    """Return (the queued commands as bytes, how many these are). They stay queued."""
    return (PyBytes_FromStringAndSize(session.queued.data, session.queued.len),
            session.queued_count)


def is_void(Sequencer sequencer not None, Session session not None):
    """Whether something that a session watches has changed by now. In a pass."""
    sequencer.join_pass(session)
    watched_expired(sequencer.view)     # (what is watched does not leave memory)
    sequencer.view.finish_command()
    return bool(session.cas_dirty)


def end_queue(Sequencer sequencer not None, Session session not None, db, list scripts not None):
    """The EXEC of a session has ended, in database `db`; None: in that where it began.

    scripts: to be cached.
    """
    for script in scripts:
        sequencer.view.scripts.keep(script)
        session.observed = sequencer.view.commit_ts     # is_void() made it one of this pass
    if db is not None:
        session.db = db
    sequencer.view.watches.remove(session)
    session.reset_multi()


def fail_waiting(Sequencer sequencer not None, sessions, bytes line):
    """Answer commands that still wait, and so have done nothing, by an error; then close.

    line: None for those whose reply has begun: their clients are in the middle of it, as are those
    of replies that leave in steps, see fail_held().
    """
    cdef Session session
    for session in sessions:
        if session.state in (S_PARKED, S_WAITING):
            if line is not None and session.stream is None:
                reply_error(session.reply, line, len(line))
            session.state = S_CLOSING
            sequencer.flushable.append(session)


HANDLERS = {
    "multi": native(cmd_multi),
    "exec": native(cmd_exec),
    "discard": native(cmd_discard),
    "watch": native(cmd_watch),
    "unwatch": native(cmd_unwatch),
}
