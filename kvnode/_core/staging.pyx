# cython: boundscheck=False, wraparound=False
"""Staging of large arguments, and the end of what was staged or built in vain."""

from libc.stdint cimport uint32_t, uint64_t
from kvnode._core.dispatch cimport Command, Dispatch
from kvnode._core.once cimport COMMAND_AT
from kvnode._core.parser cimport Args
from kvnode._core.session cimport Session
from kvnode._core.strvalue cimport CHUNK_BYTES
from kvnode._core.view cimport Staged, View


cdef bint stage(View view, Dispatch dispatch, Session session, Args* args, size_t budget) except -1:
    """Write the large arguments of a command, about `budget` bytes of them now; True: not yet all."""
    cdef Command command
    cdef Staged staged
    cdef size_t take
    cdef size_t at
    cdef uint64_t value_id
    cdef int i
    if session.staged is not None and not all_begun(view, session):
        unstage(view, session)
    if session.staged is None:
        command = storing_command(dispatch, args)
        if command is None or not command.stores_arguments or session.in_multi:
            return False
        session.staged = []
        for i in range(1, args.n):
            if args.v[i].len > STAGE_ARGUMENT_BYTES:
                value_id = view.new_id()
                session.staged.append([i, value_id, 0])
                view.begin_value(value_id, args.v[i].len, session)
    view.staged.clear()
    for entry in session.staged:
        i = entry[0]
        at = entry[2]
        while at < args.v[i].len:
            if budget < CHUNK_BYTES:
                entry[2] = at
                return True
            take = min(<size_t>CHUNK_BYTES, args.v[i].len - at)
            view.write_chunk(entry[1], <uint32_t>(at // CHUNK_BYTES), args.v[i].data + at, take)
            at += take
            budget -= take
        entry[2] = at
        staged.data = args.v[i].data
        staged.length = args.v[i].len
        staged.value_id = entry[1]
        view.staged.push_back(staged)
    return False


cdef Command storing_command(Dispatch dispatch, Args* args):
    """The command whose arguments these are: of a request with an id the one behind that."""
    cdef Command command = dispatch.find(args.v[0].data, args.v[0].len)
    if command is not None and command.subcommands is not None and args.n > COMMAND_AT:
        command = dispatch.subcommand(command, args)
        if command is not None and command.name == b"kvnode|once":
            return dispatch.find(args.v[COMMAND_AT].data, args.v[COMMAND_AT].len)
    return command


cdef bint all_begun(View view, Session session) except -1:
    """Whether all of what a session has staged is as it left it."""
    for entry in session.staged:
        if not view.is_begun(entry[1]):
            return False
    return True


cdef int unstage(View view, Session session) except -1:
    """The command with staged arguments ran, or never will: what it did not publish is trash."""
    for entry in session.staged:
        view.staging.pop(entry[1], None)
    session.staged = None
    return 0


cdef int abandon(View view, Session session) except -1:
    """The command that built a value ended without it: what there is of it is trash."""
    view.staging.pop(session.building.value_id, None)
    session.building = None
    return 0
