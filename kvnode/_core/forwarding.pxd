"""A client's node: commands that are about the data go to the leader, its replies to the clients.

What a session sends to the leader is bytes, a stream of whole commands. The leader says how much of
it was executed, and how much is answered; the rest is *owed*. While nothing is owed the session is
the same here and there, and commands about this node may run.

When the leader is lost, what is owed has an unknown outcome and is never sent again: the client gets
an error, and the connection closes. One that is subscribed closes as well: messages come only as long
as this leader leads. What the leader returned was not executed: it is the session's
next input again. A session that is owed nothing goes on with the next leader. Of its transaction
nothing is left there: one with WATCH answers null, another is discarded.
"""

from libc.stdint cimport uint32_t, uint64_t
from kvnode._core.dispatch cimport Command
from kvnode._core.front cimport Front
from kvnode._core.parser cimport Args
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session
from kvnode._core.uplink cimport Relay, Uplink


cdef enum PlaceFlag:        # where a command runs; bits of Command.flags beside CommandFlag
    C_LOCAL = 16384         # about the node or the connection: where the client is
    C_ANYWHERE = 32768      # the same on each node: at the leader if that keeps the order of replies


cdef enum Wait:             # of a session in S_WAITING for forwarding
    W_NOTHING = 0
    W_ANSWERS = 1           # until nothing is owed
    W_EXECUTION = 2         # until less of its input is waiting to be executed
    W_LINK = 3              # until the link has room
    W_LEADER = 4            # until a leader is known
    W_READ = 5              # until a read index is reached


cdef class Clients(Front):
    cdef readonly Sequencer sequencer
    cdef readonly Uplink uplink     # to the leader, or None
    cdef dict relays                # session id -> Relay
    cdef object timed               # deque of (deadline in ms, relay, its number of waits)
    cdef list readers               # (relay, its number of waits) that wait for a read index nobody
                                    # has asked for
    cdef uint64_t wait_ms
    cdef list stalled               # mirrors with input that came before this node served; and
                                    # sessions while there is no sequencer that can run anything
    cdef Command multi, exec_, discard, watch, unwatch, reset

    cdef Relay relay_of(self, Session session)
    cdef int take(self, Session session, Relay relay) except -1
    cdef bint is_read_here(self, Session session, Relay relay, Command command,
                           uint32_t flags) noexcept
    cdef bint is_local(self, Session session, Relay relay, uint32_t flags, bint is_owed) noexcept
    cdef bint may_forward(self, Session session, Relay relay, Command command, size_t ahead) except -1
    cdef int forwarded(self, Session session, Relay relay, Command command, uint32_t flags,
                       Args* args) except -1
    cdef int run_here(self, Session session, Relay relay, Command command, uint32_t flags,
                      Args* args) except -1
    cdef int read(self, Session session, Relay relay, Args* args, bint is_owed) except -1
    cdef int give_up(self, Session session, Relay relay, Command command, Args* args) except -1
    cdef int say(self, Session session, bytes line) except -1
    cdef int wait(self, Relay relay, int kind) except -1
    cdef int wake(self, Relay relay) except -1
    cdef int release(self, Relay relay) except -1
    cdef int close(self, Relay relay) except -1
    cdef int leave(self, Relay relay) except -1
    cdef int wake_blocked(self, Uplink uplink) except -1
