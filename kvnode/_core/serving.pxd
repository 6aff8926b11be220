"""Serving of the sessions that wait on keys: whose command runs again, and how a wait ends.

Serving follows the command, EXEC or script that gave the keys data, in its batch. A command that
runs again counts as newly arrived: for the hold rule, for CLIENT PAUSE, for records it lacks.
"""

from kvnode._core.blocking cimport Waiter
from kvnode._core.parser cimport Args
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session


cdef int serve_waiters(Sequencer s, Session session) except -1
cdef int run_waiter(Sequencer s, Waiter* w) except -1
cdef bint comes_later(Sequencer s, Session session, Args* args) except -1
cdef int time_out(Sequencer s) except -1
