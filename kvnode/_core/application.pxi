# Entries of the log, applied to the tip: at a start and on a follower. Included by tip.pyx.

cdef enum:
    MEMBERSHIP = 3      # first byte of an entry that changes who is in the group


cdef int apply_payload(Tip tip, const char* p, size_t n, uint64_t commit_ts) except -1:
    """Apply the operations of an entry: see view.encode_batch for their form.

    That of a membership is Raft's: it changes no record.
    """
    cdef size_t at = 0
    cdef size_t used
    cdef uint64_t key_len
    cdef uint64_t value_len
    cdef char op
    cdef const char* key
    if n and p[0] == MEMBERSHIP:
        return 0
    while at < n:
        op = p[at]
        used = get_varint(p + at + 1, n - at - 1, &key_len)
        at += 1 + used
        if used == 0 or op not in (1, 2) or key_len > n - at:
            raise CorruptionError("entry payload")
        key = p + at
        at += key_len
        value_len = 0
        if op == 1:
            used = get_varint(p + at, n - at, &value_len)
            at += used
            if used == 0 or value_len > n - at:
                raise CorruptionError("entry payload")
        tip.put_committed(key, key_len, p + at, value_len, op == 1, commit_ts)
        at += value_len
    return 0
