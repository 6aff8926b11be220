"""What a trash record says of an id that died: the first byte of its value."""


cdef enum TrashKind:        # on disk: DO NOT CHANGE
    TRASH_CHUNKS = 67
    TRASH_GENERATION = 71
    TRASH_COLLECTION = 75
