"""One end of a link between a client's node and the leader: frames, their items, flow control.

A frame begins with kind u8, term u64, uplink u64, received u64; items follow. All big-endian.

    term        of the leadership that the frames are for: a leader of another term refuses them
    uplink      number that the client's node gives to each use of a link, growing; see uplink
    received    bytes of frames of the other direction that have arrived, of this uplink: what was
                sent less that is bounded by LINK_WINDOW_BYTES, and by one command
    session     number that the client's node gives to each mirror of a session, growing: one that
                was ended is never meant again

    OPEN        session u64, state: there is a new session
    STATE       session u64, state: of a known one, whose input so far is answered
      state       client u64, db u8, proto u8, reply mode u8, flags u8 (STATE_...), user, name, address;
                  each of the three as length u32, bytes. client: id of the session at its own node
    INPUT       session u64, length u32, bytes: commands of it, in order, as the client sent them
    TAKEN       session u64, bytes u64: so much more of its output has gone to the client
    LAST        session u64: its client sends no more: if it waits for data of keys, it is over
    END         session u64: it is over

    OUTPUT      session u64, flags u8 (OUTPUT_...), db u8, consumed u64, answered u64,
                subscriptions, length u32, bytes: consumed: bytes of its input that were executed,
                ever; answered: of them, those whose replies are all in this item or before it.
                db: of the session by then.
                Messages of pub/sub come in items in which no more is answered than before.
      subscriptions   channels u32, patterns u32, shard channels u32; with OUTPUT_SUBSCRIBED only
    RETURNED    session u64, flags u8 (RETURNED_...), length u32, bytes: the end of its input, as it
                was, which was not executed. The session is over at this leader.

The version is that of the link's handshake. What does not fit this ends the link.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from kvnode._core.buffer cimport Buffer


cdef enum FrameKind:
    FORWARD = 1         # to the leader
    ANSWER = 2          # from it


cdef enum Item:
    OPEN = 1
    STATE = 2
    INPUT = 3
    TAKEN = 4
    END = 5
    OUTPUT = 6
    RETURNED = 7
    LAST = 8


cdef enum:
    STATE_DIRTY = 1             # a watched key changed, or may have
    STATE_ABORTED = 2           # its transaction must not run
    STATE_NO_TOUCH = 4
    OUTPUT_CLOSE = 1            # the connection closes after it
    OUTPUT_PARTIAL = 2          # it ends inside of a reply or message
    OUTPUT_SUBSCRIBED = 4       # the session is subscribed to something
    OUTPUT_IN_MULTI = 8         # it is in a transaction
    OUTPUT_BLOCKED = 16         # it waits for data of keys
    RETURNED_IN_MULTI = 1       # a transaction had begun
    RETURNED_WATCHING = 2       # keys were watched, or one had changed


cdef enum:
    FRAME_HEADER_BYTES = 25
    FRAME_BYTES = 1 << 20           # a frame ends past this
    PIECE_BYTES = 1 << 18           # of input or output in one item
    FRAME_BYTES_MAX = 4 << 20       # a longer frame is not from a node like this one
    LINK_WINDOW_BYTES = 16 << 20    # sent and not known to have arrived; with more, sessions wait
    ACKNOWLEDGE_BYTES = 1 << 20     # received: said in a frame of its own, if there is no other
    INPUT_WINDOW_BYTES = 1 << 20    # of one session, sent and not known to be executed
    OUTPUT_WINDOW_BYTES = 1 << 20   # of one session, sent and not known to be taken by its client
    TAKEN_BYTES = 1 << 18           # so much taken is worth an item
    ITEM_BYTES_MAX = 64             # of an item without its bytes


cdef class Port:
    cdef int kind                       # of the frames that it sends
    cdef readonly uint64_t term, uplink
    cdef object send                    # send(frame) -> whether the link took it
    cdef Buffer out                     # the open frame
    cdef list waiting                   # frames that the link did not take yet
    cdef uint64_t sent, acknowledged    # bytes of frames
    cdef uint64_t received, told

    cdef char* room(self, size_t n) except NULL     # for an item of n bytes: all are written at once
    cdef bint is_full(self) noexcept                # nothing that is not owed may be sent
    cdef int close_frame(self) except -1
    cdef int flush(self) except -1
    cdef int open_frame(self, bytes frame, Reader* reader) except -1


cdef struct Reader:
    const char* at
    const char* end


cdef int fail(str reason) except -1
cdef const char* read_bytes(Reader* r, size_t n) except NULL
cdef uint8_t read_u8(Reader* r) except? 255
cdef uint32_t read_u32(Reader* r) except? 0xFFFFFFFF
cdef uint64_t read_u64(Reader* r) except? 0xFFFFFFFFFFFFFFFF
cdef bytes read_text(Reader* r)
