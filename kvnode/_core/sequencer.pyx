# cython: boundscheck=False, wraparound=False
"""The sequencer: batches, log entries, the hold rule. Sans-IO; one per node."""

from cpython.ref cimport Py_DECREF, Py_INCREF
from libcpp.vector cimport vector
from kvnode._core.ahead cimport bring_near, count_cold, look_ahead
from kvnode._core.blocking cimport Waiter, Waiters
from kvnode._core.buffer cimport buffer_free
from kvnode._core.dispatch cimport AGAIN, BLOCK, DONE, HELD, LONG, PARK, args_list
from kvnode._core.due cimport expire_due
from kvnode._core.fences cimport Fences, Holder
from kvnode._core.front cimport Mirror
from kvnode._core.keys cimport K_HEAD
from kvnode._core.logwriter cimport LogReport
from kvnode._core.messages cimport push_behind
from kvnode._core.parser cimport PARSE_ERROR, PARSE_MORE, ParseResult, Parser
from kvnode._core.reply cimport reply_error
from kvnode._core.serving cimport comes_later, run_waiter, serve_waiters, time_out
from kvnode._core.session cimport (
    REPLY_OFF, REPLY_ON, REPLY_SKIP, REPLY_SKIPPING, S_CLOSED, S_CLOSING, S_PARKED, S_READY,
    S_STREAMING, S_WAITING)
from kvnode._core.staging cimport STAGE_COMMAND_BYTES, abandon, stage, unstage
from kvnode._core.step_down cimport end_leadership, fail_output, take_held
from kvnode._core.stream cimport Streams
from kvnode._core.tip cimport sweep_dying

from kvnode.base.errors import CorruptionError, InvariantError, StorageIOError

cdef enum:
    TIMESTAMP_COUNTER_BITS = 16     # commit_ts = ms << 16 | counter


