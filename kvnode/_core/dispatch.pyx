# cython: boundscheck=False, wraparound=False
"""Command lookup, the checks before a handler, MULTI's queue, and the counters of every command."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport calloc, free
from libc.stdint cimport uint8_t
from libc.string cimport memcpy
from libc.time cimport time_t
from kvnode._core.buffer cimport Buffer
from kvnode._core.bytes cimport Slice
from kvnode._core.clock cimport monotonic_micros
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply, reply_error, reply_simple
from kvnode._core.session cimport S_CLOSING, Session
from kvnode._core.view cimport View

from kvnode.base.errors import CommandError, InvariantError, RecordMissing, StorageError

cdef enum:
    NAME_BYTES_MAX = 64         # a longer name is no command
    ERROR_ARGUMENT_BYTES = 128  # of an unknown command's arguments, in its error
    ERROR_CODES_MAX = 128       # different codes counted
    FAST_RUN = 16               # fast commands measured together
    PRECISE_MICROS = 1000       # slowlog-log-slower-than below this measures every command


# Commands that store an argument whole. Large ones are written beforehand, in bounded entries.
STORES_ARGUMENTS = frozenset(
    (b"set", b"setnx", b"setex", b"psetex", b"getset", b"mset", b"msetnx"))

REPLACES_DATABASES = frozenset((b"flushall", b"flushdb", b"swapdb"))


ONLY_IN_PUBSUB = (b"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                  b"this context")


cdef class NativeHandler:
    """A handler written in Cython, as the command table names it."""


cdef NativeHandler native(Handler function):
    cdef NativeHandler handler = NativeHandler()
    handler.function = function
    return handler


cdef class Command:
    """One row of the command table, ready to run.

    handler: a NativeHandler, a Python callable (view, args, reply), or None for a container of
    subcommands only.
    """

    def __init__(self, bytes name, int arity, uint32_t flags, keys, handler, row=None,
                 subcommands=None):
        self.name = name
        self.arity = arity
        self.flags = flags
        self.key_first, self.key_last, self.key_step = keys
        self.function = NULL
        if isinstance(handler, NativeHandler):
            self.function = (<NativeHandler>handler).function
        else:
            self.handler = handler
        self.row = row
        self.reads_keys = flags & C_READONLY and row is not None and bool(row.keys)
        self.looks = row is None or row.group != "connection"
        self.stores_arguments = name in STORES_ARGUMENTS
        self.replaces_databases = name in REPLACES_DATABASES
        self.subcommands = subcommands

    def reset(self):
        """Forget the counters (CONFIG RESETSTAT)."""
        self.calls = self.microseconds = self.rejected = self.failed = 0


cdef class Dispatch:
    """The commands of a node and their counters.

    commands: every top-level Command.
    """

    def __cinit__(self, commands):
        cdef Command command
        cdef uint32_t size = 64
        self.commands = {command.name.upper(): command for command in commands}
        while size < 4 * len(self.commands):
            size *= 2
        self.slots = <Slot*>calloc(size, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError("command table")
        self.mask = size - 1
        for name, command in self.commands.items():
            self.add(name, command)
        self.errors = {}
        self.reserved = set()
        self.held_back = []
        self.slow_micros = -1

    def __dealloc__(self):
        free(self.slots)

    cdef int add(self, bytes name, Command command) except -1:
        cdef uint64_t word = name_word(name, len(name))
        cdef uint32_t at = slot_of(word, len(name)) & self.mask
        while self.slots[at].command != NULL:
            at = (at + 1) & self.mask
        self.slots[at].name = word
        self.slots[at].length = <uint32_t>len(name)
        self.slots[at].command = <void*>command
        return 0

    cdef Command find(self, const char* name, size_t n):
        """Return the command of this name in any case, or None."""
        cdef uint64_t word
        cdef uint32_t at
        cdef Slot* slot
        if n == 0 or n > NAME_BYTES_MAX:
            return None
        word = name_word(name, n)
        at = slot_of(word, n) & self.mask
        while True:
            slot = &self.slots[at]
            if slot.command == NULL:
                return None
            if slot.name == word and slot.length == n:
                if n <= 8 or same_name(name, n, <Command>slot.command):
                    return <Command>slot.command
            at = (at + 1) & self.mask

    cdef int execute(self, View view, Session session, Args* args) except -1:
        """Run or queue one parsed command of a session; return an Outcome."""
        cdef Command command = self.find(args.v[0].data, args.v[0].len)
        cdef Reply reply = session.reply
        cdef uint64_t errors = reply.errors
        cdef bytes refusal
        if command is None:
            if is_http(&args.v[0]):
                session.state = S_CLOSING
                session.close_reason = "cross-protocol request"
                return DONE
            refusal = unknown_command(args)
            return self.refuse(view, session, None, refusal)
        if command.subcommands is not None and args.n > 1:
            command = self.subcommand(command, args)
            if command is None:
                return self.refuse(view, session, None, unknown_subcommand(
                    self.find(args.v[0].data, args.v[0].len), args))
        if (command.arity > 0 and args.n != command.arity) or args.n < -command.arity:
            return self.refuse(
                view, session, command,
                b"ERR wrong number of arguments for '" + command.name + b"' command")
        if not session.authenticated and command.flags & C_NO_AUTH == 0:
            return self.refuse(view, session, command, b"NOAUTH Authentication required.")
        if session.subscriber != NULL and reply.proto == 2 and command.flags & C_IN_PUBSUB == 0:
            return self.refuse(view, session, command,
                               b"ERR Can't execute '" + command.name + ONLY_IN_PUBSUB)
        if session.in_multi and command.flags & C_NO_QUEUE == 0:
            if command.flags & C_NO_MULTI:
                return self.refuse(view, session, command,
                                   b"ERR Command not allowed inside a transaction")
            session.queue(args, command.flags & (C_WRITE | C_MAY_REPLICATE) != 0)
            reply_simple(reply, b"QUEUED", 6)
            return DONE
        if self.gate is not None and self.gate(session, command):
            return HELD
        if self.has_reservation and self.hold_back(session, command, args):
            return HELD
        return self.measure(view, session, command, args)

    cdef int measure(self, View view, Session session, Command command, Args* args) except -1:
        """Call a command with its counters; a run of fast commands shares its clock readings."""
        cdef uint64_t started
        cdef uint64_t micros
        cdef uint64_t errors = session.reply.errors
        cdef int outcome
        session.looked |= command.looks
        if command.flags & C_FAST and not 0 <= self.slow_micros < PRECISE_MICROS:
            if <void*>command != self.run_command or self.run_length >= FAST_RUN:
                self.end_run()
                self.run_command = <void*>command
                self.run_started = monotonic_micros()
            outcome = self.call(view, command, args, session.reply)
            if outcome == DONE:
                self.run_length += 1
                command.calls += 1
        else:
            self.end_run()
            started = monotonic_micros()
            outcome = self.call(view, command, args, session.reply)
            if outcome not in (PARK, LONG, AGAIN, BLOCK):
                micros = monotonic_micros() - started
                command.calls += 1
                command.microseconds += micros
                if self.slow_micros >= 0 and micros >= <uint64_t>self.slow_micros \
                        and self.on_slow is not None:
                    self.on_slow(session, args_list(args), micros)
        if session.last_command is not command.name:
            session.last_command = command.name
        if session.reply.errors != errors and outcome == DONE:
            command.failed += 1
            self.count_error(session.reply)
        return outcome

    # -- reservations ---------------------------------------------------------------------------

    def reserve(self, names):
        """Hold back writes that name one of `names`, in any database; None: all writes."""
        self.has_reservation = True
        if names is None:
            self.all_reserved = True
        else:
            self.reserved |= names

    def end_reservation(self):
        """Return the sessions that were held back, in order, to be resumed."""
        cdef list sessions = self.held_back
        self.has_reservation = self.all_reserved = False
        self.reserved = set()
        self.held_back = []
        return sessions

    cdef bint hold_back(self, Session session, Command command, Args* args) except -1:
        """Whether a command, of an EXEC perhaps, waits for the end of the reservation.

        Any argument may be a key: that holds back a command too many now and then.
        """
        cdef int i
        if command.flags & C_WRITE == 0:
            return False
        if not self.all_reserved and not command.replaces_databases:
            for i in range(1, args.n):
                if PyBytes_FromStringAndSize(args.v[i].data, args.v[i].len) in self.reserved:
                    break
            else:
                return False
        self.held_back.append(session)
        return True

    cdef int end_run(self) except -1:
        """Give the time of a run of fast commands to their row."""
        if self.run_length:
            (<Command>self.run_command).microseconds += monotonic_micros() - self.run_started
            self.run_length = 0
        self.run_command = NULL
        return 0

    cdef int call(self, View view, Command command, Args* args, Reply reply) except -1:
        """Run a handler, native or Python; the one way for sockets, EXEC and scripts."""
        cdef size_t at = reply.out.len
        cdef int result
        view.steps = view.steps_before
        view.is_long = False
        if command.function != NULL:
            result = command.function(view, args, reply)
            if result == PARK and view.is_long:
                view.clear_missing()
                view.missing_loads.clear()
                view.missing_spans.clear()
                return LONG
            return result
        if command.handler is None:     # a container called without a subcommand
            reply_error_bytes(reply, b"ERR wrong number of arguments for '" + command.name
                              + b"' command")
            return DONE
        try:
            outcome = command.handler(view, args_list(args), reply)
        except CommandError as error:
            reply.out.len = at
            reply_error_bytes(reply, error.line)
            return DONE
        except RecordMissing:
            reply.out.len = at
            return PARK
        except (InvariantError, AssertionError, StorageError, MemoryError):
            raise
        except Exception as error:      # our bug, but nothing of the data is in doubt
            if view.node is None:
                raise
            reply.out.len = at
            view.node.report_bug(command.name, error)
            reply_error_bytes(reply, b"ERR internal error, see the server's log")
            return DONE
        return DONE if outcome is None else outcome

    cdef Command subcommand(self, Command command, Args* args):
        cdef bytes name = args.v[1].data[:args.v[1].len] if args.v[1].len <= NAME_BYTES_MAX else b""
        return command.subcommands.get(name.upper())

    cdef int refuse(self, View view, Session session, Command command, bytes line) except -1:
        """Answer an error without running anything; inside MULTI, EXEC will abort.

        An EXEC that is refused itself ends the transaction.
        """
        if session.in_multi:
            session.exec_aborted = True
        if command is not None:
            command.rejected += 1
            if command.name == b"exec":
                line = (b"EXECABORT Transaction discarded because of: "
                        + line.removeprefix(b"ERR "))
                session.reset_multi()
                view.watches.remove(session)
        reply_error_bytes(session.reply, line)
        self.count_error(session.reply)
        return DONE

    cdef int count_error(self, Reply reply) except -1:
        """Count the code of the last error reply."""
        cdef size_t i = reply.error_at + 1
        cdef size_t end = i
        while end < reply.out.len and reply.out.data[end] not in (32, 13):
            end += 1
        cdef bytes code = reply.out.data[i:end]
        if code in self.errors or len(self.errors) < ERROR_CODES_MAX:
            self.errors[code] = self.errors.get(code, 0) + 1
        return 0

    def lookup(self, bytes name not None):
        """Return the Command of this name in any case, or None."""
        return self.find(name, len(name))


cdef int reply_error_bytes(Reply reply, bytes line) except -1:
    return reply_error(reply, line, len(line))


cdef list args_list(Args* args):
    """The arguments as Python bytes, the command's name included."""
    cdef int i
    return [PyBytes_FromStringAndSize(args.v[i].data, args.v[i].len) for i in range(args.n)]


