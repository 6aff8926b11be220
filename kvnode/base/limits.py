"""Every bound of kvnode, each with its unit, in one place.

Bounds that only native code uses stand in the .pxd of their module.
"""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# -- log ----------------------------------------------------------------------------------------
SEGMENT_BYTES = 64 * MIB  # preallocated size of a log segment
START_SEGMENT_BYTES = 4 * MIB  # of the segment that each start makes, while the node waits for it
BATCH_BYTES_MAX = 4 * MIB  # a batch closes past this; only an EXEC or one command may overshoot
RECORD_BYTES_MAX = 1 * GIB  # a longer length in a log record is corruption, not a promise
LOG_READ_BYTES = 256 * KIB  # of a segment, read at once for a peer; more for a larger entry
LOG_CURSORS_MAX = 32  # places in the log from which a reader can go on

# -- strings ------------------------------------------------------------------------------------
STRING_BYTES_MAX = 512 * MIB  # proto-max-bulk-len, the longest string
CHUNK_BYTES = 16 * KIB  # part of a large string
INLINE_BYTES_MAX = 32 * KIB  # a longer string lives in chunks

# -- LevelDB ------------------------------------------------------------------------------------
# of each of LevelDB's two memtables; with 12 files of this size on level 0, writes wait
ENGINE_WRITE_BUFFER_BYTES = 8 * MIB
ENGINE_BLOCK_BYTES = 4 * KIB
ENGINE_CACHE_BYTES = 32 * MIB  # uncompressed blocks, unless maxmemory says otherwise
ENGINE_CACHE_BYTES_MIN = 4 * MIB
ENGINE_CACHE_BYTES_MAX = 256 * MIB
ENGINE_BLOOM_BITS = 10  # per key: 1 % of misses read a block
ENGINE_OPEN_FILES_MAX = 512
ENGINE_TABLE_BYTES = 8 * MIB  # of a table file; bounds one step of a compaction
COMPACTION_STEP_BYTES = 32 * MIB  # tables rewritten by one step of a compaction on request

# -- threads ------------------------------------------------------------------------------------
WORKER_NICENESS = 19  # of the thread that runs transactions and long scripts
EXECUTOR_QUEUE_MAX = 1024  # calls waiting for a thread; each caller has few at a time

# -- connections --------------------------------------------------------------------------------
RESERVED_FILES = 1100  # descriptors for LevelDB's tables, the log, and the node itself

# -- commands -----------------------------------------------------------------------------------
DATABASES_MAX = 16  # of a node; as in _core/tip.pxd
SESSION_OVERHEAD_BYTES = 2 * KIB  # what an idle connection costs, as CLIENT LIST states it
SLOWLOG_ARGUMENTS_MAX = 32  # arguments kept of a slow command
SLOWLOG_ARGUMENT_BYTES_MAX = 128  # bytes kept of each
SLOWLOG_REPLY_DEFAULT = 10  # entries that SLOWLOG GET returns unasked
CONFIG_FILE_BYTES_MAX = 1 * MIB  # of one configuration file
CONFIG_INCLUDES_MAX = 16  # files that include each other

# -- checkpoints and other work on the store ----------------------------------------------------
CHECKPOINT_SLICE_RECORDS = 500  # rows of one write: about 0.3 ms of the sequencer's time
CHECKPOINT_SLICE_BYTES = 2 * MIB
CHECKPOINT_AGE_MS = 60_000  # dirty records get into LevelDB at the latest after this
FETCH_KEYS_PER_CALL = 256  # records read by one call on a reader thread
FETCHES_IN_FLIGHT_MAX = 8  # further ones wait and are joined
SMALL_COLLECTION_ELEMENTS = 128  # a collection of at most so many is read with its head
LOAD_ROWS_PER_PAGE = 2048  # rows of a larger one that one call reads
LOAD_RECORDS_PER_STEP = 1024  # single records that a transaction reads in one pass: about 2 ms
DELTA_ROWS_MAX = 1 << 20  # rows of one collection; each is a batch since its last fold
CLAIMS_MAX = 1 << 20  # rows of one list
RANGE_ROWS_MAX = 4096  # rows of LevelDB in one fetched range
ELEMENT_ROWS_MAX = 1024  # the same of elements, which are put into memory in one pass: about 1 ms
RECOVERY_ROWS_PER_READ = 4096  # meta records read at once at start
SNAPSHOT_GROUP_ROWS_MAX = 1 << 20  # versions of keys with one hash: more pins than anybody holds
EXPIRY_HEADS_PER_STEP = 200  # deadlines looked at in memory by one step
EXPIRY_ROWS_PER_READ = 200  # expiry rows of LevelDB read, and their heads, by one step
COMPACT_EVERY_MS = 100  # so often the compactor looks for deltas
COMPACT_HEADS_PER_STEP = 128  # collections whose deltas it folds in a step
SWEEP_ENTRIES_PER_STEP = 2000  # of dead collections freed from memory: about 0.2 ms
SWEEP_ROWS_PER_STEP = 500  # rows of the dead deleted by one write
UNSEEN_ROWS_PER_WRITE = 10_000  # rows that a head tells nothing of, deleted by one write
SWEEP_BUCKETS_PER_STEP = 2000  # of a dead generation's table, freed by one step
SWEEP_META_PER_STEP = 2000  # meta records looked at for new trash by one step: about 0.2 ms
SWEEP_KNOWN_MAX = 4096  # trash being swept; what is beyond waits in its records
HISTORY_ROWS_PER_STEP = 200  # rows of older versions judged by one step

