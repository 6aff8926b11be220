"""Rows of scripts; SCRIPT."""

import re
from typing import Any

from kvnode.base.errors import CommandError
from kvnode.commands.errors import error
from kvnode.commands.help import INDENT, write_help
from kvnode.commands.row import Key, Row

HARMLESS = "noscript"
RUNS = "noscript stale skip_monitor no_mandatory_keys"
WORST = "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"
SHA1 = re.compile(rb"[0-9a-fA-F]{40}")

HELP = [
    "DEBUG (YES|SYNC|NO)",
    INDENT + "Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    INDENT + "Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    INDENT + "Flush the Lua scripts cache. Very dangerous on replicas.",
    INDENT + "When called without the optional mode argument, the behavior is determined by the",
    INDENT + "lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    INDENT + "* ASYNC: Asynchronously flush the scripts cache.",
    INDENT + "* SYNC: Synchronously flush the scripts cache.",
    "KILL",
    INDENT + "Kill the currently executing Lua script.",
    "LOAD <script>",
    INDENT + "Load a script into the scripts cache without executing it.",
]


def script_load(view: Any, args: list[bytes], reply: Any) -> None:
    sha = view.scripts.load(args[2], reply)
    if sha is not None:
        reply.bulk(sha)


def script_exists(view: Any, args: list[bytes], reply: Any) -> None:
    reply.array(len(args) - 2)
    for sha in args[2:]:
        reply.integer(int(bool(SHA1.fullmatch(sha)) and view.scripts.cache.exists(sha)))


def script_flush(view: Any, args: list[bytes], reply: Any) -> None:
    if len(args) > 3 or (len(args) == 3 and args[2].upper() not in (b"SYNC", b"ASYNC")):
        raise error("SCRIPT FLUSH only support SYNC|ASYNC option")
    view.scripts.flush()
    reply.ok()


def kill(view: Any, args: list[bytes], reply: Any) -> None:
    """SCRIPT KILL and FUNCTION KILL."""
    if not view.scripts.kill():
        raise CommandError(b"NOTBUSY No scripts in execution right now.")
    reply.ok()


def script_debug(view: Any, args: list[bytes], reply: Any) -> None:
    if args[2].upper() == b"NO":
        reply.ok()
    elif args[2].upper() in (b"YES", b"SYNC"):
        raise error("scripts cannot be debugged on this node")
    else:
        raise error("Use SCRIPT DEBUG YES/SYNC/NO")


def script_help(view: Any, args: list[bytes], reply: Any) -> None:
    write_help(reply, "SCRIPT", HELP)


def _runs(name: str, syntax: str, since: str, summary: str, *, writes: bool) -> Row:
    """The row of a command that runs a script; `writes`: that may write."""
    flags = RUNS + ("" if writes else " readonly")
    key_flags = "RW access update" if writes else "RO access"
    return Row(
        name,
        syntax,
        summary,
        since,
        -3,
        "scripting",
        flags,
        keys=(
            Key(
                key_flags,
                index=2,
                counted=True,
                notes=WORST if writes else "",
            ),
        ),
        complexity="Depends on the script that is executed.",
        native=name,
    )


ARGUMENTS = "numkeys:integer [key:key...] [arg:string...]"

ROWS = (
    _runs("eval", "script:string " + ARGUMENTS, "2.6.0", "Runs a script.", writes=True),
    _runs(
        "eval_ro",
        "script:string " + ARGUMENTS,
        "7.0.0",
        "Runs a script that does not write.",
        writes=False,
    ),
    _runs(
        "evalsha",
        "sha1:string " + ARGUMENTS,
        "2.6.0",
        "Runs a cached script by its SHA1.",
        writes=True,
    ),
    _runs(
        "evalsha_ro",
        "sha1:string " + ARGUMENTS,
        "7.0.0",
        "Runs a cached script by its SHA1; it does not write.",
        writes=False,
    ),
    Row(
        "script",
        "",
        "A container for commands about scripts.",
        "2.6.0",
        -2,
        "scripting",
        complexity="Depends on subcommand.",
        acl="",
        subcommands=(
            Row(
                "script|debug",
                "mode:string",
                "Sets the debug mode of scripts.",
                "3.2.0",
                3,
                "scripting",
                HARMLESS,
                handler=script_debug,
            ),
            Row(
                "script|exists",
                "sha1:string...",
                "Says which scripts are cached.",
                "2.6.0",
                -3,
                "scripting",
                HARMLESS,
                tips=("request_policy:all_shards", "response_policy:agg_logical_and"),
                complexity="O(N), N being the number of names",
                handler=script_exists,
            ),
            Row(
                "script|flush",
                "[mode:string]",
                "Drops all cached scripts.",
                "2.6.0",
                -2,
                "scripting",
                HARMLESS,
                tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
                complexity="O(N), N being the number of scripts",
                handler=script_flush,
            ),
            Row(
                "script|help",
                "",
                "Lists the subcommands.",
                "5.0.0",
                2,
                "scripting",
                "loading stale",
                handler=script_help,
            ),
            Row(
                "script|kill",
                "",
                "Stops the script that runs.",
                "2.6.0",
                2,
                "scripting",
                "noscript allow_busy",
                tips=("request_policy:all_shards", "response_policy:one_succeeded"),
                handler=kill,
            ),
            Row(
                "script|load",
                "script:string",
                "Caches a script.",
                "2.6.0",
                3,
                "scripting",
                "noscript stale",
                tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
                complexity="O(N), N being the length of the script",
                handler=script_load,
            ),
        ),
    ),
)
