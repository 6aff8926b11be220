"""Every bound of kvnode, each with its unit, in one place.

Bounds that only native code uses stand in the .pxd of their module.
"""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# -- log ----------------------------------------------------------------------------------------
SEGMENT_BYTES = 64 * MIB  # preallocated size of a log segment
BATCH_BYTES_MAX = 4 * MIB  # a batch closes past this; only an EXEC or one command may overshoot
RECORD_BYTES_MAX = 1 * GIB  # a longer length in a log record is corruption, not a promise

# -- strings ------------------------------------------------------------------------------------
STRING_BYTES_MAX = 512 * MIB  # proto-max-bulk-len, the longest string
CHUNK_BYTES = 16 * KIB  # part of a large string
INLINE_BYTES_MAX = 32 * KIB  # a longer string lives in chunks