# -- groups -------------------------------------------------------------------------------------
PEERS_BACKLOG = 64  # connections of other nodes that are not accepted yet
RAFT_TICK_MS = 30
RAFT_ELECTION_TICKS = 10  # without a leader, up to twice that, before a node campaigns
RAFT_HEARTBEAT_TICKS = 2
APPLY_BYTES_PER_STEP = 1 * MIB  # of entries that a follower applies in one go
IMAGE_QUEUED_BYTES_MAX = 1 * MIB  # of an image, waiting for a link
GROUP_POLL_MICROS_MAX = 500  # of clients' passes before other nodes' messages are looked at
HAND_OVER_SECONDS = 2  # that a leader which stops gives its successor
ADD_SECONDS = 10  # within which a node that is to be added has to answer
CHANGE_SECONDS = 10  # within which a majority has to agree to a change
CATCH_UP_LOG_BYTES_SOFT = 1024 * MIB  # kept for who gets an image; with more, clients slow down
CATCH_UP_LOG_BYTES_MAX = 2048 * MIB  # with more, they wait
CATCH_UP_SILENT_TICKS = 333  # for which one that has had an image may say nothing: 10 s
LOG_MARK_BYTES = 1 * MIB  # between places in the log before which the bytes are counted

# -- checkpoints and memory ---------------------------------------------------------------------
CHECKPOINT_LOG_BYTES = 128 * MIB  # payload since the last checkpoint: bounds a restart's replay
CHECKPOINT_DIRTY_SHARE = 0.25  # of the cache; more dirty records begin a checkpoint
DIRTY_SHARE_SOFT = 0.25  # of the cache; with more, clients write at the checkpoint's rate
DIRTY_SHARE_MAX = 0.6  # of the cache; with more, clients wait
UNSYNCED_BYTES_MAX = 64 * MIB  # entries on their way to the disk; with more, clients wait
FENCED_BYTES_MAX = 64 * MIB  # output before leadership is confirmed; with more, clients wait

# -- the node -----------------------------------------------------------------------------------
READER_THREADS = 2  # that read records from LevelDB
BACKGROUND_SECONDS = 0.1  # between rounds of regular work
DRAIN_SECONDS = 10.0  # for held replies and the last checkpoint when stopping
SWITCH_INTERVAL_SECONDS = 0.0005  # how soon the sequencer gets the interpreter back
GC_THRESHOLDS = (50_000, 20, 100)  # the heap is small and long-lived: collect rarely
SYNC_POLL_SECONDS = 0.005  # between looks at the log for WAITAOF
RELOAD_STEPS_MAX = 1 << 26  # buckets that DEBUG RELOAD looks at
JOB_PAGE_KEYS = 1000  # keys read at once by a job
JOB_PAGES_PER_STEP = 4  # pages from memory in one pass

# -- collections read from LevelDB beside the sequencer -----------------------------------------
READING_ELEMENTS_PER_STEP = 1024  # of memory, looked at in one pass: about 0.3 ms
READING_PAGE_ROWS = 4096  # rows of LevelDB that one call reads
READING_PAGE_BYTES = 256 * KIB  # after so many bytes, less
READINGS_MEMORY_SHARE = 0.125  # of the cache; with more for large replies, the next one waits
LONG_REPLIES_OPEN_MAX = 8  # large replies on their way; others wait
LONG_REPLY_UNSENT_BYTES = 512 * KIB  # with less of one unsent, more of it is written
LONG_REPLY_STALLED_MS = 60_000  # a client that takes nothing of one is closed after this

# -- optimistic transactions --------------------------------------------------------------------
OPTIMISTIC_TRIES_MAX = 4  # tries after which a transaction reserves its keys
RESERVED_TRIES_MAX = 4  # further ones; then it ends with an error
TRANSACTIONS_OPEN_MAX = 16  # that hold a snapshot and memory of their own; others wait
TRANSACTION_WRITE_BYTES_MAX = 64 * MIB  # its last log entry; without the collections before it
TRANSACTIONS_MEMORY_SHARE = 0.5  # of the cache, for the workspaces of all transactions together
TRANSACTIONS_MEMORY_BYTES_MIN = 64 * MIB  # which they may take, however small the cache is
PUBLISH_UNSYNCED_BYTES_MAX = 8 * MIB  # entries on their way to the disk; with more, it waits

