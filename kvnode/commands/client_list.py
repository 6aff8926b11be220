"""The lines of CLIENT LIST and CLIENT INFO, and which clients they describe."""

from kvnode._core.uplink import FORWARDED
from kvnode.base.limits import SESSION_OVERHEAD_BYTES
from kvnode.commands.context import STATE_CLOSING, STATE_WAITING, SessionContext, ViewContext
from kvnode.commands.errors import error, parse_integer, syntax_error

TYPES = {b"normal": "normal", b"master": "master", b"replica": "replica", b"slave": "replica"}
TYPES[b"pubsub"] = "pubsub"


def parse_type(word: bytes) -> str:
    """Return the type of client that `word` names. Raises CommandError."""
    kind = TYPES.get(word.lower())
    if kind is None:
        raise error(f"Unknown client type '{word.decode('utf-8', 'surrogateescape')}'")
    return kind


def is_subscribed(session: SessionContext) -> bool:
    """Return whether a client is subscribed to anything."""
    return bool(session.channels or session.patterns or session.shard_channels)


def of_type(sessions: list[SessionContext], kind: str) -> list[SessionContext]:
    """Return the clients of a type."""
    if kind in ("normal", "pubsub"):
        return [session for session in sessions if is_subscribed(session) == (kind == "pubsub")]
    return []


def select(view: ViewContext, options: list[bytes]) -> list[SessionContext]:
    """Return the clients that the options of CLIENT LIST choose. Raises CommandError."""
    sessions = list(view.node.sessions())
    if not options:
        return sessions
    if options[0].upper() == b"TYPE" and len(options) == 2:
        return of_type(sessions, parse_type(options[1]))
    if options[0].upper() == b"ID" and len(options) > 1:
        wanted = [parse_integer(option, "Invalid client ID") for option in options[1:]]
        by_id = {session.id: session for session in sessions}
        return [by_id[id] for id in wanted if id in by_id]
    raise syntax_error()


def flags(session: SessionContext) -> str:
    """Return the letters for what is special about a client; N = nothing."""
    letters = "P" if is_subscribed(session) else ""
    is_held = session.state == STATE_WAITING and session.waiting != FORWARDED
    if is_held or session.is_blocked:
        letters += "b"
    if session.is_in_transaction:
        letters += "x"
    if session.cas_dirty:
        letters += "d"
    if session.state == STATE_CLOSING:
        letters += "c"
    if session.no_evict:
        letters += "e"
    if session.no_touch:
        letters += "T"
    return letters or "N"


def describe(view: ViewContext, session: SessionContext, running: bytes) -> bytes:
    """Return a client's line. running: the command that asks, which is its own last command."""
    # The batch was opened before the latest bytes came in: idle times are never negative.
    idle_s = max(0, view.now_ms - session.active_ms) // 1000
    age_s = max(0, view.now_ms - session.created_ms) // 1000
    memory = session.input_bytes + session.output_bytes + session.multi_bytes
    fields = (
        ("id", session.id),
        ("addr", session.addr),
        ("laddr", session.laddr),
        ("fd", session.fd),
        ("name", text(session.name)),
        ("age", age_s),
        ("idle", idle_s),
        ("flags", flags(session)),
        ("db", session.db),
        ("sub", session.channels),
        ("psub", session.patterns),
        ("ssub", session.shard_channels),
        ("multi", session.queued_count if session.is_in_transaction else -1),
        ("watch", len(session.watched or ())),
        ("qbuf", session.input_bytes),
        ("qbuf-free", 0),
        ("argv-mem", 0),
        ("multi-mem", session.multi_bytes),
        ("rbs", 0),
        ("rbp", 0),
        ("obl", session.output_bytes),
        ("oll", 0),
        ("omem", 0),
        ("tot-mem", memory + SESSION_OVERHEAD_BYTES),
        ("events", "r"),
        ("cmd", text(running if session is view.session else session.last_command)),
        ("user", text(session.user)),
        ("redir", -1),
        ("resp", session.proto),
        ("lib-name", text(session.lib_name)),
        ("lib-ver", text(session.lib_ver)),
    )
    line = " ".join(f"{name}={value}" for name, value in fields)
    return (line + "\n").encode("utf-8", "surrogateescape")


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
