"""Dispatch: from a command's name to its row of the table, its checks, its handler, its counters."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from kvnode._core.bytes cimport Slice
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport Reply
from kvnode._core.session cimport Session
from kvnode._core.view cimport View


cdef enum Outcome:
    DONE = 0
    PARK = 1            # a record must be fetched first; nothing stays of the command
    WAIT = 2            # the session waits: for a job, a pause or data; its reply comes later
    LONG = 3            # past the step budget; nothing stays, it goes on as a job
    HELD = 4            # not now (CLIENT PAUSE): nothing stays, it runs again when the node says so
    AGAIN = 5           # a part is done, see strvalue.build: it runs again in the next pass
    BLOCK = 6           # the session waits for data of keys: see blocking.pxd


cdef enum CommandFlag:      # names as in COMMAND INFO
    C_WRITE = 1
    C_READONLY = 2
    C_DENYOOM = 4
    C_ADMIN = 8
    C_NOSCRIPT = 16
    C_LOADING = 32
    C_STALE = 64
    C_FAST = 128
    C_NO_AUTH = 256
    C_NO_MULTI = 512
    C_ALLOW_BUSY = 1024
    C_NO_QUEUE = 2048       # runs at once inside MULTI: EXEC, DISCARD, MULTI, WATCH, QUIT, RESET
    C_BLOCKING = 4096       # its session may wait for data: see blocking.pxd
    C_MAY_REPLICATE = 8192  # has effects that are no writes: scripts, PUBLISH
    C_IN_PUBSUB = 65536     # a RESP2 client that is subscribed may call it
    C_SUBSCRIBES = 131072   # changes what its session is subscribed to


ctypedef int (*Handler)(View view, Args* args, Reply reply) except -1


cdef class NativeHandler:
    cdef Handler function


cdef NativeHandler native(Handler function)


cdef class Command:
    cdef readonly bytes name            # lower case; subcommands as b"config|get"
    cdef readonly int arity             # as in COMMAND INFO: negative = at least
    cdef readonly uint32_t flags
    cdef readonly int key_first, key_last, key_step
    cdef Handler function               # NULL when the handler is Python
    cdef readonly object handler        # Python handler(view, args, reply), or None
    cdef readonly dict subcommands      # upper-case name -> Command, or None
    cdef readonly bint replaces_databases   # a write that names no keys and may hit any
    cdef readonly bint reads_keys       # readonly, and names keys: what INFO's cache_hits count
    cdef readonly bint looks            # at data, perhaps: not only at its connection and the node
    cdef readonly bint stores_arguments # large arguments become values as they are: see staging
    cdef readonly object row            # the row of the table
    cdef public uint64_t calls, microseconds, rejected, failed


cdef struct Slot:
    uint64_t name           # up to 8 first bytes of the upper-case name
    uint32_t length
    void* command


cdef class Dispatch:
    cdef readonly dict commands         # upper-case name -> Command
    cdef Slot* slots
    cdef uint32_t mask
    cdef public dict errors             # error code -> count (INFO errorstats)
    cdef public int64_t slow_micros     # commands that take as long go to `on_slow`; -1 = none
    cdef public object on_slow          # on_slow(session, args, microseconds)
    cdef public object gate             # gate(session, command) -> True: not now; None: all may run

    cdef bint has_reservation           # a transaction has reserved names: see reserve()
    cdef bint all_reserved
    cdef set reserved
    cdef list held_back                 # sessions whose next command waits for its end

    cdef void* run_command              # fast commands are measured in runs of the same one
    cdef uint64_t run_started
    cdef uint32_t run_length

    cdef int add(self, bytes name, Command command) except -1
    cdef int measure(self, View view, Session session, Command command, Args* args) except -1
    cdef bint hold_back(self, Session session, Command command, Args* args) except -1
    cdef int end_run(self) except -1
    cdef Command subcommand(self, Command command, Args* args)
    cdef int refuse(self, View view, Session session, Command command, bytes line) except -1
    cdef Command find(self, const char* name, size_t n)
    cdef int execute(self, View view, Session session, Args* args) except -1
    cdef int call(self, View view, Command command, Args* args, Reply reply) except -1
    cdef int count_error(self, Reply reply) except -1


cdef list args_list(Args* args)