# -- Raft ---------------------------------------------------------------------------------------
APPEND_ENTRIES_MAX = 1024  # entries in one message
APPEND_BYTES_MAX = 1 * MIB  # of the entries in one message; a single one may be larger
APPENDS_IN_FLIGHT_MAX = 64  # messages to one peer that are not acknowledged
RING_BYTES = 64 * MIB  # newest entries of the log of a group, kept in memory for peers
MEMBERS_MAX = 64  # of a group, learners included
CLOCK_RATE_ERROR_MAX = 0.05  # by which two clocks may differ in speed; leases depend on it

# -- images of the store, streamed to another node ----------------------------------------------
IMAGE_CHUNK_BYTES = 256 * KIB  # of rows in one message, and about what one read takes
IMAGE_ROWS_PER_READ = 4096  # of LevelDB, by one call on a reader thread
IMAGE_WINDOW_CHUNKS = 16  # sent and not written there yet; the sender keeps them
IMAGE_ROW_BYTES_MAX = RECORD_BYTES_MAX  # a row that says it is longer is refused
IMAGE_MEMBERSHIP_BYTES_MAX = 64 * KIB
IMAGE_TEXT_BYTES_MAX = 512  # of the reason for giving up
IMAGE_STALLED_MS = 60_000  # without news of the other side an image is given up
IMAGE_OPEN_FILES_MAX = 80  # of the store that is received; it is hardly read
IMAGE_RESTARTS_MAX = 3  # times that a receiver may lose its half of one image
# -- links between nodes ------------------------------------------------------------------------
HANDSHAKE_SECONDS = 5.0  # until a connection is authenticated, or closed
HANDSHAKE_RECORD_BYTES_MAX = 512  # all that is kept of a peer before it is authenticated
HANDSHAKES_PENDING_MAX = 32  # of connections that others opened; with more, the oldest is closed
SECRET_BYTES_MIN = 16  # of the file raft-secret-file
SECRET_BYTES_MAX = 4096
ADDRESS_BYTES_MAX = 262  # "host:port" with the longest name that DNS has
DIAL_SECONDS = 3.0  # for a TCP connection
DIAL_PAUSE_SECONDS_MIN = 0.05  # between attempts to connect; doubles from here
DIAL_PAUSE_SECONDS_MAX = 1.0  # a link that lasted so long counts as a success
LINK_LOG_SECONDS = 10.0  # between lines of the log about strangers
ACCEPT_PAUSE_SECONDS = 0.5  # when there are no descriptors for another connection
PEER_STALL_SECONDS = 5.0  # a link that takes nothing for so long is closed
PEER_KEEPALIVE_SECONDS = 5  # between probes of an idle link
ACCEPTED_LINKS_MAX = 4 * MEMBERS_MAX  # of authenticated nodes: one of each kind from each
LINK_RECEIVE_BYTES = 256 * KIB  # taken from a socket at once
LINK_SEND_PIECES_MAX = 256  # of memory, given to a socket at once
MESSAGE_FRAME_BYTES_MAX = 1 * MIB  # without entries: a membership at most
FRAME_BYTES_MAX = RECORD_BYTES_MAX + MESSAGE_FRAME_BYTES_MAX  # the largest entry fits
MESSAGE_QUEUE_BYTES_MAX = 4 * MIB  # waiting for a link; an empty queue takes any one frame
BULK_QUEUE_BYTES_MAX = 64 * MIB
IMAGE_QUEUE_BYTES_MAX = 16 * MIB
FORWARD_QUEUE_BYTES_MAX = 64 * MIB
# -- tools that ask nodes -----------------------------------------------------------------------
REPLY_BYTES_MAX = 16 * MIB  # of one reply
REPLY_DEPTH_MAX = 8  # arrays in arrays
CLIENT_RECEIVE_BYTES = 64 * KIB  # taken from a socket at once
LOCAL_NODES_MAX = 9  # of a group that `kvnode cluster start` runs
LOCAL_LINE_BYTES_MAX = 64 * KIB  # of a node's log; a longer one is cut in pieces
LOCAL_STOP_SECONDS = 2 * DRAIN_SECONDS  # for nodes to stop by themselves
# -- forwarding to the leader -------------------------------------------------------------------
FORWARD_WAIT_MS = 5000  # for which input waits for a leader; then it is answered, as not done
FORWARD_DRAIN_MS = 2000  # for which answers of a former leader are waited for
FORWARD_FORMER_MAX = 8  # former leaders from which answers may still come
READ_TICKS_MAX = FORWARD_WAIT_MS // RAFT_TICK_MS  # for which a read index waits to be applied
