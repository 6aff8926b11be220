# Entries of the log, applied to the tip: at a start and on a follower. Included by tip.pyx.

cdef enum:
    MEMBERSHIP = 3      # first byte of an entry that changes who is in the group


cdef int apply_payload(Tip tip, const char* p, size_t n, uint64_t commit_ts) except -1:
    """Apply the operations of an entry: see view.encode_batch for their form.

    That of a membership is Raft's: it changes no record.
    """
    cdef size_t at = 0
    cdef size_t near = 0
    cdef size_t used
    cdef uint64_t key_len
    cdef uint64_t value_len
    cdef char op
    cdef const char* key
    if n and p[0] == MEMBERSHIP:
        return 0
    while at < n:
        if at >= near:
            near = bring_near(tip, p, n, at)
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


cdef size_t bring_near(Tip tip, const char* p, size_t n, size_t at) noexcept:
    """Prefetch the entries of user keys that are written from `at` on; return how far that reaches.

    Keys of one generation, since nearly all entries write into one only, and their hashes stand in
    the log. What is malformed ends it: applying finds it, and says so.
    """
    cdef uint64_t hashes[PREFETCH_KEYS_MAX]
    cdef uint64_t key_len
    cdef uint64_t value_len
    cdef uint64_t generation = 0
    cdef Table* table = NULL
    cdef size_t used
    cdef int count = 0
    cdef const char* key
    cdef char op
    while at < n and count < PREFETCH_KEYS_MAX:
        op = p[at]
        used = get_varint(p + at + 1, n - at - 1, &key_len)
        at += 1 + used
        if used == 0 or key_len > n - at:
            at = n
            break
        key = p + at
        at += key_len
        if op == 1:
            used = get_varint(p + at, n - at, &value_len)
            at += used
            if used == 0 or value_len > n - at:
                at = n
                break
            at += value_len
        if key_len < HEAD_PREFIX_BYTES or key[0] != K_HEAD:
            continue
        if table == NULL:
            generation = get_be64(key + 1)
            table = tip.generation(generation)
            if table == NULL:
                continue
        if get_be64(key + 1) == generation:
            hashes[count] = get_be64(key + 9)
            count += 1
    if count > 1:
        tip.prefetch_hashes(table, hashes, count)
    return at


cdef int apply_write(Tip tip, const char* key, size_t n, const char* value, size_t m,
                     bint present, uint64_t commit_ts) except -1:
    """Put the version of a record that a committed entry wrote.

    Whatever of it is in memory, dirty or clean, stays consistent; what is not in memory is
    written without a look at LevelDB. A version that is there already changes nothing.
    """
    cdef Table* table
    cdef Slice rest
    cdef uint64_t hash
    cdef Entry* e
    cdef Version* v
    if present and n == 9 and key[0] == K_GENERATION:
        tip.first_seen(get_be64(key + 1))
    elif present and n == 9 and key[0] == K_PENDING:
        begin_pending(tip, get_be64(key + 1), value, m)
    elif present and n and key[0] == K_DELTA:
        return tip.put_delta(key, n, value, m, commit_ts)
    e = tip.locate(key, n, &table, &rest, &hash)
    if table == NULL and record_prefix(key[0]) and key[0] != K_HEAD:
        table = stub_for(tip, key, n)
    if table == NULL:
        return 0
    if e != NULL and e.newest.commit_ts >= commit_ts:
        if table == tip.meta:      # a row of LevelDB was ahead: what is there by now is as dead
            return note_if_trash(tip, e)
        return 0
    v = decode_value(table, value, m, present)
    v.commit_ts = commit_ts
    if e == NULL:
        if table.kind == K_MEMBER:
            learn_type(tip, table.owner, v)
        e = tip.insert(table, hash, rest.data, rest.len)
        if table.owner != NULL and (tip.mixed_until or not surely_absent(table, hash)):
            e.flags |= E_STORED
            table.owner.stored = True
            note_blind(tip, e, v)
    v.older = e.newest
    e.newest = v
    tip.adopt(e, v)
    tip.mark_dirty(e)
    if v.expire_at:
        tip.file_deadline(e, v.expire_at)
    elif v.type == T_NONE and (table.kind == K_HEAD or table.kind == K_FIELD):
        e.row_at = 0        # a later deadline of this name is filed anew
    if table.kind == K_HEAD:
        if is_collection(v.type):
            attach_committed(tip, e)
    elif table == tip.meta:
        tip.side_effect(e)
    elif table.owner != NULL:
        note_part(tip, e)
    tip.prune(e)
    return 0
