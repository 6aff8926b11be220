# cython: boundscheck=False, wraparound=False
"""Tables of entries, grown and shrunk in bounded steps, and chains of versions."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from kvnode._core.entries cimport (
    E_GONE, SEGMENT_BUCKET_BITS_MAX, SEGMENT_BUCKET_BITS_MIN, T_NONE, bucket_of, entry_bytes,
    is_sparse, segment_of, version_bytes)
from kvnode._core.prefetch cimport prefetch_line

cdef enum:
    RELINK_AHEAD = 8        # buckets whose entries are on the way from main memory


cdef Version* make_version(size_t length) except NULL:
    """Allocate a version with room for `length` bytes of data."""
    cdef Version* v = <Version*>malloc(34 + length if length > 6 else 40)
    if v == NULL:
        raise MemoryError(f"version of {length} bytes")
    v.older = NULL
    v.commit_ts = 0
    v.expire_at = 0
    v.slot = 0
    v.length = <uint32_t>length
    v.type = T_NONE
    v.flags = 0
    return v


cdef Version* version_at(Entry* entry, uint64_t commit_ts) noexcept nogil:
    """Return the newest version with commit_ts <= `commit_ts`, or NULL."""
    cdef Version* v = entry.newest
    while v != NULL and v.commit_ts > commit_ts:
        v = v.older
    return v


cdef size_t chain_bytes(Entry* entry) noexcept nogil:
    cdef size_t n = entry_bytes(entry.key_len)
    cdef Version* v = entry.newest
    while v != NULL:
        n += version_bytes(v.length)
        v = v.older
    return n


cdef Table* new_table(uint8_t kind, uint64_t id, bint resident) except NULL:
    cdef Table* table = <Table*>calloc(1, sizeof(Table))
    if table == NULL:
        raise MemoryError("table")
    table.kind = kind
    table.id = id
    table.resident = resident
    table.directory = <Segment**>malloc(sizeof(Segment*))
    if table.directory == NULL:
        free(table)
        raise MemoryError("table")
    table.directory[0] = new_segment(0, SEGMENT_BUCKET_BITS_MIN)
    table.deepest = 1
    return table


cdef Segment* new_segment(uint32_t depth, uint32_t bucket_bits) except NULL:
    cdef Segment* segment = <Segment*>calloc(1, sizeof(Segment) + (sizeof(Entry*) << bucket_bits))
    if segment == NULL:
        raise MemoryError("segment")
    segment.depth = depth
    segment.bucket_bits = bucket_bits
    return segment


cdef void free_table(Table* table) noexcept nogil:
    cdef uint64_t i = 0
    cdef uint64_t span
    cdef Segment* segment
    cdef Entry* e
    cdef Entry* following
    cdef Version* v
    cdef Version* older
    cdef size_t b
    if table == NULL:
        return
    while i < (<uint64_t>1 << table.depth):
        segment = table.directory[i]
        span = <uint64_t>1 << (table.depth - segment.depth)
        for b in range(<size_t>1 << segment.bucket_bits):
            e = segment.buckets[b]
            while e != NULL:
                following = e.next
                v = e.newest
                while v != NULL:
                    older = v.older
                    free(v)
                    v = older
                free(e)
                e = following
        free(segment)
        i += span
    del table.filter
    free(table.directory)
    free(table)


cdef int grow_segment(Table* table, uint64_t hash) except -1:
    """Double the buckets of the segment of `hash`, or split it in two: bounded work."""
    cdef Segment* old = segment_of(table, hash)
    cdef Segment* low
    cdef Segment* high
    if old.bucket_bits < SEGMENT_BUCKET_BITS_MAX:
        low = new_segment(old.depth, old.bucket_bits + 1)
        replace_segments(table, hash, old.depth, low, low)
        relink(old, low, low)
        return 0
    low = new_segment(old.depth + 1, SEGMENT_BUCKET_BITS_MAX)
    high = new_segment(old.depth + 1, SEGMENT_BUCKET_BITS_MAX)
    if old.depth == table.depth:
        double_directory(table)
    if low.depth == table.depth:
        table.deepest += 2
    replace_segments(table, hash, old.depth, low, high)
    relink(old, low, high)
    return 0


cdef int shrink_segment(Table* table, uint64_t hash) except -1:
    """Give back memory where entries around `hash` have left: the opposite of grow_segment().

    Halves the buckets of the only segment, or merges two that were one. Usually one step, never
    more than the table is deep: each merge may leave two more that fit together.
    """
    cdef Segment* segment = segment_of(table, hash)
    cdef Segment* buddy
    cdef Segment* merged
    while segment.depth > 0:
        buddy = segment_of(table, hash ^ (<uint64_t>1 << (64 - segment.depth)))
        if buddy.depth != segment.depth or not is_sparse(
                SEGMENT_BUCKET_BITS_MAX, <uint64_t>segment.count + buddy.count):
            return 0
        merged = new_segment(segment.depth - 1, SEGMENT_BUCKET_BITS_MAX)
        if segment.depth == table.depth:
            table.deepest -= 2
        replace_segments(table, hash, merged.depth, merged, merged)
        relink(segment, merged, merged)
        relink(buddy, merged, merged)
        if table.deepest == 0:
            halve_directory(table)
        segment = merged
    while segment.bucket_bits > SEGMENT_BUCKET_BITS_MIN and is_sparse(
            segment.bucket_bits, segment.count):
        merged = new_segment(0, segment.bucket_bits - 1)
        replace_segments(table, hash, 0, merged, merged)
        relink(segment, merged, merged)
        segment = merged
    return 0


cdef void replace_segments(Table* table, uint64_t hash, uint32_t depth, Segment* low,
                           Segment* high) noexcept:
    """Put two segments, or twice the same, where the directory has those of a range of hashes.

    The range: all hashes whose leading `depth` bits are those of `hash`.
    """
    cdef size_t span = <size_t>1 << (table.depth - depth)
    cdef size_t first = (0 if table.depth == 0 else hash >> (64 - table.depth)) & ~(span - 1)
    cdef size_t i
    for i in range(span):
        table.directory[first + i] = high if i >= span // 2 else low


cdef void relink(Segment* old, Segment* low, Segment* high) noexcept:
    """Move the entries of a segment to those that take its place, and free it."""
    cdef Segment* target = low
    cdef Entry* e
    cdef Entry* following
    cdef size_t b
    cdef size_t i
    cdef size_t count = <size_t>1 << old.bucket_bits
    for b in range(count):
        if b + RELINK_AHEAD < count:
            prefetch_line(old.buckets[b + RELINK_AHEAD])
        e = old.buckets[b]
        while e != NULL:
            following = e.next
            if low != high:
                target = high if (e.hash << old.depth) >> 63 else low
            i = bucket_of(target, e.hash)
            e.next = target.buckets[i]
            target.buckets[i] = e
            target.count += 1
            target.live += e.flags & E_GONE == 0
            e = following
    free(old)


cdef int double_directory(Table* table) except -1:
    cdef size_t n = <size_t>1 << table.depth
    cdef size_t i
    cdef Segment** directory = <Segment**>malloc(2 * n * sizeof(Segment*))
    if directory == NULL:
        raise MemoryError("directory")
    for i in range(n):
        directory[2 * i] = table.directory[i]
        directory[2 * i + 1] = table.directory[i]
    free(table.directory)
    table.directory = directory
    table.depth += 1
    table.deepest = 0
    return 0


cdef void halve_directory(Table* table) noexcept:
    """Drop every other place of the directory, which no segment needs, while that is so."""
    cdef size_t n
    cdef size_t i
    cdef Segment** directory
    while table.deepest == 0:
        table.depth -= 1
        n = <size_t>1 << table.depth
        for i in range(n):
            table.directory[i] = table.directory[2 * i]
            table.deepest += table.directory[i].depth == table.depth
        directory = <Segment**>realloc(table.directory, n * sizeof(Segment*))
        if directory != NULL:       # else it stays where it is
            table.directory = directory


cdef void sort_by_hash(vector[Entry*]* entries, size_t first) noexcept:
    """Insertion sort of the few entries of one bucket."""
    cdef size_t i
    cdef size_t j
    cdef Entry* e
    for i in range(first + 1, entries.size()):
        e = entries[0][i]
        j = i
        while j > first and entries[0][j - 1].hash > e.hash:
            entries[0][j] = entries[0][j - 1]
            j -= 1
        entries[0][j] = e
