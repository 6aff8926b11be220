# cython: boundscheck=False, wraparound=False
"""The private memory of one try of an optimistic transaction: commands run here, not on the tip."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libcpp.vector cimport vector
from kvnode._core.bytes cimport Slice, get_be64, put_be64
from kvnode._core.dispatch cimport C_WRITE, DONE, Command
from kvnode._core.entries cimport Table, head_data, is_collection
from kvnode._core.keys cimport K_GENERATION, K_HEAD
from kvnode._core.tables cimport version_at

from kvnode._core.upkeep import generation_at
from kvnode.base.errors import InvariantError

cdef enum:
    CURSOR_SHIFT = 11           # as in scan.pyx: a range ends where a cursor can point
    TIMESTAMP_COUNTER_BITS = 16
    ENTRIES_AT_ONCE = 4096      # of a table, looked at together

ORDER_END = 1 << 64

# Commands that learn of a collection which they name only its identity, and elements by their names:
# others may change its length meanwhile. Every other command is taken to have read the length.
LENGTH_FREE = frozenset((
    b"copy", b"del", b"exists", b"expire", b"expireat", b"expiretime", b"move", b"mset", b"persist",
    b"pexpire", b"pexpireat", b"pexpiretime", b"psetex", b"pttl", b"rename", b"renamenx", b"set",
    b"setex", b"touch", b"ttl", b"type", b"unlink",
    b"hdel", b"hexists", b"hexpire", b"hexpireat", b"hexpiretime", b"hget", b"hgetdel", b"hgetex",
    b"hincrby", b"hincrbyfloat", b"hmget", b"hmset", b"hpersist", b"hpexpire", b"hpexpireat",
    b"hpexpiretime", b"hpttl", b"hset", b"hsetex", b"hsetnx", b"hstrlen", b"httl",
    b"sadd", b"sismember", b"smismember", b"smove", b"srem",
    b"zadd", b"zincrby", b"zmscore", b"zrem", b"zscore",
))


cdef class Workspace:
    """One try. main, main_view: the node's; read here only, on the sequencer's thread.

    start_ts: a pin. db: the database in which it begins. proto: of its replies.
    """

    def __cinit__(self, Tip main not None, View main_view not None, uint64_t start_ts, int db,
                  int proto):
        cdef char hash_key[16]
        cdef Table* table
        cdef int i
        put_be64(hash_key, main.k0)
        put_be64(hash_key + 8, main.k1)
        self.start_ts = start_ts
        self.tip = Tip(hash_key[:16], False)
        for i in range(DATABASES_MAX):
            self.generations[i] = generation_at(main, i, start_ts)
            table = self.tip.new_generation(self.generations[i], False)
            table.keys = keys_at(main, self.generations[i], start_ts)
            self.tip.databases[i] = table
        self.view = View(self.tip, PRIVATE_IDS)
        self.view.is_private = True
        self.view.connect(main_view.dispatch, None, main_view.node)
        self.view.adopt_settings(main_view)
        self.view.open_batch(start_ts >> TIMESTAMP_COUNTER_BITS, start_ts + 1)
        self.dispatch = main_view.dispatch
        self.events = []
        if main_view.on_event is not None:
            self.view.on_event = self._note_event
        self.session = Session(0, start_ts >> TIMESTAMP_COUNTER_BITS)
        self.session.authenticated = True
        self.session.db = db
        self.session.in_exec = True     # no command of it is cut into steps
        self.reply = Reply()
        self.reply.proto = proto
        self.holed = []
        self.lengths = set()
        self.scanned = set()

    def _note_event(self, *event):
        self.events.append(event)

    # -- commands -------------------------------------------------------------------------------

    def run(self, list words not None):
        """Run a command, its name first: an Outcome. DONE: take_reply(). PARK: take_missing().

        REQUIRES: the command exists and takes as many arguments. May run on any thread, one at a time.
        """
        cdef Command command = self.dispatch.lookup(words[0])
        cdef Args args
        cdef int outcome
        cdef int i
        if command is None:
            raise InvariantError(f"no such command: {words[0]!r}")
        args.n = <int>len(words)
        args.v = <Slice*>malloc(args.n * sizeof(Slice))
        if args.v == NULL:
            raise MemoryError("command")
        for i in range(args.n):
            args.v[i].data = PyBytes_AS_STRING(words[i])
            args.v[i].len = PyBytes_GET_SIZE(words[i])
        try:
            if command.subcommands is not None and args.n > 1:
                command = self.dispatch.subcommand(command, &args)
            self.reply.out.len = 0
            self.view.enter(self.session)
            outcome = self.dispatch.call(self.view, command, &args, self.reply)
            if outcome == DONE:
                self.wrote |= command.flags & C_WRITE != 0
                if command.name not in LENGTH_FREE:
                    self.note_lengths(&args)
            if self.view.saw_all:
                self.scanned.add(self.view.table.id)
            self.view.finish_command()
            return outcome
        finally:
            free(args.v)

    cdef int note_lengths(self, Args* args) except -1:
        """The command may have read the metadata of every collection that an argument names."""
        cdef Table* table = self.view.table
        cdef Entry* e
        cdef Version* v
        cdef int i
        for i in range(1, args.n):
            e = self.tip.find(table, self.tip.hash_key(args.v[i].data, args.v[i].len),
                              args.v[i].data, args.v[i].len)
            if e == NULL:
                continue
            v = e.newest
            while v != NULL:            # what it has just removed as well
                if is_collection(v.type):
                    self.lengths.add(head_data(v).id)
                v = v.older
        return 0

    def take_reply(self):
        """The reply of the last command, which take_missing() was not needed for."""
        cdef bytes reply = PyBytes_FromStringAndSize(self.reply.out.data, self.reply.out.len)
        self.reply.out.len = 0
        return reply

    @property
    def write_bytes(self):
        """About the size of what it has written."""
        return self.view.batch_bytes

    def names(self):
        """The user keys that it has looked up, in any database; None: all there are."""
        cdef vector[Entry*] entries
        cdef uint64_t at
        cdef bint done
        cdef Entry* e
        cdef size_t i
        if self.scanned:
            return None
        for i in range(self.tip.generations.size()):
            at = 0
            done = self.tip.generations[i].entries == 0
            while not done:
                self.tip.scan_next(self.tip.generations[i], at, &entries, ENTRIES_AT_ONCE, &at, &done)
        return {PyBytes_FromStringAndSize(e.key, e.key_len) for e in entries}

    # -- what it lacks ---------------------------------------------------------------------------

    def take_missing(self):
        """Return what the last command lacks: ([record key], [range], [collection id]).

        A range is (generation, from_hash, count), see scan; of a collection all elements are wanted.
        """
        cdef list ranges = [r for r in self.view.missing_ranges if r not in self.view.ranges]
        cdef list loads = list(self.view.missing_loads)
        self.view.missing_ranges.clear()
        self.view.missing_loads.clear()
        return self.view.take_missing(), ranges, loads

    def install(self, keys, dict found not None):
        """Take records that were asked for: `found` has the envelopes of those that are there."""
        cdef Collection* c
        for key in keys:
            envelope = found.get(key)
            self.tip.install(key, envelope)
            if envelope is not None and key[0] == K_HEAD:
                c = self.named_by(key)
                if c != NULL:
                    self.bases[c.id] = c.meta
                    if c.meta.holes:
                        self.holed.append(c.id)

    def take_holed(self):
        """Return ids of installed lists with holes: their claims come next, by install_claims()."""
        cdef list holed = self.holed
        self.holed = []
        return holed

    def install_claims(self, uint64_t id, list rows not None):
        """Take all claims of a list."""
        self.tip.install_claims(id, rows)

    cdef Collection* named_by(self, bytes key) except? NULL:
        """The collection that a head, by its record key, names; NULL: none."""
        cdef Table* table
        cdef Slice rest
        cdef uint64_t hash
        cdef Entry* e = self.tip.locate(key, len(key), &table, &rest, &hash)
        cdef Version* v
        if e == NULL:
            return NULL
        v = base_of(e)
        if not is_collection(v.type) or self.bases.count(head_data(v).id):
            return NULL
        return self.tip.collection(head_data(v).id)

    def begin_load(self, uint64_t id):
        """Where the next page of a collection's elements begins: (kind, order); None: nowhere."""
        return self.tip.begin_load(id)

    def end_load(self, uint64_t id, page):
        """Take a page of elements."""
        self.tip.end_load(id, page.rows, page.first, page.end - 1 if page.is_last else page.end,
                          page.is_last)

    def install_range(self, wanted, list rows not None, end):
        """Take the heads of a range up to `end`; False: it has to reach further."""
        cdef bint done = end == ORDER_END
        following = 0 if done else (end >> CURSOR_SHIFT) << CURSOR_SHIFT
        if not done and following <= wanted[1]:
            return False
        self.install([key for key, _ in rows], dict(rows))
        self.view.ranges[wanted] = [], following, done
        return True


cdef int64_t keys_at(Tip main, uint64_t generation, uint64_t commit_ts) except? -1:
    """The number of keys of a generation at a pin."""
    cdef char key[9]
    cdef Entry* e
    cdef Version* v = NULL
    key[0] = K_GENERATION
    put_be64(key + 1, generation)
    e = main.find(main.meta, main.hash_key(key, 9), key, 9)
    if e != NULL:
        v = version_at(e, commit_ts)
    return 0 if v == NULL or v.length != 16 else <int64_t>get_be64(v.data)
