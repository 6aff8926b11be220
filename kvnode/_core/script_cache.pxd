"""Texts of scripts by the SHA1 of the text: the replicated cache of EVAL, EVALSHA and SCRIPT.

The records decide what is cached; a Script is what memory knows beside that. The cache is bounded by
bytes, and what was used longest ago goes first. Which that is only the leader knows.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from kvnode._core.view cimport View

cdef extern from "sha1.hpp" namespace "kvnode" nogil:
    enum: kSha1HexBytes
    void sha1_hex(const char* data, size_t n, char* hex) noexcept

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>
    #include <unordered_map>
    namespace kvnode {
    struct ScriptName {             // 40 hexadecimal digits
        char hex[40];
        bool operator==(const ScriptName& other) const { return memcmp(hex, other.hex, 40) == 0; }
    };
    struct ScriptNameHash {
        size_t operator()(const ScriptName& name) const {
            uint64_t a, b;
            memcpy(&a, name.hex, 8);
            memcpy(&b, name.hex + 8, 8);
            return a * 0x9E3779B97F4A7C15ULL ^ b;
        }
    };
    struct ScriptTable {            // borrowed references
        std::unordered_map<ScriptName, void*, ScriptNameHash> of;
        void* find(const char* hex) const {
            ScriptName name;
            memcpy(name.hex, hex, 40);
            auto at = of.find(name);
            return at == of.end() ? nullptr : at->second;
        }
        void put(const char* hex, void* script) {
            ScriptName name;
            memcpy(name.hex, hex, 40);
            of[name] = script;
        }
        void remove(const char* hex) {
            ScriptName name;
            memcpy(name.hex, hex, 40);
            of.erase(name);
        }
    };
    }
    """
    cppclass ScriptTable "kvnode::ScriptTable":
        void* find(const char* hex) nogil
        void put(const char* hex, void* script) except + nogil
        void remove(const char* hex) nogil


cdef enum ScriptFlag:           # of a script's first line, or a function
    S_NO_WRITES = 1
    S_ALLOW_STALE = 2
    S_NO_CLUSTER = 4
    S_ALLOW_OOM = 8
    S_CROSS_SLOT = 16
    S_BLIND_APPENDS = 32        # pushes answer nil, and learn nothing of their list
    S_COMPATIBLE = 64           # there was no such line


cdef enum:
    SCRIPT_BYTES = 16 << 20     # texts that are cached, with what each costs beside
    SCRIPT_OVERHEAD_BYTES = 512
    SCRIPT_KEY_BYTES = 21       # kind, SHA1


cdef class Runnable:
    cdef readonly bytes name            # in errors: of a script its SHA1, 40 hexadecimal digits
    cdef readonly uint32_t flags
    cdef public bint is_long            # its last run was past the budget: the next begins beside
    cdef int refs[2]                    # of its function in the registry of each engine
    cdef uint64_t epochs[2]             # of the engine when it was compiled; 0: never


cdef class Script(Runnable):
    cdef readonly bytes text
    cdef readonly Py_ssize_t body       # where the text begins that Lua compiles
    cdef char key[SCRIPT_KEY_BYTES]     # of its record
    cdef uint64_t hash                  # of the key
    cdef Script older, newer            # by use


cdef class ScriptCache:
    cdef View view
    cdef ScriptTable table
    cdef Script oldest, newest
    cdef readonly uint64_t bytes
    cdef public uint64_t bytes_max
    cdef readonly int64_t count
    cdef readonly uint64_t evicted

    cdef Script find(self, const char* hex)
    cdef bint is_cached(self, Script script) except -1
    cdef int put(self, Script script) except -1
    cdef int remember(self, Script script) except -1
    cdef int forget(self, Script script) except -1
    cdef void use(self, Script script)
    cdef Script recall(self, const char* hex)
