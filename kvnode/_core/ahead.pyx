# cython: boundscheck=False, wraparound=False
"""Looks at a pipeline, or a MULTI's queue, ahead of its execution: waits for memory overlap, LevelDB
is asked once."""

from libc.stdint cimport uint64_t
from kvnode._core.bytes cimport Slice
from kvnode._core.dispatch cimport Command, Dispatch
from kvnode._core.keys cimport K_HEAD
from kvnode._core.parser cimport PARSE_COMMAND, Args
from kvnode._core.queued cimport Queued, free_queued, load_queued
from kvnode._core.sequencer cimport LOOK_AHEAD_COMMANDS, PIPELINE_AHEAD, Sequencer
from kvnode._core.session cimport Session
from kvnode._core.tip cimport Table
from kvnode._core.view cimport Head, View

cdef enum:
    QUEUE_AHEAD_COMMANDS = 1024     # as many keys are read in one pass: LOAD_RECORDS_PER_STEP


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
    cdef int n = 0
    while n < LOOK_AHEAD_COMMANDS and session.parser.peek(&cursor, &args) == PARSE_COMMAND:
        n += 1
        command = s.dispatch.find(args.v[0].data, args.v[0].len)
        if command is None or command.key_first <= 0:
            continue
        before = s.view.missing.size()
        note_keys(s.view, table, command, &args)
        if s.view.missing.size() != before:
            count_cold(s, session, command, session.commands + n)
    return 0


cdef int note_keys(View view, Table* table, Command command, Args* args) except -1:
    """Note the keys of a command that are not in memory."""
    cdef int last = command.key_last if command.key_last >= 0 else args.n + command.key_last
    cdef int i = command.key_first
    while i <= last and i < args.n:
        view.note_if_missing(table, args.v[i].data, args.v[i].len)
        i += command.key_step if command.key_step > 0 else 1
    return 0


cdef int look_ahead_in_queue(View view, Dispatch dispatch, const char* queue, size_t at,
                             size_t n) except -1:
    """Note what commands of a MULTI's queue of n bytes, from byte `at` on, will miss; up to a bound.

    They are read before their turn, but none that no command names: up to a change of the database.
    Nothing if what lacks is an element: those behind it may be of the same collection.
    """
    cdef Queued queued
    cdef Command command
    cdef int commands
    if view.missing.empty() or view.missing[0].data[0] != K_HEAD:
        return 0
    for commands in range(QUEUE_AHEAD_COMMANDS):
        if at == n or view.missing.size() >= QUEUE_AHEAD_COMMANDS:
            break
        at = load_queued(queue, at, &queued)
        try:
            command = dispatch.find(queued.args.v[0].data, queued.args.v[0].len)
            if command is None or command.name == b"select":
                break
            if command.key_first > 0:
                note_keys(view, view.table, command, &queued.args)
        finally:
            free_queued(&queued)
    return 0


cdef void count_cold(Sequencer s, Session session, Command command, uint64_t number) noexcept:
    """The command of a session with this number waits for LevelDB: reads count, each once."""
    if command is not None and command.reads_keys and number >= session.cold_until:
        session.cold_until = number + 1
        s.cold_reads += 1
