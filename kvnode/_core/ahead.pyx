# cython: boundscheck=False, wraparound=False
"""Looks at a pipeline ahead of its execution: waits for memory overlap, LevelDB is asked once."""

from libc.stdint cimport uint64_t
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport Command
from kvnode._core.parser cimport PARSE_COMMAND, Args
from kvnode._core.sequencer cimport LOOK_AHEAD_COMMANDS, PIPELINE_AHEAD, Sequencer
from kvnode._core.session cimport Session
from kvnode._core.tip cimport Table
from kvnode._core.view cimport Head


cdef int bring_near(Sequencer s, Session session) except -1:
    """Fetch from main memory what the next commands of a pipeline will look up.

    Their waits for memory overlap instead of following one another. Returns how many commands
    were looked at, plus one: call again when that many have begun.
    """
    cdef Slice keys[PIPELINE_AHEAD]
    cdef Args args
    cdef size_t cursor = session.parser.start
    cdef int commands = 0
    cdef int n = 0
    while commands < PIPELINE_AHEAD and session.parser.peek(&cursor, &args) == PARSE_COMMAND:
        commands += 1
        if args.n > 1:
            keys[n] = args.v[1]     # nearly always the key; else a little work for nothing
            n += 1
    if n > 1:
        s.tip.prefetch(s.view.table, keys, n, 1)
    return commands + 1


cdef int look_ahead(Sequencer s, Session session) except -1:
    """Note what the commands behind a parked one will miss too: one fetch for all of them."""
    cdef size_t cursor = session.parser.start
    cdef Args args
    cdef Command command
    cdef Head head
    cdef Table* table = s.view.table
    cdef size_t before
    cdef int i
    cdef int last
    cdef int n = 0
    while n < LOOK_AHEAD_COMMANDS and session.parser.peek(&cursor, &args) == PARSE_COMMAND:
        n += 1
        command = s.dispatch.find(args.v[0].data, args.v[0].len)
        if command is None or command.key_first <= 0:
            continue
        last = command.key_last if command.key_last >= 0 else args.n + command.key_last
        i = command.key_first
        before = s.view.missing.size()
        while i <= last and i < args.n:
            s.view.note_if_missing(table, args.v[i].data, args.v[i].len)
            i += command.key_step if command.key_step > 0 else 1
        if s.view.missing.size() != before:
            count_cold(s, session, command, session.commands + n)
    return 0


cdef void count_cold(Sequencer s, Session session, Command command, uint64_t number) noexcept:
    """The command of a session with this number waits for LevelDB: reads count, each once."""
    if command is not None and command.reads_keys and number >= session.cold_until:
        session.cold_until = number + 1
        s.cold_reads += 1
