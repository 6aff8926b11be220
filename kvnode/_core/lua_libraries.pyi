OUT_OF_STEPS: int
OUT_OF_MEMORY: int
SCRIPT_BYTES_MAX: int

class State:
    """The Lua state of a lupa runtime, taken over: new globals, our allocator, our hook.

    `kvnode.scripting.runtime.new_state` is the way to make one. Not safe for two threads at a time.
    Raises ValueError if the runtime has not just run kvnode_lua_open on this thread, RuntimeError
    if memory is out.
    """

    memory_used: int
    """Bytes that the state holds."""

    def __init__(self, runtime: object) -> None: ...
    def seal(self) -> None:
        """Protect globals and libraries; what is compiled from now on sees them read-only."""

    def evaluate(
        self, text: bytes, *, steps: int, memory_bytes: int, grants: int = 0
    ) -> tuple[int, list[object] | None, object]:
        """Run `text` alone and return (why it was stopped or 0, results, error).

        steps: given at once, and again up to `grants` times.   memory_bytes: the cap.
        Results are None, bool, float, bytes, or for others a str that names the type; None if there
        was an error. Holds the GIL.
        """
