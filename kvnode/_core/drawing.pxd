"""Elements of a hash, set or sorted set drawn by chance."""

from kvnode._core.tip cimport Collection, Entry
from kvnode._core.view cimport View


cdef Entry* random_element(View view, Collection* c) except? NULL
