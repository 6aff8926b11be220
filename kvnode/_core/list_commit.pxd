"""Lists at the end of a transaction: what it read of them is compared, and its effects find their place.

Pushes are written down at the end of the list that the snapshot has, and go to where that end is by
now. All other positions mean the same on both sides: see ListRead for when they may.
"""

from kvnode._core.tip cimport Collection, Entry
from kvnode._core.view cimport View
from kvnode._core.workspace cimport Workspace


cdef bint list_holds(View view, Workspace work, Collection* c, Collection* main,
                     bint* missing) except -1
cdef bint appends_hold(View view, Workspace work, bint* missing) except -1
cdef int put_placed(View view, Workspace work, Collection* c, Collection* main, Entry* e) except -1
cdef int move_ends(View view, Workspace work, Collection* c, Collection* main) except -1
cdef int put_appends(View view, Workspace work) except -1
