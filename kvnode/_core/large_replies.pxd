"""Which replies are made beside the sequencer, while the client takes them: see kvnode/txn/long_reply.py."""

from libc.stdint cimport int64_t, uint64_t
from kvnode._core.session cimport Session
from kvnode._core.tip cimport Collection
from kvnode._core.view cimport View


cdef enum:
    SHOWN_BYTES_MAX = 16 << 20      # of a reply that is made on the sequencer
    SHOWN_SHARE = 4                 # of the cache that it may take at most


cdef inline bint is_shown_beside(View view, Collection* c, int64_t count) noexcept:
    """Whether a reply with so many elements has too many bytes, judged by those in memory.

    True: the handler answers PARK. Their number is what is_past_budget() looks at. Inside EXEC, and of
    a command that waited, replies are made in one piece.
    """
    cdef Session session = view.session
    cdef uint64_t most = SHOWN_BYTES_MAX
    if view.is_private or session is None or session.in_exec or session.waiter != NULL \
            or c.elements.entries == 0:
        return False
    if view.tip.cache_bytes:
        most = min(most, view.tip.cache_bytes // SHOWN_SHARE)
    if c.elements.bytes // c.elements.entries * <uint64_t>count <= most:
        return False
    view.is_long = True
    return True
