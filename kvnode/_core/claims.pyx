# cython: boundscheck=False, wraparound=False
"""Claims of a list: their records, the window over them, and its public form."""

from libc.stdint cimport uint32_t, uint64_t
from kvnode._core.bytes cimport get_be32, put_be32
from kvnode._core.keys cimport K_CLAIM, POSITION_BYTES, get_position, position_hash, put_position
from kvnode._core.tip cimport T_NONE, T_RAW, Entry, Version, claims_of, count_indexes

cdef enum:
    CLAIMS_AT_ONCE = 4096       # entries looked at by one scan


cdef bint claims_missing(View view, Collection* c) except -1:
    """Whether the command must be parked until the claims are in memory: they are asked for.

    A list without holes has none, whatever LevelDB still has of them.
    """
    cdef char key[8]
    if c.meta.holes == 0 or (c.claims != NULL and c.claims.resident):
        return False
    claims_of(view.tip, c).resident = False
    put_position(key, 0)    # any of them stands for all: storage/parts.py
    view.miss(K_CLAIM, c.claims, position_hash(key), key, POSITION_BYTES)
    return True


cdef ClaimWindow* window_of(View view, Collection* c) except? NULL:
    """Return the window of a list, NULL if it has no holes. REQUIRES: claims_missing() was false."""
    cdef vector[Entry*] entries
    cdef uint64_t at = 0
    cdef bint done = False
    cdef Entry* e
    if c.meta.holes == 0:
        return NULL
    if c.window == NULL:
        c.window = new ClaimWindow()
    elif c.window_version == c.claims_version:
        return c.window
    c.window.clear()
    while not done:
        entries.clear()
        view.tip.scan_next(c.claims, at, &entries, CLAIMS_AT_ONCE, &at, &done)
        for e in entries:
            if e.newest.type != T_NONE:
                c.window.add(get_position(e.key), get_be32(e.newest.data))
    c.window.sort()
    c.window_version = c.claims_version
    count_indexes(view.tip, c)
    return c.window


cdef int put_claim(View view, Collection* c, int64_t start, int64_t count) except -1:
    """Say that `count` positions from `start` on are dead; 0: that no run begins there any more."""
    cdef char key[8]
    cdef Version* v = view.tip.new_version(4 if count else 0)
    if c.claims == NULL or not c.claims.resident:
        claims_of(view.tip, c).resident = True      # claims_missing(): there is no other claim
    put_position(key, start)
    if count:
        v.type = T_RAW
        put_be32(v.data, <uint32_t>count)
    view.put_part(c, c.claims, view.tip.find(c.claims, position_hash(key), key, POSITION_BYTES),
                  position_hash(key), key, POSITION_BYTES, v)
    return 0


cdef int drop_runs_outside(View view, Collection* c, int64_t head, int64_t tail) except -1:
    """Take away the claims outside [head, tail); return how many positions they covered."""
    cdef ClaimWindow* window = window_of(view, c)
    cdef int64_t dead = 0
    cdef Run run
    if window == NULL:
        return 0
    while window.size() and window.at(0).start < head:
        run = window.at(0)
        put_claim(view, c, run.start, 0)
        window.drop_front()
        dead += run.count
    while window.size() and window.at(window.size() - 1).start >= tail:
        run = window.at(window.size() - 1)
        put_claim(view, c, run.start, 0)
        window.drop_back()
        dead += run.count
    c.window_version = c.claims_version
    return dead


cdef int change_runs(View view, Collection* c, const vector[Run]& wanted) except -1:
    """Write what differs between the claims and the wanted runs, which are in order."""
    cdef ClaimWindow* window = window_of(view, c)
    cdef size_t count = window.size() if window != NULL else 0
    cdef size_t old = 0
    cdef size_t new = 0
    while old < count or new < wanted.size():
        if new == wanted.size() or (old < count and window.at(old).start < wanted[new].start):
            put_claim(view, c, window.at(old).start, 0)
            old += 1
            continue
        if old == count or wanted[new].start < window.at(old).start:
            put_claim(view, c, wanted[new].start, wanted[new].count)
        else:
            if window.at(old).count != wanted[new].count:
                put_claim(view, c, wanted[new].start, wanted[new].count)
            old += 1
        new += 1
    return 0


cdef int append_run(vector[Run]* runs, int64_t start, int64_t count) except -1:
    """Add a run behind others; one that touches the last becomes part of it."""
    cdef Run run
    cdef Run* last
    if runs.size():
        last = &runs.back()
        if last.start + last.count == start:
            last.count += count
            return 0
    run.start = start
    run.count = count
    runs.push_back(run)
    return 0


cdef class Window:
    """Runs of dead positions (start, count) of a list whose first element is at `head`."""

    cdef ClaimWindow window
    cdef int64_t head

    def __init__(self, int64_t head, list runs not None):
        self.head = head
        for start, count in runs:
            self.window.add(start, count)
        self.window.sort()

    def runs(self):
        """Return the runs in order."""
        return [(self.window.at(i).start, self.window.at(i).count)
                for i in range(self.window.size())]

    def position_of(self, int64_t index):
        """Return the position of the element at an index."""
        cdef size_t run
        return self.window.position_of(self.head, index, &run)

    def index_of(self, int64_t position):
        """Return the index of the element at a position, which is not dead."""
        return self.window.index_of(self.head, position)

    def drop_front(self):
        """The first element moved behind the first run: that is gone."""
        self.head = self.window.at(0).start + self.window.at(0).count
        self.window.drop_front()

    def drop_back(self):
        """The last run is gone."""
        self.window.drop_back()