cdef inline uint64_t name_word(const char* name, size_t n) noexcept nogil:
    """The first 8 bytes of a name, letters raised to upper case."""
    cdef uint64_t word = 0
    cdef size_t i
    cdef uint8_t c
    for i in range(n if n < 8 else 8):
        c = <uint8_t>name[i]
        if 97 <= c <= 122:
            c -= 32
        word = (word << 8) | c
    return word


cdef inline uint32_t slot_of(uint64_t word, size_t n) noexcept nogil:
    return <uint32_t>(((word ^ (n * 0x9E3779B97F4A7C15UL)) * 0xD6E8FEB86659FD93UL) >> 32)


cdef bint same_name(const char* name, size_t n, Command command):
    cdef bytes lower = command.name
    cdef size_t i
    cdef uint8_t c
    for i in range(n):
        c = <uint8_t>name[i]
        if 65 <= c <= 90:
            c += 32
        if c != <uint8_t>lower[i]:
            return False
    return True


cdef bint is_http(const Slice* name):
    """Whether a browser was made to talk to us: Redis ends such connections without a reply."""
    return same_word(name, b"post") or same_word(name, b"host:")


cdef bint same_word(const Slice* name, bytes lower):
    return name.len == <size_t>len(lower) and name.data[:name.len].lower() == lower


cdef bytes text_of(const Slice* arg, size_t most):
    """An argument as Redis shows it in errors: cut short, and at a zero byte."""
    cdef bytes text = arg.data[:min(arg.len, most)]
    return text.partition(b"\0")[0]


cdef bytes unknown_command(Args* args):
    """Redis's text: name and arguments, each cut short."""
    cdef bytes name = text_of(&args.v[0], 128)
    cdef bytes shown = b""
    cdef int i
    for i in range(1, args.n):
        if len(shown) >= ERROR_ARGUMENT_BYTES:
            break
        shown += b"'" + text_of(&args.v[i], ERROR_ARGUMENT_BYTES - len(shown)) + b"' "
    return b"ERR unknown command '" + name + b"', with args beginning with: " + shown


cdef bytes unknown_subcommand(Command command, Args* args):
    cdef bytes name = text_of(&args.v[1], 128)
    return (b"ERR unknown subcommand '" + name + b"'. Try " + command.name.upper() + b" HELP.")
