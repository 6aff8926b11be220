"""Scored members in order, with ranks: the tree of order_tree.hpp for Python."""

from libc.math cimport isnan
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from kvnode._core.order_tree cimport OrderTree
from kvnode._core.sortable cimport double_of_order, order_of_double

cdef extern from *:
    """
    struct Member {
        uint32_t key_len;
        char key[];
    };
    """
    cdef struct Member:
        uint32_t key_len
        char* key

ctypedef OrderTree[Member].Iterator Iterator


cdef uint64_t order_of(double score) except? 0:
    if isnan(score):
        raise ValueError("NaN has no order")
    return order_of_double(score)


cdef class OrderedMembers:
    """A set of (score, member) pairs, ordered by score, then by bytes.

    It does not know which scores a member has elsewhere: one member may stand under several.
    """

    cdef OrderTree[Member] tree
    cdef bint releasing     # its members are freed; the tree's nodes go step by step

    def __dealloc__(self):
        self.free_members()

    cdef void free_members(self) noexcept:
        cdef Iterator i
        if self.releasing:
            return
        i = self.tree.first()
        while i.valid():
            free(i.entry())
            i.next()
        self.releasing = True

    cdef Member* new_member(self, bytes member) except NULL:
        cdef Member* made = <Member*>malloc(sizeof(uint32_t) + len(member) + 1)
        if made == NULL:
            raise MemoryError()
        made.key_len = <uint32_t>len(member)
        memcpy(made.key, <const char*>member, len(member))
        return made

    def __len__(self):
        return self.tree.size()

    @property
    def bytes(self):
        """Memory of the tree's nodes."""
        return self.tree.bytes()

    def add(self, double score, bytes member not None):
        """Add a pair. Raises ValueError if it is there."""
        cdef uint64_t order = order_of(score)
        cdef size_t rank
        cdef Member* made
        if self.tree.rank_of(order, member, len(member), &rank):
            raise ValueError("the pair is there already")
        made = self.new_member(member)
        try:
            self.tree.insert(order, made)
        except MemoryError:
            free(made)
            raise

    def extend(self, pairs):
        """Add (score, member) pairs that ascend and are above all present: cheaper than add.

        Raises ValueError at the first pair that does not; the ones before it stay.
        """
        cdef bytes member
        cdef uint64_t order
        cdef Member* made
        for score, member in pairs:
            order = order_of(score)
            if self.tree.lower_bound(order, member, len(member)) != self.tree.size() \
                    or self.holds(order, member):
                raise ValueError("pairs must ascend")
            made = self.new_member(member)
            try:
                self.tree.append(order, made)
            except MemoryError:
                free(made)
                raise

    cdef bint holds(self, uint64_t order, bytes member):
        cdef size_t rank
        return self.tree.rank_of(order, member, len(member), &rank)

    def discard(self, double score, bytes member not None):
        """Remove a pair; whether it was there."""
        cdef uint64_t order = order_of(score)
        cdef size_t rank
        cdef Member* found
        if not self.tree.rank_of(order, member, len(member), &rank):
            return False
        found = self.tree.at(rank).entry()
        self.tree.erase(order, member, len(member))
        free(found)
        return True

    def rank(self, double score, bytes member not None):
        """Return the number of pairs below this one, None if it is absent."""
        cdef size_t rank
        if not self.tree.rank_of(order_of(score), member, len(member), &rank):
            return None
        return rank

    def lower_bound(self, double score, bytes member not None):
        """Return the number of pairs below (score, member), which may be absent."""
        return self.tree.lower_bound(order_of(score), member, len(member))

    def at(self, size_t rank):
        """Return the pair of a rank. Raises IndexError."""
        cdef Iterator i = self.tree.at(rank)
        if not i.valid():
            raise IndexError(rank)
        return pair(i)

    def range(self, size_t start, size_t count, bint reverse=False):
        """Return up to `count` pairs from rank `start` on, upwards or downwards."""
        cdef Iterator i = self.tree.at(start)
        cdef list found = []
        while count > 0 and i.valid():
            found.append(pair(i))
            if reverse:
                i.previous()
            else:
                i.next()
            count -= 1
        return found

    def ends(self):
        """Return the first and the last pair, None of an empty set."""
        if self.tree.size() == 0:
            return None
        return pair(self.tree.first()), pair(self.tree.last())

    def release(self, size_t nodes):
        """Free all members and at most `nodes` nodes; whether that was all.

        After False only release() may be called.
        """
        self.free_members()
        if self.tree.free_some(nodes):
            self.releasing = False
            return True
        return False

    def check(self):
        """Return which invariant of the tree is broken, None if all hold."""
        cdef const char* broken = self.tree.check()
        return None if broken == NULL else (<bytes>broken).decode()

    def damage(self, int number):
        """Break an invariant of the tree by its number, for the test of check(); whether it could.

        Only check() may be called afterwards.
        """
        return self.tree.damage(number)


cdef tuple pair(Iterator i):
    cdef Member* member = i.entry()
    return double_of_order(i.order()), member.key[:member.key_len]
