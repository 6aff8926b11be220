"""One client's session, without a socket: bytes in, bytes out, and which of them may leave."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libcpp.deque cimport deque
from libcpp.vector cimport vector
from kvnode._core.buffer cimport Buffer
from kvnode._core.parser cimport Args, Parser
from kvnode._core.reply cimport Reply


cdef enum:
    OUTPUT_COMPACT_BYTES = 1 << 16  # sent output past this is dropped before all of it has left


cdef enum SessionState:
    S_READY = 0         # may execute
    S_PARKED = 1        # its next command waits for records from LevelDB
    S_WAITING = 2       # its command waits: blocked, paused, or running as a job
    S_CLOSING = 3       # executes nothing more; closed once its output has left
    S_CLOSED = 4
    S_STREAMING = 5     # its last command's reply leaves in steps: see stream


cdef enum ReplyMode:
    REPLY_ON = 0
    REPLY_OFF = 1
    REPLY_SKIP = 2      # the next command's reply is dropped
    REPLY_SKIPPING = 3  # this command's reply is dropped


cdef struct Mark:
    uint64_t end            # output stream offset: bytes before it wait
    uint64_t term           # for the commit of this entry; index 0: for none
    uint64_t index
    uint64_t fence          # until leadership is confirmed for this pass; 0: for none
    bint wrote              # the session wrote, and did not only look


cdef class Session:
    cdef readonly Parser parser
    cdef readonly Reply reply
    cdef readonly uint64_t id
    cdef public int state
    cdef public int db
    cdef public object name             # bytes, CLIENT SETNAME
    cdef public object user             # bytes
    cdef public object addr             # str "host:port"
    cdef public object laddr
    cdef public int fd
    cdef public object lib_name, lib_ver
    cdef public int64_t created_ms
    cdef public int64_t active_ms       # last input
    cdef public bint authenticated
    cdef public bint in_multi
    cdef readonly bint in_exec          # its EXEC runs
    cdef public bint exec_aborted       # an error while queueing: EXEC answers EXECABORT
    cdef public bint cas_dirty          # a watched key changed: EXEC answers null
    cdef public int reply_mode
    cdef public bint no_evict, no_touch
    cdef public object last_command     # bytes, name of the last command's row
    cdef public object watched          # set of (db, key) or None
    cdef public object waiting          # what it waits for in S_WAITING; None otherwise
    cdef public list staged             # [argument, value id, bytes done] of its next command
    cdef public object building         # the value that its next command writes in parts: strvalue
    cdef readonly object stream         # the reply that leaves in steps, or None
    cdef public bint close_asap         # after its present command: CLIENT KILL of itself
    cdef public object close_reason
    cdef public uint64_t commands       # executed, ever
    cdef uint64_t cold_until            # of these so many are counted as cold if they are: sequencer
    cdef uint64_t paged_command         # by that number, which asked for pages last
    cdef uint32_t pages                 # that it asked for
    cdef public uint64_t bytes_in, bytes_out

    cdef Buffer queued                  # queued commands of a MULTI: see queue()
    cdef readonly int queued_count      # as queued_writes
    cdef readonly bint queued_writes    # a command queued here, or at the leader, may write
    cdef deque[Mark] marks
    cdef uint64_t out_base              # stream offset of reply.out.data[0]
    cdef size_t out_head                # bytes of reply.out that have left already
    cdef uint64_t released              # stream offset up to which output waits for nothing
    cdef uint64_t observed              # newest commit_ts that its run wrote or saw
    cdef bint wrote                     # its run wrote
    cdef bint looked                    # its run ran a command that depends on data
    cdef bint in_pass                   # is in the sequencer's list of this pass
    cdef void* waiter                   # its Waiter while it waits on keys: blocking.pxd
    cdef void* subscriber               # its Subscriber while it has subscriptions: pubsub.pxd
    cdef readonly size_t channels, patterns, shard_channels     # that it is subscribed to
    # At a follower, what its mirror at the leader does:
    cdef public bint is_subscribed_there
    cdef bint is_blocked_there
    cdef bint in_multi_there            # once it has executed all
    cdef bint in_parts                  # a part of its reply is written: Sequencer.answer
    cdef Buffer behind                  # messages that follow a reply which leaves in parts

    cdef int queue(self, Args* args, bint may_write) except -1
    cdef void reset_multi(self) noexcept
    cdef size_t sendable(self) noexcept     # bytes from reply.out.data + out_head on
    cdef void sent(self, size_t n) noexcept
    cdef size_t unsent(self) noexcept
    cdef void open_output(self) noexcept
    cdef void settle_output(self) noexcept
    cdef size_t new_output(self) noexcept
    cdef int hold(self, uint64_t term, uint64_t index, uint64_t fence) except -1
    cdef bint release(self, uint64_t index, uint64_t confirmed) noexcept
    cdef bint holds_write(self) noexcept
    cdef size_t drop_held(self) noexcept
