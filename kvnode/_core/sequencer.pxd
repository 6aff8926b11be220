"""The sequencer: runs sessions against the tip, closes batches into the log, releases held output.

One pass: open_pass, run any number of sessions, close_pass. All commands of a batch share one
commit_ts and become one log entry. Nothing that depends on an entry leaves a session before that
entry is committed with its term (I2); a hold names (term, index), never a timestamp.

In a group of more than one node (`is_alone` false) passes are numbered, and what a pass writes also
waits until leadership is confirmed for it: see fences.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libcpp.deque cimport deque
from libcpp.vector cimport vector
from kvnode._core.blocking cimport Waiters
from kvnode._core.buffer cimport Buffer
from kvnode._core.dispatch cimport Command, Dispatch
from kvnode._core.fences cimport Fences, Holder
from kvnode._core.front cimport Front
from kvnode._core.logwriter cimport LogSink
from kvnode._core.parser cimport Args
from kvnode._core.session cimport Session
from kvnode._core.stream cimport Streams
from kvnode._core.tip cimport Tip
from kvnode._core.view cimport View


cdef struct Batch:
    uint64_t commit_ts
    uint64_t term
    uint64_t index
    uint64_t bytes
    uint64_t confirms       # pass whose input had all arrived when the batch was closed


cdef enum:
    RUN_COMMANDS_MAX = 4096         # commands of one session in one pass
    RUN_OUTPUT_BYTES_MAX = 1 << 20  # output after which a session waits for the next pass
    BATCH_BYTES_MAX = 4 << 20       # as in base/limits.py
    PUSHED_BYTES_MAX = 8 << 20      # of messages in one pass after which sessions run one command each
    PIPELINE_AHEAD = 16             # commands whose records are brought near together
    SERVED_PER_PASS = 1000          # steps of serving those that wait on keys: about 2 ms
    SWEPT_ENTRIES_PER_PASS = 256    # of dead collections, freed at the end of each pass
    LOOK_AHEAD_COMMANDS = 256       # commands of a parked pipeline whose keys are fetched with it


cdef class Sequencer:
    cdef readonly Tip tip
    cdef readonly View view
    cdef readonly Dispatch dispatch
    cdef readonly LogSink log
    cdef public uint64_t term
    cdef readonly uint64_t last_index       # newest entry formed
    cdef readonly uint64_t committed        # newest index committed
    cdef readonly uint64_t synced           # newest index synced in the own log
    cdef public bint serving                # leader with a committed entry of its own term
    cdef readonly bint leads                # also while it serves nobody: leadership is handed over
    cdef public Front front                 # takes the sessions while it does not serve, or None
    cdef dict kept                          # without one: sessions with input -> None
    cdef public bint is_alone               # the group has no other node: nothing needs a fence
    cdef public object has_lease            # has_lease() -> bool: leadership is certain now; or None
    cdef readonly Fences fences             # output that waits for a confirmation of leadership
    cdef readonly bint is_over              # it stepped down with entries that may be lost
    cdef public bint relaxed                # appendfsync everysec or no: written counts as committed
    cdef uint64_t last_ts                   # newest commit_ts taken or seen
    cdef uint64_t now_ms
    cdef readonly bint pass_open
    cdef bint batch_open
    cdef Buffer payload
    cdef deque[Batch] batches               # not yet both committed and synced, oldest first
    cdef size_t committed_batches           # of them, committed
    cdef readonly uint64_t unsynced_bytes
    cdef readonly uint64_t durable_index    # newest entry committed and synced here
    cdef readonly uint64_t durable_term
    cdef readonly uint64_t applied          # newest entry that took effect here and is durable
    cdef uint64_t before_own                # the newest entry of others, when leadership began
    cdef uint64_t late_commit               # own entries up to here are committed once that is applied
    cdef bint has_led                       # since it last applied an entry
    cdef readonly uint64_t payload_bytes    # of all entries formed
    cdef deque[vector[Holder]] holders      # of each batch: sessions whose output waits for it
    cdef size_t held                        # holders of all batches
    cdef list ran                           # sessions with output of this pass
    cdef bint single_writes        # the last pass ran one command per session, each a write
    cdef uint64_t commands_before  # `commands` when the pass began
    cdef list flushable            # sessions whose output may leave now
    cdef list parked               # sessions parked in this pass
    cdef list jobs                 # (session, Command, args) past the step budget
    cdef Streams streams           # replies that leave in steps
    cdef readonly Waiters waiters  # sessions that wait on keys
    cdef public int serving_max    # steps of a pass to serve them
    cdef int serving_left          # of this pass
    cdef list ready                # sessions to run in the next pass though nothing arrived
    cdef list interrupted          # sessions with messages behind a reply that leaves in parts
    cdef public uint64_t message_bytes_max  # output at which a receiver is closed; 0 = no limit
    cdef uint64_t pushed_bytes     # of messages of this pass, in all outputs
    cdef public object on_stable            # on_stable(term, index) -> newest committed index: Raft
    cdef uint64_t stable                    # newest index reported to on_stable, and its term
    cdef uint64_t stable_term
    cdef public uint64_t passes, entries, commands
    cdef readonly uint64_t cold_reads       # commands that read keys and had to wait for LevelDB

    cdef int open_pass(self, uint64_t now_ms) except -1
    cdef int open_work(self, uint64_t now_ms) except -1
    cdef int open_batch(self) except -1
    cdef int close_batch(self, bint may_inline) except -1
    cdef int bound_batch(self) except -1
    cdef uint64_t complete_passes(self) noexcept
    cdef int run(self, Session session) except -1
    cdef int run_elsewhere(self, Session session) except -1
    cdef bint may_run(self) noexcept
    cpdef bint wants_pass(self) noexcept
    cdef int attend(self, Session session) except -1
    cdef int join_pass(self, Session session) except -1
    cdef int note_effects(self, Session session) except -1
    cdef int apply_reply_mode(self, Session session, size_t before) except -1
    cdef int run_one(self, Session session, Args* args) except -1
    cdef int settle(self, Session session, int outcome, size_t before) except -1
    cdef bint go_on(self, Session session) except -1
    cdef int close_pass(self, bint may_inline) except -1
    cdef int hold_output(self, Session session) except -1
    cdef int advance(self) except -1
    cdef uint64_t believed(self, uint64_t term, uint64_t index) noexcept
    cdef int commit(self, uint64_t index) except -1
    cdef int sync(self, uint64_t index) except -1
    cdef int drop_batches(self) except -1
