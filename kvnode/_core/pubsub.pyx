# cython: boundscheck=False, wraparound=False
"""SUBSCRIBE, UNSUBSCRIBE, PUBLISH and their kin; keyspace events as messages."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t
from kvnode._core.arguments cimport refuse
from kvnode._core.buffer cimport buffer_append, buffer_free
from kvnode._core.bytes cimport DECIMAL_BYTES_MAX, Slice, format_u64
from kvnode._core.dispatch cimport DONE, native
from kvnode._core.glob cimport glob_match
from kvnode._core.messages cimport keep_behind, push
from kvnode._core.parser cimport Args
from kvnode._core.reply cimport (
    Reply, reply_bulk, reply_integer, reply_null, reply_prefix)
from kvnode._core.session cimport REPLY_ON
from kvnode._core.view cimport N_MESSAGE, View

cdef enum:
    DELIVERY_BYTES = 64             # that one delivery counts for, of what a transaction publishes
    FRAME_KEPT_BYTES = 1 << 20      # a larger buffer is not kept for the next message
    ARRAY = 42                      # '*'
    PUSH = 62                       # '>'


cdef class PubSub:
    """The subscriptions of a node. sequencer: of its sessions."""

    def __cinit__(self, Sequencer sequencer not None):
        self.sequencer = sequencer

    def __dealloc__(self):
        self.end_all()
        buffer_free(&self.frame)

    def connect(self):
        """Let the commands of the sequencer's view publish and subscribe."""
        self.sequencer.view.pubsub = self
        self.sequencer.view.on_message = self.take_message

    cdef uint64_t hash_of(self, const Slice* name) noexcept:
        return self.sequencer.tip.hash_key(name.data, name.len)

    # -- subscriptions --------------------------------------------------------------------------

    cdef int require_room(self, size_t count, size_t name_bytes) except -1:
        """Whether so many subscriptions more are not too many."""
        return self.subscriptions.count() + count <= SUBSCRIPTIONS_MAX \
            and self.subscriptions.name_bytes() + name_bytes <= NAME_BYTES_MAX

    cdef int subscribe(self, Session session, int kind, const Slice* name) except -1:
        cdef Subscriber* subscriber = <Subscriber*>session.subscriber
        if subscriber == NULL:
            subscriber = new Subscriber()
            subscriber.session = <void*>session
            Py_INCREF(session)
            session.subscriber = subscriber
            self.clients += 1
        self.subscriptions.add(subscriber, kind, self.hash_of(name), name.data, name.len)
        return self.note(session)

    cdef int unsubscribe(self, Session session, int kind, const Slice* name) except -1:
        cdef Subscription* s
        if session.subscriber == NULL:
            return 0
        s = self.subscriptions.find_of(<Subscriber*>session.subscriber, kind, self.hash_of(name),
                                       name.data, name.len)
        return self.end(s) if s != NULL else 0

    cdef int end(self, Subscription* s) except -1:
        """Take one subscription back; with the last one the client is no subscriber any more."""
        cdef Subscriber* subscriber = s.subscriber
        cdef Session session = <Session>subscriber.session
        self.subscriptions.remove(s)
        self.note(session)
        if session.channels + session.patterns + session.shard_channels == 0:
            session.subscriber = NULL
            self.clients -= 1
            Py_DECREF(session)
            del subscriber
        return 0

    cdef int note(self, Session session) except -1:
        cdef Subscriber* subscriber = <Subscriber*>session.subscriber
        session.channels = subscriber.counts[<int>kChannels]
        session.patterns = subscriber.counts[<int>kPatterns]
        session.shard_channels = subscriber.counts[<int>kShardChannels]
        return 0

    def forget(self, Session session not None):
        """A session is closed, or reset: it is subscribed to nothing any more."""
        cdef Subscriber* subscriber
        cdef int kind
        for kind in range(3):
            while session.subscriber != NULL:
                subscriber = <Subscriber*>session.subscriber
                if subscriber.first[kind] == NULL:
                    break
                self.end(subscriber.first[kind])

    def end_all(self):
        """Take all subscriptions back; return the sessions that had any."""
        cdef Subscription* s
        cdef int kind
        sessions = {}
        for kind in range(3):
            while self.subscriptions.all(kind).size():
                s = self.subscriptions.all(kind)[0].subscriptions[0]
                sessions[<Session>s.subscriber.session] = None
                self.end(s)
        return list(sessions)

    def subscriptions_of(self, Session session not None):
        """What a session is subscribed to: lists of names, by kind."""
        cdef Subscription* s
        cdef int kind
        found = [[], [], []]
        for kind in range(3):
            s = NULL
            if session.subscriber != NULL:
                s = (<Subscriber*>session.subscriber).first[kind]
            while s != NULL:
                found[kind].append(bytes(s.channel.name))
                s = s.behind
        return found

    def restore(self, Session session not None, list kept not None):
        """Subscribe a session to what subscriptions_of() has said, and nothing else."""
        cdef Slice slice
        cdef int kind
        self.forget(session)
        for kind in range(3):
            for name in kept[kind]:
                slice.data, slice.len = PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)
                self.subscribe(session, kind, &slice)

    # -- messages -------------------------------------------------------------------------------

    cdef size_t receivers(self, int kind, const Slice* channel, bint collect) except? 0:
        """How many subscriptions a message reaches. collect: note the patterns in `matching`."""
        cdef Channel* found = NULL
        cdef Channel* pattern
        cdef size_t count = 0
        cdef size_t i
        if collect:
            self.matching.clear()
        if self.subscriptions.all(kind).size():
            found = self.subscriptions.find(kind, self.hash_of(channel), channel.data, channel.len)
        if found != NULL:
            count = found.subscriptions.size()
            if collect:
                self.matching.push_back(found)
        if kind != kChannels:
            return count
        for i in range(self.subscriptions.all(kPatterns).size()):
            pattern = self.subscriptions.all(kPatterns)[i]
            if glob_match(pattern.name.data(), pattern.name.size(), channel.data, channel.len,
                          False):
                count += pattern.subscriptions.size()
                if collect:
                    self.matching.push_back(pattern)
        return count

    cdef int deliver(self, int kind, const Slice* channel, const Slice* message) except -1:
        """Write a message to all who are subscribed by now. In a pass."""
        cdef Channel* to
        cdef size_t i
        self.receivers(kind, channel, True)
        for i in range(self.matching.size()):
            to = self.matching[i]
            self.frame.len = 0
            if to.kind == kPatterns:
                buffer_append(&self.frame, b"*4\r\n$8\r\npmessage\r\n", 18)
                append_bulk(&self.frame, to.name.data(), to.name.size())
            elif kind == kChannels:
                buffer_append(&self.frame, b"*3\r\n$7\r\nmessage\r\n", 17)
            else:
                buffer_append(&self.frame, b"*3\r\n$8\r\nsmessage\r\n", 18)
            append_bulk(&self.frame, channel.data, channel.len)
            append_bulk(&self.frame, message.data, message.len)
            self.send(to)
        if self.frame.capacity > FRAME_KEPT_BYTES:
            buffer_free(&self.frame)
        return 0

    cdef int send(self, Channel* to) except -1:
        """Write what is in `frame` to the subscribers of a channel or pattern."""
        cdef Session session
        cdef size_t i
        for i in range(to.subscriptions.size()):
            session = <Session>to.subscriptions[i].subscriber.session
            self.frame.data[0] = ARRAY if session.reply.proto == 2 else PUSH
            push(self.sequencer, session, self.frame.data, self.frame.len)
        return 0

    def take_message(self, int event_class, bytes channel not None, bytes message not None,
                     int kind):
        """A message of an EXEC or script, which has ended: see View.finish_command()."""
        cdef Slice name
        cdef Slice text
        name.data, name.len = PyBytes_AS_STRING(channel), PyBytes_GET_SIZE(channel)
        text.data, text.len = PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message)
        self.deliver(kind, &name, &text)

    # -- keyspace events ------------------------------------------------------------------------

    def set_events(self, uint32_t classes, *, bint names_keys, bint names_events):
        """notify-keyspace-events. classes: of EventClass."""
        self.event_classes = classes
        self.names_keys = names_keys
        self.names_events = names_events
        is_wanted = classes and (names_keys or names_events)
        self.sequencer.view.on_event = self.take_event if is_wanted else None

    def take_event(self, int event_class, bytes event not None, bytes key not None, int db):
        """A keyspace event of a command that has ended: up to two messages."""
        if event_class & self.event_classes == 0 or self.subscriptions.count() == 0:
            return
        if self.names_keys:
            self.take_message(event_class, b"__keyspace@%d__:%b" % (db, key), event, kChannels)
        if self.names_events:
            self.take_message(event_class, b"__keyevent@%d__:%b" % (db, event), key, kChannels)

    # -- for PUBSUB, INFO and the node ----------------------------------------------------------

    def names(self, int kind):
        """The names of all channels of a kind, or patterns, in no order."""
        cdef size_t i
        return [bytes(self.subscriptions.all(kind)[i].name)
                for i in range(self.subscriptions.all(kind).size())]

    def count(self, int kind):
        """How many channels of a kind, or patterns, there are."""
        return self.subscriptions.all(kind).size()

    def above(self, uint64_t most):
        """The subscribed sessions that have not taken more than `most` bytes of their output."""
        cdef Session session
        cdef Channel* channel
        cdef size_t i
        cdef size_t k
        cdef int kind
        found = set()
        for kind in range(3):
            for i in range(self.subscriptions.all(kind).size()):
                channel = self.subscriptions.all(kind)[i]
                for k in range(channel.subscriptions.size()):
                    session = <Session>channel.subscriptions[k].subscriber.session
                    if session.unsent() + session.behind.len > most:
                        found.add(session)
        return found

    def subscribers(self, int kind, bytes name not None):
        """How many clients are subscribed to one."""
        cdef Slice slice
        cdef Channel* channel
        slice.data, slice.len = PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)
        channel = self.subscriptions.find(kind, self.hash_of(&slice), slice.data, slice.len)
        return 0 if channel == NULL else channel.subscriptions.size()


