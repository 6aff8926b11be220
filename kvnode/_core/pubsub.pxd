"""Pub/sub of one node: who is subscribed to what, and messages on their way to them.

A message belongs to the batch in which it was published. It is written to its receivers at once, in
the order of execution, and waits in their output until that batch is committed (I2): who publishes
may have seen, or done, what a crash could still take back. PUBLISH inside of EXEC and scripts takes
effect as keyspace events do: at the end, once, and not at all if they are undone.
"""

from libc.stdint cimport uint32_t, uint64_t
from libcpp cimport bool
from libcpp.string cimport string
from libcpp.vector cimport vector
from kvnode._core.buffer cimport Buffer
from kvnode._core.bytes cimport Slice
from kvnode._core.sequencer cimport Sequencer
from kvnode._core.session cimport Session


cdef extern from "subscriptions.hpp" namespace "kvnode" nogil:
    enum SubscriptionKind:
        kChannels
        kPatterns
        kShardChannels

    cppclass Subscription:
        Subscriber* subscriber
        Channel* channel
        Subscription* behind

    cppclass Channel:
        string name
        int kind
        vector[Subscription*] subscriptions

    cppclass Subscriber:
        void* session               # counted, as long as it has subscriptions
        Subscription* first[3]
        size_t counts[3]

    cppclass Subscriptions:
        Channel* find(int kind, uint64_t hash, const char* name, size_t n)
        bool add(Subscriber*, int kind, uint64_t hash, const char* name, size_t n) except +
        void remove(Subscription*)
        Subscription* find_of(Subscriber*, int kind, uint64_t hash, const char* name, size_t n)
        const vector[Channel*]& all(int kind)
        size_t count()
        size_t name_bytes()


cdef enum:
    SUBSCRIPTIONS_MAX = 1 << 20             # of all clients
    NAME_BYTES_MAX = 64 << 20               # of all channels and patterns
    DEFERRED_BYTES_MAX = 64 << 20           # of the messages of one EXEC or script


cdef class PubSub:
    cdef Sequencer sequencer
    cdef Subscriptions subscriptions
    cdef readonly size_t clients            # that are subscribed to anything
    cdef readonly uint64_t published        # messages, ever
    cdef vector[Channel*] matching          # patterns that the message under way fits
    cdef Buffer frame                       # as it is sent
    cdef uint32_t event_classes             # EventClasses that become messages
    cdef bint names_keys, names_events      # on __keyspace channels, on __keyevent channels

    cdef uint64_t hash_of(self, const Slice* name) noexcept
    cdef int require_room(self, size_t count, size_t name_bytes) except -1
    cdef int subscribe(self, Session session, int kind, const Slice* name) except -1
    cdef int unsubscribe(self, Session session, int kind, const Slice* name) except -1
    cdef int end(self, Subscription* s) except -1
    cdef int note(self, Session session) except -1
    cdef size_t receivers(self, int kind, const Slice* channel, bint collect) except? 0
    cdef int deliver(self, int kind, const Slice* channel, const Slice* message) except -1
    cdef int send(self, Channel* to) except -1
