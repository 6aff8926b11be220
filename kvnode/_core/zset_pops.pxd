"""Pops from sorted sets, for the forms that answer at once and for those that wait."""

from kvnode._core.mpop cimport Ends

cdef Ends ZSET_ENDS
