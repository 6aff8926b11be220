# cython: boundscheck=False, wraparound=False
"""EVAL, EVALSHA, FCALL, their read-only forms, and what the node knows of scripts.

A script runs on the sequencer, as one command. Past its budget it is undone and runs as a
transaction beside the sequencer, where the same handler finds itself on a private view.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy
from kvnode._core.arguments cimport any_missing, refuse, require_i64
from kvnode._core.bytes cimport Slice, parse_i64
from kvnode._core.dispatch cimport DONE, LONG, PARK, native
from kvnode._core.reply cimport reply_error
from kvnode._core.script_cache cimport (
    S_BLIND_APPENDS, S_COMPATIBLE, S_NO_WRITES, kSha1HexBytes, sha1_hex)
from kvnode._core.workspace cimport Workspace

from kvnode.base.errors import CommandError

NO_SCRIPT = b"NOSCRIPT No matching script. Please use EVAL."


cdef class Scripts:
    """The scripts of a node and the two engines that run them.

    view: of the sequencer. make_state: see kvnode.scripting.runtime.new_state.
    """

    def __cinit__(self, View view not None, make_state not None):
        self.view = view
        self.cache = ScriptCache(view)
        self.here = Engine(make_state, 0)
        self.beside = Engine(make_state, 1)
        self.budget_micros = BUDGET_MICROS
        self.limit_micros = LIMIT_MICROS
        self.misses_max = MISSES_MAX
        self.misses = {}
        self.functions = Libraries(view, self.here, self.beside)
        self.programs = set()

    cdef Script script_of(self, View view, Args* args, bint by_name, Reply reply):
        """The script of a call, cached and compiled; None: the reply says why not."""
        cdef Slice text = args.v[1]
        cdef char sha[kSha1HexBytes]
        cdef Script script
        cdef Engine engine = self.beside if view.is_private else self.here
        cdef size_t i
        if by_name:
            for i in range(kSha1HexBytes):
                sha[i] = text.data[i] + 32 if 65 <= text.data[i] <= 90 else text.data[i]
        else:
            sha1_hex(text.data, text.len, sha)
        script = self.cache.find(sha)
        if script is None and view.is_private:
            script = (<Workspace>view.workspace).scripts.get(sha[:kSha1HexBytes])
        if script is None:
            if by_name:
                reply_error(reply, NO_SCRIPT, len(NO_SCRIPT))
                return None
            script = self.prepare(sha[:kSha1HexBytes],
                                  PyBytes_FromStringAndSize(text.data, text.len))
            if not engine.compile(script, reply):
                return None
            if view.is_private:
                (<Workspace>view.workspace).scripts[script.name] = script
            else:
                self.cache.put(script)
        elif not engine.compile(script, reply):
            return None
        return script

    def prepare(self, bytes sha not None, bytes text not None):
        """Return a new Script. Raises CommandError."""
        return Script(sha, text)

    cdef int run(self, View view, Args* args, bint by_name, bint is_readonly, Reply reply) except -1:
        """Run EVAL or one of its kin: an Outcome."""
        cdef Script script
        cdef int64_t count
        if by_name and args.v[1].len != kSha1HexBytes:
            reply_error(reply, NO_SCRIPT, len(NO_SCRIPT))
            return DONE
        if not require_i64(&args.v[2], &count, reply):
            return DONE
        if count > args.n - FIRST_ARGUMENT:
            return refuse(reply, b"ERR Number of keys can't be greater than number of args")
        if count < 0:
            return refuse(reply, b"ERR Number of keys can't be negative")
        try:
            script = self.script_of(view, args, by_name, reply)
        except CommandError as error:
            reply_error(reply, error.line, len(error.line))
            return DONE
        if script is None:
            return DONE
        return self.start(view, args, script, False, <int>count, is_readonly, reply)

    cdef int call_function(self, View view, Args* args, bint is_readonly, Reply reply) except -1:
        """Run FCALL or FCALL_RO: an Outcome."""
        cdef Function function = self.functions.find(args.v[1].data, args.v[1].len)
        cdef int64_t count
        if function is None:
            return refuse(reply, b"ERR Function not found")
        if not parse_i64(args.v[2].data, args.v[2].len, &count):
            return refuse(reply, b"ERR Bad number of keys provided")
        if count > args.n - FIRST_ARGUMENT:
            return refuse(reply, b"ERR Number of keys can't be greater than number of args")
        if count < 0:
            return refuse(reply, b"ERR Number of keys can't be negative")
        try:
            self.functions.make_ready(function, self.beside if view.is_private else self.here)
        except CommandError as error:
            reply_error(reply, error.line, len(error.line))
            return DONE
        return self.start(view, args, function, True, <int>count, is_readonly, reply)

    cdef bint misses_often(self, View view) except -1:
        """Count a run that lacked a record; whether the call goes on beside the sequencer.

        There it is not undone by a miss. Here each record costs a run, and those read for the last one
        may have left memory.
        """
        cdef int count = self.misses.get(view.session.id, 0) + 1
        if count < self.misses_max:
            if len(self.misses) >= SESSIONS_MAX:
                self.misses.clear()     # sessions that have gone
            self.misses[view.session.id] = count
            return False
        self.misses.pop(view.session.id, None)
        view.clear_missing()
        view.missing_ranges.clear()
        view.missing_loads.clear()
        view.missing_spans.clear()
        return True

    cdef int start(self, View view, Args* args, Runnable script, bint is_function, int count,
                   bint is_readonly, Reply reply) except -1:
        """Run what is ready in its engine, with the keys and arguments of a call: an Outcome."""
        cdef Engine engine = self.beside if view.is_private else self.here
        cdef Args keys
        cdef int outcome
        if is_readonly and script.flags & (S_COMPATIBLE | S_NO_WRITES) == 0:
            return refuse(
                reply, b"ERR Can not execute a script with write flag using *_ro command.")
        keys.v = args.v + FIRST_ARGUMENT
        keys.n = count
        if not view.is_private:
            if script.is_long and not view.is_undivided:
                return LONG
            if count > 0 and any_missing(view, &keys, 0, 1):
                return PARK
            engine.budget.micros_max = UNDIVIDED_MICROS if view.is_undivided else self.budget_micros
        else:
            engine.budget.micros_max = self.limit_micros
            if engine.read_missing is None and count > 0 \
                    and script.flags & S_BLIND_APPENDS == 0 and any_missing(view, &keys, 0, 1):
                return PARK
        outcome = engine.run(view, script, is_function, keys.v, count, keys.v + count,
                             args.n - FIRST_ARGUMENT - count, is_readonly, reply)
        if view.is_private or view.session.in_exec:
            pass        # there it is not this call alone that runs again
        elif outcome == PARK and self.misses_often(view):
            self.moved += 1
            return LONG
        elif outcome != PARK and self.misses:
            self.misses.pop(view.session.id, None)
        if outcome == LONG:
            if view.is_undivided:
                reply_error(reply, TOO_LONG, len(TOO_LONG))
                return DONE
            self.moved += 1
            script.is_long = True
        elif view.is_private and outcome == DONE:
            script.is_long = 0 < self.budget_micros <= <int64_t>engine.micros
        return outcome

    # -- for SCRIPT, the node, and the programs of transactions --------------------------------------

    def load(self, bytes text not None, reply not None):
        """SCRIPT LOAD: return the name of a script, or None: the reply says what is wrong."""
        cdef char sha[kSha1HexBytes]
        cdef Script script
        sha1_hex(text, len(text), sha)
        script = self.cache.find(sha)
        if script is None:
            script = self.prepare(sha[:kSha1HexBytes], text)
            if not self.here.compile(script, reply):
                return None
            self.cache.put(script)
        return script.name

    def keep(self, Script script not None):
        """An EXEC that has run a script beside the sequencer takes effect: cache it. In a pass."""
        self.cache.put(script)

    def set_log(self, on_log):
        """on_log(level, text): takes what redis.log() is given, on any thread."""
        self.here.on_log = on_log
        self.beside.on_log = on_log

    @property
    def now_ms(self):
        """Of the open batch, or the last one."""
        return self.view.now_ms

    def flush(self):
        """SCRIPT FLUSH."""
        self.cache.flush()
        self.here.forget_functions()

    def kill(self):
        """SCRIPT KILL: stop what runs beside the sequencer; False: nothing does."""
        if not self.programs and not self.beside.is_running:
            return False
        for program in self.programs:
            program.kill()
        if self.beside.is_running:      # in an EXEC perhaps
            self.beside.kill()
        return True


TOO_LONG = b"ERR Script took longer than it may inside of this EXEC; nothing of it is done"
NOT_HERE = b"ERR this node runs no scripts"


cdef int evaluate(View view, Args* args, bint by_name, bint is_readonly, Reply reply) except -1:
    if view.scripts is None:
        return refuse(reply, NOT_HERE)
    return (<Scripts>view.scripts).run(view, args, by_name, is_readonly, reply)


cdef int cmd_eval(View view, Args* args, Reply reply) except -1:
    return evaluate(view, args, False, False, reply)


cdef int cmd_evalsha(View view, Args* args, Reply reply) except -1:
    return evaluate(view, args, True, False, reply)


cdef int cmd_eval_ro(View view, Args* args, Reply reply) except -1:
    return evaluate(view, args, False, True, reply)


cdef int cmd_evalsha_ro(View view, Args* args, Reply reply) except -1:
    return evaluate(view, args, True, True, reply)


cdef int cmd_fcall(View view, Args* args, Reply reply) except -1:
    if view.scripts is None:
        return refuse(reply, NOT_HERE)
    return (<Scripts>view.scripts).call_function(view, args, False, reply)


cdef int cmd_fcall_ro(View view, Args* args, Reply reply) except -1:
    if view.scripts is None:
        return refuse(reply, NOT_HERE)
    return (<Scripts>view.scripts).call_function(view, args, True, reply)


HANDLERS = {
    "fcall": native(cmd_fcall),
    "fcall_ro": native(cmd_fcall_ro),
    "eval": native(cmd_eval),
    "evalsha": native(cmd_evalsha),
    "eval_ro": native(cmd_eval_ro),
    "evalsha_ro": native(cmd_evalsha_ro),
}
