"""Claims: which positions inside a list are dead, as records and as a window in memory.

A claim record at position p says how many positions from p on are dead. Runs neither overlap nor
touch, and lie strictly inside (head, tail): the first and the last position of a list are live, so
a push never meets a claim, and a pop drops the runs that head or tail comes to, in the same batch.

A list without holes has no window. For one with holes it is built from the records when it is asked
for and a claim has changed since, in O(R log R) for R runs, at most View.list_runs_max; what takes runs
away at the ends keeps it.
"""

from libc.stdint cimport int64_t
from libcpp.vector cimport vector
from kvnode._core.claim_window cimport ClaimWindow, Run
from kvnode._core.tip cimport Collection
from kvnode._core.view cimport View


cdef bint claims_missing(View view, Collection* c) except -1
cdef ClaimWindow* window_of(View view, Collection* c) except? NULL
cdef int put_claim(View view, Collection* c, int64_t start, int64_t count) except -1
cdef int drop_runs_outside(View view, Collection* c, int64_t head, int64_t tail) except -1
cdef int change_runs(View view, Collection* c, const vector[Run]& wanted) except -1
cdef int append_run(vector[Run]* runs, int64_t start, int64_t count) except -1
