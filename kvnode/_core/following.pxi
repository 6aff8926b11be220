# A sequencer that follows: entries of others take effect on its tip, until it leads. Included by
# sequencer.pyx.

cdef int apply_entry(Sequencer s, uint64_t term, uint64_t index, uint64_t commit_ts,
                     bytes payload) except -1:
    if index != s.applied + 1 or term < s.durable_term or commit_ts <= s.tip.durable:
        raise CorruptionError(
            f"log entry (index {index}, term {term}, time {commit_ts}) cannot follow (index "
            f"{s.applied}, term {s.durable_term}, time {s.tip.durable})")
    s.tip.durable = commit_ts       # what it replaces goes at once, but for pins
    s.tip.apply_entry(payload, len(payload), commit_ts)
    if s.tip.mixed_until and index >= s.tip.mixed_until:
        s.tip.mixed_until = 0
    if s.tip.fresh_id > s.view.next_id:
        s.view.set_next_id(s.tip.fresh_id)
    s.applied = s.durable_index = index
    s.last_index = max(s.last_index, index)
    s.committed = max(s.committed, index)
    s.synced = max(s.synced, index)
    s.stable = max(s.stable, index)
    s.durable_term = term
    s.last_ts = max(s.last_ts, commit_ts)
    s.payload_bytes += len(payload)
    return 0


cdef int apply_entries(Sequencer s, list entries) except -1:
    if not entries:
        return 0
    if s.serving or s.view.has_writes() \
            or (not s.batches.empty() and s.applied >= s.before_own):
        raise InvariantError("an entry is applied among own ones")
    if s.has_led:       # of what it made itself nothing is new
        s.tip.fresh_id = max(s.tip.fresh_id, s.view.next_id)
        s.has_led = s.applied < s.before_own    # then it may be leading
    for term, index, commit_ts, payload in entries:
        apply_entry(s, term, index, commit_ts, payload)
    if not s.tip.dying.empty():
        sweep_dying(s.tip, SWEPT_ENTRIES_PER_PASS)
    if s.late_commit and s.applied >= s.before_own:
        s.commit(s.late_commit)
    return 0


cdef int begin_leadership(Sequencer s, uint64_t term, uint64_t last_index,
                          uint64_t last_ts) except -1:
    if not s.batches.empty() or s.view.has_writes() or last_index < s.applied:
        raise InvariantError(f"leadership begins at {last_index}, applied is {s.applied}")
    s.term = term
    s.last_index = s.before_own = last_index
    s.late_commit = 0
    s.last_ts = max(s.last_ts, last_ts)
    s.has_led = s.leads = True
    s.view.requests = None      # others may have led meanwhile
    if s.view.watches is not None:
        s.view.watches.touch_all()
    return 0
