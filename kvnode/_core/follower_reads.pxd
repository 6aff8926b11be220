"""Reads that a follower answers itself, for sessions in READONLY.

They are linearizable: such a command waits until the node has applied what was committed when a read
index was asked for, after the command had arrived. One that would write, be it the deletion of a
key past its deadline, or that takes long, goes to the leader.
"""

from libc.stdint cimport uint32_t
from kvnode._core.dispatch cimport Command
from kvnode._core.parser cimport Args
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session


cdef bint may_read_here(Command command, uint32_t flags) noexcept
cdef int read_here(Sequencer sequencer, Session session, Args* args) except -1  # Outcome
