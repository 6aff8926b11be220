"""Deletion of records past their deadline that nobody touched."""

from kvnode._core.view cimport View


cdef int expire_due(View view, records) except -1
