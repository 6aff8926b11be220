# cython: boundscheck=False, wraparound=False
"""Runs scripts: a state, its budget, and the way from redis.call to the handlers of commands."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy
from libc.time cimport time_t
from kvnode._core.blocking cimport Waiters
from kvnode._core.clock cimport monotonic_micros
from kvnode._core.collection cimport is_past_budget
from kvnode._core.dispatch cimport (
    AGAIN, C_MAY_REPLICATE, C_NOSCRIPT, C_WRITE, DONE, HELD, LONG, PARK, args_list)
from kvnode._core.lua_libraries cimport (
    kLuaOutOfMemory, kLuaOutOfSteps, lua_compile, lua_tolstring)
from kvnode._core.reply cimport Reply, reply_error, reply_raw
from kvnode._core.script_cache cimport S_BLIND_APPENDS, S_NO_WRITES
from kvnode._core.session cimport Session
from kvnode._core.tip cimport DATABASES_MAX, Table
from kvnode._core.view cimport Savepoint

from kvnode.base.errors import CommandError

UNKNOWN = b"ERR Unknown Redis command called from script"
ARITY = b"ERR Wrong number of args calling Redis command from script"
NOT_ALLOWED = b"ERR This Redis command is not allowed from script"
READ_ONLY = b"ERR Write commands are not allowed from read-only scripts."
KILLED = b"ERR Script killed by user with SCRIPT KILL. script: "
TOO_LONG = b"ERR Script took longer than it may; nothing of it is done. script: "
NO_MEMORY = b"ERR Script needs more memory than it may take; nothing of it is done. script: "


cdef int64_t more_steps(void* arg) noexcept nogil:
    """Whether a script may go on: steps, or 0."""
    cdef Budget* budget = <Budget*>arg
    cdef uint64_t now
    if budget.killed:
        budget.end = E_KILLED
        return 0
    if budget.grants_left >= 0:
        if budget.grants_left == 0:
            budget.end = E_PAST_LIMIT
            return 0
        budget.grants_left -= 1
        return budget.grant
    if budget.micros_max != 0:
        now = monotonic_micros()
        if budget.started == 0:
            budget.started = now
        elif now - budget.started >= <uint64_t>budget.micros_max:
            budget.end = E_PAST_LIMIT
            return 0
    return budget.grant


cdef int execute(void* engine, const LuaSlice* args, int n) noexcept:
    """redis.call: 0, or why the script has to stop."""
    cdef Engine self = <Engine>engine
    cdef Args words
    words.v = <Slice*>args
    words.n = n
    try:
        return self.run_command(&words)
    except BaseException as error:      # raised again where the script was started
        self.error = error
        return kLuaInterrupted


cdef int knows_command(void* engine, const LuaSlice* args, int n) noexcept:
    cdef Engine self = <Engine>engine
    cdef Args words
    words.v = <Slice*>args
    words.n = n
    try:
        return self.command_of(&words) is not None
    except BaseException:
        return 0


cdef void write_log(void* engine, int level, const char* text, size_t n) noexcept:
    cdef Engine self = <Engine>engine
    try:
        if self.on_log is not None:
            self.on_log(level, PyBytes_FromStringAndSize(text, n))
    except BaseException as error:
        self.error = error


cdef class Engine:
    """One state for scripts.

    make_state: see kvnode.scripting.runtime.new_state. number: 0 on the sequencer, 1 beside it.
    """

    def __cinit__(self, make_state not None, int number):
        self.make_state = make_state
        self.number = number
        self.reply = Reply()
        self.epoch = 1
        self.memory_max = SCRIPT_MEMORY_BYTES
        self.budget.grant = GRANT_STEPS
        self.budget.grants_left = -1
        self.host.engine = <void*>self
        self.host.execute = execute
        self.host.knows_command = knows_command
        self.host.log = write_log

    cdef int open(self) except -1:
        """Make the state if there is none."""
        if self.state is not None:
            return 0
        self.state = self.make_state()
        self.L = self.state.L
        self.states += 1
        self.state.check(redis_install(self.L, &self.host))
        self.state.seal()
        self.state.control.more_steps = more_steps
        self.state.control.more_steps_arg = &self.budget
        return 0

    cdef int close(self) except -1:
        """Give the state up; the next run makes a new one."""
        self.state = None
        self.L = NULL
        self.compiled.clear()
        self.doomed.clear()
        self.states += 1        # no reference of the old one is taken for one of the next
        self.epoch += 1
        return 0

    def set_budget(self, int64_t micros_max, *, int64_t grant=GRANT_STEPS, int64_t grants=-1):
        """Bound a run: by the clock, 0 = not at all; or, for tests, by `grants` of `grant` steps."""
        self.budget.micros_max = micros_max
        self.budget.grant = grant
        self.budget.grants_left = grants

    def kill(self):
        """Stop the run under way, on any thread."""
        self.budget.killed = True

    def revive(self):
        """What kill() asked for concerned the run before."""
        self.budget.killed = False

    def forget_functions(self):
        """SCRIPT FLUSH: let compiled functions go."""
        cdef size_t i
        for i in range(self.compiled.size()):
            redis_drop(self.L, self.compiled[i])
        self.compiled.clear()
        self.epoch += 1

    @property
    def memory_used(self):
        """Bytes of the state."""
        return 0 if self.state is None else self.state.control.memory_used

    cdef int compile(self, Script script, Reply reply) except -1:
        """Make the function of a script; 0: its text is wrong, and the reply says so."""
        cdef bytes line
        cdef const char* text
        cdef size_t n
        self.open()
        if script.epochs[self.number] == self.epoch:
            return 1
        if self.compiled.size() >= COMPILED_MAX:
            self.forget_functions()
        redis_settle(self.L)
        if lua_compile(self.L, PyBytes_AS_STRING(script.text) + script.body,
                       PyBytes_GET_SIZE(script.text) - script.body, b"@user_script") != 0:
            text = lua_tolstring(self.L, -1, &n)
            line = b"ERR Error compiling script (new function): " + text[:n]
            redis_settle(self.L)
            reply_error(reply, line, len(line))
            return 0
        script.refs[self.number] = redis_keep(self.L)
        script.epochs[self.number] = self.epoch
        self.compiled.push_back(script.refs[self.number])
        return 1

    cdef list load_library(self, bytes code, Py_ssize_t body):
        """Run the top level of a library; return [(name, description, flags, reference)].

        Bounded by steps and not by the clock: what loads once loads after a restart, and on any node.
        Raises CommandError.
        """
        cdef LuaFunctionList functions
        cdef const char* text
        cdef size_t n
        cdef size_t i
        cdef int stopped = 0
        cdef int status
        cdef int64_t grants_left = self.budget.grants_left
        cdef bytes line
        self.open()
        redis_settle(self.L)
        if lua_compile(self.L, PyBytes_AS_STRING(code) + body, PyBytes_GET_SIZE(code) - body,
                       b"@user_function") != 0:
            text = lua_tolstring(self.L, -1, &n)
            line = b"ERR Error compiling function: " + text[:n]
            redis_settle(self.L)
            raise CommandError(line)
        self.budget.end = E_NOT_STOPPED
        self.budget.grants_left = 0
        status = redis_load_library(self.L, &self.host, &functions, LOAD_STEPS, self.memory_max,
                                    &stopped)
        self.budget.grants_left = grants_left
        line = b""
        if stopped != 0:
            line = b"ERR FUNCTION LOAD timeout" if stopped == kLuaOutOfSteps else b"ERR out of memory"
        elif status != 0:
            text = redis_error_text(self.L, &n)
            line = text[:n]
        if line:
            for i in range(functions.size()):
                redis_drop(self.L, functions.ref(i))
            redis_settle(self.L)
            if stopped == kLuaOutOfMemory:
                self.close()
            raise CommandError(b"ERR Error registering functions: " + line)
        redis_settle(self.L)
        return [(functions.name(i)[:functions.name_bytes(i)],
                 None if functions.description(i) == NULL
                 else functions.description(i)[:functions.description_bytes(i)],
                 functions.flags(i), functions.ref(i)) for i in range(functions.size())]

    cdef int doom(self, int ref) except -1:
        """A function of a library is needed no more."""
        self.doomed.push_back(ref)
        return 0

    cdef int run(self, View view, Runnable script, bint is_function, const Slice* keys,
                 int keys_count, const Slice* argv, int argv_count, bint is_readonly,
                 Reply reply) except -1:
        """Run a compiled script under a savepoint; return an Outcome, see the head of the .pxd."""
        cdef Session session = view.session
        cdef Savepoint mark
        cdef Reply outer = None
        cdef int stopped = 0
        cdef int status
        cdef int db = session.db
        cdef bint in_exec = session.in_exec
        cdef int64_t steps_before = view.steps_before
        cdef uint64_t random = self.state.control.random
        cdef uint64_t started = 0
        cdef size_t events = 0
        cdef object appends = None
        cdef Table* databases[DATABASES_MAX]
        while not self.doomed.empty():
            redis_drop(self.L, self.doomed.back())
            self.doomed.pop_back()
        mark = view.savepoint()
        self.view = view
        self.dispatch = view.dispatch
        self.work = view.workspace
        self.is_readonly = is_readonly or script.flags & S_NO_WRITES != 0
        self.is_blind = script.flags & S_BLIND_APPENDS != 0
        self.outcome = DONE
        self.was_stopped = False
        self.budget.end = E_NOT_STOPPED
        self.budget.started = 0
        self.is_running = True
        session.in_exec = True      # no command of it waits, or is cut into steps
        self.host.out.clear(reply.proto)
        if self.work is not None:
            memcpy(databases, view.tip.databases, sizeof(databases))
            started = monotonic_micros()
            outer = self.work.reply
            self.work.reply = self.reply
            events = len(self.work.events)
            appends = self.work.blind_appends()
            self.host.thread = PyEval_SaveThread()
        status = redis_run_function(
            self.L, &self.host, script.refs[self.number], <const LuaSlice*>keys, keys_count,
            <const LuaSlice*>argv, argv_count, is_function, self.budget.grant, self.memory_max, &stopped)
        if self.host.thread != NULL:
            PyEval_RestoreThread(self.host.thread)
            self.host.thread = NULL
        if self.work is not None:
            self.work.reply = outer
            self.micros = monotonic_micros() - started
        self.is_running = False
        self.budget.killed = False
        session.in_exec = in_exec
        session.db = db
        view.table = view.tip.databases[db]
        view.steps_before = steps_before
        if stopped == 0:
            view.end_savepoint(&mark)
        else:
            view.rollback(&mark)
            if self.work is not None:       # where databases have no records to go back to
                memcpy(view.tip.databases, databases, sizeof(databases))
                del self.work.events[events:]
                self.work.undo_appends(appends)
            view.table = view.tip.databases[db]
            self.state.control.random = random
        self.view = None
        self.work = None
        return self.finish(script, status, stopped, reply)

    cdef int finish(self, Runnable script, int status, int stopped, Reply reply) except -1:
        """Write the reply of a run, or say why there is none: its Outcome."""
        cdef bytes line
        cdef size_t at = reply.out.len
        cdef object error = self.error
        if stopped == kLuaOutOfMemory:
            self.close()
            line = NO_MEMORY
        elif stopped == kLuaInterrupted:
            redis_settle(self.L)
            if error is not None:
                self.error = None
                raise error
            return self.outcome
        elif stopped != 0:
            redis_settle(self.L)
            if self.budget.end == E_PAST_LIMIT and self.number == 0:
                return LONG
            line = KILLED if self.budget.end == E_KILLED else TOO_LONG
        else:
            if status != 0:
                redis_describe(self.L, &self.host, PyBytes_AS_STRING(script.name))
            reply_raw(reply, self.host.out.data, self.host.out.len)
            if self.host.out.errors != 0:
                reply.errors += self.host.out.errors
                reply.error_at = at + self.host.out.error_at
            self.host.out.shrink(OUTPUT_KEPT_BYTES)
            redis_settle(self.L)
            return DONE
        self.was_stopped = True
        line += script.name
        reply_error(reply, line, len(line))
        return DONE

    # -- commands ---------------------------------------------------------------------------------

    cdef Command command_of(self, Args* args):
        """The command, or subcommand, that a script names; None: there is none."""
        cdef Command command = self.dispatch.find(args.v[0].data, args.v[0].len)
        if command is not None and command.subcommands is not None and args.n > 1:
            return self.dispatch.subcommand(command, args)
        return command

    cdef int refuse(self, bytes line) except -1:
        reply_error(self.reply, line, len(line))
        self.dispatch.count_error(self.reply)
        self.host.reply = self.reply.out.data
        self.host.reply_bytes = self.reply.out.len
        return 0

    cdef int run_command(self, Args* args) except -1:
        """Check and run one command; its reply is the host's. Not 0: the script has to stop."""
        cdef Command command = self.command_of(args)
        cdef uint64_t errors = self.reply.errors
        cdef int outcome
        self.reply.out.len = 0
        self.host.reply_is_nil = False
        if self.budget.killed:
            self.budget.end = E_KILLED
            return kLuaOutOfSteps
        if command is None:
            return self.refuse(UNKNOWN)
        if (command.arity > 0 and args.n != command.arity) or args.n < -command.arity:
            command.rejected += 1
            return self.refuse(ARITY)
        if command.flags & C_NOSCRIPT or (command.function == NULL and command.handler is None):
            command.rejected += 1
            return self.refuse(NOT_ALLOWED)
        if self.is_readonly and command.flags & (C_WRITE | C_MAY_REPLICATE):
            command.rejected += 1
            return self.refuse(READ_ONLY)
        self.reply.proto = self.host.resp
        if self.work is not None:
            outcome = self.call_beside(command, args)
        else:
            outcome = self.call(command, args)
        if outcome == DONE and self.reply.out.len == 0:     # the node would answer later
            return self.refuse(NOT_ALLOWED)
        if outcome != DONE:
            self.outcome = outcome
            return kLuaInterrupted
        command.calls += 1
        if self.reply.errors != errors:
            command.failed += 1
            self.dispatch.count_error(self.reply)
        elif self.is_blind and command.name in (b"lpush", b"rpush"):
            self.host.reply_is_nil = True
        self.host.reply = self.reply.out.data
        self.host.reply_bytes = self.reply.out.len
        return 0

    cdef int call(self, Command command, Args* args) except -1:
        """Run a command on the tip: an Outcome."""
        cdef View view = self.view
        cdef Waiters waiters = view.waiters
        cdef int outcome
        cdef int i
        if waiters is not None and waiters.backlog and command.flags & C_WRITE:
            for i in range(1, args.n):      # it would overtake who has waited longer
                if waiters.is_ahead(view.session.db, &args.v[i]):
                    return AGAIN
        if self.dispatch.has_reservation and self.dispatch.hold_back(view.session, command, args):
            return HELD
        outcome = self.dispatch.call(view, command, args, self.reply)
        if outcome == DONE and is_past_budget(view, 1):
            return LONG
        view.steps_before = view.steps
        if outcome not in (DONE, PARK, LONG, HELD):
            self.reply.out.len = 0
            return DONE
        return outcome

    cdef int call_beside(self, Command command, Args* args) except -1:
        """Run a command in the workspace: an Outcome. What it lacks is read meanwhile, if it can."""
        cdef list words = None
        cdef int outcome
        if self.is_blind and args.n > 2 and command.name in (b"lpush", b"rpush"):
            words = args_list(args)
        while True:
            if words is not None:
                outcome = self.work.append(words)
            else:
                outcome = self.work.run_args(args)
            if outcome != PARK or self.read_missing is None:
                return outcome
            self.read_missing()
            if self.budget.killed:
                self.budget.end = E_KILLED
                return PARK