cdef int append_bulk(Buffer* out, const char* data, size_t n) except -1:
    cdef char digits[DECIMAL_BYTES_MAX]
    buffer_append(out, b"$", 1)
    buffer_append(out, digits, format_u64(digits, n))
    buffer_append(out, b"\r\n", 2)
    buffer_append(out, data, n)
    return buffer_append(out, b"\r\n", 2)


# -- commands -----------------------------------------------------------------------------------

cdef int confirm(Session session, int kind, const char* what, size_t n, const Slice* name,
                 Reply reply) except -1:
    """State one subscription that has come or gone. name: NULL = there was none."""
    reply_prefix(reply, ARRAY if reply.proto == 2 else PUSH, 3)
    reply_bulk(reply, what, n)
    if name == NULL:
        reply_null(reply)
    else:
        reply_bulk(reply, name.data, name.len)
    return reply_integer(reply, <int64_t>(
        session.shard_channels if kind == kShardChannels
        else session.channels + session.patterns))


cdef int keep_confirmations(PubSub pubsub, Session session, size_t before) except -1:
    """CLIENT REPLY OFF and SKIP take replies back, but not these; return DONE."""
    if session.reply_mode != REPLY_ON and not session.in_exec:
        keep_behind(pubsub.sequencer, session, session.reply.out.data + before,
                    session.reply.out.len - before)
    return DONE


