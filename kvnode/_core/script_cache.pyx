# cython: boundscheck=False, wraparound=False
"""The cache of scripts, and what a script's first line says."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy
from libcpp.vector cimport vector
from kvnode._core.keys cimport K_SCRIPT
from kvnode._core.tip cimport T_NONE, Entry

from kvnode.base.errors import CommandError

FLAGS = {
    b"no-writes": <int>S_NO_WRITES,
    b"allow-stale": <int>S_ALLOW_STALE,
    b"no-cluster": <int>S_NO_CLUSTER,
    b"allow-oom": <int>S_ALLOW_OOM,
    b"allow-cross-slot-keys": <int>S_CROSS_SLOT,
    b"blind-appends": <int>S_BLIND_APPENDS,
}


def read_shebang(bytes text not None):
    """Return (flags, where the rest begins) of a script. Raises CommandError.

    The end of the first line stays with the rest, so that numbers of lines are the text's.
    """
    cdef uint32_t flags = 0
    if not text.startswith(b"#!"):
        return <int>S_COMPATIBLE, 0
    line, end, _ = text.partition(b"\n")
    if not end:
        raise CommandError(b"ERR Invalid script shebang")
    words = line.split()
    if words[0] != b"#!lua":
        raise CommandError(b"ERR Unexpected engine in script shebang: " + words[0])
    for word in words[1:]:
        if not word.startswith(b"flags="):
            raise CommandError(b"ERR Unknown lua shebang option: " + word)
        for flag in word[6:].split(b",") if len(word) > 6 else ():
            if flag not in FLAGS:
                raise CommandError(b"ERR Unexpected flag in script shebang: " + flag)
            flags |= <uint32_t>FLAGS[flag]
    return flags, len(line)


cdef class Runnable:
    """What an engine runs: a script, or a function of a library."""


cdef class Script(Runnable):
    """A text that scripts are run from. Raises CommandError if its first line is wrong."""

    def __init__(self, bytes sha not None, bytes text not None):
        cdef bytes digest = bytes.fromhex(sha.decode())
        self.name = sha
        self.text = text
        self.flags, self.body = read_shebang(text)
        self.key[0] = K_SCRIPT
        memcpy(self.key + 1, PyBytes_AS_STRING(digest), SCRIPT_KEY_BYTES - 1)


cdef class ScriptCache:
    """The scripts of a node, by name."""

    def __cinit__(self, View view not None):
        self.view = view
        self.bytes_max = SCRIPT_BYTES

    cdef Script find(self, const char* hex):
        """Return the cached script of this name, in lower case; None if there is none."""
        cdef void* found = self.table.find(hex)
        cdef Script script
        if found == NULL:
            return self.recall(hex)
        script = <Script>found
        if not self.is_cached(script):
            return None
        if script.newer is not None:
            self.use(script)
        return script

    cdef bint is_cached(self, Script script) except -1:
        """Whether a script has a record. What was seen of that is waited for."""
        cdef View view = self.view
        cdef Entry* e = view.tip.find(view.tip.meta, script.hash, script.key, SCRIPT_KEY_BYTES)
        if e == NULL:
            return False
        if e.newest.commit_ts > view.observed:
            view.observed = e.newest.commit_ts
        return e.newest.type != T_NONE

    cdef Script recall(self, const char* hex):
        """The script of a record of which memory knows nothing."""
        cdef View view = self.view
        cdef char key[SCRIPT_KEY_BYTES]
        cdef bytes name = hex[:kSha1HexBytes]
        cdef Entry* e
        cdef Script script
        try:
            digest = bytes.fromhex(name.decode())
        except ValueError:
            return None
        if len(digest) != SCRIPT_KEY_BYTES - 1:     # there were blanks in it
            return None
        key[0] = K_SCRIPT
        memcpy(key + 1, PyBytes_AS_STRING(digest), SCRIPT_KEY_BYTES - 1)
        e = view.tip.find(view.tip.meta, view.tip.hash_key(key, SCRIPT_KEY_BYTES), key,
                          SCRIPT_KEY_BYTES)
        if e == NULL:
            return None
        if e.newest.commit_ts > view.observed:
            view.observed = e.newest.commit_ts
        if e.newest.type == T_NONE:
            return None
        script = Script(name, PyBytes_FromStringAndSize(e.newest.data, e.newest.length))
        self.remember(script)
        return script

    cdef int put(self, Script script) except -1:
        """Cache a script in the open batch, and drop others for it."""
        cdef View view = self.view
        cdef Script victim
        if self.table.find(PyBytes_AS_STRING(script.name)) == NULL:
            self.remember(script)
        elif script.newer is not None:
            self.use(script)
        if not self.is_cached(script):
            view.record_put(view.tip.meta, script.key, SCRIPT_KEY_BYTES,
                            PyBytes_AS_STRING(script.text), PyBytes_GET_SIZE(script.text))
        while self.bytes > self.bytes_max and self.oldest is not script:
            victim = self.oldest
            self.forget(victim)
            self.evicted += 1
            if self.is_cached(victim):
                view.record_delete(view.tip.meta, victim.key, SCRIPT_KEY_BYTES)
        return 0

    cdef int remember(self, Script script) except -1:
        script.hash = self.view.tip.hash_key(script.key, SCRIPT_KEY_BYTES)
        self.table.put(PyBytes_AS_STRING(script.name), <void*>script)
        script.older = self.newest
        if self.newest is not None:
            self.newest.newer = script
        else:
            self.oldest = script
        self.newest = script
        self.bytes += PyBytes_GET_SIZE(script.text) + SCRIPT_OVERHEAD_BYTES
        self.count += 1
        return 0

    cdef int forget(self, Script script) except -1:
        self.table.remove(PyBytes_AS_STRING(script.name))
        self.bytes -= PyBytes_GET_SIZE(script.text) + SCRIPT_OVERHEAD_BYTES
        self.count -= 1
        if script.older is not None:
            script.older.newer = script.newer
        else:
            self.oldest = script.newer
        if script.newer is not None:
            script.newer.older = script.older
        else:
            self.newest = script.older
        script.older = script.newer = None
        return 0

    cdef void use(self, Script script):
        """It is the one used last."""
        if script.older is not None:
            script.older.newer = script.newer
        else:
            self.oldest = script.newer
        script.newer.older = script.older
        script.older = self.newest
        script.newer = None
        self.newest.newer = script
        self.newest = script

    def flush(self):
        """Drop all scripts, in the open batch."""
        cdef View view = self.view
        cdef Script script = self.oldest
        while script is not None:
            if self.is_cached(script):
                view.record_delete(view.tip.meta, script.key, SCRIPT_KEY_BYTES)
            self.forget(script)     # should the batch be undone, it is found by its record again
            script = self.oldest

    def exists(self, bytes sha not None):
        """Whether a script of this name, in any case, is cached."""
        cdef bytes name = sha.lower()
        return len(name) == kSha1HexBytes and self.find(PyBytes_AS_STRING(name)) is not None

    def restore(self):
        """At start: remember the scripts that have records."""
        cdef vector[Entry*] entries
        cdef uint64_t following = 0
        cdef bint done = False
        cdef Entry* e
        self.view.tip.scan_next(self.view.tip.meta, 0, &entries, <size_t>-1, &following, &done)
        for e in entries:
            if e.key[0] == K_SCRIPT and e.key_len == SCRIPT_KEY_BYTES and e.newest.type != T_NONE:
                name = PyBytes_FromStringAndSize(e.key + 1, e.key_len - 1).hex().encode()
                if self.table.find(PyBytes_AS_STRING(name)) == NULL:
                    self.remember(Script(
                        name, PyBytes_FromStringAndSize(e.newest.data, e.newest.length)))
