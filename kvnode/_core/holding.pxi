# What output waits for, and its release. Included by sequencer.pyx.

cdef int hold_output_of(Sequencer s, Session session) except -1:
    """Make the output of a session wait for the newest entry that it wrote or saw (I2).

    In a group also for a confirmation of leadership, unless that entry's commit will be one.
    """
    cdef Batch batch
    cdef size_t i = s.committed_batches
    cdef uint64_t fence = 0
    if session.observed <= s.tip.watermark and s.is_alone:
        return 0
    if session.observed > s.tip.watermark:
        i = s.batches.size()
        while i > s.committed_batches and s.batches[i - 1].commit_ts > session.observed:
            i -= 1
    if not s.is_alone and (s.serving or s.leads) and session.looked \
            and s.fences.confirmed < s.passes \
            and (i == s.committed_batches or s.batches[i - 1].confirms < s.passes) \
            and session.new_output():
        fence = s.passes
        s.fences.add(session, fence)
    if i == s.committed_batches:
        if fence:
            session.hold(0, 0, fence)
        return 0
    batch = s.batches[i - 1]
    if session.hold(batch.term, batch.index, fence):
        Py_INCREF(session)
        s.holders[i - 1].push_back(<void*>session)
        s.held += 1
    return 0


cdef int commit_batches(Sequencer s, uint64_t index) except -1:
    """Entries up to `index` are committed."""
    cdef Session session
    cdef vector[Holder] waiting
    cdef uint64_t confirmed = 0
    cdef size_t i
    if s.batches.empty():
        return 0
    if index > s.last_index:
        raise InvariantError(f"commit of {index} past {s.last_index}")
    if index > s.before_own and s.applied < s.before_own:
        s.late_commit = index    # what others have left in the log comes first
        return 0
    if index <= s.committed and not s.late_commit:
        return 0
    s.late_commit = 0
    s.committed = max(s.committed, index)
    while s.committed_batches < s.batches.size() \
            and s.batches[s.committed_batches].index <= index:
        s.tip.watermark = s.batches[s.committed_batches].commit_ts
        confirmed = s.batches[s.committed_batches].confirms
        waiting.insert(waiting.end(), s.holders[s.committed_batches].begin(),
                       s.holders[s.committed_batches].end())
        s.holders[s.committed_batches].clear()
        s.committed_batches += 1
    s.drop_batches()
    s.held -= waiting.size()
    if not s.is_alone:
        s.fences.confirm(confirmed, index, s.flushable)
    for i in range(waiting.size()):
        session = <Session>waiting[i]
        Py_DECREF(session)
        if session.release(index, s.fences.confirmed) and session.state != S_CLOSED:
            s.flushable.append(session)
    return 0


cdef int drop_durable_batches(Sequencer s) except -1:
    """Forget batches that are committed and synced; they are durable (see tip.durable)."""
    while s.committed_batches > 0 and s.batches.front().index <= s.synced:
        s.tip.durable = s.batches.front().commit_ts
        s.durable_index = s.batches.front().index
        s.applied = s.durable_index
        s.durable_term = s.batches.front().term
        s.unsynced_bytes -= s.batches.front().bytes
        s.batches.pop_front()
        s.holders.pop_front()
        s.committed_batches -= 1
    return 0