cdef int subscribe(View view, Args* args, int kind, const char* what, size_t n,
                   Reply reply) except -1:
    cdef PubSub pubsub = view.pubsub
    cdef size_t before = reply.out.len
    cdef size_t name_bytes = 0
    cdef int i
    if pubsub is None:
        return refuse(reply, b"ERR this node has no channels")
    for i in range(1, args.n):
        name_bytes += args.v[i].len
    if not pubsub.require_room(args.n - 1, name_bytes):
        return refuse(reply, b"ERR this node has too many subscriptions")
    for i in range(1, args.n):
        pubsub.subscribe(view.session, kind, &args.v[i])
        confirm(view.session, kind, what, n, &args.v[i], reply)
    return keep_confirmations(pubsub, view.session, before)


cdef int unsubscribe(View view, Args* args, int kind, const char* what, size_t n,
                     Reply reply) except -1:
    cdef PubSub pubsub = view.pubsub
    cdef Session session = view.session
    cdef Subscriber* subscriber
    cdef size_t before = reply.out.len
    cdef Slice name
    cdef string kept
    cdef int i
    if pubsub is None:
        return refuse(reply, b"ERR this node has no channels")
    for i in range(1, args.n):
        pubsub.unsubscribe(session, kind, &args.v[i])
        confirm(session, kind, what, n, &args.v[i], reply)
    if args.n > 1:
        return keep_confirmations(pubsub, session, before)
    subscriber = <Subscriber*>session.subscriber
    if subscriber == NULL or subscriber.first[kind] == NULL:
        confirm(session, kind, what, n, NULL, reply)
    while session.subscriber != NULL and subscriber.first[kind] != NULL:
        kept = subscriber.first[kind].channel.name
        pubsub.end(subscriber.first[kind])
        name.data, name.len = kept.data(), kept.size()
        confirm(session, kind, what, n, &name, reply)
    return keep_confirmations(pubsub, session, before)


