# cython: boundscheck=False, wraparound=False
"""What comes from a leader for the clients of a node: replies, and input that was not executed."""

from libc.stdint cimport uint32_t, uint64_t
from kvnode._core.buffer cimport buffer_append
from kvnode._core.forwarding cimport W_ANSWERS, W_EXECUTION, Clients
from kvnode._core.link_port cimport (
    INPUT_WINDOW_BYTES, OUTPUT, OUTPUT_BLOCKED, OUTPUT_CLOSE, OUTPUT_IN_MULTI, OUTPUT_PARTIAL,
    OUTPUT_SUBSCRIBED, OUTPUT_WINDOW_BYTES, RETURNED, RETURNED_IN_MULTI, RETURNED_WATCHING,
    TAKEN_BYTES, Reader, fail, read_bytes, read_u32, read_u64, read_u8)
from kvnode._core.session cimport S_CLOSING, S_READY, Session
from kvnode._core.tip cimport DATABASES_MAX
from kvnode._core.uplink cimport Relay, Uplink

from kvnode._core.messages import OUTPUT_LIMIT


def receive(Clients clients not None, Uplink uplink not None, bytes frame not None):
    """Take a frame. Raises RemoteProtocolError: the link has to be closed."""
    cdef Reader reader
    cdef int item
    cdef Relay relay
    uplink.port.open_frame(frame, &reader)
    while reader.at < reader.end:
        item = read_u8(&reader)
        relay = uplink.relays.get(read_u64(&reader))
        if item == OUTPUT:
            take_output(clients, uplink, relay, &reader)
        elif item == RETURNED:
            take_back(clients, uplink, relay, &reader)
        else:
            fail("an unknown item")
    if uplink.blocked and not uplink.port.is_full():
        clients.wake_blocked(uplink)


cdef int take_output(Clients clients, Uplink uplink, Relay relay, Reader* r) except -1:
    cdef int flags = read_u8(r)
    cdef int db = read_u8(r)
    cdef uint64_t executed = read_u64(r)
    cdef uint64_t answered = read_u64(r)
    cdef bint is_subscribed = flags & OUTPUT_SUBSCRIBED != 0
    cdef uint32_t channels = read_u32(r) if is_subscribed else 0
    cdef uint32_t patterns = read_u32(r) if is_subscribed else 0
    cdef uint32_t shard_channels = read_u32(r) if is_subscribed else 0
    cdef uint32_t n = read_u32(r)
    cdef const char* data = read_bytes(r, n)
    cdef Session session
    if relay is None:       # its client is gone
        return 0
    if not relay.executed <= executed <= relay.sent \
            or not relay.answered <= answered <= executed or db >= DATABASES_MAX:
        fail("more was answered than asked")
    if relay.relayed + n - relay.taken > 2 * OUTPUT_WINDOW_BYTES:
        fail("more than a client takes")
    session = relay.session
    relay.executed = executed
    relay.answered = answered
    relay.is_partial = flags & OUTPUT_PARTIAL != 0
    session.is_blocked_there = flags & OUTPUT_BLOCKED != 0
    session.is_subscribed_there = is_subscribed
    session.channels, session.patterns = channels, patterns
    session.shard_channels = shard_channels
    clients.sequencer.flushable.append(session)
    if n:
        buffer_append(&session.reply.out, data, n)
        relay.relayed += n
        if relay.relayed - relay.taken >= TAKEN_BYTES and not relay.is_draining:
            relay.is_draining = True
            uplink.draining.append(relay)
    if flags & OUTPUT_CLOSE:
        session.state = S_CLOSING
        session.close_reason = OUTPUT_LIMIT if relay.is_partial else "closed by the leader"
        del uplink.relays[relay.number]
        del clients.relays[session.id]
        return 0
    if relay.is_owed():
        if relay.wait == W_EXECUTION and relay.sent - relay.executed < INPUT_WINDOW_BYTES:
            clients.wake(relay)
        return 0
    relay.is_risky = False
    session.in_multi_there = flags & OUTPUT_IN_MULTI != 0   # MULTI may have been refused
    session.db = relay.told_db = db
    if uplink is not clients.uplink:
        return clients.release(relay)
    if session.state == S_READY:
        session.waiting = None
    if relay.wait == W_ANSWERS or relay.wait == W_EXECUTION or relay.ends:
        clients.wake(relay)
    return 0


cdef int take_back(Clients clients, Uplink uplink, Relay relay, Reader* r) except -1:
    """Input was not executed: the leader, if it is one, is none of this term."""
    cdef int flags = read_u8(r)
    cdef uint32_t n = read_u32(r)
    cdef const char* data = read_bytes(r, n)
    uplink.is_open = False
    if relay is None:
        return 0
    if relay.answered + relay.returned.len + n > relay.sent:
        fail("more was returned than sent")
    if not relay.is_returning:
        relay.is_returning = True
        relay.session.in_multi_there = flags & RETURNED_IN_MULTI != 0
        relay.is_watching = flags & RETURNED_WATCHING != 0 \
            or (relay.was_dirty and relay.answered == 0)    # it may not have taken notice
    relay.is_partial = False
    buffer_append(&relay.returned, data, n)
    if not relay.is_owed():
        clients.release(relay)
    return 0
