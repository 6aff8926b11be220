"""Lua states for scripts: lupa's library, opened for our native code, and a state taken from it.

lupa links Lua 5.1 into its extension module and exports the C interface, but Python loads extension
modules with private symbols. Opening the same file again with RTLD_GLOBAL makes them public; then
`kvnode._core.lua_libraries` and `script`, which leave them undefined, can be loaded. Importing this
module does both. Nothing else of lupa is used: a state is taken over as soon as it is made, and no
Python object is reachable in it.
"""

import ctypes
import importlib
import os
from typing import TYPE_CHECKING, NoReturn

import lupa.lua51

from kvnode._core.view import View
from kvnode.base.errors import ConfigError

if TYPE_CHECKING:
    from kvnode._core import lua_libraries, script

ENTRY = b"kvnode_lua_open"
CHECK_STEPS = 100_000
CHECK_BYTES = 64 << 20


def load_native(library: str, module: str) -> object:
    """Make the symbols of the shared library public, return the extension module that needs them.

    Raises ConfigError that names what is missing.
    """
    try:
        ctypes.CDLL(library, mode=os.RTLD_NOLOAD | os.RTLD_GLOBAL)
        return importlib.import_module(module)
    except (OSError, ImportError) as error:
        raise ConfigError(f"{library} does not offer the Lua that scripts need: {error}") from error


if not TYPE_CHECKING:
    lua_libraries = load_native(lupa.lua51.__file__, "kvnode._core.lua_libraries")
    script = load_native(lupa.lua51.__file__, "kvnode._core.script")

OUT_OF_STEPS = lua_libraries.OUT_OF_STEPS
OUT_OF_MEMORY = lua_libraries.OUT_OF_MEMORY


def _refuse(*_: object) -> NoReturn:
    raise AttributeError("no Python object is accessible from Lua")


def new_state() -> "lua_libraries.State":
    """Return a state with the libraries of scripts, not sealed yet. Raises ConfigError."""
    runtime = lupa.lua51.LuaRuntime(
        register_eval=False,
        register_builtins=False,
        encoding=None,
        unpack_returned_tuples=True,
        attribute_filter=_refuse,
    )
    load = runtime.globals()[b"package"][b"loadlib"]
    entry = load(os.fsencode(lua_libraries.__file__), ENTRY)
    if not callable(entry):
        raise ConfigError(f"Lua cannot load {lua_libraries.__file__}: {entry!r}")
    entry()
    return lua_libraries.State(runtime)


def check_library() -> None:
    """Refuse at start-up a lupa that scripts would not run on. Raises ConfigError."""
    state = new_state()
    state.seal()
    stopped, values, error = state.evaluate(
        b"return cjson.encode({#string.rep('x', 3), bit.bnot(0), pcall(rawset, string, 'x', 1)})",
        steps=CHECK_STEPS,
        memory_bytes=CHECK_BYTES,
    )
    expected = [b'[3,-1,false,"Attempt to modify a readonly table"]']
    if (stopped, values) != (0, expected):
        raise ConfigError(f"Lua of lupa {lupa.__version__} does not work: {error or values!r}")


def connect(view: View) -> None:
    """Let the commands of a sequencer's view run scripts."""
    view.scripts = script.Scripts(view, new_state)
    view.scripts.cache.restore()
    view.scripts.functions.load_records()