cdef int publish(View view, Args* args, int kind, Reply reply) except -1:
    """Write a message to its receivers; inside of EXEC and scripts once these have ended.

    A client that is among them has its reply first, as its next reply must be that.
    """
    cdef PubSub pubsub = view.pubsub
    cdef size_t count
    if pubsub is None:
        return reply_integer(reply, 0)
    count = pubsub.receivers(kind, &args.v[1], False)
    if count and (view.is_private or view.session.in_exec):
        if not view.events:
            view.deferred_bytes = 0
        view.deferred_bytes += args.v[1].len + args.v[2].len + count * DELIVERY_BYTES
        if view.deferred_bytes > DEFERRED_BYTES_MAX:
            return refuse(reply, b"ERR this transaction publishes too much")
        view.events.append((N_MESSAGE, PyBytes_FromStringAndSize(args.v[1].data, args.v[1].len),
                            PyBytes_FromStringAndSize(args.v[2].data, args.v[2].len), kind))
        return reply_integer(reply, <int64_t>count)
    reply_integer(reply, <int64_t>count)
    if count:
        pubsub.published += 1
        pubsub.deliver(kind, &args.v[1], &args.v[2])
    return DONE


cdef int cmd_subscribe(View view, Args* args, Reply reply) except -1:
    return subscribe(view, args, kChannels, b"subscribe", 9, reply)


cdef int cmd_psubscribe(View view, Args* args, Reply reply) except -1:
    return subscribe(view, args, kPatterns, b"psubscribe", 10, reply)


cdef int cmd_ssubscribe(View view, Args* args, Reply reply) except -1:
    return subscribe(view, args, kShardChannels, b"ssubscribe", 10, reply)


cdef int cmd_unsubscribe(View view, Args* args, Reply reply) except -1:
    return unsubscribe(view, args, kChannels, b"unsubscribe", 11, reply)


cdef int cmd_punsubscribe(View view, Args* args, Reply reply) except -1:
    return unsubscribe(view, args, kPatterns, b"punsubscribe", 12, reply)


cdef int cmd_sunsubscribe(View view, Args* args, Reply reply) except -1:
    return unsubscribe(view, args, kShardChannels, b"sunsubscribe", 12, reply)


cdef int cmd_publish(View view, Args* args, Reply reply) except -1:
    return publish(view, args, kChannels, reply)


cdef int cmd_spublish(View view, Args* args, Reply reply) except -1:
    return publish(view, args, kShardChannels, reply)


HANDLERS = {
    "subscribe": native(cmd_subscribe),
    "psubscribe": native(cmd_psubscribe),
    "ssubscribe": native(cmd_ssubscribe),
    "unsubscribe": native(cmd_unsubscribe),
    "punsubscribe": native(cmd_punsubscribe),
    "sunsubscribe": native(cmd_sunsubscribe),
    "publish": native(cmd_publish),
    "spublish": native(cmd_spublish),
}
