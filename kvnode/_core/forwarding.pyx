# cython: boundscheck=False, wraparound=False
"""Forwarding at the node of the clients: see forwarding.pxd."""

from collections import deque

from libc.string cimport memcpy
from kvnode._core.buffer cimport Buffer, buffer_free, buffer_reserve
from kvnode._core.dispatch cimport (
    C_IN_PUBSUB, C_MAY_REPLICATE, C_NO_QUEUE, C_READONLY, C_WRITE, DONE, HELD, LONG)
from kvnode._core.follower_reads cimport may_read_here, read_here
from kvnode._core.front cimport Mirror
from kvnode._core.link_port cimport END, INPUT_WINDOW_BYTES, LAST, PIECE_BYTES
from kvnode._core.parser cimport PARSE_ERROR, PARSE_MORE, ParseResult, Parser
from kvnode._core.reply cimport reply_error
from kvnode._core.sequencer cimport RUN_COMMANDS_MAX, RUN_OUTPUT_BYTES_MAX
from kvnode._core.session cimport REPLY_ON, REPLY_SKIPPING, S_CLOSED, S_CLOSING, S_READY, S_WAITING
from kvnode._core.view cimport Savepoint, View

from kvnode._core.uplink import FORWARDED

UNCERTAIN = b"UNCERTAIN the leader was lost: this command may or may not have been done"
LOST = b"TRYAGAIN the leader was lost before it answered, and nothing was changed"
LEADERLESS = b"TRYAGAIN there is no leader at present, nothing was done"
NOT_IN_MULTI = (b"ERR Command not allowed inside a transaction on a node that is not the leader: "
                b"it is about the node")


