# cython: boundscheck=False, wraparound=False
"""Libraries of functions: what they are made of, and how they come and go."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libcpp.vector cimport vector
from kvnode._core.keys cimport K_LIBRARY
from kvnode._core.tip cimport T_NONE, Entry

import re

from kvnode.base.errors import CommandError

NAME = re.compile(rb"[A-Za-z0-9_]+")


def read_metadata(bytes code not None):
    """Return (name, where the first line ends) of a library. Raises CommandError."""
    if not code.startswith(b"#!"):
        raise CommandError(b"ERR Missing library metadata")
    line, end, _ = code.partition(b"\n")
    if not end:
        raise CommandError(b"ERR Invalid library metadata")
    words = line.split()
    engine = words[0][2:]
    name = None
    for word in words[1:]:
        if not word.startswith(b"name="):
            raise CommandError(b"ERR Invalid metadata value given: " + word)
        if name is not None:
            raise CommandError(
                b"ERR Invalid metadata value, name argument was given multiple times")
        name = word[5:].strip(b"\"")
    if name is None:
        raise CommandError(b"ERR Library name was not given")
    if not NAME.fullmatch(name):
        raise CommandError(b"ERR Library names can only contain letters, numbers, or underscores(_) "
                           b"and must be at least one character long")
    if engine.lower() != b"lua":
        raise CommandError(b"ERR Engine '" + engine + b"' not found")
    return name, len(line)


cdef class Library:
    """One library, not loaded yet. Raises CommandError if its first line is wrong."""

    def __init__(self, bytes code not None):
        self.code = code
        self.name, self.body = read_metadata(code)
        self.functions = []
        self.key = bytes((K_LIBRARY,)) + self.name


cdef class Function(Runnable):
    """One function of a library."""

    def __init__(self, Library library not None, bytes name not None, description, flags):
        self.library = library
        self.name = name
        self.description = description
        self.flags = flags


cdef class Libraries:
    """The libraries of a node."""

    def __cinit__(self, View view not None, Engine here not None, Engine beside not None):
        self.view = view
        self.here = here
        self.beside = beside
        self.libraries = {}
        self.functions = {}

    # -- running --------------------------------------------------------------------------------

    cdef Function find(self, const char* name, size_t n):
        """Return the function of this name in any case, or None. What was seen is waited for."""
        cdef Function function
        self.settle()
        function = self.functions.get(name[:n].lower())
        if function is not None:
            self.see(function.library)
        return function

    cdef int see(self, Library library) except -1:
        cdef View view = self.view
        cdef Entry* e = view.tip.find(view.tip.meta, library.hash, PyBytes_AS_STRING(library.key),
                                      PyBytes_GET_SIZE(library.key))
        if e != NULL and e.newest.commit_ts > view.observed:
            view.observed = e.newest.commit_ts
        return 0

    cdef int make_ready(self, Function function, Engine engine) except -1:
        """Load the library of a function into an engine that does not have it yet."""
        cdef Function other
        engine.open()
        if function.epochs[engine.number] == engine.states:
            return 0
        found = {name: ref for name, _, _, ref in
                 engine.load_library(function.library.code, function.library.body)}
        for other in function.library.functions:
            other.refs[engine.number] = found[other.name]
            other.epochs[engine.number] = engine.states
        return 0

    # -- changes, in the open batch -----------------------------------------------------------------

    def load(self, bytes code not None, bint replaces):
        """FUNCTION LOAD; return the library's name. Raises CommandError."""
        cdef Library library
        cdef Library old
        self.settle()
        library = Library(code)
        old = self.libraries.get(library.name)
        if old is not None and not replaces:
            raise CommandError(b"ERR Library '" + library.name + b"' already exists")
        library = self.read(code)
        self.require_room(library, [] if old is None else [old])
        if old is not None:
            self.remove(old)
        self.add(library)
        return library.name

    def delete(self, bytes name not None):
        """FUNCTION DELETE; False: there is no such library."""
        self.settle()
        library = self.libraries.get(name)
        if library is None:
            return False
        self.remove(library)
        return True

    def flush(self):
        """FUNCTION FLUSH."""
        self.settle()
        for library in list(self.libraries.values()):
            self.remove(library)

    def restore(self, list codes not None, bytes policy not None):
        """FUNCTION RESTORE: all of the libraries, or none. Raises CommandError.

        policy: b"FLUSH", b"APPEND" or b"REPLACE".
        """
        cdef Library library
        cdef list leaving
        self.settle()
        arriving = {}
        try:
            for code in codes:
                library = self.read(code)
                if library.name in arriving:
                    self.drop(library)
                    raise CommandError(
                        b"ERR Library '" + library.name + b"' already exists")
                arriving[library.name] = library
            if policy == b"FLUSH":
                leaving = list(self.libraries.values())
            else:
                leaving = [self.libraries[name] for name in arriving if name in self.libraries]
            if policy == b"APPEND" and leaving:
                library = leaving[0]
                raise CommandError(b"ERR Library " + library.name + b" already exists")
            names = set()
            for library in arriving.values():
                self.require_room(library, leaving)
                for function in library.functions:
                    if function.name.lower() in names:
                        raise CommandError(b"ERR Function " + function.name + b" already exists")
                    names.add(function.name.lower())
        except CommandError:
            for library in arriving.values():
                self.drop(library)
            raise
        for library in leaving:
            self.remove(library)
        for library in arriving.values():
            self.add(library)

    cdef Library read(self, bytes code):
        """Load a library to see what it registers."""
        cdef Library library = Library(code)
        cdef Function function
        found = self.here.load_library(code, library.body)
        if not found:
            raise CommandError(b"ERR No functions registered")
        library.hash = self.view.tip.hash_key(PyBytes_AS_STRING(library.key),
                                              PyBytes_GET_SIZE(library.key))
        for name, description, flags, ref in sorted(found):
            function = Function(library, name, description, flags)
            function.refs[0] = ref
            function.epochs[0] = self.here.states
            library.functions.append(function)
        return library

    cdef int require_room(self, Library library, list leaving) except -1:
        """Raise CommandError if a library cannot come when others have left."""
        cdef Function function
        cdef Function other
        cdef Library present
        cdef size_t bytes_after = PyBytes_GET_SIZE(library.code)
        for function in library.functions:
            other = self.functions.get(function.name.lower())
            if other is not None and other.library not in leaving:
                self.drop(library)
                raise CommandError(b"ERR Function " + function.name + b" already exists")
        for present in self.libraries.values():
            if present not in leaving:
                bytes_after += PyBytes_GET_SIZE(present.code)
        if bytes_after > LIBRARIES_BYTES_MAX:
            self.drop(library)
            raise CommandError(b"ERR there are too many functions")
        return 0

    cdef int note_change(self) except -1:
        if self.view.session is not None and self.view.session.in_exec:
            self.is_doubtful = True
        return 0

    cdef int add(self, Library library) except -1:
        cdef View view = self.view
        cdef Function function
        self.note_change()
        self.libraries[library.name] = library
        for function in library.functions:
            self.functions[function.name.lower()] = function
        view.record_put(view.tip.meta, PyBytes_AS_STRING(library.key),
                        PyBytes_GET_SIZE(library.key), PyBytes_AS_STRING(library.code),
                        PyBytes_GET_SIZE(library.code))
        return 0

    cdef int remove(self, Library library) except -1:
        cdef View view = self.view
        cdef Function function
        self.note_change()
        del self.libraries[library.name]
        for function in library.functions:
            del self.functions[function.name.lower()]
        self.drop(library)
        view.record_delete(view.tip.meta, PyBytes_AS_STRING(library.key),
                           PyBytes_GET_SIZE(library.key))
        return 0

    cdef int drop(self, Library library) except -1:
        """Let the functions of a library go from the engines."""
        cdef Function function
        for function in library.functions:
            if function.epochs[0] == self.here.states:
                self.here.doom(function.refs[0])
            if function.epochs[1] != 0 and function.epochs[1] == self.beside.states:
                self.beside.doom(function.refs[1])
            function.epochs[0] = function.epochs[1] = 0
        return 0

    # -- records ------------------------------------------------------------------------------------

    cdef int settle(self) except -1:
        """If an EXEC that has changed libraries may have been undone: see what the records say."""
        if self.is_doubtful and not (self.view.session is not None and self.view.session.in_exec):
            self.is_doubtful = False
            self.load_records()
        return 0

    def load_records(self):
        """Take over what the records say: at start, and after an EXEC."""
        cdef vector[Entry*] entries
        cdef uint64_t following = 0
        cdef bint done = False
        cdef Library library
        cdef Function function
        cdef Entry* e
        for library in self.libraries.values():
            self.drop(library)
        self.libraries = {}
        self.functions = {}
        self.view.tip.scan_next(self.view.tip.meta, 0, &entries, <size_t>-1, &following, &done)
        for e in entries:
            if e.key[0] != K_LIBRARY or e.newest.type == T_NONE:
                continue
            library = self.read(PyBytes_FromStringAndSize(e.newest.data, e.newest.length))
            self.libraries[library.name] = library
            for function in library.functions:
                self.functions[function.name.lower()] = function

    def of_pattern(self, matches):
        """The libraries whose name matches(name), in the order of names."""
        self.settle()
        found = []
        for name in sorted(self.libraries):
            if matches(name):
                self.see(self.libraries[name])
                found.append(self.libraries[name])
        return found

    @property
    def count(self):
        """Functions of all libraries."""
        return len(self.functions)
