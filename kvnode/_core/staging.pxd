"""Large arguments of one command, written as chunks in bounded batches before the command runs.

They are listed as trash until the command publishes them, so nothing of a command that never runs
stays. The command itself then runs as one whole, in one batch.
"""

from kvnode._core.dispatch cimport Dispatch
from kvnode._core.parser cimport Args
from kvnode._core.session cimport Session
from kvnode._core.view cimport View


cdef enum:
    STAGE_COMMAND_BYTES = 1 << 20   # a longer command stages its large arguments first
    STAGE_ARGUMENT_BYTES = 1 << 19  # an argument that is staged


cdef bint stage(View view, Dispatch dispatch, Session session, Args* args, size_t budget) except -1
cdef int unstage(View view, Session session) except -1
cdef int abandon(View view, Session session) except -1
