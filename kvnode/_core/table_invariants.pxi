# The directory of a table, and its segments. Included by invariants.pyx.

cdef int check_directory(Table* table) except -1:
    """Segments cover the directory without gaps, each aligned on its span."""
    cdef size_t i = 0
    cdef size_t span
    cdef size_t k
    cdef uint64_t deepest = 0
    cdef Segment* segment
    while i < <size_t>1 << table.depth:
        segment = table.directory[i]
        require(segment.depth <= table.depth, "a segment is deeper than its table")
        require(segment.bucket_bits <= SEGMENT_BUCKET_BITS_MAX, "a segment has too many buckets")
        span = <size_t>1 << (table.depth - segment.depth)
        require(i % span == 0, "a segment is not aligned in its directory")
        for k in range(span):
            require(table.directory[i + k] == segment, "a segment has gaps in its directory")
        deepest += segment.depth == table.depth
        if not is_dying(table):
            check_density(table, segment, i)
        i += span
    require(table.deepest == deepest, f"{table.deepest} segments as deep as their table, not {deepest}")
    require(deepest > 0, "a directory is longer than it has to be")
    return 0


cdef int check_density(Table* table, Segment* segment, size_t place) except -1:
    """No memory is kept for entries that left: segments that fit together are one."""
    cdef Segment* buddy
    if segment.depth == 0:
        require(segment.bucket_bits == SEGMENT_BUCKET_BITS_MIN
                or not is_sparse(segment.bucket_bits, segment.count), "a segment is sparse")
        return 0
    require(segment.bucket_bits == SEGMENT_BUCKET_BITS_MAX, "a segment was split too early")
    buddy = table.directory[place ^ (<size_t>1 << (table.depth - segment.depth))]
    require(buddy.depth != segment.depth
            or not is_sparse(SEGMENT_BUCKET_BITS_MAX, <uint64_t>segment.count + buddy.count),
            "two segments are sparse")
    return 0
