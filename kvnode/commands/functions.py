"""Rows of functions; FUNCTION."""

from typing import Any

from kvnode._core.glob import matches
from kvnode.base.errors import CommandError
from kvnode.commands import function_payload
from kvnode.commands.errors import error, subcommand_error
from kvnode.commands.help import INDENT, write_help
from kvnode.commands.row import Key, Row
from kvnode.commands.scripting import ARGUMENTS, RUNS, WORST, kill

CHANGES = "noscript write"
ENGINE = b"LUA"
# In the order in which FUNCTION LIST shows them; ScriptFlag of _core/script_cache.pxd.
FLAGS = (
    (b"no-writes", 1),
    (b"allow-oom", 8),
    (b"allow-stale", 2),
    (b"no-cluster", 4),
    (b"allow-cross-slot-keys", 16),
    (b"blind-appends", 32),
)
POLICIES = (b"FLUSH", b"APPEND", b"REPLACE")

HELP = [
    "LOAD [REPLACE] <FUNCTION CODE>",
    INDENT + "Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    INDENT + "Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    INDENT + "Return general information on all the libraries:",
    INDENT + "* Library name",
    INDENT + "* The engine used to run the Library",
    INDENT + "* Library description",
    INDENT + "* Functions list",
    INDENT + "* Library code (if WITHCODE is given)",
    INDENT + "It also possible to get only function that matches a pattern using LIBRARYNAME "
    "argument.",
    "STATS",
    INDENT + "Return information about the current function running:",
    INDENT + "* Function name",
    INDENT + "* Command used to run the function",
    INDENT + "* Duration in MS that the function is running",
    INDENT + "If no function is running, return nil",
    INDENT + "In addition, returns a list of available engines.",
    "KILL",
    INDENT + "Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    INDENT + "Delete all the libraries.",
    INDENT + "When called without the optional mode argument, the behavior is determined by the",
    INDENT + "lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    INDENT + "* ASYNC: Asynchronously flush the libraries.",
    INDENT + "* SYNC: Synchronously flush the libraries.",
    "DUMP",
    INDENT + "Return a serialized payload representing the current libraries, can be restored "
    "using FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    INDENT + "Restore the libraries represented by the given payload, it is possible to give a "
    "restore policy to",
    INDENT + "control how to handle existing libraries (default APPEND):",
    INDENT + "* FLUSH: delete all existing libraries.",
    INDENT + "* APPEND: appends the restored libraries to the existing libraries. On collision, "
    "abort.",
    INDENT + "* REPLACE: appends the restored libraries to the existing libraries, On "
    "collision, replace the old",
    INDENT + "  libraries with the new libraries (notice that even on this option there is a "
    "chance of failure",
    INDENT + "  in case of functions name conflict with another library).",
]


def function_load(view: Any, args: list[bytes], reply: Any) -> None:
    replaces = False
    for option in args[2:-1]:
        if option.upper() != b"REPLACE":
            raise CommandError(b"ERR Unknown option given: " + option)
        replaces = True
    reply.bulk(view.scripts.functions.load(args[-1], replaces))


def function_delete(view: Any, args: list[bytes], reply: Any) -> None:
    if not view.scripts.functions.delete(args[2]):
        raise error("Library not found")
    reply.ok()


def function_flush(view: Any, args: list[bytes], reply: Any) -> None:
    if len(args) > 3:
        raise subcommand_error(args)
    if len(args) == 3 and args[2].upper() not in (b"SYNC", b"ASYNC"):
        raise error("FUNCTION FLUSH only supports SYNC|ASYNC option")
    view.scripts.functions.flush()
    reply.ok()


def function_list(view: Any, args: list[bytes], reply: Any) -> None:
    pattern, with_code = None, False
    words = iter(args[2:])
    for word in words:
        if word.upper() == b"WITHCODE" and not with_code:
            with_code = True
        elif word.upper() == b"LIBRARYNAME" and pattern is None:
            pattern = next(words, None)
            if pattern is None:
                raise error("library name argument was not given")
        else:
            raise CommandError(b"ERR Unknown argument " + word)
    found = view.scripts.functions.of_pattern(
        lambda name: pattern is None or matches(pattern, name, True)
    )
    reply.array(len(found))
    for library in found:
        reply.map(4 if with_code else 3)
        reply.bulk(b"library_name")
        reply.bulk(library.name)
        reply.bulk(b"engine")
        reply.bulk(ENGINE)
        reply.bulk(b"functions")
        reply.array(len(library.functions))
        for function in library.functions:
            _write_function(function, reply)
        if with_code:
            reply.bulk(b"library_code")
            reply.bulk(library.code)


def _write_function(function: Any, reply: Any) -> None:
    reply.map(3)
    reply.bulk(b"name")
    reply.bulk(function.name)
    reply.bulk(b"description")
    reply.bulk(function.description)
    reply.bulk(b"flags")
    flags = [name for name, bit in FLAGS if function.flags & bit]
    reply.set(len(flags))
    for flag in flags:
        reply.simple(flag)


