# cython: boundscheck=False, wraparound=False
"""The private memory of one try of an optimistic transaction: commands run here, not on the tip."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libcpp.vector cimport vector
from kvnode._core.ahead cimport look_ahead_in_queue
from kvnode._core.bytes cimport Slice, get_be64, put_be64
from kvnode._core.dispatch cimport C_WRITE, DONE, PARK, Command, args_list
from kvnode._core.entries cimport E_USED, T_LIST, T_NONE, Table, head_data, is_collection
from kvnode._core.keys cimport HEAD_PREFIX_BYTES, K_GENERATION, K_HEAD, K_ITEM, put_head_prefix
from kvnode._core.list_reads cimport LIST_ALL, LIST_HEAD, LIST_TAIL, list_reads
from kvnode._core.queued cimport Queued, free_queued, load_queued
from kvnode._core.reply cimport reply_null
from kvnode._core.scan cimport CURSOR_SHIFT
from kvnode._core.tables cimport version_at
from kvnode._core.view cimport N_MESSAGE

from kvnode._core.keys import split_head
from kvnode._core.list_reads import FIRST_OF_SEVERAL
from kvnode._core.tip import install_items, install_scores
from kvnode._core.upkeep import generation_at, stored_value
from kvnode.base.errors import InvariantError, WorkspaceFullError

cdef enum:
    TIMESTAMP_COUNTER_BITS = 16
    NAME_OVERHEAD_BYTES = 48    # of a name in Python
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
    # Of scripts each command counts by itself.
    b"eval", b"eval_ro", b"evalsha", b"evalsha_ro", b"fcall", b"fcall_ro",
))

# Commands without keys that look at no database.
KEYLESS = frozenset((b"echo", b"eval", b"eval_ro", b"evalsha", b"evalsha_ro", b"fcall", b"fcall_ro",
                     b"ping", b"publish", b"select", b"spublish", b"time"))

APPENDS = {b"lpush": False, b"rpush": True}     # that may be blind; whether at the tail


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
        self.tip.page_members = main.page_members
        for i in range(DATABASES_MAX):
            self.generations[i] = generation_at(main, i, start_ts)
            table = self.tip.new_generation(self.generations[i], False)
            table.keys = keys_at(main, self.generations[i], start_ts)
            self.tip.databases[i] = table
        self.view = View(self.tip, PRIVATE_IDS, is_private=True, steps_max=main_view.steps_max)
        self.view.connect(main_view.dispatch, None, main_view.node)
        self.view.adopt_settings(main_view)
        self.view.scripts = main_view.scripts
        self.view.pubsub = main_view.pubsub
        self.view.open_batch(start_ts >> TIMESTAMP_COUNTER_BITS, start_ts + 1)
        self.dispatch = main_view.dispatch
        self.events = []
        self.scripts = {}
        self.view.on_message = self._note_event
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
        self.appends = {}
        self.appendable = set()
        self.asked = set()
        self.unblinded = []

    def _note_event(self, *event):
        self.events.append(event)
        if event[0] == N_MESSAGE:
            self.message_bytes += len(event[1]) + len(event[2]) + NAME_OVERHEAD_BYTES

    # -- commands -------------------------------------------------------------------------------

    def run(self, list words not None):
        """Run a command, its name first: an Outcome. DONE: take_reply(). PARK: take_missing().

        REQUIRES: the command exists and takes as many arguments. May run on any thread, one at a time.
        """
        cdef Args args
        if self.dispatch.lookup(words[0]) is None:
            raise InvariantError(f"no such command: {words[0]!r}")
        self.reply.out.len = 0
        fill_args(&args, words)
        try:
            return self.run_args(&args)
        finally:
            free(args.v)

    def append(self, list words not None):
        """Run LPUSH or RPUSH without learning the length: its reply is nil. An Outcome, see run().

        It is blind as long as nothing else looks at its key: then it has learned only that the key
        holds a list or nothing, and the elements go to whatever list is there at commit. A command
        that looks at the key, before or after, has it pushed to the list of the snapshot; even then
        it goes to the end that this list has at commit.
        """
        cdef Command command = self.dispatch.lookup(words[0])
        cdef Table* table
        cdef bytes key = words[1]
        cdef char prefix[HEAD_PREFIX_BYTES]
        cdef uint64_t hash = self.tip.hash_key(key, len(key))
        cdef bytes head
        cdef int outcome
        if command is None or command.name not in APPENDS:
            raise InvariantError(f"{words[0]!r} appends nothing")
        self.view.enter(self.session)
        table = self.view.table
        self.reply.out.len = 0
        if table.resident or self.tip.find(table, hash, key, len(key)) != NULL:
            errors = self.reply.errors
            outcome = self.call(command, words)
            if outcome == DONE and self.reply.errors == errors:
                self.reply.out.len = 0
                reply_null(self.reply)
            return outcome
        put_head_prefix(prefix, table.id, hash)
        head = PyBytes_FromStringAndSize(prefix, HEAD_PREFIX_BYTES) + key
        if head not in self.appendable:
            self.asked.add(head)
            self.view.miss(K_HEAD, table, hash, key, len(key))
            return PARK
        self.appends.setdefault(head, []).append((APPENDS[command.name], words[2:]))
        self.append_bytes += sum(map(len, words))
        self.wrote = True
        reply_null(self.reply)
        return DONE

    cdef int bind(self, bytes head) except -1:
        """Blind appends to a key that a command looks at take place in the workspace."""
        cdef Table* table = self.tip.generation(get_be64(PyBytes_AS_STRING(head) + 1))
        cdef int db = self.session.db
        cdef Command command
        cdef Reply outer = self.reply       # may have those of an EXEC's commands so far
        cdef int other
        for other in range(DATABASES_MAX):
            if self.tip.databases[other] == table:
                self.session.db = other
        self.reply = Reply()
        self.view.enter(self.session)
        for at_tail, elements in self.appends.pop(head):
            command = self.dispatch.lookup(b"rpush" if at_tail else b"lpush")
            if self.call(command, [command.name, split_head(head)[2], *elements]) != DONE:
                raise InvariantError("an append lacks what it is about to be bound to")
        self.session.db = db
        self.reply = outer
        return 0

    def blind_appends(self):
        """The appends that are blind now: for undo_appends(), should a script be undone."""
        return {head: list(appends) for head, appends in self.appends.items()}, self.append_bytes

    def undo_appends(self, kept):
        """Only `kept` was appended blindly. After the rollback, which undid what was bound since."""
        cdef uint64_t generation
        cdef uint64_t hash
        cdef bytes key
        self.appends, self.append_bytes = kept
        for head in list(self.appends):
            generation, hash, key = split_head(head)
            if self.tip.find(self.tip.generation(generation), hash, key, len(key)) != NULL:
                self.bind(head)

    cdef int call(self, Command command, list words) except -1:
        cdef Args args
        fill_args(&args, words)
        try:
            self.reply.out.len = 0
            return self.execute(command, &args)
        finally:
            free(args.v)

    def run_queue(self, bytes queue not None, size_t at):
        """Run commands that a MULTI has queued, from byte `at` on; return where the next one is.

        Before the end: that one lacks records, see take_missing(). take_reply() has the replies
        of all of them, one after another. May run on any thread, one at a time.
        """
        cdef const char* p = PyBytes_AS_STRING(queue)
        cdef size_t n = PyBytes_GET_SIZE(queue)
        cdef size_t following
        cdef Queued queued
        cdef int outcome = DONE
        while at < n:
            following = load_queued(p, at, &queued)
            try:
                outcome = self.run_args(&queued.args)
            finally:
                free_queued(&queued)
            if outcome == PARK:
                look_ahead_in_queue(self.view, self.dispatch, p, following, n)
                break
            if outcome != DONE:
                raise InvariantError(f"a queued command in a transaction: outcome {outcome}")
            at = following
            self.view.breathe(1)
        return at

    cdef int run_args(self, Args* args) except -1:
        """Run one command: an Outcome; its reply stays only if it is DONE."""
        cdef Command command = self.dispatch.find(args.v[0].data, args.v[0].len)
        cdef dict reads
        cdef int outcome
        if self.appends and command.key_first == 0 and command.name not in KEYLESS:
            self.unblinded = list(self.appends)     # it may look at any key
            return PARK
        if command.subcommands is not None and args.n > 1:
            command = self.dispatch.subcommand(command, args)
        self.view.enter(self.session)
        reads = self.before_command(command, args_list(args))
        outcome = self.execute(command, args)
        if outcome == DONE:
            for id, read in reads.items():
                self.list_reads[id] = self.list_reads[id] | <int>read
        return outcome

    cdef int execute(self, Command command, Args* args) except -1:
        cdef size_t before = self.reply.out.len
        cdef int outcome
        self.view.workspace = self
        outcome = self.dispatch.call(self.view, command, args, self.reply)
        self.view.workspace = None
        if outcome == DONE:
            self.wrote |= command.flags & C_WRITE != 0
            if command.name not in LENGTH_FREE:
                self.note_lengths(args)
        else:
            self.reply.out.len = before
        if self.view.saw_all:
            self.scanned.add(self.view.table.id)
        self.view.finish_command()
        if self.events:
            self.wrote = True       # a message is an effect as well
        self.require_room()
        return outcome

    @property
    def bytes(self):
        """The memory that it takes: what it has read and written, and its replies."""
        return self.tip.bytes + self.reply.out.len + self.names_bytes + self.append_bytes \
            + self.message_bytes

    def set_bytes_max(self, uint64_t bytes_max):
        """Bound its memory: what takes more raises WorkspaceFullError."""
        self.view.bytes_max = bytes_max

    def require_room(self):
        """Raise WorkspaceFullError if it takes more memory than it may."""
        if self.bytes > self.view.bytes_max:
            raise WorkspaceFullError

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
                if is_collection(v.type) and v.type != T_LIST:
                    self.lengths.add(head_data(v).id)
                v = v.older
        return 0

    cdef dict before_command(self, Command command, list words):
        """Return ListReads, by id, of the lists that a command is about to name; note lengths.

        What counts from one end of a list up to what the transaction has pushed at the other depends
        on that end as well.
        """
        cdef dict found = {}
        cdef Collection* c
        cdef bytes word
        cdef Entry* e
        cdef Meta base
        cdef int reads
        cdef int i
        for i in range(1, len(words)):
            word = words[i]
            e = self.tip.find(self.view.table, self.tip.hash_key(word, len(word)), word, len(word))
            if e == NULL or not is_collection(e.newest.type) \
                    or head_data(e.newest).id >= PRIVATE_IDS:
                continue
            c = self.tip.collection(head_data(e.newest).id)
            base = self.bases[c.id]
            self.lowest[c.id] = min(self.lowest[c.id], c.meta.length - base.length)
            if c.type != T_LIST or command.name in FIRST_OF_SEVERAL and found:
                continue
            reads = list_reads(command.name, words, i, c.meta.length)
            if reads == LIST_ALL and command.name in LENGTH_FREE and command.name != b"copy":
                reads = 0
            if reads & LIST_HEAD and c.meta.tail > base.tail:
                reads |= LIST_TAIL
            elif reads & LIST_TAIL and c.meta.head < base.head:
                reads |= LIST_HEAD
            found[c.id] = found.get(c.id, 0) | reads
        return found

    def take_reply(self):
        """The reply of the last command, which take_missing() was not needed for."""
        cdef bytes reply = PyBytes_FromStringAndSize(self.reply.out.data, self.reply.out.len)
        self.reply.out.len = 0
        return reply

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
        return {PyBytes_FromStringAndSize(e.key, e.key_len) for e in entries} | {
            split_head(head)[2] for head in self.appends}

    # -- what it lacks ---------------------------------------------------------------------------

    def take_missing(self):
        """Return what the last command lacks: ([record key], [range], [collection id], [span]).

        A range is (generation, from_hash, count), see scan; of a collection all elements are wanted.
        A span is an ItemSpan, or one of the wishes of zset_reach.
        """
        cdef list ranges = [r for r in self.view.missing_ranges if r not in self.view.ranges]
        cdef list loads = list(self.view.missing_loads)
        cdef list spans = list(self.view.missing_spans)
        self.view.missing_ranges.clear()
        self.view.missing_loads.clear()
        self.view.missing_spans.clear()
        keys = self.view.take_missing() + self.unblinded
        self.unblinded = []
        return keys, ranges, loads, spans

    def install(self, keys, dict found not None):
        """Take records that were asked for: `found` has the envelopes of those that are there."""
        cdef Collection* c
        for key in keys:
            envelope = found.get(key)
            if key in self.asked:
                self.asked.discard(key)
                if envelope is None or stored_value(envelope)[0] == T_LIST:
                    self.appendable.add(key)
                    continue
            if self.tip.install(key, envelope) and key[0] == K_ITEM:
                self.set_unread([key])
            if envelope is not None and key[0] == K_HEAD:
                c = self.named_by(key)
                if c != NULL:
                    self.bases[c.id] = c.meta
                    if c.meta.holes:
                        self.holed.append(c.id)
            if key in self.appends:
                self.bind(key)

    def take_holed(self):
        """Return ids of installed lists with holes: their claims come next, by install_claims()."""
        cdef list holed = self.holed
        self.holed = []
        return holed

    def install_claims(self, uint64_t id, list rows not None):
        """Take all claims of a list."""
        self.tip.install_claims(id, rows)

    cdef int set_unread(self, keys) except -1:
        """Items were installed: each is marked as used only once a command looks at it."""
        cdef Table* table
        cdef Slice rest
        cdef uint64_t hash
        cdef Entry* e
        for key in keys:
            e = self.tip.locate(key, len(key), &table, &rest, &hash)
            if e != NULL:
                e.flags &= ~E_USED
        return 0

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
        """Take a page of elements; on any thread, as run()."""
        cdef Table* table
        cdef Slice rest
        cdef uint64_t hash
        cdef list items = [key for key, _ in page.rows if key[0] == K_ITEM
                           and self.tip.locate(key, len(key), &table, &rest, &hash) == NULL]
        for key, envelope in page.rows:
            self.tip.install(key, envelope)
            self.view.breathe(1)
        self.tip.end_load(id, [], page.first, page.end - 1 if page.is_last else page.end,
                          page.is_last)
        self.set_unread(items)

    def install_items(self, span, uint64_t first, page):
        """Take what there is of a span, from a position on, up to the end of a page."""
        install_items(self.tip, span.id, page.rows, first, min(span.end, page.end))

    def length_of(self, uint64_t id):
        """The length of a collection in the snapshot, whose head was read."""
        return self.bases[id].length

    def install_scores(self, uint64_t id, list rows not None, bytes low not None, bytes high not None):
        """Take all members of a sorted set between two bounds, by their score rows."""
        install_scores(self.tip, id, rows, low, high)

    def install_counted(self, wanted, found):
        """Take what was asked for of ranks: a RankOf or MemberAt, and the answer."""
        self.view.ranges[wanted] = found

    def count_names(self, list names not None):
        """Names were read for install_names(): they take memory from here on."""
        for name in names:
            self.names_bytes += len(<bytes>name) + NAME_OVERHEAD_BYTES

    def install_names(self, wanted, list names not None):
        """Take the names of all keys of a generation, see scan."""
        self.view.ranges[wanted] = names

    def install_range(self, wanted, list rows not None, end):
        """Take the heads of a range up to `end`; False: it has to reach further."""
        cdef bint done = end == ORDER_END
        following = 0 if done else (end >> CURSOR_SHIFT) << CURSOR_SHIFT
        if not done and following <= wanted[1]:
            return False
        self.install([key for key, _ in rows], dict(rows))
        self.view.ranges[wanted] = [], following, done
        return True


cdef int fill_args(Args* args, list words) except -1:
    """Let args name the words, which stay alive; args.v is to be freed."""
    cdef int i
    args.n = <int>len(words)
    args.v = <Slice*>malloc(args.n * sizeof(Slice))
    if args.v == NULL:
        raise MemoryError("command")
    for i in range(args.n):
        args.v[i].data = PyBytes_AS_STRING(words[i])
        args.v[i].len = PyBytes_GET_SIZE(words[i])
    return 0


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