cdef class Clients(Front):
    """The sessions of a node that does not serve. wait_ms: how long their input waits for a leader."""

    def __cinit__(self, Sequencer sequencer not None, uint64_t wait_ms):
        self.relays = {}
        self.timed = deque()
        self.readers = []
        self.stalled = []
        self.wait_ms = wait_ms
        self.adopt(sequencer)

    def adopt(self, Sequencer sequencer not None):
        """The node goes on with this sequencer. It may show less than the one before."""
        cdef Relay relay
        lookup = sequencer.dispatch.lookup
        for relay in self.relays.values():
            relay.covered = 0
        self.sequencer = sequencer
        sequencer.front = self
        sequencer.ready.extend(self.stalled)
        self.stalled = []
        self.multi, self.exec_, self.discard = lookup(b"multi"), lookup(b"exec"), lookup(b"discard")
        self.watch, self.unwatch, self.reset = lookup(b"watch"), lookup(b"unwatch"), lookup(b"reset")

    # -- running sessions -----------------------------------------------------------------------

    cdef Relay relay_of(self, Session session):
        cdef Relay relay = self.relays.get(session.id)
        if relay is None:
            relay = Relay()
            relay.session = session
            self.relays[session.id] = relay
        return relay

    cdef int run(self, Session session) except -1:
        """Take what the parser of a session holds, within the budget of one pass."""
        cdef size_t output = session.reply.out.len
        cdef Relay relay
        if session.state != S_READY:
            return 0
        if isinstance(session, Mirror) or self.sequencer.is_over:
            self.stalled.append(session)
            return 0
        relay = self.relay_of(session)
        if session.watched is not None:     # of a leadership of this node
            self.sequencer.view.watches.remove(session)
            session.cas_dirty = True
        if session.in_multi and not session.cas_dirty:
            session.exec_aborted = True     # its queue, here, will not run
        self.take(session, relay)
        session.active_ms = self.sequencer.now_ms
        if session.reply.out.len != output or session.state == S_CLOSING:
            self.sequencer.flushable.append(session)
        return 0

    cdef int take(self, Session session, Relay relay) except -1:
        """Run or forward commands until the input, or the budget, is used up, or one has to wait."""
        cdef Parser parser = session.parser
        cdef Command command
        cdef uint32_t flags
        cdef size_t first = parser.start    # [first, start) is forwarded, but not yet in a frame
        cdef size_t start
        cdef size_t output = session.reply.out.len
        cdef bint any = False               # something is
        cdef int left = RUN_COMMANDS_MAX
        cdef ParseResult result = PARSE_MORE
        cdef int outcome
        while True:
            if left == 0 or session.reply.out.len - output > RUN_OUTPUT_BYTES_MAX:
                self.sequencer.ready.append(session)
                break
            left -= 1
            start = parser.start
            result = parser.next()
            if result == PARSE_MORE:
                relay.is_expired = False
                break
            if result == PARSE_ERROR:
                if any or relay.is_owed():
                    self.wait(relay, W_ANSWERS)
                    break
                reply_error(session.reply, parser.error, len(parser.error))
                self.sequencer.dispatch.count_error(session.reply)
                session.state = S_CLOSING
                break
            command = self.sequencer.dispatch.find(parser.args.v[0].data, parser.args.v[0].len)
            flags = 0
            if command is not None:
                flags = command.flags
                if command.subcommands is not None and parser.args.n > 1:
                    part = self.sequencer.dispatch.subcommand(command, &parser.args)
                    if part is not None:
                        command = part
                        flags = command.flags
            if self.is_read_here(session, relay, command, flags):
                outcome = self.read(session, relay, &parser.args, any or relay.is_owed())
                if outcome == DONE:
                    first = parser.start
                    continue
                if outcome != LONG:
                    parser.rewind(start)
                    break
            if not self.is_local(session, relay, flags, any or relay.is_owed()):
                if not self.may_forward(session, relay, command, start - first if any else 0):
                    if not relay.is_expired:
                        parser.rewind(start)
                        break
                    self.give_up(session, relay, command, &parser.args)
                    first = parser.start
                    continue
                if not any:
                    relay.uplink.tell(relay)
                any = True
                self.forwarded(session, relay, command, flags, &parser.args)
                if parser.start - first >= PIECE_BYTES:
                    relay.uplink.emit(relay, parser.input.data + first, parser.start - first)
                    first = parser.start
                    any = False
                continue
            if any or relay.is_owed():
                parser.rewind(start)
                self.wait(relay, W_ANSWERS)
                break
            if self.run_here(session, relay, command, flags, &parser.args):
                parser.rewind(start)
                break
            if session.state != S_READY:
                break
            first = parser.start
        if any:
            relay.uplink.emit(relay, parser.input.data + first, parser.start - first)
        if result == PARSE_ERROR and session.state == S_WAITING:
            return 0                        # what is broken stays: it is answered later
        parser.compact()
        if relay.ends and result == PARSE_MORE and session.state == S_READY and not relay.is_owed():
            session.state = S_CLOSING
        return 0

    cdef bint is_read_here(self, Session session, Relay relay, Command command,
                           uint32_t flags) noexcept:
        """Whether this node answers a command as a follower.

        Not as a leader that hands over: what it shows may not be committed.
        """
        return relay.reads_here and may_read_here(command, flags) and session.authenticated \
            and not (session.in_multi or session.in_multi_there or relay.avoids_reads
                     or session.is_subscribed_there or self.sequencer.leads)

    cdef bint is_local(self, Session session, Relay relay, uint32_t flags, bint is_owed) noexcept:
        """Whether a command runs, or is refused, on this node."""
        if session.in_multi or not session.authenticated:
            return True
        if session.is_subscribed_there and session.reply.proto == 2 and not is_owed:
            # The leader refuses what such a session may not call, and answers PING its way.
            return flags & C_LOCAL and flags & C_IN_PUBSUB
        if flags & C_ANYWHERE:
            return not is_owed and not session.in_multi_there
        return flags & C_LOCAL != 0

    cdef int run_here(self, Session session, Relay relay, Command command, uint32_t flags,
                      Args* args) except -1:
        """Run a command on this node; 1 when it has to run again later from its start."""
        cdef Sequencer sequencer = self.sequencer
        cdef View view = sequencer.view
        cdef Savepoint mark
        cdef int again
        if session.in_multi_there and flags & C_NO_QUEUE == 0:
            self.say(session, NOT_IN_MULTI)
            relay.is_aborted = True
            return 0
        if not sequencer.batch_open:
            sequencer.open_batch()
        view.enter(session)
        mark = view.savepoint()
        again = sequencer.run_one(session, args)
        if view.has_writes():       # it met a key past its deadline: that is the leader's to delete
            view.rollback(&mark)
        else:
            view.end_savepoint(&mark)
        if command is self.reset and session.authenticated and args.n == 1:
            session.in_multi_there = relay.is_watching = relay.reads_here = False
            session.is_subscribed_there = False
            session.channels = session.patterns = session.shard_channels = 0
            self.leave(relay)
        elif session.is_subscribed_there and not again:
            relay.uplink.tell(relay)    # of HELLO or CLIENT REPLY: messages may come before its input
        return again

    cdef int read(self, Session session, Relay relay, Args* args, bint is_owed) except -1:
        """Answer a read here: DONE; LONG: the leader has to; else the session waits."""
        if is_owed:
            self.wait(relay, W_ANSWERS)
            return HELD
        if session.bytes_in - session.parser.pending() <= relay.covered:
            return read_here(self.sequencer, session, args)
        if relay.is_expired:
            return LONG
        relay.wanted = session.bytes_in
        self.wait(relay, W_READ)
        self.readers.append((relay, relay.waits))
        return HELD

    cdef int give_up(self, Session session, Relay relay, Command command, Args* args) except -1:
        """No leader came in time: the command is not done.

        A MULTI begins a transaction all the same, which will be discarded: what belongs to it must
        not run by itself if a leader comes.
        """
        if command is self.multi and args.n == 1:
            self.run_here(session, relay, command, command.flags, args)
            session.exec_aborted = True
            return 0
        return self.say(session, LEADERLESS)

    cdef int say(self, Session session, bytes line) except -1:
        """Answer an error, if the client wants answers."""
        if session.reply_mode == REPLY_ON:
            reply_error(session.reply, line, len(line))
            self.sequencer.dispatch.count_error(session.reply)
        elif session.reply_mode == REPLY_SKIPPING:
            session.reply_mode = REPLY_ON
        return 0

    # -- to the leader --------------------------------------------------------------------------

    cdef bint may_forward(self, Session session, Relay relay, Command command, size_t ahead) except -1:
        """Whether a command may go to the leader now; else its session waits.

        ahead: bytes that are forwarded, and not in a frame yet. False and `is_expired`: never.
        """
        cdef Uplink uplink = self.uplink
        gate = self.sequencer.dispatch.gate
        if relay.uplink is not uplink or uplink is None:
            if relay.is_owed():
                self.wait(relay, W_ANSWERS)
                return False
            if relay.uplink is not None:
                self.release(relay)
            if uplink is None or not uplink.is_open:
                if not relay.is_expired:
                    self.wait(relay, W_LEADER)
                return False
            uplink.bind(relay)
        elif not uplink.is_open:            # it refused: the rest comes back
            if relay.is_owed() or ahead:
                self.wait(relay, W_ANSWERS)
            elif not relay.is_expired:
                self.wait(relay, W_LEADER)
            return False
        relay.is_expired = False
        if gate is not None and command is not None \
                and not (session.in_multi_there and command.flags & C_NO_QUEUE == 0) \
                and gate(session, command):
            session.state = S_WAITING
            return False
        if relay.sent + ahead - relay.executed >= INPUT_WINDOW_BYTES:
            self.wait(relay, W_EXECUTION)
            return False
        if uplink.port.is_full():
            uplink.blocked.append(relay)
            self.wait(relay, W_LINK)
            return False
        return True

    cdef int forwarded(self, Session session, Relay relay, Command command, uint32_t flags,
                       Args* args) except -1:
        """Note what a forwarded command does to the session there."""
        session.commands += 1
        self.sequencer.commands += 1
        relay.avoids_reads = False
        relay.covered = 0       # a read behind it sees what it did: its index is asked for after it
        if flags & C_READONLY == 0:
            relay.is_risky = True
        if session.reply_mode == REPLY_SKIPPING:
            session.reply_mode = relay.told_mode = REPLY_ON
        if command is None:
            return 0
        session.last_command = command.name
        if session.in_multi_there:
            if command is self.exec_ or (command is self.discard and args.n == 1):
                session.in_multi_there = relay.is_watching = False
            elif flags & C_NO_QUEUE == 0:
                session.queued_count += 1
                session.queued_writes |= flags & (C_WRITE | C_MAY_REPLICATE) != 0
        elif command is self.multi:
            session.in_multi_there = args.n == 1
            session.queued_count = 0
            session.queued_writes = False
        elif command is self.watch:
            relay.is_watching |= args.n > 1
        elif command is self.unwatch and args.n == 1:
            relay.is_watching = False
        return 0

    # -- waiting --------------------------------------------------------------------------------

    cdef int wait(self, Relay relay, int kind) except -1:
        relay.session.state = S_WAITING
        relay.session.waiting = FORWARDED
        relay.wait = kind
        if kind == W_LEADER or kind == W_READ:
            relay.waits += 1
            self.timed.append((self.sequencer.now_ms + self.wait_ms, relay, relay.waits))
        return 0

    cdef int wake(self, Relay relay) except -1:
        """What a session waits for is there; or its input is to be looked at again."""
        cdef Session session = relay.session
        if relay.wait and session.state == S_WAITING:
            session.state = S_READY
            session.waiting = FORWARDED if relay.is_owed() else None
        relay.wait = W_NOTHING
        if session.state == S_READY:
            self.sequencer.ready.append(session)
        return 0

    cdef int wake_blocked(self, Uplink uplink) except -1:
        cdef Relay relay
        cdef list blocked = uplink.blocked
        uplink.blocked = []
        for relay in blocked:
            if relay.wait == W_LINK:
                self.wake(relay)
        return 0

    def wake_leaderless(self):
        """There is a leader, perhaps this node: input need not wait."""
        cdef Relay relay
        timed, self.timed = self.timed, deque()
        for _, relay, waits in timed:
            if relay.wait >= W_LEADER and relay.waits == waits:
                self.wake(relay)

    def tick(self, uint64_t now_ms):
        """Time passes: input that has waited for a leader long enough is answered, in the next pass."""
        cdef Relay relay
        while self.timed and self.timed[0][0] <= now_ms:
            _, relay, waits = self.timed.popleft()
            if relay.wait >= W_LEADER and relay.waits == waits:
                relay.is_expired = True
                self.wake(relay)

    # -- reads of this node ---------------------------------------------------------------------

    def serve_reads(self, Session session not None, bint here):
        """READONLY, or its end."""
        self.relay_of(session).reads_here = here

    def take_readers(self):
        """Return the waits for a read index, or None; it has to be asked for after this."""
        readers, self.readers = self.readers, []
        return readers or None

    def end_reads(self, readers, bint is_reached):
        """The read index is applied here; or there is none, and the leader has to answer.

        It may come late, to those that gave up that wait and are in another by now: what they wait
        for came after this index was asked for.
        """
        cdef Relay relay
        for relay, waits in readers:
            if relay.wait == W_READ and relay.waits == waits:
                if is_reached:
                    relay.covered = relay.wanted
                else:
                    relay.avoids_reads = True
                self.wake(relay)

    # -- leaders come and go --------------------------------------------------------------------

    def go_to(self, Uplink uplink):
        """Forward to `uplink` from here on; None: to nobody.

        Sessions that are owed answers by the former one wait until these are there, or it is lost.
        """
        cdef Uplink former = self.uplink
        cdef Relay relay
        self.uplink = uplink
        if former is not None:
            former.is_open = False
            for relay in list(former.relays.values()):
                if not relay.is_owed():
                    self.release(relay)
                elif relay.session.state == S_READY:
                    self.wait(relay, W_ANSWERS)
            self.wake_blocked(former)
        if uplink is not None:
            self.wake_leaderless()

    def lose(self, Uplink uplink not None):
        """The link of `uplink` is closed, or nothing more is expected of it."""
        cdef Relay relay
        uplink.is_open = False
        if self.uplink is uplink:
            self.uplink = None
        for relay in list(uplink.relays.values()):
            if not relay.is_owed():
                self.release(relay)
                continue
            if not relay.is_partial:        # else its client is in the middle of a string
                self.say(relay.session, UNCERTAIN if relay.is_risky else LOST)
            self.close(relay)
        uplink.blocked = []

    cdef int close(self, Relay relay) except -1:
        """Close a session whose leader is lost."""
        cdef Session session = relay.session
        session.state = S_CLOSING
        session.close_reason = "leader lost"
        self.sequencer.flushable.append(session)
        del relay.uplink.relays[relay.number]
        del self.relays[session.id]
        return 0

    cdef int leave(self, Relay relay) except -1:
        """The mirror is needed no more. Nothing is owed."""
        if relay.uplink is not None:
            if relay.is_told:
                relay.uplink.put_session(relay, END)
            self.release(relay)
        return 0

    cdef int release(self, Relay relay) except -1:
        """There is no mirror any more, and nothing is owed: what was returned is the next input.

        One that was subscribed would miss messages from here on, and not notice: it closes.
        """
        cdef Session session = relay.session
        cdef Parser parser = session.parser
        cdef size_t n = parser.pending()
        cdef bint has_returned = relay.returned.len > 0
        cdef Buffer old
        if session.is_subscribed_there:
            return self.close(relay)
        del relay.uplink.relays[relay.number]
        relay.uplink = None
        relay.sent = relay.executed = relay.answered = 0
        relay.is_risky = relay.is_aborted = False
        if has_returned:
            buffer_reserve(&relay.returned, n)
            if n:
                memcpy(relay.returned.data + relay.returned.len, parser.input.data + parser.start, n)
                relay.returned.len += n
            old = parser.input
            parser.input = relay.returned
            relay.returned = old
            buffer_free(&relay.returned)
            parser.error = None
            parser.rewind(0)
        if relay.is_watching:
            session.cas_dirty = True
        if session.in_multi_there:
            session.in_multi = True
            session.exec_aborted = not relay.is_watching
        session.in_multi_there = relay.is_watching = False
        if session.state == S_READY:
            session.waiting = None
        if relay.wait or has_returned:
            self.wake(relay)
        return 0

    def forget(self, Session session not None):
        """A session is closed."""
        cdef Relay relay = self.relays.pop(session.id, None)
        if relay is None:
            return
        relay.wait = W_NOTHING
        if relay.uplink is not None:
            if relay.is_told:
                relay.uplink.put_session(relay, END)
            del relay.uplink.relays[relay.number]
            relay.uplink = None

    cdef bint ends_with_answers(self, Session session) except -1:
        """The client sends no more: whether it is owed something, after which it is closed."""
        cdef Relay relay = self.relays.get(session.id)
        if relay is None or not (relay.is_owed() or relay.wait):
            return False
        if relay.is_owed() and not relay.ends:
            relay.uplink.put_session(relay, LAST)
        relay.ends = True
        return True

    def drop_stalled(self):
        """This node leads no more: its mirrors are closed."""
        self.stalled = [session for session in self.stalled if session.state != S_CLOSED]

    def begin_to_serve(self):
        """The sequencer serves from now on: mirrors that have input run, and so do clients."""
        stalled, self.stalled = self.stalled, []
        self.sequencer.ready.extend(stalled)
        self.wake_leaderless()