cdef class Sequencer:
    """Executes sessions in log order.

    log: where entries go.
    last_index, committed: positions that recovery found; the next entry is last_index + 1.
    last_ts: highest commit_ts ever taken; new ones are above it. durable_term: of `committed`.
    """

    def __cinit__(self, Tip tip not None, View view not None, Dispatch dispatch not None,
                  LogSink log not None, uint64_t term, uint64_t last_index, uint64_t committed,
                  uint64_t last_ts, uint64_t durable_term=0):
        self.tip = tip
        self.view = view
        self.dispatch = dispatch
        self.log = log
        self.term = term
        self.last_index = last_index
        self.committed = committed
        self.synced = committed
        self.stable = committed
        self.durable_index = committed
        self.applied = self.before_own = committed
        self.durable_term = durable_term
        self.last_ts = last_ts
        self.ran = []
        self.flushable = []
        self.parked = []
        self.jobs = []
        self.streams = Streams()
        self.waiters = Waiters(view)
        self.serving_max = SERVED_PER_PASS
        self.ready = []
        self.interrupted = []
        self.kept = {}
        self.is_alone = True
        self.fences = Fences()

    def __dealloc__(self):
        cdef size_t i, k
        for i in range(self.holders.size()):
            for k in range(self.holders[i].size()):
                Py_DECREF(<object>self.holders[i][k])
        self.holders.clear()
        buffer_free(&self.payload)

    # -- passes ---------------------------------------------------------------------------------

    cdef int open_pass(self, uint64_t now_ms) except -1:
        """Begin a pass at `now_ms`; the batch opens with the first command.

        Those that wait on keys and had their turn in the last pass come first.
        """
        self.passes += 1
        self.pass_open = True
        self.commands_before = self.commands
        self.now_ms = now_ms
        self.streams.open_pass()
        self.serving_left, self.pushed_bytes = self.serving_max, 0
        if self.waiters.backlog:
            serve_waiters(self, None)
        if not self.waiters.backlog:    # else a waiter whose key has data might be told otherwise
            time_out(self)
        if self.kept and self.may_run():
            self.ready.extend(self.kept)
            self.kept.clear()
        return 0

    cdef bint may_run(self) noexcept:
        """Whether somebody takes what sessions ask for."""
        return self.serving or (self.front is not None and not self.is_over)

    cpdef bint wants_pass(self) noexcept:
        """Whether a pass has something to do though nothing arrives."""
        return len(self.ready) > 0 or self.waiters.backlog or (len(self.kept) > 0 and self.may_run())

    cdef int open_work(self, uint64_t now_ms) except -1:
        """Open a pass for internal work."""
        self.open_pass(now_ms)
        self.view.enter(None)
        if not self.batch_open and not self.is_over:
            self.open_batch()
        return 0

    cdef int open_batch(self) except -1:
        """Take the batch's commit_ts and its one `now`: the hybrid logical clock of design I1.

        Time never runs backwards: it continues from the highest commit_ts seen.
        """
        cdef uint64_t ts = self.now_ms << TIMESTAMP_COUNTER_BITS
        if self.is_over:
            raise InvariantError("what has stepped down executes nothing more")
        if ts <= self.last_ts:
            ts = self.last_ts + 1
        self.last_ts = ts
        self.batch_open = True
        return self.view.open_batch(ts >> TIMESTAMP_COUNTER_BITS, ts)

    cdef int close_batch(self, bint may_inline) except -1:
        """End the open batch; if it has effects, they become one log entry."""
        cdef Batch batch
        cdef int done = 0
        self.batch_open = False
        if not self.view.has_writes() and not self.view.counts_changed():
            return 0
        self.payload.len = 0
        self.view.encode_batch(&self.payload)
        batch.commit_ts = self.view.commit_ts
        batch.term = self.term
        batch.index = self.last_index + 1
        batch.bytes = self.payload.len
        batch.confirms = self.complete_passes()
        self.last_index = batch.index
        self.batches.push_back(batch)
        self.holders.resize(self.batches.size())
        self.unsynced_bytes += batch.bytes
        self.payload_bytes += batch.bytes
        self.entries += 1
        if may_inline:
            done = self.log.try_submit_inline(batch.term, batch.index, batch.commit_ts,
                                              self.payload.data, self.payload.len)
        if done:
            return self.advance()
        return self.log.submit(batch.term, batch.index, batch.commit_ts,
                               self.payload.data, self.payload.len)

    cdef uint64_t complete_passes(self) noexcept:
        """The newest pass that reads no more input."""
        return self.passes - self.pass_open

    cdef int bound_batch(self) except -1:
        """Go on in a new batch once this one is large."""
        if self.view.batch_bytes > BATCH_BYTES_MAX:
            self.close_batch(False)
            return self.open_batch()
        return 0

    cdef int close_pass(self, bint may_inline) except -1:
        """Close the batch and say of each session that ran what its output waits for."""
        cdef Session session
        if not self.is_over:
            serve_waiters(self, None)   # of what happened outside the run of a session
        self.dispatch.end_run()
        if self.interrupted:
            push_behind(self)
        self.pass_open = False
        if self.batch_open:
            self.close_batch(may_inline)
        if self.has_lease is not None and self.ran and self.has_lease():
            self.fences.confirm(self.passes, self.committed, self.flushable)
        self.single_writes = self.commands - self.commands_before == <uint64_t>len(self.ran)
        for session in self.ran:
            session.in_pass = False
            if session.observed != self.view.commit_ts:
                self.single_writes = False
            self.hold_output(session)
            if session.sendable() or session.state == S_CLOSING or isinstance(session, Mirror):
                self.flushable.append(session)
        self.ran.clear()
        self.view.ranges.clear()
        if not self.tip.dying.empty() and not self.is_over:
            sweep_dying(self.tip, SWEPT_ENTRIES_PER_PASS)
        return 0

    cdef int hold_output(self, Session session) except -1:
        return hold_output_of(self, session)

    # -- running a session ----------------------------------------------------------------------

    cdef int join_pass(self, Session session) except -1:
        """Make `session` the one that runs; its output counts from here."""
        if not self.batch_open:
            self.open_batch()
        self.attend(session)
        return self.view.enter(session)

    cdef int attend(self, Session session) except -1:
        """The output of `session` counts among that of this pass."""
        if not session.in_pass:
            session.in_pass = True
            session.observed = 0
            session.wrote = session.looked = False
            self.ran.append(session)
            session.open_output()
        elif session.observed <= self.tip.watermark and self.is_alone:
            session.open_output()
        return 0

    cdef int note_effects(self, Session session) except -1:
        """The output of `session` depends on what was seen and written since it entered the view."""
        if self.view.observed > session.observed:
            session.observed = self.view.observed
        session.wrote |= self.view.wrote
        return 0

    cdef int run(self, Session session) except -1:
        """Execute what the session's parser holds, within the budget of one pass."""
        cdef Parser parser = session.parser
        cdef size_t start
        cdef size_t output
        cdef int left = RUN_COMMANDS_MAX
        cdef int near = 1           # the first command: nothing to overlap its waits with
        cdef ParseResult result
        if not self.serving:
            return self.run_elsewhere(session)
        if session.state != S_READY and not self.go_on(session):
            return 0
        self.join_pass(session)
        if session.waiter != NULL:      # it was stopped
            run_waiter(self, <Waiter*>session.waiter)
            serve_waiters(self, session)
            if session.state != S_READY:
                return 0
        output = session.reply.out.len
        while True:
            if left == 0 or session.reply.out.len - output > RUN_OUTPUT_BYTES_MAX \
                    or (self.pushed_bytes > PUSHED_BYTES_MAX and left < RUN_COMMANDS_MAX):
                self.ready.append(session)
                break
            start = parser.start
            result = parser.next()
            if result == PARSE_MORE:
                break
            if result == PARSE_ERROR:
                reply_error(session.reply, parser.error, len(parser.error))
                self.dispatch.count_error(session.reply)
                session.state = S_CLOSING
                break
            left -= 1
            near -= 1
            if near == 0 and parser.start < parser.input.len:
                near = bring_near(self, session)
            if parser.start - start > STAGE_COMMAND_BYTES and stage(
                    self.view, self.dispatch, session, &parser.args, BATCH_BYTES_MAX):
                parser.rewind(start)
                self.ready.append(session)
                self.bound_batch()
                break
            if self.run_one(session, &parser.args):
                parser.rewind(start)
                break
            if session.state != S_READY:
                break
            self.bound_batch()
        self.note_effects(session)
        session.active_ms = self.now_ms
        parser.compact()
        return 0

    cdef int run_elsewhere(self, Session session) except -1:
        """This node does not serve: another may, or the session waits with its input."""
        if self.front is not None:
            return self.front.run(session)
        if session.state == S_READY:
            self.kept[session] = None
        return 0

    cdef int run_one(self, Session session, Args* args) except -1:
        """Execute one command; 1 when it has to run again later from its start."""
        cdef size_t before = session.reply.out.len
        cdef int outcome = AGAIN
        if not self.waiters.backlog or not comes_later(self, session, args):
            outcome = self.dispatch.execute(self.view, session, args)
        if session.staged is not None:
            self.view.staged.clear()        # the arguments move before they are used again
            if outcome not in (PARK, HELD):
                unstage(self.view, session)
        if session.building is not None and outcome not in (PARK, HELD, AGAIN):
            abandon(self.view, session)
        self.settle(session, outcome, before)
        if outcome == DONE:
            if self.view.awaited_types:
                serve_waiters(self, session)
            return 0
        if outcome == PARK:
            session.state = S_PARKED
            self.parked.append(session)
            count_cold(self, session, self.dispatch.find(args.v[0].data, args.v[0].len),
                       session.commands)
            look_ahead(self, session)
            self.view.finish_command()      # keys past their deadline are deleted all the same
            return 1
        if outcome == AGAIN:
            self.ready.append(session)
            self.view.finish_command()
            self.bound_batch()
            return 1
        session.state = S_WAITING
        if outcome == HELD:
            return 1
        if outcome == BLOCK:        # it counts when it ends
            session.waiting = "keys"
            return self.view.finish_command()
        self.commands += 1
        session.commands += 1
        self.view.finish_command()
        if outcome == LONG:
            self.jobs.append((session, args_list(args)))
        return 0

    cdef int settle(self, Session session, int outcome, size_t before) except -1:
        """A command ran: its reply, from byte `before` on, stays if it is done."""
        if session.stream is not None:
            if outcome == DONE and session.reply_mode == REPLY_ON:
                self.streams.begin(session, self.ready)
            else:
                self.streams.end(self.view, session)
        if outcome != DONE:
            session.reply.out.len = before
            return 0
        self.commands += 1
        session.commands += 1
        self.view.finish_command()
        if session.reply_mode != REPLY_ON:
            self.apply_reply_mode(session, before)
        return 0

    cdef int apply_reply_mode(self, Session session, size_t before) except -1:
        """CLIENT REPLY OFF and SKIP: take the reply back."""
        if session.reply_mode == REPLY_SKIP:
            session.reply_mode = REPLY_SKIPPING     # set by this very command
        elif session.reply_mode == REPLY_SKIPPING:
            session.reply_mode = REPLY_ON
        session.reply.out.len = before
        return 0

    cdef bint go_on(self, Session session) except -1:
        """Take a step of a reply that leaves in steps; True when it was the last: commands may run."""
        cdef int outcome
        cdef bint is_joined = session.in_pass
        if session.state != S_STREAMING or not self.streams.may_step(session, self.ready):
            return False
        self.join_pass(session)
        session.active_ms = self.now_ms
        outcome = self.streams.step(self.view, session, self.ready)
        self.note_effects(session)
        if not is_joined:
            session.settle_output()     # it is of the moment of its beginning
        if outcome == PARK:
            session.state = S_PARKED
            self.parked.append(session)
        return session.state == S_READY

    def forget(self, Session session not None):
        """A session is closed: drop what is kept for it."""
        if session.building is not None:
            abandon(self.view, session)
        if session.staged is not None:
            unstage(self.view, session)
        if session.stream is not None:
            self.streams.end(self.view, session)
        if session.waiter != NULL:
            self.waiters.remove(<Waiter*>session.waiter)
        self.kept.pop(session, None)

    # -- the log reports ------------------------------------------------------------------------

    cdef int advance(self) except -1:
        """Take the log's report: commit what is stable, release what waited for it.

        Raises StorageIOError when the log failed; nothing is retried.
        """
        cdef LogReport report
        cdef uint64_t stable
        cdef uint64_t synced
        cdef uint64_t term
        self.log.report(&report)
        if report.error:
            raise StorageIOError(f"log write failed: errno {report.error}")
        synced = self.believed(report.synced_term, report.synced_index)
        stable = synced
        term = report.synced_term
        if self.relaxed and self.serving:   # what is applied has to be synced here
            stable = self.believed(report.written_term, report.written_index)
            term = report.written_term
        if stable and (stable != self.stable or term != self.stable_term):  # others' may go back
            self.stable = stable
            self.stable_term = term
            if self.on_stable is None:
                self.commit(stable)
            else:
                stable = self.on_stable(term, stable)
                if not self.is_over:
                    self.commit(stable)
        synced = min(synced, self.last_index)   # behind the end there was something else
        return self.sync(synced) if synced > self.synced else 0

    cdef uint64_t believed(self, uint64_t term, uint64_t index) noexcept:
        """Return the index of a report, 0 if the entry that it names was replaced (hard case 11)."""
        cdef uint64_t first = self.batches.front().index if not self.batches.empty() else 0
        if first == 0 or index < first:
            return index
        if index - first < self.batches.size() and self.batches[index - first].term == term:
            return index
        return 0

    cdef int commit(self, uint64_t index) except -1:
        """Entries up to `index` are committed."""
        return commit_batches(self, index)

    cdef int sync(self, uint64_t index) except -1:
        """Entries up to `index` are on the own disk."""
        self.synced = index
        return self.drop_batches()

    cdef int drop_batches(self) except -1:
        return drop_durable_batches(self)

    # -- for the node, in Python, per event ------------------------------------------------------

    def begin(self, uint64_t now_ms):
        """Open a pass for internal work; end() closes it."""
        self.open_work(now_ms)

    def end(self):
        """Close the pass that begin() opened."""
        self.close_pass(False)

    def serve(self, Session session not None):
        """Run a session in the open pass (tests and simulation; a reactor does it natively)."""
        self.run(session)

    def log_moved(self):
        """The log has a new report."""
        self.advance()

    def commit_to(self, uint64_t index):
        """Entries up to `index` are committed, by whomever's answers: what waited may leave.

        Raises InvariantError past the newest entry. Those not synced here stay until they are.
        """
        if index > self.last_index:
            raise InvariantError(f"commit of {index} past {self.last_index}")
        self.commit(index)

    def confirm(self, uint64_t number):
        """Leadership is confirmed by a round that began after pass `number` had read its input.

        Raises InvariantError for a pass that still reads.
        """
        if number > self.complete_passes():
            raise InvariantError(f"confirmation of pass {number} after {self.complete_passes()}")
        self.fences.confirm(number, self.committed, self.flushable)

    def unconfirmed(self):
        """Return the newest pass with output that a confirmation must free, 0 if there is none.

        A batch not committed yet that was closed behind its input will bring one.
        """
        cdef uint64_t number = self.fences.newest()
        if self.batches.size() > self.committed_batches and self.batches.back().confirms >= number:
            return 0
        return number

    def step_down(self, bytes uncertain not None, bytes retry not None, bytes unblocked not None):
        """Leadership is lost: answer what waits, and close; execute nothing more.

        Each is the line of an error. uncertain: for sessions whose held output is of commands that
        wrote. retry: for those that only read, and for commands of take_jobs() that were not taken.
        unblocked: for those that wait on keys. Replies that leave in steps end without one.

        Other sessions stay as they are; none of them has anything staged, and an EXEC of those that
        watch keys will fail. Commands that wait in a job are for who runs it: fail_waiting().

        Returns whether memory is as of `committed`. If not, this sequencer, its view and its tip
        are over.
        """
        return end_leadership(self, uncertain, retry, unblocked)

    def take_over(self, sessions):
        """Go on with the sessions of a sequencer that is over: those with input run when they may."""
        cdef Session session
        for session in sessions:
            if session.state == S_PARKED:
                session.state = S_READY
            if session.state == S_READY and session.parser.pending():
                self.kept[session] = None

    def propose_empty(self):
        """Append an entry without effects; return its index: its commit is a fence."""
        return self.propose(b"")

    def propose(self, bytes payload not None):
        """Append an entry that changes nothing in memory; return its index."""
        cdef Batch batch
        if self.batch_open:
            self.close_batch(False)
        self.open_batch()
        self.batch_open = False
        batch.commit_ts = self.view.commit_ts
        batch.term = self.term
        batch.index = self.last_index + 1
        batch.bytes = 0
        batch.confirms = self.complete_passes()
        self.last_index = batch.index
        self.batches.push_back(batch)
        self.holders.resize(self.batches.size())
        self.entries += 1
        self.log.submit(batch.term, batch.index, batch.commit_ts, payload, len(payload))
        return batch.index

    def create_databases(self):
        """First start: give each database its generation. In a pass."""
        self.view.create_databases()

    def expire_records(self, records):
        """Delete what of due_records() is past its deadline. In a pass.

        Returns how many were looked at and found not due or gone.
        """
        return expire_due(self.view, records)

    def resume(self, Session session not None):
        """What a session waited for is there: its next command may run. In a pass, or before one."""
        if session.state in (S_PARKED, S_WAITING):
            session.state = S_READY
            session.waiting = None
            if session.stream is not None:
                session.state = S_STREAMING
                self.streams.refill(session, self.ready)
            else:
                self.ready.append(session)

    def answer(self, Session session not None, write, bint is_last=True):
        """Finish a waiting command: `write(reply)` writes its reply, or a part of it. In a pass."""
        cdef size_t before = session.reply.out.len
        if session.state != S_WAITING or not (is_last or session.reply_mode == REPLY_ON):
            return
        self.join_pass(session)
        write(session.reply)
        self.note_effects(session)
        session.in_parts = not is_last
        if not is_last:
            session.settle_output()     # of a moment that is committed
            return
        session.looked = True
        if session.reply_mode != REPLY_ON:
            self.apply_reply_mode(session, before)
        session.state = S_READY
        session.waiting = None
        self.ready.append(session)

    def take_flushable(self):
        """Return sessions with output that may leave, and forget them."""
        sessions, self.flushable = self.flushable, []
        return sessions

    def take_parked(self):
        """Return (sessions, record keys, ranges) parked since the last call.

        A range is a tuple, see scan; the id of a collection whose next elements are wanted; or a
        ScoreSpan or ItemSpan.
        """
        cdef list ranges = self.view.missing_ranges
        sessions, self.parked = self.parked, []
        self.view.missing_ranges = []
        ranges.extend(self.view.missing_loads)
        ranges.extend(self.view.missing_spans)
        self.view.missing_loads.clear()
        self.view.missing_spans.clear()
        return sessions, self.view.take_missing(), ranges

    def take_jobs(self):
        """Return (session, args) of commands past their budget since the last call."""
        jobs, self.jobs = self.jobs, []
        return jobs

    def take_ready(self):
        """Return sessions that want to run without new input."""
        cdef list sessions = self.ready
        self.streams.refill_all(sessions)
        self.ready = []
        return sessions

    def fail_held(self, bytes line not None):
        """Replace all output that waits by one error line; the sessions close after it.

        Those whose reply is half sent close without one: its client is in the middle of a string.
        """
        cdef Session session
        for session in take_held(self):
            fail_output(self, session, line)
        self.flushable += self.streams.fail(self.view)

    def holds_output(self):
        """Whether some output waits for an entry or a confirmation."""
        return self.held + self.fences.held > 0

    def has_open_writes(self):
        """Whether the open batch will be an entry."""
        return self.batch_open and (self.view.has_writes() or self.view.counts_changed())

    def has_unsynced(self):
        """Whether an entry is not on the own disk yet."""
        return self.synced < self.last_index

    def highest_ts(self):
        """Highest commit_ts taken so far."""
        return self.last_ts

    def statistics(self):
        """Counters for INFO: a dict of int."""
        return {
            "passes": self.passes, "entries": self.entries, "commands": self.commands,
            "last_index": self.last_index, "committed": self.committed, "synced": self.synced,
            "unsynced_bytes": self.unsynced_bytes,
            "held_sessions": self.held + self.fences.held,
        }

    # -- following ------------------------------------------------------------------------------

    def apply(self, uint64_t term, uint64_t index, uint64_t commit_ts, bytes payload not None):
        """Let an entry take effect that is committed, and synced in the own log; in or between passes.

        Raises CorruptionError: it cannot follow what was applied, or is malformed.
        """
        self.apply_many([(term, index, commit_ts, payload)])

    def apply_many(self, list entries not None):
        """The same for (term, index, commit_ts, payload) of several, in order.

        Not for entries of this leadership, which took effect when they were formed.
        """
        apply_entries(self, entries)

    def lead(self, uint64_t term, uint64_t last_index, uint64_t last_ts):
        """Leadership begins: the first own entry is the one behind `last_index`, the end of the log.

        Entries up to there that are not applied yet still are, by apply(), once they are committed;
        own ones do not count as committed before that. last_ts: the highest commit_ts in the log.
        """
        begin_leadership(self, term, last_index, last_ts)


include "holding.pxi"
include "following.pxi"