def function_stats(view: Any, args: list[bytes], reply: Any) -> None:
    functions = view.scripts.functions
    running = next(iter(view.scripts.programs), None)
    reply.map(2)
    reply.bulk(b"running_script")
    if running is None:
        reply.null()
    else:
        reply.map(3)
        reply.bulk(b"name")
        reply.bulk(running.words[1])
        reply.bulk(b"command")
        reply.bulks(running.words)
        reply.bulk(b"duration_ms")
        reply.integer(max(0, view.now_ms - running.began_ms))
    reply.bulk(b"engines")
    reply.map(1)
    reply.bulk(ENGINE)
    reply.map(2)
    reply.bulk(b"libraries_count")
    reply.integer(len(functions.of_pattern(lambda name: True)))
    reply.bulk(b"functions_count")
    reply.integer(functions.count)


def function_dump(view: Any, args: list[bytes], reply: Any) -> None:
    found = view.scripts.functions.of_pattern(lambda name: True)
    reply.bulk(function_payload.dump([library.code for library in found]))


def function_restore(view: Any, args: list[bytes], reply: Any) -> None:
    if len(args) > 4:
        raise subcommand_error(args)
    policy = args[3].upper() if len(args) == 4 else b"APPEND"
    if policy not in POLICIES:
        raise error("Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    view.scripts.functions.restore(function_payload.restore(args[2]), policy)
    reply.ok()


def function_help(view: Any, args: list[bytes], reply: Any) -> None:
    write_help(reply, "FUNCTION", HELP)


def _runs(name: str, since: str, summary: str, *, writes: bool) -> Row:
    """The row of a command that runs a function; `writes`: that may write."""
    return Row(
        name,
        "function:string " + ARGUMENTS,
        summary,
        since,
        -3,
        "scripting",
        RUNS + ("" if writes else " readonly"),
        keys=(
            Key(
                "RW access update" if writes else "RO access",
                index=2,
                counted=True,
                notes=WORST if writes else "",
            ),
        ),
        complexity="Depends on the function that is executed.",
        native=name,
    )


def _row(name: str, syntax: str, arity: int, flags: str, summary: str, handler: Any, **more: Any):
    return Row(
        f"function|{name}",
        syntax,
        summary,
        "7.0.0",
        arity,
        "scripting",
        flags,
        handler=handler,
        **more,
    )


ALL_SHARDS = ("request_policy:all_shards", "response_policy:all_succeeded")
ONE_SHARD = ("request_policy:all_shards", "response_policy:one_succeeded")

ROWS = (
    _runs("fcall", "7.0.0", "Runs a function.", writes=True),
    _runs("fcall_ro", "7.0.0", "Runs a function that does not write.", writes=False),
    Row(
        "function",
        "",
        "A container for commands about functions.",
        "7.0.0",
        -2,
        "scripting",
        complexity="Depends on subcommand.",
        acl="",
        subcommands=(
            _row(
                "delete",
                "library-name:string",
                3,
                CHANGES,
                "Deletes a library and its functions.",
                function_delete,
                tips=ALL_SHARDS,
            ),
            _row(
                "dump",
                "",
                2,
                "noscript",
                "Returns all libraries as one payload.",
                function_dump,
                complexity="O(N), N being the size of the libraries",
            ),
            _row(
                "flush",
                "[mode:string]",
                -2,
                CHANGES,
                "Deletes all libraries.",
                function_flush,
                complexity="O(N), N being the number of functions",
                tips=ALL_SHARDS,
            ),
            _row(
                "help",
                "",
                2,
                "loading stale",
                "Lists the subcommands.",
                function_help,
            ),
            _row(
                "kill",
                "",
                2,
                "noscript allow_busy",
                "Stops the function that runs.",
                kill,
                tips=ONE_SHARD,
            ),
            _row(
                "list",
                "[LIBRARYNAME library-name-pattern:string] [WITHCODE]",
                -2,
                "noscript",
                "Lists libraries and their functions.",
                function_list,
                complexity="O(N), N being the number of functions",
                tips=("nondeterministic_output_order",),
            ),
            _row(
                "load",
                "[REPLACE] function-code:string",
                -3,
                CHANGES + " denyoom",
                "Adds a library.",
                function_load,
                complexity="O(1), and what the library does as it is loaded",
                tips=ALL_SHARDS,
            ),
            _row(
                "restore",
                "serialized-value:string [policy=<FLUSH | APPEND | REPLACE>]",
                -3,
                CHANGES + " denyoom",
                "Adds the libraries of a payload.",
                function_restore,
                complexity="O(N), N being the number of functions",
                tips=ALL_SHARDS,
            ),
            _row(
                "stats",
                "",
                2,
                "noscript allow_busy",
                "Says which function runs, and how many there are.",
                function_stats,
                tips=(
                    "nondeterministic_output",
                    "request_policy:all_shards",
                    "response_policy:special",
                ),
            ),
        ),
    ),
)
