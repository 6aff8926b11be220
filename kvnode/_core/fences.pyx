# cython: boundscheck=False, wraparound=False
"""The passes of a leader whose output waits for a confirmation."""

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libcpp.vector cimport vector
from kvnode._core.session cimport S_CLOSED, Session


cdef class Fences:
    """Which sessions wait for which pass to be confirmed. One per sequencer."""

    def __dealloc__(self):
        cdef size_t i
        cdef size_t k
        for i in range(self.holders.size()):
            for k in range(self.holders[i].size()):
                Py_DECREF(<object>self.holders[i][k])

    cdef int add(self, Session session, uint64_t number) except -1:
        """The new output of a session waits for the pass `number`, the newest one."""
        cdef Fence fence
        cdef uint64_t taken = session.new_output() + FENCE_OVERHEAD_BYTES
        if self.waiting.empty() or self.waiting.back().number != number:
            fence.number = number
            fence.bytes = 0
            self.waiting.push_back(fence)
            self.holders.resize(self.waiting.size())
        self.waiting.back().bytes = self.waiting.back().bytes + taken
        self.bytes += taken
        Py_INCREF(session)
        self.holders.back().push_back(<void*>session)
        self.held += 1
        return 0

    cdef int confirm(self, uint64_t number, uint64_t committed, list flushable) except -1:
        """Passes up to `number` are confirmed; append sessions to `flushable` whose output may leave.

        committed: newest index committed, for which output may wait further.
        """
        cdef vector[Holder] waiting
        cdef Session session
        cdef size_t i
        if number <= self.confirmed:
            return 0
        self.confirmed = number
        while not self.waiting.empty() and self.waiting.front().number <= number:
            waiting.insert(waiting.end(), self.holders.front().begin(), self.holders.front().end())
            self.bytes -= self.waiting.front().bytes
            self.waiting.pop_front()
            self.holders.pop_front()
        self.held -= waiting.size()
        for i in range(waiting.size()):
            session = <Session>waiting[i]
            Py_DECREF(session)
            if session.release(committed, number) and session.state != S_CLOSED:
                flushable.append(session)
        return 0

    cdef uint64_t newest(self) noexcept:
        """Return the newest pass with output that waits, 0 if there is none."""
        return 0 if self.waiting.empty() else self.waiting.back().number

    cdef int take(self, dict sessions) except -1:
        """Forget all that wait; they become keys of `sessions`."""
        cdef Session session
        cdef size_t i
        cdef size_t k
        for i in range(self.holders.size()):
            for k in range(self.holders[i].size()):
                session = <Session>self.holders[i][k]
                Py_DECREF(session)
                sessions[session] = None
        self.waiting.clear()
        self.holders.clear()
        self.held = 0
        self.bytes = 0
        return 0
