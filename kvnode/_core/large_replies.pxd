"""Which collections are too large for the sequencer: to be held as a whole, or shown in one piece.

What is shown goes on beside it, while the client takes it: see kvnode/txn/long_reply.py.
"""

from libc.stdint cimport int64_t, uint64_t
from kvnode._core.tip cimport Collection
from kvnode._core.view cimport View


cdef enum:
    SHOWN_BYTES_MAX = 16 << 20      # of a reply that is made on the sequencer
    SHOWN_SHARE = 4                 # of the cache that it may take at most
    HELD_SHARE = 2                  # of the cache that a collection may take which is read as a whole
    ELEMENT_BYTES_MIN = 128         # of an element in memory, about


cdef inline bint may_go_beside(View view) noexcept:
    """Whether the running command, or its EXEC, may answer PARK and go on beside the sequencer."""
    return not view.is_private and not view.is_undivided and view.session is not None \
        and view.session.waiter == NULL


cdef inline bint is_too_large(View view, Collection* c) noexcept:
    """Whether the cache cannot hold a collection beside others, judged by what is in memory of it.

    A part of it would be evicted while the next is read, for ever.
    """
    cdef uint64_t each = ELEMENT_BYTES_MIN
    if c.elements.entries:
        each = max(each, c.elements.bytes // c.elements.entries)
    return view.tip.cache_bytes != 0 \
        and <uint64_t>c.meta.length * each > view.tip.cache_bytes // HELD_SHARE


cdef inline bint is_shown_beside(View view, Collection* c, int64_t count) noexcept:
    """Whether a reply with so many elements has too many bytes, judged by those in memory.

    True: the handler answers PARK. Their number is what is_past_budget() looks at. Inside EXEC, and of
    a command that waited, replies are made in one piece.
    """
    cdef uint64_t most = SHOWN_BYTES_MAX
    if not may_go_beside(view) or view.session.in_exec or c.elements.entries == 0:
        return False
    if view.tip.cache_bytes:
        most = min(most, view.tip.cache_bytes // SHOWN_SHARE)
    if c.elements.bytes // c.elements.entries * <uint64_t>count <= most:
        return False
    view.is_long = True
    return True
