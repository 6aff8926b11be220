"""A client's node: commands that are about the data go to the leader, its replies to the clients.

What a session sends to the leader is bytes, a stream of whole commands. The leader says how much of
it was executed, and how much is answered; the rest is *owed*. While nothing is owed the session is
the same here and there, and commands about this node may run.

When the leader is lost, what is owed has an unknown outcome and is never sent again: the client gets
an error, and the connection closes. What the leader returned was not executed: it is the session's
next input again. A session that is owed nothing goes on with the next leader. Of its transaction
nothing is left there: one with WATCH answers null, another is discarded.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from kvnode._core.buffer cimport Buffer
from kvnode._core.dispatch cimport Command
from kvnode._core.front cimport Front
from kvnode._core.link_port cimport Port, Reader
from kvnode._core.parser cimport Args
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session


cdef enum PlaceFlag:        # where a command runs; bits of Command.flags beside CommandFlag
    C_LOCAL = 16384         # about the node or the connection: where the client is
    C_ANYWHERE = 32768      # the same on each node: at the leader if that keeps the order of replies


cdef enum Wait:             # of a session in S_WAITING for forwarding
    W_NOTHING = 0
    W_ANSWERS = 1           # until nothing is owed
    W_EXECUTION = 2         # until less of its input is waiting to be executed
    W_LINK = 3              # until the link has room
    W_LEADER = 4            # until a leader is known


cdef class Relay:
    # What is kept of a session beside itself.
    cdef Session session
    cdef Uplink uplink              # at which it has a mirror, or None
    cdef uint64_t sent, executed, answered      # bytes of its input since it has that mirror
    cdef Buffer returned            # the end of it, which was not executed
    cdef bint is_returning
    cdef uint64_t relayed, taken    # bytes of output: that came, and that were said to be taken
    cdef bint is_draining           # is in the list of its uplink
    cdef bint is_partial            # what came ends inside of a reply
    cdef bint is_risky              # a command that is owed might have changed something
    cdef bint in_multi, is_watching     # there, once all is executed
    cdef bint was_dirty             # the mirror was told that its EXEC answers null
    cdef bint is_aborted            # what was refused here makes EXEC fail there
    cdef bint is_expired            # it has waited for a leader long enough
    cdef bint ends                  # the client sends no more: closes when nothing is owed
    cdef int wait
    cdef uint64_t waits             # times that it waited for a leader
    cdef bint is_told               # the leader knows the session
    cdef int told_db, told_proto, told_mode
    cdef bint told_no_touch
    cdef object told_name, told_user

    cdef bint is_owed(self) noexcept


cdef class Uplink:
    # One use of a link: a leadership of the node at its other end.
    cdef readonly Port port
    cdef dict relays                # session id -> Relay that has a mirror there
    cdef bint is_open               # new input may go there
    cdef list draining              # relays with output that was not said to be taken
    cdef list blocked               # relays that wait for room


cdef class Clients(Front):
    cdef Sequencer sequencer
    cdef readonly Uplink uplink     # to the leader, or None
    cdef dict relays                # session id -> Relay
    cdef object leaderless          # deque of (deadline in ms, relay, its number of waits)
    cdef uint64_t wait_ms
    cdef list stalled               # mirrors with input that came before this node served
    cdef Command multi, exec_, discard, watch, unwatch, reset

    cdef Relay relay_of(self, Session session)
    cdef int take(self, Session session, Relay relay) except -1
    cdef bint is_local(self, Session session, Relay relay, uint32_t flags, bint is_owed) noexcept
    cdef bint may_forward(self, Session session, Relay relay, Command command, size_t ahead) except -1
    cdef int forwarded(self, Session session, Relay relay, Command command, uint32_t flags,
                       Args* args) except -1
    cdef int run_here(self, Session session, Relay relay, Command command, uint32_t flags,
                      Args* args) except -1
    cdef int give_up(self, Session session, Relay relay, Command command, Args* args) except -1
    cdef int tell(self, Session session, Relay relay) except -1
    cdef int emit(self, Relay relay, const char* data, size_t n) except -1
    cdef int put_session(self, Relay relay, int item) except -1
    cdef int say(self, Session session, bytes line) except -1
    cdef int wait(self, Relay relay, int kind) except -1
    cdef int wake(self, Relay relay) except -1
    cdef int bind(self, Relay relay, Uplink uplink) except -1
    cdef int release(self, Relay relay) except -1
    cdef int leave(self, Relay relay) except -1
    cdef int take_output(self, Uplink uplink, Relay relay, Reader* r) except -1
    cdef int take_back(self, Uplink uplink, Relay relay, Reader* r) except -1
    cdef int wake_blocked(self, Uplink uplink) except -1
